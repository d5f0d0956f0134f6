import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from helpers.manifests import with_rows
from helpers.runs import TINY, last_state, quiet
from l2s_jax.data.manifest import read_manifest, write_classes, write_patches
from l2s_jax.data.patch_set import load_patches
from l2s_jax.runs import checkpoints
from l2s_jax.runs.config_file import read_config, write_config
from l2s_jax.runs.folder import BEST, FINISHED, LAST
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json
from l2s_jax.train_step import step as train_step
from l2s_jax.train_step.step import make_train_step
from l2s_jax.training import plan as run_plan
from l2s_jax.training.plan import plan_run
from l2s_jax.training.train import train


def test_a_run_leaves_everything_behind(trained, phantom):
    for name in (
        "config.toml", "classes.toml", "manifest.json", "environment.json", "network.json", "subset.csv",
        "metrics.csv", "finished.json", "curves.png", "confusion.png", "samples.png", "report.html",
    ):  # fmt: skip
        assert (trained / name).stat().st_size > 0, name
    assert list((trained / "tensorboard").glob("events.*"))
    assert list((trained / "samples").glob("*.png"))
    assert read_config(trained / "config.toml", replace(TINY, seed=99)) == replace(TINY, norm="imagenet")
    rows = pd.read_csv(trained / "metrics.csv")
    assert rows["epoch"].tolist() == [1, 2, 3] and rows["step"].tolist() == [4, 8, 12]
    assert rows[["loss", "loss_seg", "loss_cls", "val_macro_f1"]].notna().all(axis=None)
    best = read_json(trained / "finished.json")["best"]
    assert best["score"] == pytest.approx(rows["val_macro_f1"].max(), rel=1e-9)
    page = (trained / "report.html").read_text()
    assert "http://" not in page and "https://" not in page and "<script" not in page
    subset = pd.read_csv(trained / "subset.csv")
    manifest = read_manifest(phantom)
    train_rows = manifest.of_split("train")
    assert subset["mask_used"].sum() == sum(row.mask is not None for row in train_rows)
    assert set(subset["group"]) == {row.group for row in train_rows}


