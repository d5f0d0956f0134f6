"""The study of contrastive pretraining: its loss, what it reads, what it writes, and how it counts time."""

import importlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from helpers.runs import TINY, quiet
from l2s_jax.data.manifest import read_manifest, write_patches
from l2s_jax.data.patch_set import load_patches
from l2s_jax.models.network import L2S, init_variables
from l2s_jax.models.state_dict import ENCODER_TENSORS, variables_to_state_dict
from l2s_jax.phantom.patches import prepare_phantom
from l2s_jax.runs import checkpoints
from l2s_jax.runs.pretrained import encoder_weights
from l2s_jax.runs.weight_names import ENCODER_NAMES
from l2s_jax.runs.weights_file import read_weights
from l2s_jax.system.errors import UserError
from l2s_jax.training.initial_weights import InitialWeights, first_state
from l2s_jax.training.plan import plan_run

SCRIPTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def simclr():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield importlib.import_module("simclr")


@pytest.fixture
def study(simclr):
    return importlib.import_module("pretrain")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain") / "data"
    prepare_phantom(folder, patches=40, patches_per_slide=2, patch_size=32, masks=1.0)
    return folder


@pytest.fixture(scope="module")
def made(simclr, data, tmp_path_factory):
    """An encoder of four steps."""
    out = tmp_path_factory.mktemp("made") / "encoder.safetensors"
    simclr.pretrain(data, out, simclr.Pretraining(4, batch=6), say=quiet)
    return out


def nt_xent_by_hand(projected, temperature):
    """The definition, pair by pair, in double precision."""
    z = projected / np.sqrt((projected**2).sum(1, keepdims=True))
    half, total = len(z) // 2, 0.0
    for i in range(len(z)):
        partner = (i + half) % len(z)
        others = sum(np.exp(z[i] @ z[k] / temperature) for k in range(len(z)) if k != i)
        total -= np.log(np.exp(z[i] @ z[partner] / temperature) / others)
    return total / len(z)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_that_of_a_double_loop_and_so_is_its_gradient(simclr, rng, temperature):
    projected = rng.normal(size=(10, 4))

    def loss(values):
        return simclr.contrast_loss(values, temperature)[0]

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(projected, jnp.float32))
    assert value == pytest.approx(nt_xent_by_hand(projected, temperature), rel=1e-5)
    by_hand = np.zeros_like(projected)
    for place in np.ndindex(*projected.shape):
        step = np.zeros_like(projected)
        step[place] = 1e-5
        ends = [nt_xent_by_hand(projected + sign * step, temperature) for sign in (1, -1)]
        by_hand[place] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(gradient, by_hand, rtol=1e-3, atol=1e-5)


def test_views_that_find_their_own_are_counted(simclr):
    apart = np.eye(4, dtype=np.float32)[[0, 1, 2, 0, 1, 3]]  # the third picture's two views do not meet
    assert simclr.contrast_loss(jnp.asarray(apart), 0.5)[1] == pytest.approx(4 / 6)


def test_views_are_squares_of_the_picture_in_range_and_differ(simclr, rng):
    images = jnp.asarray(rng.integers(0, 256, (5, 64, 64, 3)), jnp.uint8)
    one, other = (simclr.random_views(jax.random.key(k), images, 48) for k in (0, 1))
    assert one.shape == (5, 48, 48, 3) and one.dtype == jnp.float32
    assert float(one.min()) >= 0 and float(one.max()) <= 1
    assert not np.allclose(one, other) and not np.allclose(one[0], one[1])
    # Of a ramp a square is a ramp, of a quarter to all of its area: its slope says how large it is.
    ramp = jnp.tile(jnp.arange(64.0)[:, None, None], (1, 64, 3))
    squares = jax.vmap(lambda key: simclr.random_square(key, ramp, 48))(
        jax.random.split(jax.random.key(2), 50)
    )
    inner = np.asarray(squares)[:, 8:40, 20, 0]
    sides = 48 * (inner[:, -1] - inner[:, 0]) / 31
    assert sides.min() > 31.9 and sides.max() < 64.1 and np.ptp(sides) > 20
    assert [simclr.view_side(side) for side in (16, 32, 64, 128, 256)] == [16, 32, 48, 96, 192]


def test_a_batch_has_no_picture_twice(simclr):
    config = simclr.Pretraining(10, batch=6)
    of_steps = [simclr.rows_of_step(8, config, step) for step in range(20)]
    assert all(len(set(rows)) == 6 for rows in of_steps)
    assert {row for rows in of_steps for row in rows} == set(range(8))
    assert sorted(simclr.rows_of_step(4, config, 0)) == [0, 1, 2, 3]


