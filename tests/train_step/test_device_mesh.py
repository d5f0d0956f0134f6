"""Several devices and several processes give what one device gives, but for rounding."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.runs import TINY, last_state, quiet
from l2s_jax.cli.app import run
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.runs.config_file import write_config
from l2s_jax.system import processes
from l2s_jax.system.errors import UserError
from l2s_jax.train_step import device_mesh
from l2s_jax.training.train import train


@pytest.mark.slow
@pytest.mark.parametrize("which,cases", [("plain", 2), ("fast", 1), ("bags", 2)])
def test_four_devices_take_the_steps_of_one(which, cases):
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "helpers.mesh_steps", which],
        env=environment,
        cwd=tests,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agree") == cases


def two_processes(phantom, folder, *more):
    """`l2s train` as two processes that meet on the loopback; their exit codes and outputs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from l2s_jax.cli.app import main; main()", "train", str(phantom)]
    command += ["--out", str(folder), "--config", str(folder.parent / "config.toml"), *more]
    command += ["--coordinator", f"127.0.0.1:{port}", "--processes", "2"]
    started = [
        subprocess.Popen(
            [*command, "--process", str(i)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for i in range(2)
    ]
    outputs = [process.communicate(timeout=500)[0] for process in started]
    return [process.returncode for process in started], outputs


def assert_close(ours, theirs):
    """The first epoch's losses to rounding; after it Adam has made more of the rounding."""
    a, b = (pd.read_csv(folder / "metrics.csv") for folder in (ours, theirs))
    assert a["step"].tolist() == b["step"].tolist()
    np.testing.assert_allclose(a["loss"][0], b["loss"][0], rtol=1e-3)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=0.05)


@pytest.mark.slow
def test_two_processes_share_the_rows_of_a_run(phantom, trained, tmp_path):
    """One run folder, like any other, which one process alone can take up again, and refuse."""
    write_config(tmp_path / "config.toml", TINY)
    codes, outputs = two_processes(phantom, tmp_path / "run")
    assert codes == [0, 0], "\n".join(outputs)
    assert "2 process(es): 1 along seed, 2 along data" in outputs[0] and "along data" not in outputs[1]
    assert_close(tmp_path / "run", trained)
    left, alone = ({path.name for path in run.iterdir()} for run in (tmp_path / "run", trained))
    assert left == alone
    lines = []
    train(phantom, tmp_path / "run", TINY, resume=True, say=lines.append)
    assert any("resuming after step 12 of 12" in line for line in lines)
    assert last_state(tmp_path / "run", TINY)[1] == 12
    assert evaluate(tmp_path / "run", phantom, say=quiet)["n_images"] == 15
    codes, outputs = two_processes(phantom, tmp_path / "run")
    assert codes == [2, 2]
    assert "already holds a run" in outputs[0] and "the first process could not begin" in outputs[1]
    assert "Traceback" not in outputs[0] + outputs[1]


@pytest.mark.slow
def test_two_processes_train_seeds_each(phantom, trained, tmp_path):
    """Two seeds on two devices of two processes: each process has the state of one."""
    write_config(tmp_path / "config.toml", TINY)
    codes, outputs = two_processes(phantom, tmp_path / "runs", "--seeds", "0", "5")
    assert codes == [0, 0], "\n".join(outputs)
    assert "2 process(es): 2 along seed, 1 along data" in outputs[0]
    assert "patches" in outputs[0] and "patches" not in outputs[1]  # read once
    assert_close(tmp_path / "runs/seed0", trained)
    other = train(phantom, tmp_path / "alone", replace(TINY, seed=5), say=quiet)
    assert_close(tmp_path / "runs/seed5", other)
    for name in ("seed0", "seed5"):
        assert {path.name for path in (tmp_path / "runs" / name).iterdir()} == {
            path.name for path in (tmp_path / "alone").iterdir()
        }
        assert last_state(tmp_path / "runs" / name, TINY)[1] == 12


def test_a_mesh_of_one_device_is_none():
    assert device_mesh.make_mesh(5, 1) is None
    assert processes.agreed(True) is True and processes.agreed(0.25) == 0.25 and processes.is_first_process()


def test_too_many_devices_and_half_a_meeting_point_are_refused(phantom, tmp_path, capsys):
    with pytest.raises(UserError, match="64 devices are asked for"):
        train(phantom, tmp_path / "run", TINY, devices=64, say=quiet)
    assert not (tmp_path / "run").exists()
    words = ["train", str(phantom), "--out", str(tmp_path / "run")]
    assert run([*words, "--coordinator", "localhost:1"]) == 2
    assert "needs --processes and --process" in capsys.readouterr().err
    assert run([*words, "--processes", "2"]) == 2
    assert "are for --coordinator" in capsys.readouterr().err
    with pytest.raises(UserError, match="could not be joined"):
        processes.start_processes("localhost:1", processes=2, process=7)
