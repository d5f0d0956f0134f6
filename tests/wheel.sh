#!/usr/bin/env bash
# The wheel and the sdist as a user gets them: made of what is committed, checked, and installed in empty environments
# on the oldest and the newest Python. `l2s demo` runs there without extras and without the repository; then, with the
# extras, its network is exported and held against the exports. Outside CI: some ten minutes a Python.
# The extra `cuda` is not tried. Give Python versions (3.11, 3.13) to try some; PACKAGES=FOLDER keeps the packages.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
packages=${PACKAGES:-$folder/packages}
python3 -m venv "$folder/tools"
"$folder/tools/bin/python" -m pip install --quiet 'build>=1.2' 'twine>=6.1' 'uv>=0.8'
mkdir "$folder/source"
git archive HEAD | tar --extract --directory "$folder/source"
"$folder/tools/bin/python" -m build --outdir "$packages" "$folder/source"
"$folder/tools/bin/twine" check --strict "$packages"/*
"$folder/tools/bin/python" tests/packages.py "$packages"
wheel=$(ls "$packages"/*.whl)
unset PYTHONPATH VIRTUAL_ENV
export L2S_CACHE="$folder/cache"
lines=()
for python in ${@:-3.11 3.13}; do
  here="$folder/$python"
  mkdir -p "$here/empty"
  "$folder/tools/bin/uv" venv --quiet --seed --python "$python" "$here/bare"
  "$here/bare/bin/python" -m pip install --quiet "$wheel"
  cd "$here/empty"
  "$here/bare/bin/l2s" --version
  "$here/bare/bin/l2s" doctor
  "$here/bare/bin/l2s" demo
  lines+=("$("$here/bare/bin/python" - <<'PYTHON'
import json, platform
from importlib.metadata import version
figures = json.load(open("demo/run/evaluation/test/metrics.json"))
print(
    f"Python {platform.python_version()}, jax {version('jax')}: demo's pooled macro F1 on test "
    f"{figures['pooled']['macro_f1']:.3f}"
)
PYTHON
  )")
  "$folder/tools/bin/uv" venv --quiet --seed --python "$python" "$here/extras"
  "$here/extras/bin/python" -m pip install --quiet "$wheel[torch,dask,onnx,mlflow]"
  "$here/extras/bin/l2s" doctor
  "$here/extras/bin/l2s" export demo/run exported --formats safetensors onnx onnx-float16 torchscript
  "$here/extras/bin/l2s" verify-export exported demo/data/example.png
  "$here/extras/bin/python" -c 'import distributed'
  "$here/extras/bin/l2s" train demo/data --out tracked --weights random --steps 2 --tracker mlflow 2>&1 | tee tracked.log
  ! grep --quiet 'warning: MLflow' tracked.log
  test -s mlflow.db
  cd - > /dev/null
done
printf '%s\n' "" "${lines[@]}"
