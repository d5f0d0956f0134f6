#!/usr/bin/env bash
# The tracker against MLflow itself: its client beside this package in one environment, its server in another, started
# by the tests on this machine. Outside CI: MLflow's server brings some 60 packages.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${MLFLOW_ENVIRONMENTS:-.venv-mlflow}
for name in client server; do
  python3 -m venv "$folder/$name"
done
"$folder/client/bin/python" -m pip install --quiet -e '.[dev,mlflow]'
"$folder/server/bin/python" -m pip install --quiet mlflow
MLFLOW_PROGRAM="$(realpath "$folder/server/bin/mlflow")" "$folder/client/bin/python" -m pytest tests/runs/test_mlflow_server.py
"$folder/client/bin/python" -m pip list 2>/dev/null | grep -i -E '^(mlflow-skinny|sqlalchemy|alembic|protobuf|pandas|numpy|jax) '
"$folder/server/bin/mlflow" --version