def test_the_file_is_what_weights_takes_tensor_by_tensor(simclr, made, data):
    written = read_weights(made)
    assert sorted(written) == sorted(ENCODER_NAMES) and len(written) == ENCODER_TENSORS
    random = variables_to_state_dict(init_variables(L2S(4), jax.random.key(0)))
    assert not any(np.array_equal(written[name], random[name]) for name in written)
    contents, said = read_manifest(data), []
    plan = plan_run(TINY, load_patches(contents.of_split("train"), contents.classes, 1), contents.classes)
    weights = InitialWeights(encoder=encoder_weights(str(made), say=said.append))
    state = first_state(TINY, L2S(len(contents.classes)), plan.task, weights)
    taken = variables_to_state_dict({"params": state.params, "batch_stats": state.batch_stats})
    assert all(np.array_equal(taken[name], written[name]) for name in written)
    assert "the encoder takes 75 tensors" in said[0] and "left out" not in said[0]
    note = simclr.read_note(made)
    assert note["steps"] == 4 and note["manifest_sha256"] == contents.sha256 and note["seconds"] > 0


def test_a_killed_one_goes_on_to_the_same_bits(simclr, made, data, tmp_path, monkeypatch):
    out = tmp_path / "again.safetensors"
    monkeypatch.setattr(simclr, "SAVE_EVERY", 2)
    save = checkpoints.save

    def save_and_die(*args):
        save(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save", save_and_die)
    config = simclr.Pretraining(4, batch=6)
    with pytest.raises(KeyboardInterrupt):
        simclr.pretrain(data, out, config, say=quiet)
    assert not out.exists() and checkpoints.latest_step(tmp_path / "again.checkpoint") == 2
    with pytest.raises(UserError, match="seed = 0, not 1"):
        simclr.pretrain(data, out, simclr.Pretraining(4, batch=6, seed=1), say=quiet)
    said = []
    note = simclr.pretrain(data, out, config, say=said.append)
    assert "resuming after step 2 of 4" in said and note["seconds"] > 0
    whole, resumed = read_weights(made), read_weights(out)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    assert [path.name for path in tmp_path.iterdir()] == ["again.safetensors"]
    # What is finished is not done again, and not taken for what was asked of it in another way.
    assert simclr.pretrain(data, out, config, say=said.append) == note and "is finished" in said[-1]
    with pytest.raises(UserError, match="steps = 4, not 5"):
        simclr.pretrain(data, out, simclr.Pretraining(5, batch=6), say=quiet)


def test_nothing_but_the_pictures_of_the_training_split_is_read(simclr, made, data, tmp_path):
    shutil.copytree(data, tmp_path / "bare")
    contents = read_manifest(tmp_path / "bare")
    for row in contents.patches:
        row.mask.unlink()
        if row.split != "train":
            row.image.unlink()
    config = simclr.Pretraining(4, batch=6)
    simclr.pretrain(tmp_path / "bare", tmp_path / "bare.safetensors", config, say=quiet)
    whole, bare = read_weights(made), read_weights(tmp_path / "bare.safetensors")
    assert all(np.array_equal(whole[name], bare[name]) for name in whole)


def test_patients_of_other_splits_are_refused(simclr, data, tmp_path):
    shutil.copytree(data, tmp_path / "torn")
    contents = read_manifest(tmp_path / "torn")
    test, train = contents.of_split("test")[0], contents.of_split("train")[0]
    rows = [replace(row, group=train.group) if row is test else row for row in contents.patches]
    write_patches(tmp_path / "torn", contents.classes, rows)
    with pytest.raises(UserError, match=f"more than one split: {train.group}"):
        simclr.pretrain(tmp_path / "torn", tmp_path / "e.safetensors", simclr.Pretraining(1), say=quiet)
    with pytest.raises(UserError, match="must end in .safetensors"):
        simclr.pretrain(data, tmp_path / "e.pth", simclr.Pretraining(1), say=quiet)


def write_metrics(folder, rows):
    folder.mkdir(parents=True)
    names = "epoch,step,seconds,loss,loss_seg,loss_cls,val_score,val_macro_f1,val_accuracy,val_label_accuracy"
    lines = [f"{step},{step},{seconds},1,1,,{score},,," for step, seconds, score in rows]
    (folder / "metrics.csv").write_text("\n".join([names, *lines]) + "\n")


def test_some_arms_alone_are_trained(study, simclr, data, tmp_path, monkeypatch, capsys):
    asked = []

    def as_if(sweep_file, out, manifest):
        asked.append([(variant.name, variant.config.weights) for variant in sweep_file.variants])

    monkeypatch.setattr("l2s_jax.sweep", as_if)
    folder, pretraining = tmp_path / "out", simclr.Pretraining(1, batch=6)
    study.run(data, folder, [1], [0, 1], pretraining, 2, ["few-masks"], ("pretrained",))
    assert [[name for name, _ in one] for one in asked] == [["few-masks_pretrained"]] * 2
    assert asked[0][0][1] == str(folder / study.ENCODER)
    with pytest.raises(SystemExit):
        study.main(["run", str(data), "out", "--pretrain-steps", "1", "--arms", "pretrained", "longer"])
    assert "longer is timed by random" in capsys.readouterr().err


def test_equal_time_is_counted_in_steps_without_compiling(study, tmp_path):
    assert study.equal_time_steps(400, 480.0, 0.5) == 400 + 960
    assert study.equal_time_steps(400, 480.2, 0.5) == 400 + 961  # no less time than the pretraining took
    # 30 s to compile, 0.1 s a step, validation at 10, 20, 30 and 40, and a pause before the last.
    judged = [(10, 31.0, 0.5), (15, 31.5, ""), (20, 32.0, 0.5), (30, 33.0, 0.5), (40, 99.0, 0.5)]
    write_metrics(tmp_path / "run", judged)
    assert study.seconds_a_step(tmp_path / "run") == pytest.approx(0.1)
    write_metrics(tmp_path / "run" / "phases" / "teacher", [(10, 2.0, 0.5), (20, 5.0, 0.5)])
    assert study.seconds_a_step(tmp_path / "run") == pytest.approx(0.1 + 0.3)
    write_metrics(tmp_path / "short", [(2, 3.0, 0.5)])
    assert study.seconds_a_step(tmp_path / "short") == pytest.approx(1.5)
    with pytest.raises(UserError, match="has no metrics.csv"):
        study.seconds_a_step(tmp_path / "none")


def test_the_table_is_of_pairs_draw_by_draw(study, tmp_path, capsys):
    scores = {"random": [0.30, 0.34, 0.40], "pretrained": [0.40, 0.42, 0.38], "longer": [0.35, 0.45]}
    seconds = {"random": 40, "pretrained": 42, "longer": 130}
    rows = [
        {"variant": f"S_{arm}", "draw": draw, "n_mask": 3, "steps": 400, "seconds": seconds[arm],
         "validation_score": score, "macro_f1": score}
        for arm, of_arm in scores.items() for draw, score in enumerate(of_arm)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "results.csv", index=False)
    note = {"steps": 1000, "batch": 64, "patches": 148, "seconds": 90.0}
    (tmp_path / "pretraining.json").write_text(json.dumps(note))
    study.table(tmp_path)
    text = (tmp_path / "pretrain.md").read_text()
    assert text == capsys.readouterr().out
    # Differences 10, 8, -2 to random; 5, -3 to longer.
    assert "| S | 3 | +5.3 ± 6.4 (3), above in 2 of 3 | +1.0 ± 5.7 (2), above in 1 of 2 |" in text
    assert "| S | 3 | pretrained | 40.0 ± 2.0 (3) | 40.0 ± 2.0 (3) | 400 | 42 | 132 | 72 |" in text
    assert "| S | 3 | random | 34.7 ± 5.0 (3) | 34.7 ± 5.0 (3) | 400 | 40 | 40 | 40 |" in text
    (tmp_path / "results.csv").unlink()  # what is committed is rows.csv
    study.table(tmp_path)
    assert (tmp_path / "pretrain.md").read_text() == text


@pytest.mark.slow
def test_the_study_is_run_and_goes_on(study, data, tmp_path, capsys, monkeypatch):
    timed = []
    monkeypatch.setattr(study, "equal_time_steps", lambda *args: timed.append(args) or 5)
    words = ["run", str(data), str(tmp_path / "out"), "--masks", "3", "--draws", "0", "--pretrain-steps", "2"]
    study.main([*words, "--steps", "2", "--batch", "6"])
    before = (tmp_path / "out" / "results.csv").read_text()
    rows = study.rows_of(tmp_path / "out")
    assert list(rows["arm"]) == list(study.ARMS) and list(rows["n_mask"]) == [3, 3, 3]
    assert list(rows["steps"]) == [2, 2, 5] and len(timed) == 1
    assert timed[0][0] == 2 and timed[0][1] > 0 and timed[0][2] > 0
    chosen = [(tmp_path / "out" / "runs" / run / "subset.csv").read_text() for run in rows["run"]]
    assert chosen[0] == chosen[1] == chosen[2]
    # What was cut off is done again to the same, in the same number of steps.
    lines = before.splitlines(keepends=True)
    (tmp_path / "out" / "results.csv").write_text("".join(lines[:3]))
    capsys.readouterr()
    study.main([*words, "--steps", "2", "--batch", "6"])
    again = study.rows_of(tmp_path / "out")
    assert list(again["run"]) == list(rows["run"]) and list(again["macro_f1"]) == list(rows["macro_f1"])
    with pytest.raises(UserError, match="steps_of_network = 2, not 3"):
        study.main([*words, "--steps", "3", "--batch", "6"])
