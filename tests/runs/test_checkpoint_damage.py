"""Damage of a checkpoint, seen whatever byte it hits; Ctrl-C while one is read."""

import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2s_jax.cli.app import run as l2s
from l2s_jax.runs import checkpoints
from l2s_jax.runs.checksums import SUMS
from l2s_jax.system.errors import UserError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    state = {"a": jnp.asarray(np.random.default_rng(0).random((64, 64), np.float32)), "n": jnp.int32(3)}
    folder = tmp_path_factory.mktemp("saved") / "last"
    checkpoints.save(folder, 3, {"state": state}, {"best": None})
    return folder, state


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_changed_byte_is_refused(saved, tmp_path, rng):
    """120 changes of one bit, a byte more, a byte less, over all files and the sums themselves."""
    folder, state = saved
    copy = tmp_path / "last"
    shutil.copytree(folder, copy)
    for number in range(120):
        path = files_of(copy)[number % len(files_of(copy))]
        whole = path.read_bytes()
        at = int(rng.integers(len(whole) or 1))
        flipped = bytes([whole[at] ^ (1 << rng.integers(8))]) if whole else b"x"
        path.write_bytes((whole[:at] + flipped + whole[at + 1 :], whole + b"\0", whole[:-1])[number % 3])
        if path.read_bytes() != whole:
            with pytest.raises(UserError, match="is damaged") as refused:
                checkpoints.load(copy, {"state": state})
            assert str(copy) in str(refused.value) and "train again" in str(refused.value)
            assert checkpoints.note_of(copy) == (None, {})
        path.write_bytes(whole)
    for path in files_of(copy):
        whole = path.read_bytes()
        path.unlink()
        with pytest.raises(UserError, match="is damaged|no checkpoint in"):
            checkpoints.load(copy, {"state": state})
        path.write_bytes(whole)
    items, note, step = checkpoints.load(copy, {"state": state})
    assert (note, step) == ({"best": None}, 3) and np.array_equal(items["state"]["a"], state["a"])


def test_a_checkpoint_of_before_there_were_sums_is_read(saved, tmp_path):
    folder, state = saved
    shutil.copytree(folder, tmp_path / "last")
    (tmp_path / "last" / "3" / SUMS).unlink()
    metadata = tmp_path / "last" / "3" / checkpoints.METADATA
    metadata.write_text(metadata.read_text().replace(checkpoints.SUMMED, "other"))
    assert checkpoints.load(tmp_path / "last", {"state": state})[2] == 3


def test_what_a_killed_save_left_is_no_checkpoint_and_goes_with_the_next(saved, tmp_path):
    folder, state = saved
    copy = tmp_path / "last"
    shutil.copytree(folder, copy)
    for name in (".saving-4", ".saving-5.orbax-checkpoint-tmp", ".saving-old-2"):
        shutil.copytree(folder / "3", copy / name)
    assert checkpoints.latest_step(copy) == 3
    checkpoints.save(copy, 4, {"state": state}, {})
    checkpoints.save(copy, 4, {"state": state}, {"again": 1})
    assert [path.name for path in copy.iterdir()] == ["4"]
    assert checkpoints.note_of(copy) == (4, {"again": 1})


def test_the_message_says_which_checkpoint_is_left(trained, phantom, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    damaged = max((run / "checkpoints" / "last").rglob("d/*"), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-10])
    command = ["train", str(phantom), "--out", str(run), "--config", str(run / "config.toml"), "--resume"]
    assert l2s(command) == 2
    said = capsys.readouterr().err
    assert "damaged" in said and "checkpoints/best" in said and "--weights RUN" in said


READING = """
import signal, sys, time
from pathlib import Path
import jax.numpy as jnp
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from l2s_jax.cli import app
from l2s_jax.runs import checkpoints

class Command:
    def run(self):
        print("ready", flush=True)
        while True:
            checkpoints.load(Path(sys.argv[1]), {"state": {"a": jnp.zeros((64, 64)), "n": jnp.int32(0)}})

app._command = lambda arguments: Command()
app.main([])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to a whole console")
def test_ctrl_c_while_a_checkpoint_is_read_is_an_interruption(saved, rng):
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", READING, str(saved[0])],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
        )  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2 + rng.random() * 0.3)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
        assert process.returncode == 130 and err == "l2s: interrupted\n", err


def test_a_signal_within_a_read_is_kept_until_its_end(saved, monkeypatch):
    folder, state = saved
    load = checkpoints.ocp.load_checkpointables

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return load(*arguments)

    monkeypatch.setattr(checkpoints.ocp, "load_checkpointables", interrupted)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.load(folder, {"state": state})
    assert signal.getsignal(signal.SIGINT) == before


def test_what_sums_cost(tmp_path):
    """A checkpoint of the paper's network and Adam's moments, 33 MB: printed, and not half of the save."""
    rng = np.random.default_rng(0)
    state = {str(i): jnp.asarray(rng.random((690, 1000), np.float32)) for i in range(12)}
    jax.block_until_ready(state)
    began = time.perf_counter()
    checkpoints.save(tmp_path / "last", 1, {"state": state}, {})
    saved_in = time.perf_counter() - began
    began = time.perf_counter()
    assert checkpoints._damaged(tmp_path / "last" / "1") == []
    print(f"saved in {saved_in:.3f} s, sums {time.perf_counter() - began:.3f} s")
