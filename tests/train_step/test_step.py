from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2s_jax.config import TrainConfig
from l2s_jax.models.network import L2S
from l2s_jax.train_step.step import (
    Objective,
    Task,
    init_state,
    jit_train_step,
    make_optimizer,
    make_train_step,
    prepare_inputs,
)
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL, Batch

PLAIN = TrainConfig(augment="none", colour_jitter=False)
SIZE, B, C = 32, 6, 3


PAPER, LABEL_SET = Objective(*np.float32([1, 0, 0])), Objective(*np.float32([0.5, 0.5, 0.5]))
WITHOUT_CLASSIFIER = Objective(*np.float32([0, 1, 1]))


def task(seg=1.0, cls=1.0, objective=PAPER):
    ones = np.ones(C, np.float32)
    mean, std = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
    return Task(seg * ones, cls * ones, mean, std, objective)


def make_batch(rng, has_mask, has_label):
    has_mask, has_label = np.array(has_mask, bool), np.array(has_label, bool)
    n = len(has_mask)
    mask = rng.integers(0, C, (n, SIZE, SIZE)).astype(np.uint8)
    mask[~has_mask] = IGNORE_PIXEL
    label = np.where(has_label, rng.integers(0, C, n), IGNORE_LABEL).astype(np.int32)
    image = rng.integers(0, 256, (n, SIZE, SIZE, 3)).astype(np.uint8)
    index = np.arange(n, dtype=np.int32)
    allowed = ~has_label[:, None] | (np.arange(C) == 0) | (np.arange(C) == label[:, None])
    return Batch(image, mask, label, has_mask, has_label, index, np.zeros(n, np.int32), allowed)


def fresh(config=PLAIN, the_task=None, model=None):
    model = model or L2S(C, config.head)
    optimizer = make_optimizer(config.learning_rate)
    return init_state(model, optimizer, the_task or task(), jax.random.key(0))


@pytest.fixture(scope="module")
def plain_step():
    return jit_train_step(make_train_step(L2S(C), make_optimizer(PLAIN.learning_rate), PLAIN))


def values(tree):
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


def changed(before, after):
    return any((a != b).any() for a, b in zip(before, after, strict=True))


