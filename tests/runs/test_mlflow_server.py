"""Runs told to MLflow itself: its local SQLite store, and a server on this machine.

Needs the extra `mlflow`; the server's program `mlflow` is named by MLFLOW_PROGRAM, since it wants an
environment of its own. tests/mlflow.sh makes both and runs this; elsewhere it is skipped.
"""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from l2s_jax.runs.mlflow_run import RECORD

PROGRAM = os.environ.get("MLFLOW_PROGRAM") or ""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs the extra mlflow"),
]

OPTIONS = (
    "--weights", "random", "--batch-size", "8", "--epochs", "3", "--learning-rate", "1e-3", "--draw", "1",
    "--tracker", "mlflow",
)  # fmt: skip

LOOK = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
found = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        history = client.get_metric_history(run.info.run_id, "loss")
        files, folders = [], [""]
        while folders:
            for one in client.list_artifacts(run.info.run_id, folders.pop() or None):
                (folders if one.is_dir else files).append(one.path)
        found.append({
            "experiment": experiment.name, "id": run.info.run_id, "name": run.info.run_name,
            "status": run.info.status, "params": run.data.params, "metrics": run.data.metrics,
            "tags": run.data.tags, "loss": [[one.step, one.value] for one in history], "files": files,
        })
if len(sys.argv) > 2:
    client.download_artifacts(sys.argv[2], "network", sys.argv[3])
print(json.dumps(found))
"""


def environment(folder, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "L2S_CACHE": str(folder / "cache"), **more}


def l2s(folder, *words, **more):
    """A command as a process of its own, which imports MLflow without the tests' rules on warnings."""
    command = [sys.executable, "-c", "from l2s_jax.cli.app import main; main()", *map(str, words)]
    return subprocess.run(
        command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=1500
    )


def look(folder, uri, *download):
    command = [sys.executable, "-c", LOOK, uri, *map(str, download)]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of an MLflow server on this machine, with a SQLite store of its own."""
    if not PROGRAM:
        pytest.skip("needs the program mlflow of an environment of its own: MLFLOW_PROGRAM")
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PROGRAM, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder}/server.db", "--serve-artifacts",
               "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 600
        while True:
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            try:
                with urllib.request.urlopen(f"{address}/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.5)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def check(found, folder, rows):
    assert found["status"] == "FINISHED" and found["experiment"] == "l2s"
    assert found["params"]["weights"] == "random" and found["params"]["learning_rate"] == "0.001"
    assert [step for step, _ in found["loss"]] == [row["step"] for row in rows]
    assert [value for _, value in found["loss"]] == pytest.approx([row["loss"] for row in rows], rel=1e-9)
    assert {"report.html", "figures/curves.png", "network/network.json"} <= set(found["files"])
    assert any(path.startswith("network/checkpoints/best/") for path in found["files"])


def rows_of(folder):
    from l2s_jax.runs.folder import read_metrics

    return read_metrics(folder)


def test_the_local_store(phantom, tmp_path):
    done = l2s(tmp_path, "train", phantom, "--out", tmp_path / "run", *OPTIONS)
    assert done.returncode == 0 and "warning: MLflow" not in done.stdout + done.stderr, (
        done.stdout + done.stderr
    )
    assert (tmp_path / "mlflow.db").is_file()
    (found,) = look(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    check(found, tmp_path / "run", rows_of(tmp_path / "run"))


def test_a_server(server, phantom, tmp_path):
    """A run that is stopped and resumed is one MLflow run; its network comes back as a run that predicts."""
    run = tmp_path / "run"
    done = l2s(tmp_path, "train", phantom, "--out", run, *OPTIONS, MLFLOW_TRACKING_URI=server)
    assert done.returncode == 0 and "warning: MLflow" not in done.stdout + done.stderr, (
        done.stdout + done.stderr
    )
    record = json.loads((run / RECORD).read_text())
    (found,) = [one for one in look(tmp_path, server) if one["id"] == record["run_id"]]
    check(found, run, rows_of(run))
    (run / "finished.json").unlink()  # as if it had been killed just before; the address is in its record
    done = l2s(tmp_path, "train", phantom, "--out", run, *OPTIONS, "--resume")
    assert done.returncode == 0 and "warning: MLflow" not in done.stdout + done.stderr, (
        done.stdout + done.stderr
    )
    (again,) = [one for one in look(tmp_path, server, record["run_id"], tmp_path) if one["name"] == "run"]
    assert again["id"] == record["run_id"] and again["loss"] == found["loss"]
    picture = next((phantom / "images").rglob("*.png"))
    done = l2s(tmp_path, "predict", tmp_path / "network", picture, "--out", tmp_path / "predicted")
    assert done.returncode == 0 and (tmp_path / "predicted" / f"{picture.stem}.png").is_file(), done.stderr


def test_a_sweep_of_two_at_a_time(server, phantom, tmp_path):
    (tmp_path / "swept.toml").write_text(
        'name = "swept"\ndraws = 1\npercents = [100]\n[options]\nweights = "random"\nsteps = 2\n'
        'batch_size = 8\ntracker = "mlflow"\n[[variant]]\nname = "paper"\nsettings = ["S", "S+C*"]\n'
    )
    words = ("sweep", "swept.toml", "--manifest", phantom, "--out", tmp_path / "out", "--jobs", 2)
    done = l2s(tmp_path, *words, MLFLOW_TRACKING_URI=server)
    assert done.returncode == 0 and "warning: MLflow" not in done.stdout + done.stderr, (
        done.stdout + done.stderr
    )
    runs = look(tmp_path, server)
    (parent,) = [one for one in runs if one["name"] == "swept"]
    children = [one for one in runs if one["tags"].get("mlflow.parentRunId") == parent["id"]]
    assert len(children) == 2 and all("test_macro_f1" in one["metrics"] for one in children)
    assert {one["status"] for one in (parent, *children)} == {"FINISHED"}
    assert "results.csv" in parent["files"]


def test_a_server_that_is_gone(phantom, tmp_path):
    """Nothing listens at the address: one warning, and the run is that without a tracker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    words = ("train", phantom, "--out", tmp_path / "run", *OPTIONS)
    done = l2s(tmp_path, *words, MLFLOW_TRACKING_URI=address, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and said.count("warning: MLflow") == 1 and "Traceback" not in said, said
    assert (tmp_path / "run" / "report.html").is_file()
    shutil.rmtree(tmp_path / "run")
