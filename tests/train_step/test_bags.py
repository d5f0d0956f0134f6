"""Presence in wholes of which a batch holds a part: against a count by hand; without wholes as before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.seeds import MODEL, OPTIMIZER, SIZE, B, batch
from helpers.seeds import task as plain_task
from helpers.shapes import wrong_fields
from l2s_jax.config import TrainConfig
from l2s_jax.data.manifest import PatchRow
from l2s_jax.data.patch_set import PatchSet
from l2s_jax.data.subsets import Subset
from l2s_jax.train_step.losses import UNSEEN, Bags, bag_presence_loss, presence_loss
from l2s_jax.train_step.step import Objective, init_state, jit_train_step, make_train_step
from l2s_jax.training.plan import used_bags
from l2s_jax.types import IGNORE_LABEL

N, C, SHARE = 12, 3, 0.25
OF_ROW = np.int32([0, 0, 0, 1, 1, -1, -1, 2, 0, -1, 1, -1])
OF_BAG = np.int32([2, 1, 2])


def surest_share(logits, code):
    """Mean log p of a class over the quarter of a patch where it is largest, in float64."""
    logits = logits.astype(np.float64)
    log_p = logits[..., code] - np.log(np.exp(logits).sum(-1))
    return np.sort(log_p.ravel())[::-1][: max(1, round(SHARE * log_p.size))].mean()


class Counted:
    """The same with dictionaries, one patch after the other."""

    def __init__(self):
        self.seen = {}

    def loss(self, coarse, label, named, parts, index):
        own = {}
        for k in np.flatnonzero(parts):
            value = surest_share(coarse[k], OF_BAG[OF_ROW[index[k]]])
            own[k] = value
        for row in {int(index[k]) for k in own}:
            self.seen[row] = max(value for k, value in own.items() if index[k] == row)
        terms = [surest_share(coarse[k], label[k]) for k in np.flatnonzero(named)]
        for k, value in own.items():
            whole = np.flatnonzero(OF_ROW == OF_ROW[index[k]])
            if (
                all(row in self.seen for row in whole)
                and value >= max(self.seen[row] for row in whole) - 1e-12
            ):
                terms.append(value)
        return -np.mean(terms) if terms else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_the_surest_patch_of_a_whole_counts_wherever_it_was_seen(seed):
    rng = np.random.default_rng(seed)
    bags = Bags(jnp.asarray(OF_ROW), jnp.asarray(np.where(OF_ROW >= 0, OF_BAG[OF_ROW], 0)))
    evidence, by_hand = jnp.full(N, UNSEEN), Counted()
    step = jax.jit(lambda *arrays: bag_presence_loss(*arrays[:5], bags, arrays[5], SHARE))
    losses = []
    for _ in range(30):
        index = rng.integers(-1, N, 5).astype(np.int32)  # padding and repetitions among them
        coarse = rng.normal(size=(5, 2, 4, C)).astype(np.float32)
        parts = (index >= 0) & (OF_ROW[index] >= 0)
        named = (index >= 0) & ~parts
        label = rng.integers(0, C, 5).astype(np.int32)
        loss, evidence = step(coarse, label, named, parts, index, evidence)
        np.testing.assert_allclose(loss, by_hand.loss(coarse, label, named, parts, index), rtol=1e-5)
        losses.append(float(loss))
    kept = [by_hand.seen.get(row, UNSEEN) for row in range(N)]
    np.testing.assert_allclose(evidence, kept, rtol=1e-5)
    assert len(set(losses)) > 10


def test_only_the_patch_that_counts_is_pulled(rng):
    """Two of a whole's three patches are in the batch; which one is pulled, the third decides too."""
    bags = Bags(jnp.int32([0, 0, 0]), jnp.int32([1, 1, 1]))
    coarse = jnp.zeros((2, 2, 2, C)).at[1, ..., 1].set(1.0)
    flags = jnp.array([True, True])

    def pulled(third):
        evidence = jnp.float32([-5.0, -5.0, third])
        arguments = (jnp.int32([0, 0]), ~flags, flags, jnp.int32([0, 1]), bags, evidence, SHARE)
        gradient = jax.grad(lambda logits: bag_presence_loss(logits, *arguments)[0])(coarse)
        return np.abs(np.asarray(gradient)).sum((1, 2, 3)) > 0

    np.testing.assert_array_equal(pulled(-3.0), [False, True])
    np.testing.assert_array_equal(pulled(-0.1), [False, False])  # elsewhere the class is surer
    np.testing.assert_array_equal(pulled(UNSEEN), [False, False])


