"""Runs that are trained together come out as each would alone, and survive what single runs survive."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from helpers.runs import TINY, last_state, quiet
from l2s_jax.cli.app import run
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.runs import checkpoints
from l2s_jax.runs.config_file import write_config
from l2s_jax.runs.folder import LAST, read_run_config
from l2s_jax.runs.network import load_network
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json
from l2s_jax.train_step import seeds
from l2s_jax.train_step import step as train_step
from l2s_jax.training import plan as run_plan
from l2s_jax.training import train as training
from l2s_jax.training.train import train, train_many, train_together

SEEDS = (0, 5)


def metrics_of(folder):
    return pd.read_csv(folder / "metrics.csv").drop(columns="seconds")


def assert_same_run(ours, theirs, config):
    """Same bits: last state with its data position, best network, metrics, choice of the best epoch."""
    (a, step), (b, other) = last_state(ours, config), last_state(theirs, config)
    assert step == other
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
    pd.testing.assert_frame_equal(metrics_of(ours), metrics_of(theirs), check_exact=True)
    finished = [read_json(folder / "finished.json") for folder in (ours, theirs)]
    assert finished[0]["best"] == finished[1]["best"] and finished[0]["steps"] == finished[1]["steps"]
    best = [jax.tree.leaves(load_network(folder)[0].variables) for folder in (ours, theirs)]
    for x, y in zip(*best, strict=True):
        np.testing.assert_array_equal(x, y)
    assert (ours / "subset.csv").read_bytes() == (theirs / "subset.csv").read_bytes()


@pytest.fixture(scope="module")
def together(phantom, tmp_path_factory):
    """Two seeds by `unroll`; the first is the run of the fixture `trained`."""
    return train_many(
        phantom, tmp_path_factory.mktemp("many") / "runs", TINY, SEEDS, strategy="unroll", say=quiet
    )


@pytest.fixture(scope="module")
def alone(phantom, trained, tmp_path_factory):
    """The same seeds, one after the other."""
    config = replace(TINY, seed=SEEDS[1])
    return [trained, train(phantom, tmp_path_factory.mktemp("alone") / "run", config, say=quiet)]


@pytest.mark.slow
def test_unrolled_seeds_are_single_runs_bit_for_bit(together, alone):
    assert [folder.name for folder in together] == ["seed0", "seed5"]
    for seed, ours, theirs in zip(SEEDS, together, alone, strict=True):
        assert_same_run(ours, theirs, replace(TINY, seed=seed))
        assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}
    assert not metrics_of(together[0]).equals(metrics_of(together[1]))


@pytest.mark.slow
def test_a_seed_is_a_run_like_any_other(together, alone, phantom, tmp_path):
    ours, theirs = (
        evaluate(folder, phantom, out=tmp_path / name, say=quiet)
        for folder, name in ((together[1], "ours"), (alone[1], "theirs"))
    )
    assert ours["pooled"] == theirs["pooled"] and ours["confusion_matrix"] == theirs["confusion_matrix"]
    lines = []
    train(phantom, together[1], replace(TINY, seed=SEEDS[1]), resume=True, say=lines.append)
    assert any("resuming after step 12 of 12" in line for line in lines)


@pytest.mark.slow
def test_vmapped_seeds_are_single_runs_but_for_rounding(phantom, alone, tmp_path):
    """And so for runs that end sooner than others, whose batches are smaller."""
    few = replace(TINY, setting="S", percent=20.0)
    configs = [TINY, replace(TINY, seed=SEEDS[1]), few]
    runs = [(tmp_path / f"run{i}", config) for i, config in enumerate(configs)]
    folders = train_together(phantom, runs, strategy="vmap", say=quiet)
    small = train(phantom, tmp_path / "alone", few, say=quiet)
    for ours, theirs in zip(folders, [*alone, small], strict=True):
        a, b = metrics_of(ours), metrics_of(theirs)
        assert a["step"].tolist() == b["step"].tolist()
        np.testing.assert_allclose(a["loss"], b["loss"], rtol=0.05)
        np.testing.assert_allclose(a["loss"][0], b["loss"][0], rtol=0.02)
    assert metrics_of(folders[2])["step"].iloc[-1] < 12


@pytest.mark.slow
def test_runs_of_other_lengths_wait_without_harm(phantom, trained, tmp_path):
    """Other settings and subsets, epochs of other lengths: each ends as alone."""
    short = replace(TINY, setting="S", epochs=2, validate_every=2, cls_weight=0.5)
    runs = [(tmp_path / "short", short), (tmp_path / "long", TINY)]
    ours = train_together(phantom, runs, strategy="unroll", say=quiet)
    theirs = train(phantom, tmp_path / "alone", short, say=quiet)
    assert_same_run(ours[0], theirs, short)
    assert_same_run(ours[1], trained, TINY)
    assert last_state(ours[0], short)[1] < last_state(ours[1], TINY)[1]


def test_each_can_have_its_own_draw(phantom, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "l2s_jax.training.train.train_together",
        lambda manifest, runs, **how: asked.extend(config for _, config in runs),
    )
    train_many(phantom, tmp_path, TINY, (3, 4), own_draws=True)
    train_many(phantom, tmp_path, TINY, (3, 4))
    assert [(config.seed, config.draw) for config in asked] == [(3, 3), (4, 4), (3, 1), (4, 1)]


def start(phantom, folder, *more):
    command = [sys.executable, "-c", "from l2s_jax.cli.app import main; main()", "train", str(phantom)]
    command += ["--out", str(folder), "--config", str(folder.parent / "config.toml"), "--strategy", "unroll"]
    command += ["--seeds", *map(str, SEEDS), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def newest(folder):
    return max((int(p.name) for p in (folder / LAST).glob("*") if p.name.isdigit()), default=0)


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_bits(phantom, together, tmp_path):
    """kill -9 as soon as the first seed has a checkpoint: the other has none yet, or the same, or a later."""
    write_config(tmp_path / "config.toml", TINY)
    process = start(phantom, tmp_path / "runs")
    for _ in range(6000):
        assert process.poll() is None, process.stdout.read()
        if newest(tmp_path / "runs" / "seed0"):
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert newest(tmp_path / "runs" / "seed0") < 12
    process = start(phantom, tmp_path / "runs", "--resume")
    out, _ = process.communicate(timeout=500)
    assert process.returncode == 0 and "resuming after step" in out, out
    for seed, unbroken in zip(SEEDS, together, strict=True):
        assert_same_run(tmp_path / "runs" / f"seed{seed}", unbroken, replace(TINY, seed=seed))


@pytest.mark.slow
def test_one_that_diverges_does_not_stop_the_others(phantom, trained, tmp_path, monkeypatch):
    plain = run_plan.objective_weights

    def without_a_number(config):
        weights = plain(config)
        return weights._replace(classification=np.float32(np.nan)) if config.seed == 5 else weights

    monkeypatch.setattr(run_plan, "objective_weights", without_a_number)
    with pytest.raises(UserError, match="1 of 2 runs could not be finished") as caught:
        train_many(phantom, tmp_path, TINY, SEEDS, strategy="unroll", say=quiet)
    assert caught.value.exit_code == 3
    assert "seed5: the loss is nan at step 1" in str(caught.value)
    assert_same_run(tmp_path / "seed0", trained, TINY)
    assert not (tmp_path / "seed5" / "finished.json").exists()


@pytest.mark.slow
def test_finished_runs_without_their_last_checkpoint_are_left_alone(together, phantom, monkeypatch):
    moved = {folder: folder / "checkpoints" / "elsewhere" for folder in together}
    for folder, place in moved.items():
        (folder / LAST).rename(place)
    lines = []
    try:
        train_many(phantom, together[0].parent, TINY, SEEDS, resume=True, say=lines.append)
    finally:
        for folder, place in moved.items():
            place.rename(folder / LAST)
    assert sum("is finished" in line for line in lines) == 2
    assert checkpoints.latest_step(together[0] / LAST) == 12


def test_all_that_is_compiled_in_has_to_be_the_same():
    """Every option that the step reads while it is traced."""
    read = set(re.findall(r"\bconfig\.(\w+)", Path(train_step.__file__).read_text()))
    assert {"augment_shift", "precision", "learning_rate"} <= read
    # The head is read where the network is made.
    assert read | {"head"} == set(training.IN_THE_PROGRAM)


def test_what_cannot_share_a_program_is_refused(phantom, tmp_path):
    with pytest.raises(UserError, match="head must be the same in all"):
        runs = [(tmp_path / "a", TINY), (tmp_path / "b", replace(TINY, head="max"))]
        train_together(phantom, runs, say=quiet)
    with pytest.raises(UserError, match="same folder"):
        train_together(phantom, [(tmp_path / "a", TINY), (tmp_path / "a", TINY)], say=quiet)
    with pytest.raises(UserError, match="all different"):
        train_many(phantom, tmp_path / "c", TINY, (1, 1), say=quiet)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_command_line_and_auto(phantom, tmp_path, monkeypatch, capsys):
    """`auto` measures, takes the fastest and says so."""
    monkeypatch.setitem(seeds.PROMISE, jax.default_backend(), {"unroll": 1.0, "vmap": 1e9, "map": 1e9})
    write_config(tmp_path / "c.toml", replace(TINY, steps=2, draw=0))
    words = ["train", str(phantom), "--out", str(tmp_path / "runs"), "--config", str(tmp_path / "c.toml")]
    assert run([*words, "--seeds", "0", "5", "--own-draws"]) == 0
    out = capsys.readouterr().out
    assert "strategy unroll for 2 runs at once" in out and "vmap not tried (a step may take" in out
    configs = [read_run_config(tmp_path / "runs" / f"seed{seed}") for seed in SEEDS]
    assert [(config.seed, config.draw) for config in configs] == [(0, 0), (5, 5)]
    assert run([*words, "--seeds", "0", "0"]) == 2
    assert "all different" in capsys.readouterr().err
    assert run([*words, "--seeds"]) == 2 and "at least one" in capsys.readouterr().err
    assert run([*words, "--seeds", "0", "--seed", "4"]) == 2 and "name it among" in capsys.readouterr().err
    assert run([*words, "--own-draws"]) == 2 and "give --seeds" in capsys.readouterr().err
