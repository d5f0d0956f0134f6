"""TensorBoard's events of one sitting of a run, one file.

Records are written in the thread that trains. tensorboardX's own writer has a thread for it: when the disk is
full that one dies, and training waits for it for ever.
"""

import math
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from l2s_jax.system.errors import Unwritable

EVENTS = "tensorboard"
"""Folder of the events in a run's."""


class EventFile:
    """Events, begun with the first values."""

    def __init__(self, folder: Path, step: int) -> None:
        """Nothing is written yet.

        Args:
          folder: of the events, made with the first.
          step: what an earlier sitting wrote after this step is hidden from TensorBoard.
        """
        self.folder, self.step = folder, step
        self._records: Any = None

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Adds the values at a step; those that are not finite are left out.

        Raises:
          Unwritable: the file cannot be written.
        """
        with _without_torch():
            from tensorboardX.proto.event_pb2 import Event
            from tensorboardX.proto.summary_pb2 import Summary

        finite = [(name, value) for name, value in values.items() if math.isfinite(value)]
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in finite])
        with self._told():
            if self._records is None:
                self._begin()
            self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        """Brings what was added to the disk. Raises `Unwritable` where that cannot be done."""
        with self._told():
            if self._records is not None:
                self._records.flush()

    def close(self) -> None:
        """Writes what is not written yet. Raises `Unwritable` where that cannot be done."""
        with self._told():
            if self._records is not None:
                self._records.close()

    def _begin(self) -> None:
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
        self._records = RecordWriter(str(self.folder / name))
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        hidden = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=self.step + 1, session_log=hidden))

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unwritable(
                f"cannot write TensorBoard's events to {self.folder}: {error.strerror or error}. The "
                "last checkpoint is untouched: free some space"
            ) from error


@contextmanager
def _without_torch() -> Iterator[None]:
    """Keeps tensorboardX from importing torch, where it is installed: a second, and nothing of it is used."""
    if "torch" in sys.modules or "tensorboardX" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


@contextmanager
def events(folder: Path, step: int) -> Iterator[EventFile]:
    """An `EventFile` that is closed in the end; what went wrong before is not covered up by that."""
    file = EventFile(folder, step)
    try:
        yield file
    except BaseException:
        with suppress(Unwritable):
            file.close()
        raise
    file.close()
