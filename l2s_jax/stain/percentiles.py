"""Percentiles under a mask, at fixed shapes and without sorting.

Sorting 16,384 numbers takes XLA on a CPU 5 ms, which is the time budget of five whole patches in stain
normalisation. Here the numbers become 16-bit steps between their least and greatest, and the step of the
wanted rank is found bit by bit with 16 counts: 0.07 ms, for an error of at most half a step, that is
(greatest - least) / 131,070. `benchmarks/notes/macenko.md` has the measurements.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

STEPS = 65535
_LANE, _STACK = 256, 64


def masked_percentiles(values: Array, mask: Array, percents: tuple[float, ...]) -> Array:
    """Percentiles of the values under a mask, interpolated between ranks as `numpy.percentile` does.

    Args:
      values: f32[B,N], finite.
      mask: bool[B,N], the values that count.
      percents: each in 0..100.

    Returns:
      f32[B, len(percents)], off by at most 1/131,070 of the range of the masked values. Where the mask is
      empty the result is finite and means nothing.
    """
    count = mask.sum(-1, dtype=jnp.int32)
    least = jnp.where(mask, values, jnp.inf).min(-1)
    greatest = jnp.where(mask, values, -jnp.inf).max(-1)
    least, greatest = jnp.where(count > 0, least, 0.0), jnp.where(count > 0, greatest, 0.0)
    scale = STEPS / jnp.maximum(greatest - least, 1e-30)
    steps = jnp.round((values - least[:, None]) * scale[:, None])
    steps = jnp.where(mask, steps, STEPS).astype(jnp.uint16)  # outside the mask: above all ranks asked for
    ranks = (count - 1)[:, None] * (np.array([percents], np.float32) / 100)
    return least[:, None] + _steps_at(_stack(steps), ranks) / scale[:, None]


def _stack(steps: Array) -> Array:
    """u16[B,N] padded and folded to u16[B,1,K,64,256]: counts over 64 fit 16 bits and run along 256."""
    batch, size = steps.shape
    blocks = math.ceil(size / (_LANE * _STACK))
    padded = jnp.pad(steps, ((0, 0), (0, blocks * _LANE * _STACK - size)), constant_values=STEPS)
    return padded.reshape(batch, 1, blocks, _STACK, _LANE)


def _count_up_to(stacked: Array, bound: Array) -> Array:
    """i32[B,P]: how many steps are at most `bound`, u16[B,P]."""
    within = (stacked <= bound[..., None, None, None]).astype(jnp.int16)
    return within.sum(3, dtype=jnp.int16).astype(jnp.int32).sum((2, 3))


def _steps_at(stacked: Array, ranks: Array) -> Array:
    """f32[B,P]: the steps at fractional ranks, f32[B,P], counted from 0."""
    below = jnp.maximum(jnp.floor(ranks), 0).astype(jnp.int32)

    def set_bit(i: Array, step: Array) -> Array:
        trial = step | (jnp.uint16(1) << (15 - i).astype(jnp.uint16))
        return jnp.where(_count_up_to(stacked, trial - jnp.uint16(1)) <= below, trial, step)

    step = jax.lax.fori_loop(0, 16, set_bit, jnp.zeros(ranks.shape, jnp.uint16))
    above = jnp.where(stacked > step[..., None, None, None], stacked, jnp.uint16(STEPS)).min((2, 3, 4))
    following = jnp.where(_count_up_to(stacked, step) > below + 1, step, above)
    share = ranks - below
    return (1 - share) * step + share * following
