"""What MLflow is told of a run, and what becomes of a run where MLflow fails. With a stand-in for MLflow."""

import json
import math
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers import mlflow_stand_in
from helpers.commands import l2s
from helpers.runs import TINY, last_state, quiet
from l2s_jax.config import config_hash, to_dict
from l2s_jax.runs import mlflow_run
from l2s_jax.runs.config_file import read_config
from l2s_jax.runs.folder import read_metrics
from l2s_jax.runs.mlflow_run import RECORD
from l2s_jax.system.errors import UserError
from l2s_jax.training import run as training_run
from l2s_jax.training import tracking
from l2s_jax.training.train import train, train_many

TRACKED = replace(TINY, tracker="mlflow")


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return mlflow_stand_in.install(monkeypatch)


def metrics_of(run):
    """{name: [(step, value), ...]} as the server has them."""
    found = {}
    for one in run.metrics:
        found.setdefault(one.key, []).append((one.step, one.value))
    return found


def assert_same_run(run, other):
    """Weights, optimiser and figures to the last bit."""
    for ours, theirs in zip(last_state(run, TINY)[0], last_state(other, TINY)[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    a, b = (pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (run, other))
    pd.testing.assert_frame_equal(a, b, check_exact=True)


@pytest.mark.slow
def test_all_of_a_run_is_told(server, phantom, trained, tmp_path):
    folder = train(phantom, tmp_path / "run", TRACKED, say=quiet)
    (run,) = server.runs.values()
    assert run.status == "FINISHED" and run.name == "run" and list(server.experiments) == ["l2s"]
    options = {name: str(value) for name, value in to_dict(read_config(folder / "config.toml", TINY)).items()}
    del options["tracker"]
    assert options.items() <= run.params.items()
    assert run.params["n_mask"] == "15" and run.params["planned_steps"] == "12"
    rows, told = read_metrics(folder), metrics_of(run)
    for name in ("epoch", "loss", "loss_seg", "loss_cls", "val_score", "val_macro_f1"):
        kept = [row for row in rows if math.isfinite(row[name])]
        assert [step for step, _ in told[name]] == [row["step"] for row in kept]
        assert [value for _, value in told[name]] == pytest.approx([row[name] for row in kept], rel=1e-9)
    best = json.loads((folder / "finished.json").read_text())["best"]
    assert told["best_epoch"] == [(0, best["epoch"])] and told["best_score"] == [(0, best["score"])]
    assert {"report.html", "figures/curves.png", "figures/confusion.png", "figures/samples.png"} <= set(
        run.files
    )
    assert run.tags["l2s_jax.run"] == str(folder)
    assert (tmp_path / "run" / RECORD).is_file() and server.addresses == [f"sqlite:///{tmp_path}/mlflow.db"]
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert_same_run(folder, trained)


@pytest.mark.slow
def test_the_network_of_the_artefacts_is_used_as_a_run(server, phantom, tmp_path):
    train(phantom, tmp_path / "run", TRACKED, say=quiet)
    (run,) = server.runs.values()
    for name, content in run.files.items():
        path = tmp_path / "downloaded" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    picture = next((phantom / "images").rglob("*.png"))
    for folder in (tmp_path / "downloaded" / "network", tmp_path / "run"):
        assert l2s("predict", folder, picture, "--out", folder / "predicted") == 0
        assert l2s("evaluate", folder, phantom) == 0
        assert l2s("export", folder, folder / "exported") == 0
    one, other = (
        (folder / "predicted" / f"{picture.stem}.png").read_bytes()
        for folder in (tmp_path / "downloaded" / "network", tmp_path / "run")
    )
    assert one == other


def stopped_after(epochs, monkeypatch):
    """A run that is cut off after so many epochs, as a kill would."""
    end, ended = training_run.TrainingRun.end_epoch, []

    def once(self, *rest):
        end(self, *rest)
        ended.append(self.number)
        if len(ended) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(training_run.TrainingRun, "end_epoch", once)


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_mlflow_run(server, phantom, trained, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(phantom, tmp_path / "run", TRACKED, say=quiet)
    (run,) = server.runs.values()
    assert run.status == "KILLED" and [step for step, _ in metrics_of(run)["loss"]] == [4, 8]
    monkeypatch.chdir(phantom)  # the store is that of the first sitting, wherever the second is begun
    folder = train(phantom, tmp_path / "run", TRACKED, resume=True, say=quiet)
    assert list(server.runs.values()) == [run] and run.status == "FINISHED"
    for name, values in metrics_of(run).items():
        assert len({step for step, _ in values}) == len(values), f"{name} was told twice"
    assert [step for step, _ in metrics_of(run)["loss"]] == [4, 8, 12]
    assert len(set(server.addresses)) == 1
    assert_same_run(folder, trained)


@pytest.mark.slow
def test_a_tracker_may_be_taken_up_or_left_at_resume(server, phantom, trained, tmp_path, monkeypatch):
    """What was trained without it is told then."""
    assert config_hash(TRACKED) == config_hash(TINY) != config_hash(replace(TINY, seed=7))
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(phantom, tmp_path / "run", TINY, say=quiet)
    assert not server.runs
    folder = train(phantom, tmp_path / "run", TRACKED, resume=True, say=quiet)
    (run,) = server.runs.values()
    assert [step for step, _ in metrics_of(run)["loss"]] == [4, 8, 12]
    assert_same_run(folder, trained)
    (folder / "finished.json").unlink()
    assert train(phantom, folder, TINY, resume=True, say=quiet) == folder
    assert len(server.runs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("request_name", ["create_run", "log_batch", "log_artifact"])
def test_a_tracker_that_fails_costs_one_warning(request_name, server, phantom, trained, tmp_path):
    def fail(name):
        if name == request_name:
            raise mlflow_stand_in.MlflowException("503: come back\nlater")

    server.act = fail
    said = []
    folder = train(phantom, tmp_path / "run", TRACKED, say=said.append)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert str(folder) in warning and "503: come back later" in warning and "\n" not in warning
    assert_same_run(folder, trained)
    assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_a_tracker_that_is_silent_holds_nothing_up(server, phantom, trained, tmp_path, monkeypatch):
    forever = threading.Event()
    server.act = lambda name: forever.wait()
    monkeypatch.setattr(tracking, "PATIENCE_S", 0.5)
    said = []
    folder = train(phantom, tmp_path / "run", TRACKED, say=said.append)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert "it is not done after" in warning
    assert_same_run(folder, trained)
    server.act = lambda name: None
    forever.set()


@pytest.mark.slow
def test_an_unknown_run_is_begun_anew(server, phantom, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(phantom, tmp_path / "run", TRACKED, say=quiet)
    old = next(iter(server.runs))
    server.runs["another"] = server.runs.pop(old)
    said = []
    train(phantom, tmp_path / "run", TRACKED, resume=True, say=said.append)
    assert any("does not know the run" in line for line in said)
    new = json.loads((tmp_path / "run" / RECORD).read_text())["run_id"]
    assert [step for step, _ in metrics_of(server.runs[new])["loss"]] == [4, 8, 12]


@pytest.mark.slow
def test_a_damaged_record_is_a_warning(server, phantom, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            train(phantom, tmp_path / "run", TRACKED, say=quiet)
    (tmp_path / "run" / RECORD).write_text('{"run_id": 5}')
    said = []
    folder = train(phantom, tmp_path / "run", TRACKED, resume=True, say=said.append)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert "mlflow.json is damaged" in warning and (folder / "finished.json").is_file()


@pytest.mark.slow
def test_the_address_and_the_experiment_are_mlflows_own(server, phantom, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1/base")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "colon")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    folder = train(phantom, tmp_path / "run", replace(TRACKED, epochs=1), say=quiet)
    assert server.addresses == ["http://me:secret@127.0.0.1:1/base"] and list(server.experiments) == ["colon"]
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"
    assert "secret" not in (folder / RECORD).read_text()
    assert json.loads((folder / RECORD).read_text())["tracking_uri"] == "http://127.0.0.1:1/base"


@pytest.mark.slow
def test_several_seeds_are_a_run_each(server, phantom, tmp_path):
    folders = train_many(
        phantom, tmp_path / "seeds", replace(TRACKED, epochs=1), (0, 1), strategy="unroll", say=quiet
    )
    assert {run.name for run in server.runs.values()} == {"seed0", "seed1"}
    assert {run.params["seed"] for run in server.runs.values()} == {"0", "1"}
    assert all((folder / RECORD).is_file() for folder in folders)


def test_without_the_extra_nothing_is_begun(phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_run.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'l2s-jax\[mlflow\]'"):
        train(phantom, tmp_path / "run", TRACKED, say=quiet)
    assert not (tmp_path / "run").exists()


def test_begun_waits_for_the_run(server, tmp_path):
    def slow(name):
        time.sleep(0.1)

    server.act = slow
    about = mlflow_run.Description("name", {}, {})
    tracker = mlflow_run.MlflowRun(tmp_path, about, None, quiet)
    assert tracker.begun() and (tmp_path / RECORD).is_file()
    tracker.end("FINISHED")
    server.act = lambda name: (_ for _ in ()).throw(OSError("gone"))
    (tmp_path / RECORD).unlink()
    assert not mlflow_run.MlflowRun(tmp_path, about, None, quiet).begun()