@pytest.mark.slow
def test_one_compilation_serves_every_setting(plain_step, rng):
    on, off, half = [True] * B, [False] * B, [True, False] * (B // 2)
    other = [False, True] * (B // 2)
    batches = [make_batch(rng, m, c) for m, c in ((on, off), (half, other), (on, on), (off, on), (off, off))]
    state = fresh()
    for batch in batches:
        for objective in (PAPER, LABEL_SET):
            told = state.task._replace(objective=jax.tree.map(jnp.asarray, objective))
            state, metrics = plain_step(state._replace(task=told), batch)
            assert np.isfinite(metrics["loss"])
    assert plain_step._cache_size() == 1
    assert int(state.step) == 2 * len(batches)


def test_nothing_to_learn_gives_zero_loss_and_moves_nothing(plain_step, rng):
    for the_task, flags in ((task(), [False] * B), (task(0, 0), [True] * B)):
        state = fresh(the_task=the_task)
        before = values((state.params, state.opt_state[0].mu))
        stats = values(state.batch_stats)
        state, metrics = plain_step(state, make_batch(rng, flags, flags))
        assert metrics["loss"] == 0
        assert not changed(before, values((state.params, state.opt_state[0].mu)))
        assert changed(stats, values(state.batch_stats)) == any(flags)


def test_masks_alone_leave_the_classifier_alone(plain_step, rng):
    state = fresh()
    classifier = values((state.params["classifier"], state.batch_stats["classifier"]))
    decoder = values(state.params["decoder"])
    state, metrics = plain_step(state, make_batch(rng, [True] * B, [False] * B))
    assert metrics["loss_cls"] == 0 and metrics["n_label"] == 0 and metrics["n_mask"] == B
    assert not changed(classifier, values((state.params["classifier"], state.batch_stats["classifier"])))
    assert changed(decoder, values(state.params["decoder"]))


def test_labels_teach_the_encoder_through_the_decoder(plain_step, rng):
    state = fresh()
    before = values((state.params["encoder"], state.params["decoder"]["conv"]))
    state, metrics = plain_step(state, make_batch(rng, [False] * B, [True] * B))
    assert metrics["loss_seg"] == 0 and metrics["loss_cls"] > 0
    assert changed(before, values((state.params["encoder"], state.params["decoder"]["conv"])))


def test_padding_a_batch_changes_nothing(plain_step, rng):
    flags = [True] * 4
    small = make_batch(rng, flags, flags)
    padding = make_batch(rng, [False] * 2, [False] * 2)
    padded = Batch(*(np.concatenate(pair) for pair in zip(small, padding, strict=True)))
    a, metrics_a = plain_step(fresh(), small)
    b, metrics_b = plain_step(fresh(), padded)
    # Batches of 4 and 6 sum in another order; Adam's first step is lr * sign(g), so a gradient that is zero
    # but for rounding may move by the whole learning rate. The loss and the moments show the equality.
    np.testing.assert_allclose(metrics_a["loss"], metrics_b["loss"], rtol=1e-4)
    for x, y in zip(values(a.opt_state[0].mu), values(b.opt_state[0].mu), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-2, atol=1e-5)


@pytest.mark.slow
def test_alternating_is_a_mask_step_then_a_label_step(plain_step, rng):
    config = replace(PLAIN, step="alternate")
    alternate = jit_train_step(make_train_step(L2S(C), make_optimizer(config.learning_rate), config))
    half, other = [True, False] * (B // 2), [False, True] * (B // 2)
    batch = make_batch(rng, half, other)
    off = np.zeros(B, bool)
    expected, _ = plain_step(fresh(), batch._replace(has_label=off))
    expected, _ = plain_step(expected, batch._replace(has_mask=off))
    got, metrics = alternate(fresh(), batch)
    assert int(got.step) == 1 and int(got.opt_state[0].count) == 2
    assert metrics["n_mask"] == metrics["n_label"] == B // 2
    for x, y in zip(values(got.params), values(expected.params), strict=True):
        # The same two Adam steps, compiled as one program or two; see above on Adam and rounding.
        np.testing.assert_allclose(x, y, atol=2.5 * config.learning_rate)
    for x, y in zip(values(got.batch_stats), values(expected.batch_stats), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-2, atol=1e-4)
    only_masks, _ = alternate(fresh(), batch._replace(has_label=off))
    assert int(only_masks.opt_state[0].count) == 1


@pytest.mark.slow
def test_head_max_trains_without_a_classifier(rng):
    config = replace(PLAIN, head="max")
    step = jit_train_step(make_train_step(L2S(C, "max"), make_optimizer(1e-3), config))
    state = fresh(config)
    assert "classifier" not in state.params
    batch = make_batch(rng, [True, False] * 3, [False, True] * 3)
    losses = []
    for _ in range(8):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_augmentation_is_keyed_by_seed_epoch_and_index(rng):
    config = TrainConfig()
    step = jax.jit(make_train_step(L2S(C), make_optimizer(1e-4), config))
    batch = make_batch(rng, [True] * B, [True] * B)
    state = fresh(config)
    again, later = batch, batch._replace(epoch=batch.epoch + 1)
    loss = lambda b: float(step(state, b)[1]["loss"])  # noqa: E731
    assert loss(batch) == loss(again) != loss(later)
    shuffled = np.random.default_rng(1).permutation(B)
    moved = Batch(*(np.asarray(part)[shuffled] for part in batch))
    np.testing.assert_allclose(loss(moved), loss(batch), rtol=1e-4)


def test_patches_are_shifted_with_their_masks_and_only_when_asked(rng):
    state, batch = fresh(), make_batch(rng, [True] * B, [True] * B)
    batch = jax.tree.map(jnp.asarray, batch._replace(mask=batch.image[..., 0] % C))
    images, masks = prepare_inputs(PLAIN, state, batch)
    np.testing.assert_array_equal(masks, batch.mask)
    shifted, shifted_masks = prepare_inputs(replace(PLAIN, augment_shift=8 / SIZE), state, batch)
    as_bytes = np.rint((np.asarray(shifted) * 0.25 + 0.5) * 255).astype(np.uint8)
    np.testing.assert_array_equal(as_bytes[..., 0] % C, shifted_masks)
    moved = [changed([one], [other]) for one, other in zip(np.array(images), np.array(shifted), strict=True)]
    assert sum(moved) >= B - 1  # (0, 0) is one of 289 shifts
    # The turns are those without the option.
    turned = replace(PLAIN, augment="dihedral")
    plain, _ = prepare_inputs(turned, state, batch)
    by_one, _ = prepare_inputs(replace(turned, augment_shift=1 / SIZE), state, batch)
    inner = np.array(plain)[:, 1:-1, 1:-1]
    for row in range(B):
        windows = [
            np.array(by_one)[row, y : y + SIZE - 2, x : x + SIZE - 2] for y in range(3) for x in range(3)
        ]
        assert any(np.array_equal(window, inner[row]) for window in windows)


def test_seeds_differ_and_repeat():
    model = L2S(C)
    first = init_state(model, make_optimizer(1e-4), task(), jax.random.key(1))
    second = init_state(model, make_optimizer(1e-4), task(), jax.random.key(1))
    third = init_state(model, make_optimizer(1e-4), task(), jax.random.key(2))
    assert not changed(values(first.params), values(second.params))
    assert changed(values(first.params), values(third.params))
    assert jnp.all(first.step == 0)


def test_only_patches_without_a_mask_have_label_sets(plain_step, rng):
    told = fresh(the_task=task(objective=WITHOUT_CLASSIFIER))
    before = values(told.params)
    both = make_batch(rng, [True] * B, [True] * B)
    metrics = plain_step(told, both)[1]
    assert metrics["n_set"] == 0 and metrics["loss_set"] == 0 and metrics["loss_presence"] == 0
    only = make_batch(rng, [False] * B, [True] * B)
    after, metrics = plain_step(fresh(the_task=task(objective=WITHOUT_CLASSIFIER)), only)
    assert metrics["n_set"] == B and metrics["loss_set"] > 0 and metrics["loss_presence"] > 0
    np.testing.assert_allclose(metrics["loss"], metrics["loss_set"] + metrics["loss_presence"], rtol=1e-6)
    assert changed(before, values(after.params))


def test_a_partial_mask_teaches_by_its_label_too(plain_step, rng):
    """Its known pixels by cross entropy, the others by what can occur there; whole masks as before."""
    batch = make_batch(rng, [True] * B, [True] * B)
    partial = batch._replace(mask=batch.mask.copy())
    partial.mask[0, : SIZE // 2] = IGNORE_PIXEL
    told = task(objective=WITHOUT_CLASSIFIER)
    metrics = plain_step(fresh(the_task=told), partial)[1]
    assert metrics["n_set"] == 1 and metrics["loss_set"] > 0 and metrics["loss_presence"] > 0
    assert metrics["loss_seg"] > 0 and metrics["n_mask"] == B
    without = partial._replace(has_label=np.zeros(B, bool))
    assert plain_step(fresh(the_task=told), without)[1]["n_set"] == 0


def test_without_label_patches_every_objective_is_the_papers(plain_step, rng):
    batch = make_batch(rng, [True] * B, [False] * B)
    paper, _ = plain_step(fresh(), batch)
    label_set, _ = plain_step(fresh(the_task=task(objective=LABEL_SET)), batch)
    assert not changed(values(paper.params), values(label_set.params))


def test_labels_can_enter_late(plain_step, rng):
    batch = make_batch(rng, [True, False] * (B // 2), [False, True] * (B // 2))
    late = fresh(the_task=task()._replace(labels_from=np.int32(1)))
    masks_only, _ = plain_step(fresh(), batch._replace(has_label=np.zeros(B, bool)))
    state, metrics = plain_step(late, batch)
    assert metrics["n_label"] == 0 and metrics["n_mask"] == B // 2
    assert not changed(values(state.params), values(masks_only.params))
    assert not changed(values(state.batch_stats), values(masks_only.batch_stats))
    assert plain_step(state, batch)[1]["n_label"] == B // 2


def test_what_can_occur_teaches_without_a_label(rng):
    """A row that says only which classes can be there: the label-set loss sees it, the others do not."""
    config = replace(PLAIN, set_weight=0.5, presence_weight=0.5)
    step = jit_train_step(make_train_step(L2S(C), make_optimizer(PLAIN.learning_rate), config))
    batch = make_batch(rng, [True, True, False, False], [False, False, True, True])
    without = batch._replace(label=batch.label.copy())
    without.label[3] = IGNORE_LABEL
    alone = without._replace(has_label=np.array([False, False, True, False]))
    state = fresh(config, task(objective=LABEL_SET))
    metrics = [jax.device_get(step(jax.tree.map(jnp.copy, state), one)[1]) for one in (batch, without, alone)]
    assert metrics[1]["loss_set"] == metrics[0]["loss_set"] != metrics[2]["loss_set"]
    assert metrics[1]["loss_presence"] != metrics[0]["loss_presence"]
    assert metrics[1]["loss_cls"] != metrics[0]["loss_cls"]
    assert np.isfinite(metrics[1]["loss"])
