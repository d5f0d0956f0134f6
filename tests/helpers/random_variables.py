"""Variables of a network without compiling its initialisation, every tensor of them random."""

from functools import partial

import jax
import numpy as np

from l2s_jax.models.network import L2S, init_variables


def random_variables(classes=4, head="a3", seed=0, decoder="paper"):
    """Kernels at He's scale; batch norms with statistics and an affine map that are not the initial ones."""
    rng = np.random.default_rng(seed)

    def fill(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if leaf.ndim == 4 else 0.2
        return (spread * rng.normal(size=leaf.shape)).astype(np.float32)

    shapes = jax.eval_shape(partial(init_variables, L2S(classes, head, decoder=decoder)), jax.random.key(0))
    return jax.tree_util.tree_map_with_path(fill, shapes)
