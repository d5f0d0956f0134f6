#!/usr/bin/env bash
# TIAToolbox in an environment of its own, for whole_slide.py: it wants a torch below 2.13 and brings 6 GB.
#
#     benchmarks/tiatoolbox.sh FOLDER [PYTHON]
#
# FOLDER/versions.txt lists what was installed.
set -euo pipefail
folder=${1:?usage: tiatoolbox.sh FOLDER [PYTHON]}
python=${2:-python3}
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet "tiatoolbox==2.1.3"
"$folder/bin/python" -m pip freeze > "$folder/versions.txt"
"$folder/bin/python" -c 'import tiatoolbox, torch; print("tiatoolbox", tiatoolbox.__version__, "torch", torch.__version__)'