def start(phantom, run, *more, largest_file=None):
    """The same training as a process of its own, that can write files of so many bytes."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}))\n"
    code = (limit if largest_file else "") + "from l2s_jax.cli.app import main; main()"
    command = [sys.executable, "-c", code, "train", str(phantom), "--out", str(run)]
    command += ["--config", str(run.parent / "config.toml"), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_checkpoint(process, run, per_epoch, after=0):
    """Waits until the run has a checkpoint past some step and within an epoch."""
    for _ in range(3000):
        assert process.poll() is None, process.stdout.read()
        steps = [int(path.name) for path in (run / LAST).glob("*") if path.name.isdigit()]
        if any(step > after and step % per_epoch for step in steps):
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint in time")


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_bits(phantom, tmp_path, rng):
    """Ctrl-C once, a full disk once, kill -9 once, all within an epoch."""
    config = replace(TINY, epochs=10, validate_every=2, checkpoint_minutes=0.0)
    write_config(tmp_path / "config.toml", config)
    unbroken = train(phantom, tmp_path / "unbroken", config, say=quiet)
    run = tmp_path / "broken"
    steps = read_json(unbroken / FINISHED)["steps"]
    per_epoch = steps // config.epochs
    assert per_epoch > 1 and steps == per_epoch * config.epochs
    process = start(phantom, run)
    wait_for_checkpoint(process, run, per_epoch)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume" in out and "Traceback" not in out
    stopped_at = checkpoints.latest_step(run / LAST)
    assert stopped_at < steps
    process = start(phantom, run, "--resume", largest_file=1_000_000)  # as if the disk were full
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in out, out
    assert "cannot write a checkpoint to" in out and "File too large" in out
    assert checkpoints.latest_step(run / LAST) == stopped_at
    process = start(phantom, run, "--resume")
    wait_for_checkpoint(process, run, per_epoch, after=stopped_at)
    time.sleep(rng.random() * 0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert stopped_at < checkpoints.latest_step(run / LAST) < steps
    process = start(phantom, run, "--resume")
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and "resuming after step" in out, out
    for ours, theirs in zip(last_state(run, config)[0], last_state(unbroken, config)[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    a, b = (pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (run, unbroken))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    finished = [read_json(folder / "finished.json")["best"] for folder in (run, unbroken)]
    assert finished[0] == finished[1]


@pytest.mark.slow
def test_cut_off_between_the_best_network_and_the_state(trained, phantom, tmp_path, monkeypatch):
    """The best network is there already when the run comes that way again: it is kept, not written anew."""
    save, written = checkpoints.save, []
    step_of_best = checkpoints.latest_step(trained / BEST)

    def cut_off(folder, step, *rest):
        if folder.name == "last" and step == step_of_best and "resumed" not in written:
            raise UserError("cut off")
        written.append((folder.name, step))
        save(folder, step, *rest)

    monkeypatch.setattr(checkpoints, "save", cut_off)
    run = tmp_path / "run"
    with pytest.raises(UserError, match="cut off"):
        train(phantom, run, TINY, say=quiet)
    assert written[-1] == ("best", step_of_best)
    at = len(written)
    written.append("resumed")
    train(phantom, run, TINY, resume=True, say=quiet)
    assert ("best", step_of_best) not in written[at:]
    ours, theirs = (read_json(folder / "finished.json")["best"] for folder in (run, trained))
    assert ours == theirs
    kept = [checkpoints.latest_step(folder / BEST) for folder in (run, trained)]
    assert kept[0] == kept[1]
    for one, other in zip(last_state(run, TINY)[0], last_state(trained, TINY)[0], strict=True):
        np.testing.assert_array_equal(one, other)


def test_resume_refuses_other_options_and_other_data(trained, phantom, tmp_path):
    with pytest.raises(UserError, match="choose another folder"):
        train(phantom, trained, TINY, say=quiet)
    with pytest.raises(UserError, match="percent: 100.0 then, 5.0 now"):
        train(phantom, trained, replace(TINY, percent=5.0), resume=True, say=quiet)
    for name, value in (
        ("teacher", "labelset"),
        ("masks_only_phase", True),
    ):  # it has no phases to go on from
        with pytest.raises(UserError, match=f"{name}: .* then"):
            train(phantom, trained, replace(TINY, **{name: value}), resume=True, say=quiet)
    manifest = read_manifest(phantom)
    write_classes(tmp_path, manifest.classes)
    write_patches(tmp_path, manifest.classes, manifest.patches[1:])
    with pytest.raises(UserError, match="another manifest"):
        train(tmp_path, trained, TINY, resume=True, allow_outside=True, say=quiet)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("do not overwrite")
    with pytest.raises(UserError, match="is not a run"):
        train(phantom, tmp_path / "other", TINY, say=quiet)


def test_a_finished_run_resumes_to_itself(trained, phantom):
    before = last_state(trained, TINY)[0]
    lines = []
    train(phantom, trained, TINY, resume=True, say=lines.append)
    assert any("resuming after step 12 of 12" in line for line in lines)
    for ours, theirs in zip(last_state(trained, TINY)[0], before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_step_files_and_checkpoint(phantom, tmp_path, monkeypatch):
    """And the step, which is compiled while the run is made ready, is traced once."""
    traced = []

    def counting(*arguments):
        step = make_train_step(*arguments)

        def counted(state, batch):
            traced.append(batch)
            return step(state, batch)

        return counted

    monkeypatch.setattr(train_step, "make_train_step", counting)
    monkeypatch.setattr(run_plan, "IMAGENET_STD", np.zeros(3, np.float32))
    with pytest.raises(UserError, match="at step 1 .*has no checkpoint yet") as caught:
        train(phantom, tmp_path / "run", TINY, say=quiet)
    assert caught.value.exit_code == 3
    assert caught.value.step == 1 and caught.value.folder == tmp_path / "run"
    assert len(caught.value.files) == TINY.batch_size and caught.value.checkpoint is None
    named = [line for line in str(caught.value).splitlines() if line.endswith(".png")]
    assert len(named) == TINY.batch_size
    assert len(traced) == 1


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(phantom, tmp_path, monkeypatch):
    def failing(*arguments):
        step = make_train_step(*arguments)

        def failed(state, batch):
            after, metrics = step(state, batch)
            return after, metrics | {"loss": jnp.where(state.step < 5, metrics["loss"], jnp.nan)}

        return failed

    monkeypatch.setattr(train_step, "make_train_step", failing)
    with pytest.raises(UserError, match="the loss is nan at step 6 .*the checkpoint of step 4 is good"):
        train(phantom, tmp_path / "run", TINY, say=quiet)  # four steps an epoch
    assert checkpoints.latest_step(tmp_path / "run" / LAST) == 4


CASES = {
    "one training patch": lambda row, n: row if row.split != "train" or n == 0 else None,
    "a class absent from training": lambda row, n: row if row.split != "train" or row.label != 2 else None,
    "no labels at all": lambda row, n: None if row.mask is None else replace(row, label=-1),
    "no masks at all": lambda row, n: replace(row, mask=None),
    "no validation split": lambda row, n: row if row.split != "val" else None,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_thin_data_trains_and_says_so(case, phantom, tmp_path):
    counter = {"train": 0}

    def keep(row):
        n = counter["train"]
        counter["train"] += row.split == "train"
        return CASES[case](row, n)

    lines = []
    folder = with_rows(phantom, tmp_path / "data", keep)
    run = train(folder, tmp_path / "run", replace(TINY, epochs=1), allow_outside=True, say=lines.append)
    assert np.isfinite(pd.read_csv(run / "metrics.csv")["loss"]).all()
    assert any(line.startswith("warning") for line in lines), lines


def test_masks_without_a_known_pixel_are_refused(phantom):
    manifest = read_manifest(phantom)
    patches = load_patches(manifest.of_split("train"), manifest.classes, 1)
    nothing = replace(patches, pixels=np.zeros_like(patches.pixels))
    with pytest.raises(UserError, match="15 masks that would be learned from have not one known pixel"):
        plan_run(TINY, nothing, manifest.classes)


def test_setting_s_without_masks_is_refused(phantom, tmp_path):
    folder = with_rows(phantom, tmp_path / "data", lambda row: replace(row, mask=None))
    with pytest.raises(UserError, match="leaves nothing to learn from"):
        train(folder, tmp_path / "run", replace(TINY, setting="S"), allow_outside=True, say=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_arithmetic_is_an_option(precision, trained, phantom, tmp_path):
    """On a CPU float32 is what there is anyway; bfloat16 is for feature maps, not for weights."""
    lines: list[str] = []
    run = train(phantom, tmp_path / "run", replace(TINY, precision=precision), say=lines.append)
    assert any("takes longer" in line for line in lines) == (precision == "bfloat16")
    ours, theirs = (pd.read_csv(folder / "metrics.csv")["loss"] for folder in (run, trained))
    state, _ = last_state(run, TINY)
    assert {leaf.dtype for leaf in state if leaf.dtype.kind == "f"} == {np.dtype("float32")}
    if precision == "float32":
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    else:
        assert not np.allclose(ours[0], theirs[0], rtol=1e-6)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=0.05)
