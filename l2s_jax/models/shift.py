"""Neighbours along an axis, for the CPU formulations of convolution and pooling."""

import jax
from jax import lax
from jax import numpy as jnp


def shift(x: jax.Array, axis: int, by: int) -> jax.Array:
    """out[i] = x[i - by] along `axis`, zero outside: by -1 each place gets what stands behind it."""
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (by, -by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), config)
