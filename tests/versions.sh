#!/usr/bin/env bash
# The tests on the ends of what pyproject.toml admits: Python 3.11 with the oldest versions, 3.12, and 3.13 with the
# newest of everything. Outside CI: three environments and three runs of what `make test` runs (MARK=slow: the rest).
# Give names (oldest, 3.12, newest) to run some.
# PyTorch is not installed here; its parity tests are skipped, and run in `make test` where its small build is to be had.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=${VERSIONS:-.venv-versions}
python3 -m venv "$folder/uv" && "$folder/uv/bin/python" -m pip install --quiet 'uv>=0.8'
uv="$folder/uv/bin/uv"
failed=0
lines=()
for name in ${@:-oldest 3.12 newest}; do
  case $name in
    oldest) python=3.11 resolution=lowest-direct ;;
    3.12) python=3.12 resolution=highest ;;
    newest) python=3.13 resolution=highest ;;
    *) echo "unknown: $name (oldest, 3.12, newest)" >&2; exit 2 ;;
  esac
  "$uv" venv --quiet --clear --python "$python" "$folder/$name" &&
    VIRTUAL_ENV="$folder/$name" "$uv" pip install --quiet --resolution "$resolution" -e '.[dev,dask]' || exit 1
  XLA_FLAGS="" "$folder/$name/bin/python" -m pytest -n 2 --dist loadfile --color=no -m "${MARK:-not slow}" 2>&1 | tee "$folder/$name.log"
  [ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
  versions=$("$folder/$name/bin/python" - <<'PYTHON'
import platform
from importlib.metadata import version
names = "jax flax optax orbax-checkpoint grain numpy scipy scikit-image pandas pillow tifffile openslide-bin".split()
print("Python", platform.python_version(), *(f"{name} {version(name)}" for name in names), sep=", ")
PYTHON
  )
  lines+=("$name: $(tail -n 1 "$folder/$name.log")" "  $versions")
done
printf '%s\n' "" "${lines[@]}"
exit $failed
