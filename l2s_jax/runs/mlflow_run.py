"""A run of ours as a run of MLflow: options, figures by epoch, pictures, the best network.

All is sent by a thread, and given up with one warning where that fails or takes too long: a tracker never
costs a run its time or its end. MLflow's own report of its use to its makers is switched off.
"""

import importlib.util
import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from l2s_jax.runs.records import checked_record
from l2s_jax.system.background import Background
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json, write_json
from l2s_jax.system.values import clipped

RECORD = "mlflow.json"
"""File of a folder, of a run or a sweep: which MLflow run is its."""

EXPERIMENT = "l2s"
STORE = "mlflow.db"
"""Where nothing else is asked for: a SQLite file in the working folder, where `mlflow ui` looks too."""

PATIENCE_S = 60.0
"""What the end of a run waits for what is not sent yet."""

LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""MLflow's own would try a silent server for a quarter of an hour. What the user has set is kept."""

MOST_AT_ONCE = {"metrics": 1000, "params": 100}
"""What MLflow takes in one request."""

WARNING = "warning: MLflow"
"""How each message begins."""

Status = Literal["FINISHED", "KILLED", "FAILED"]
Row = Mapping[str, float]


class MlflowRecord(NamedTuple):
    """Which MLflow run belongs to a folder."""

    tracking_uri: str  # without name and password
    run_id: str


class Description(NamedTuple):
    """What MLflow is told of a run when it begins."""

    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]


def require_mlflow() -> None:
    """Raises `UserError` where MLflow is not installed."""
    if importlib.util.find_spec("mlflow") is None:
        raise UserError(
            "tracker = 'mlflow' needs the extra mlflow (pip install 'l2s-jax[mlflow]'), or leave it out"
        )


def read_mlflow_record(folder: Path) -> MlflowRecord | None:
    """The MLflow run of a folder, None where it has none. Raises `UserError` where the record is damaged."""
    path = folder / RECORD
    if not path.is_file():
        return None
    return MlflowRecord(**checked_record(read_json(path), dict.fromkeys(MlflowRecord._fields, str), path))


class MlflowRun:
    """What one of our runs has to tell MLflow. Its methods return at once."""

    def __init__(self, folder: Path, about: Description, parent: Path | None, say: Callable[[str], None]):
        """Begins the MLflow run, or goes on with the one that `mlflow.json` in the folder names.

        Args:
          folder: of the run or the sweep.
          about: told where an MLflow run is begun.
          parent: a folder with an MLflow run that this one is a part of.
          say: receives where the run is, and one warning, if any.
        """
        self.folder, self._say = folder, say
        self._client: Any = None
        self._run_id, self._sent = "", -1
        self._waiting: deque[Row] = deque()
        self._background = Background(self._failed)
        self._background.add(lambda: self._begin(about, parent))

    def begun(self, patience: float = PATIENCE_S) -> bool:
        """Waits until MLflow has taken what it was told so far; False where it does not, or not in time."""
        taken, end = threading.Event(), time.monotonic() + patience
        self._background.add(taken.set)
        while self._background.going and not taken.wait(0.05) and time.monotonic() < end:
            pass
        return taken.is_set()

    def add(self, *rows: Row) -> None:
        """Adds epochs' figures by name, each with its `step`; what is not finite is left out.

        Steps that were told in an earlier sitting are not told again.
        """
        self._waiting.extend(rows)
        self._background.add(self._send_waiting)

    def add_files(self, files: Sequence[tuple[Path, str]]) -> None:
        """Adds files that are there, each with its folder in the MLflow run; "" for none."""

        def send() -> None:
            for path, into in files:
                if path.is_file():
                    self._client.log_artifact(self._run_id, str(path), into or None)

        self._background.add(send)

    def set(self, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Sets figures and tags of the run as a whole."""
        self._background.add(lambda: self._log(metrics=self._metrics(metrics, 0), tags=tags))

    def end(self, status: Status, patience: float = PATIENCE_S) -> None:
        """Ends the MLflow run, and waits for what is not sent yet."""
        self._background.add(lambda: self._client.set_terminated(self._run_id, status))
        self._background.close(patience)

    def _failed(self, why: str) -> None:
        self._say(f"{WARNING} gets nothing more of {self.folder} ({clipped(why)}); all else goes on")

    def _begin(self, about: Description, parent: Path | None) -> None:
        _set_up()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        record = read_mlflow_record(self.folder)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or (record.tracking_uri if record else _local_store())
        self._client = MlflowClient(tracking_uri=uri)
        if record is not None:
            try:
                self._client.update_run(record.run_id, status="RUNNING")
                told = self._client.get_metric_history(record.run_id, "epoch")
                self._run_id, self._sent = record.run_id, max((one.step for one in told), default=-1)
                self._say(f"MLflow: going on with the run {self._run_id} at {_without_password(uri)}")
                return
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                self._say(f"{WARNING} does not know the run of {self.folder} any more: a new one is begun")
        tags = dict(about.tags)
        above = read_mlflow_record(parent) if parent is not None else None
        if above is not None:
            tags["mlflow.parentRunId"] = above.run_id
        run = self._client.create_run(self._experiment(), tags=tags, run_name=about.name)
        self._run_id = run.info.run_id
        self._log(params=about.params)
        write_json(self.folder / RECORD, MlflowRecord(_without_password(uri), self._run_id)._asdict())
        self._say(f"MLflow: the run {about.name} is {self._run_id} at {_without_password(uri)}")

    def _experiment(self) -> str:
        """The experiment's id; made where there is none, by this process or another at the same moment."""
        from mlflow.exceptions import MlflowException

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._client.create_experiment(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._client.get_experiment_by_name(name)
        return found.experiment_id

    def _send_waiting(self) -> None:
        """Sends all rows that wait, at once: epochs can be shorter than a request."""
        new = []
        while self._waiting:
            row = self._waiting.popleft()
            if row["step"] > self._sent:
                self._sent = int(row["step"])
                new += self._metrics({name: row[name] for name in row if name != "step"}, self._sent)
        self._log(metrics=new)

    def _metrics(self, values: Mapping[str, float], step: int) -> list[Any]:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        return [Metric(name, value, now, step) for name, value in finite.items()]

    def _log(
        self,
        metrics: Sequence[Any] = (),
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Param, RunTag

        named = [Param(name, str(value)) for name, value in (params or {}).items()]
        for part in _parts(metrics, MOST_AT_ONCE["metrics"]):
            self._client.log_batch(self._run_id, metrics=part)
        for part in _parts(named, MOST_AT_ONCE["params"]):
            self._client.log_batch(self._run_id, params=part)
        if tags:
            self._client.log_batch(self._run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def _set_up() -> None:
    """What MLflow reads from its environment when it is imported and asked."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it prints at each end of a run
    for name, value in LIMITS.items():
        os.environ.setdefault(name, value)


def _local_store() -> str:
    return f"sqlite:///{(Path.cwd() / STORE).as_posix()}"


def _without_password(uri: str) -> str:
    """An address as a run folder may hold it, which is mailed and copied."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _parts(items: Sequence[Any], most: int) -> Iterable[Sequence[Any]]:
    return (items[start : start + most] for start in range(0, len(items), most))
