"""TensorBoard's events: what is written, and what happens when it cannot be."""

import resource
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from l2s_jax.runs.events import events
from l2s_jax.system.errors import UserError


def read(folder):
    """The events of a folder, by the framing of TFRecord: length, its checksum, the record, its checksum."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_values_are_written_by_step_and_what_was_after_a_checkpoint_is_hidden(tmp_path):
    with events(tmp_path / "board", 7) as file:
        file.add({"loss": 0.5, "val_score": float("nan")}, 8)
        file.flush()
        assert read(tmp_path / "board")[-1].step == 8
        file.add({"loss": 0.25}, 9)
    first, hidden, *values = read(tmp_path / "board")
    assert first.file_version == "brain.Event:2"
    assert (hidden.step, hidden.session_log.status) == (8, SessionLog.START)
    assert [(e.step, [(v.tag, v.simple_value) for v in e.summary.value]) for e in values] == [
        (8, [("loss", 0.5)]),
        (9, [("loss", 0.25)]),
    ]


def test_without_values_there_is_no_file(tmp_path):
    with events(tmp_path / "board", 0) as file:
        file.flush()
    assert not (tmp_path / "board").exists()


def test_a_full_disk_is_one_message_that_hides_no_other(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # as if the disk were full after 1 kB
    try:
        with pytest.raises(UserError, match="cannot write TensorBoard's events to .*board: File too large"):
            with events(tmp_path / "board", 0) as file:
                for step in range(100):
                    file.add({"loss": 0.5}, step)
                    file.flush()
        with pytest.raises(KeyError, match="what went wrong before"), events(tmp_path / "b", 0) as file:
            file.add({"a name that is longer than the disk has room " * 50: 0.5}, 1)
            raise KeyError("what went wrong before")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
