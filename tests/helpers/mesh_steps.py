"""Run by test_mesh.py where JAX sees four devices: seeds on meshes of several shapes beside single steps.

`fast`: with the convolutions for CPUs. `bags`: presence in wholes whose parts lie on several devices.
"""

import sys

import jax
import numpy as np

from helpers.seeds import MODEL, OPTIMIZER, STEP, C, batch, task
from l2s_jax.models import convolution
from l2s_jax.train_step.device_mesh import jit_mesh_step, make_mesh, state_on_mesh
from l2s_jax.train_step.losses import UNSEEN, Bags
from l2s_jax.train_step.seeds import Apart
from l2s_jax.train_step.step import Objective, init_state, jit_train_step
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL

ROWS = 6  # four devices cannot share them out evenly
OF_BAGS = (1, 2)
"""Seeds of `bags`. With seed 0 an activation lies so near to zero that weights moved by 1e-7 of themselves
send one of 256 gradients another way, by 0.8% of the largest: there rounding decides, not the mesh."""
CASES = ((1, "unroll", 4, (1, 4)), (2, "vmap", 4, (2, 2)))


def fresh(n):
    return tuple(init_state(MODEL, OPTIMIZER, task(seed), jax.random.key(seed)) for seed in range(n))


def close(ours, theirs, share):
    """Differences in terms of the largest value of each array."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, atol=share * max(np.abs(b).max(), 1e-6))


def bag_task(seed):
    """Two wholes: patches 0, 1 and 2 have class 2 somewhere, patches 3 and 4 class 1."""
    of_row = np.full(40, -1, np.int32)
    of_row[:5] = 0, 0, 0, 1, 1
    bags = Bags(of_row, np.int32([2, 2, 2, 1, 1, *[0] * 35]))
    return task(seed)._replace(objective=Objective(*np.float32([1, 0.5, 1])), bags=bags)


def bag_batch(seed, number):
    """Two masks, and parts of wholes: the first lies in it whole, of the second one patch at a time."""
    made = batch(seed, number, ROWS)
    is_part = np.arange(ROWS) >= 2
    allowed = np.zeros((ROWS, C), bool)
    allowed[:, [0, 1, 2]] = True
    mask = np.where(is_part[:, None, None], IGNORE_PIXEL, made.mask % C).astype(np.uint8)
    return made._replace(
        mask=mask,
        has_mask=~is_part,
        has_label=is_part,
        label=np.full(ROWS, IGNORE_LABEL, np.int32),
        allowed=np.where(is_part[:, None], allowed, True),
        index=np.int32([30, 31, 0, 1, 2, 3 + number]),
    )


def bags():
    """What is kept of each patch, the loss that comes of it and the gradient are those of one device."""
    single, many = jit_train_step(STEP), {}
    for seed in OF_BAGS:
        state, many[seed] = init_state(MODEL, OPTIMIZER, bag_task(seed), jax.random.key(seed)), []
        for number in range(2):
            state, metrics = single(state, bag_batch(seed, number))
            many[seed].append((jax.device_get((state.evidence, state.opt_state[0].mu)), metrics))
        kept = np.asarray(state.evidence)
        assert (kept[:5] <= 0).all() and np.isfinite(kept[:5]).all() and len(set(kept[:5])) == 5
        assert (kept[5:] == UNSEEN).all() and all(one["loss_presence"] > 0 for _, one in many[seed])
    for n, strategy, devices, shape in CASES:
        mesh = make_mesh(n, devices)
        assert tuple(mesh.shape.values()) == shape
        seeds = OF_BAGS[:n]
        step = jit_mesh_step(STEP, n, strategy, mesh)
        states = Apart(
            tuple(init_state(MODEL, OPTIMIZER, bag_task(seed), jax.random.key(seed)) for seed in seeds)
        )
        for number in range(2):
            states, metrics = step(states, Apart(tuple(bag_batch(seed, number) for seed in seeds)))
            metrics = jax.device_get(metrics)
            # After Adam's first step rounding has been made more of.
            share = 1e-5 if number == 0 else 5e-3
            for i, seed in enumerate(seeds):
                (evidence, moments), theirs = many[seed][number]
                state = state_on_mesh(states, i, mesh)
                for name in ("loss", "loss_presence", "loss_set"):
                    np.testing.assert_allclose(metrics.of(i)[name], theirs[name], rtol=share, err_msg=name)
                ours = np.asarray(state.evidence)
                assert ((ours == UNSEEN) == (evidence == UNSEEN)).all()
                np.testing.assert_allclose(ours[ours != UNSEEN], evidence[evidence != UNSEEN], rtol=share)
                if number == 0:
                    close(state.opt_state[0].mu, moments, 1e-3)
        print(n, strategy, shape, "agree")


def main():
    if sys.argv[1:] == ["bags"]:
        return bags()
    fast = sys.argv[1:] == ["fast"]
    if fast:
        convolution.MANY_PRODUCTS = 0  # else such small patches have no fast convolutions
    assert len(jax.devices()) == 4
    single = jit_train_step(STEP)
    expected = [single(state, batch(seed, 0, ROWS)) for seed, state in enumerate(fresh(4))]
    second = [
        single(jax.tree.map(jax.numpy.copy, s), batch(i, 1, ROWS))[1] for i, (s, _) in enumerate(expected)
    ]
    for n, strategy, devices, shape in CASES[:1] if fast else CASES:
        mesh = make_mesh(n, devices)
        assert tuple(mesh.shape.values()) == shape
        step = jit_mesh_step(STEP, n, strategy, mesh)
        states, metrics = step(Apart(fresh(n)), Apart(tuple(batch(seed, 0, ROWS) for seed in range(n))))
        # Weights and moments lie on the seed's own devices, all of them.
        leaf = states.tree.params["encoder"]["conv1"]["kernel"]
        assert len(leaf.sharding.device_set) == devices
        assert leaf.addressable_shards[0].data.shape[0] == n // shape[0]
        metrics = jax.device_get(metrics)
        for i in range(n):
            state = state_on_mesh(states, i, mesh)
            theirs, their_metrics = expected[i]
            for name, value in metrics.of(i).items():
                np.testing.assert_allclose(value, their_metrics[name], rtol=1e-5, err_msg=name)
            close(state.opt_state[0].mu, theirs.opt_state[0].mu, 1e-3)
            close(state.batch_stats, theirs.batch_stats, 1e-4)
            assert int(state.step) == 1
            assert (jax.random.key_data(state.key) == jax.random.key_data(theirs.key)).all()
        _, metrics = step(states, Apart(tuple(batch(seed, 1, ROWS) for seed in range(n))))
        for i in range(n):
            np.testing.assert_allclose(jax.device_get(metrics).of(i)["loss"], second[i]["loss"], rtol=5e-3)
        print(n, strategy, shape, "agree")


if __name__ == "__main__":
    sys.exit(main())
