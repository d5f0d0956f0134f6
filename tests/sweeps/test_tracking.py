"""A sweep in MLflow: one run above those of its runs. With a stand-in for MLflow."""

import json

import pandas as pd
import pytest

from helpers import mlflow_stand_in
from helpers.runs import quiet
from l2s_jax.runs.mlflow_run import RECORD
from l2s_jax.sweeps.sweep import sweep

FILE = """
name = "small"
draws = 1
percents = [100]
[options]
weights = "random"
steps = 2
batch_size = 8
tracker = "mlflow"
[[variant]]
name = "paper"
settings = ["S", "S+C*"]
"""


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return mlflow_stand_in.install(monkeypatch)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "small.toml").write_text(FILE)
    return tmp_path / "small.toml"


@pytest.mark.slow
def test_a_sweep_is_a_run_with_one_below_it_for_each_of_its_runs(server, file, phantom, tmp_path):
    out = sweep(file, tmp_path / "out", manifest=phantom, say=quiet)
    (parent,) = [run for run in server.runs.values() if run.name == "small"]
    children = [run for run in server.runs.values() if run is not parent]
    assert len(children) == 2 and {run.status for run in server.runs.values()} == {"FINISHED"}
    above = json.loads((out / RECORD).read_text())["run_id"]
    assert {run.tags["mlflow.parentRunId"] for run in children} == {above} and server.runs[above] is parent
    rows = pd.read_csv(out / "results.csv").set_index("run")
    for run in children:
        told = {one.key: one.value for one in run.metrics}
        row = rows.loc[run.name]
        assert told["test_macro_f1"] == pytest.approx(row["macro_f1"], rel=1e-9)
        assert run.tags["l2s_jax.variant"] == "paper" and row["setting"] in run.tags["l2s_jax.cell"]
    assert {"results.csv", "plan.csv", "sweep.json"} <= parent.files.keys()
    asked = len(server.asked)
    sweep(file, tmp_path / "out", manifest=phantom, say=quiet)  # nothing is left to do
    assert len(server.asked) == asked


@pytest.mark.slow
def test_of_a_server_that_does_not_answer_is_told_once(server, file, phantom, tmp_path, capsys):
    def fail(name):
        raise mlflow_stand_in.MlflowException("no route to host")

    server.act = fail
    said = []
    out = sweep(file, tmp_path / "out", manifest=phantom, say=said.append)
    assert len([line for line in said if line.startswith("warning: MLflow")]) == 1
    assert "MLflow" not in capsys.readouterr().out and len(server.asked) == 1
    assert len(pd.read_csv(out / "results.csv")) == 2
