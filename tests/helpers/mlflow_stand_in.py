"""A stand-in for MLflow's client: keeps what it is told in memory, fails or stays silent when asked to.

What it has of MLflow's names is what `l2s_jax.runs.mlflow_run` uses; that these are MLflow's, tests beside
a real server show (tests/runs/test_mlflow_server.py).
"""

import sys
import types
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

Metric = namedtuple("Metric", "key value timestamp step")
Param = namedtuple("Param", "key value")
RunTag = namedtuple("RunTag", "key value")


class MlflowException(Exception):
    """Has a code, as MLflow's has."""

    def __init__(self, message, error_code="INTERNAL_ERROR"):
        super().__init__(message)
        self.error_code = error_code


class Server:
    """All runs at all addresses; `act` is called with a request's name before each."""

    def __init__(self):
        self.runs, self.experiments, self.asked, self.addresses = {}, {}, [], []
        self.act = lambda name: None

    def client(self, tracking_uri):
        self.addresses.append(tracking_uri)
        return Client(self)


class Client:
    """MlflowClient."""

    def __init__(self, server):
        self._server = server

    def __getattribute__(self, name):
        if not name.startswith("_"):
            server = object.__getattribute__(self, "_server")
            server.asked.append(name)
            server.act(name)
        return object.__getattribute__(self, name)

    def get_experiment_by_name(self, name):
        found = self._server.experiments.get(name)
        return found and SimpleNamespace(experiment_id=found)

    def create_experiment(self, name):
        self._server.experiments[name] = str(len(self._server.experiments) + 1)
        return self._server.experiments[name]

    def create_run(self, experiment_id, tags, run_name):
        run_id = f"run{len(self._server.runs)}"
        self._server.runs[run_id] = SimpleNamespace(
            name=run_name, tags=dict(tags), params={}, metrics=[], files={}, status="RUNNING"
        )
        return SimpleNamespace(info=SimpleNamespace(run_id=run_id))

    def _run(self, run_id):
        if run_id not in self._server.runs:
            raise MlflowException(f"no run {run_id}", "RESOURCE_DOES_NOT_EXIST")
        return self._server.runs[run_id]

    def update_run(self, run_id, status):
        self._run(run_id).status = status

    def set_terminated(self, run_id, status):
        self._run(run_id).status = status

    def get_metric_history(self, run_id, key):
        return [one for one in self._run(run_id).metrics if one.key == key]

    def log_batch(self, run_id, metrics=(), params=(), tags=()):
        run = self._run(run_id)
        run.metrics += metrics
        run.tags |= dict(tags)
        for key, value in params:
            assert run.params.setdefault(key, value) == value, "MLflow refuses another value of a parameter"

    def log_artifact(self, run_id, local_path, artifact_path=None):
        at = f"{artifact_path}/" if artifact_path else ""
        self._run(run_id).files[at + Path(local_path).name] = Path(local_path).read_bytes()


def install(monkeypatch):
    """Puts it in the place of MLflow, and gives its server."""
    server = Server()
    modules = {name: types.ModuleType(name) for name in ("mlflow", "mlflow.entities", "mlflow.exceptions")}
    modules["mlflow"].MlflowClient = server.client
    modules["mlflow"].__spec__ = SimpleNamespace(name="mlflow")
    modules["mlflow.exceptions"].MlflowException = MlflowException
    for kind in (Metric, Param, RunTag):
        setattr(modules["mlflow.entities"], kind.__name__, kind)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in (
        "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_DISABLE_TELEMETRY",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
    ):  # fmt: skip
        monkeypatch.setenv(name, "")  # so that what is set meanwhile is forgotten in the end
        monkeypatch.delenv(name)
    return server
