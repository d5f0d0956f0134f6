"""Run by test_mesh.py where JAX sees four devices: seeds on meshes of several shapes beside single steps.

`fast`: with the convolutions for CPUs.
"""

import sys

import jax
import numpy as np

from helpers.seeds import MODEL, OPTIMIZER, STEP, batch, task
from l2s_jax.models import convolution
from l2s_jax.train_step.device_mesh import jit_mesh_step, make_mesh, state_on_mesh
from l2s_jax.train_step.seeds import Apart
from l2s_jax.train_step.step import init_state, jit_train_step

ROWS = 6  # four devices cannot share them out evenly
CASES = ((1, "unroll", 4, (1, 4)), (2, "vmap", 4, (2, 2)))


def fresh(n):
    return tuple(init_state(MODEL, OPTIMIZER, task(seed), jax.random.key(seed)) for seed in range(n))


def close(ours, theirs, share):
    """Differences in terms of the largest value of each array."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, atol=share * max(np.abs(b).max(), 1e-6))


def main():
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