def test_a_whole_of_one_patch_is_a_patch_with_a_label(rng):
    coarse = jnp.asarray(rng.normal(size=(4, 2, 4, C)), jnp.float32)
    label, rows = jnp.int32([0, 1, 2, 1]), jnp.array([True, True, False, True])
    bags, none = Bags(jnp.arange(4, dtype=jnp.int32), label), jnp.zeros(4, bool)
    loss, _ = bag_presence_loss(coarse, label, none, rows, jnp.arange(4), bags, jnp.full(4, UNSEEN), SHARE)
    assert loss == presence_loss(coarse, label, rows, SHARE)


CONFIG = TrainConfig(augment="none", colour_jitter=False, presence_share=SHARE)


def parts_batch(seed):
    made = batch(seed, 0)
    allowed = np.zeros_like(made.allowed)
    allowed[:, :2] = True
    return made._replace(
        has_mask=np.zeros(B, bool),
        has_label=np.ones(B, bool),
        label=np.full(B, IGNORE_LABEL, np.int32),
        allowed=allowed,
        index=np.arange(B, dtype=np.int32),
    )


@pytest.mark.slow
def test_the_step_keeps_what_it_saw_and_learns_presence(rng):
    task = plain_task(0)._replace(objective=Objective(*np.float32([0, 0, 1])))
    bags = Bags(np.zeros(B, np.int32), np.ones(B, np.int32))
    step = jit_train_step(make_train_step(MODEL, OPTIMIZER, CONFIG))
    state = init_state(MODEL, OPTIMIZER, task._replace(bags=bags), jax.random.key(0))
    assert wrong_fields(state) == []
    made, losses = parts_batch(0), []
    for _ in range(3):
        state, metrics = step(state, made)
        losses.append(float(metrics["loss_presence"]))
        kept = np.asarray(state.evidence)
        # The surest patch of the whole is the one that counts, and it is in the batch.
        assert losses[-1] == pytest.approx(-kept.max(), rel=1e-6) and (kept <= 0).all()
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_without_wholes_nothing_of_them_is_in_the_program():
    """So S and S+C come out with the very bits of before, and their checkpoints hold nothing new."""
    plain, bags = plain_task(0), Bags(np.zeros(B, np.int32), np.ones(B, np.int32))
    states = [
        init_state(MODEL, OPTIMIZER, one, jax.random.key(0)) for one in (plain, plain._replace(bags=bags))
    ]
    step = make_train_step(MODEL, OPTIMIZER, CONFIG)
    without, within = (str(jax.make_jaxpr(step)(state, batch(0, 0))) for state in states)
    assert "scatter-max" in within and "scatter-max" not in without
    assert len(jax.tree.leaves(states[1])) == len(jax.tree.leaves(states[0])) + 3


def test_rows_that_a_run_does_not_learn_from_hold_no_whole_back():
    rows = [
        PatchRow(2 + n, None, None, -1, "g", "train", bag=bag, bag_label=1) for n, bag in enumerate("aab")
    ]
    rows.append(PatchRow(5, None, None, 1, "g", "train"))
    flags = np.array([True, True, True, True])
    patches = PatchSet(
        tuple(rows), (SIZE, SIZE), None, True, np.int32([-1, -1, -1, 1]), ~flags, np.zeros((4, 2)), None
    )
    bags = used_bags(patches, Subset(~flags, np.array([True, False, True, True])))
    assert bags.of_row.tolist() == [0, -1, 1, -1] and bags.label[:3].tolist() == [1, 1, 1]
    assert used_bags(patches, Subset(flags, flags)).of_row.tolist() == [-1] * 4
    bare = PatchSet((rows[3],), (SIZE, SIZE), None, True, np.int32([1]), ~flags[:1], np.zeros((1, 2)), None)
    assert used_bags(bare, Subset(~flags[:1], flags[:1])) is None
