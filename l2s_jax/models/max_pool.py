"""Max pooling whose gradient needs no scatter: for CPUs.

XLA:CPU runs the gradient of a pooling window (select-and-scatter) one pixel at a time. Here the forward
pass also says which of the window's nine pixels won, and each input pixel gathers from the one, two or four
windows that cover it. Gains: benchmarks/README.md.
"""

import jax
from jax import lax
from jax import numpy as jnp
from jaxtyping import Array, Float

from l2s_jax.models.shift import shift

FIRST, MIDDLE, LAST = range(3)
"""Places in a window along one axis. A winner's code is 3 * row place + column place."""


@jax.custom_vjp
def _pool(x: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 c"]:
    return _forward(x)[0]


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The maxima, and the code u8[B,h,w,C] of the first pixel of its window that attains each."""
    padded = jnp.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)), constant_values=-jnp.inf)
    rows, columns = x.shape[1] - 1, x.shape[2] - 1
    pixels = [padded[:, i : i + rows : 2, j : j + columns : 2] for i in range(3) for j in range(3)]
    best, winner = pixels[0], jnp.zeros(pixels[0].shape, jnp.uint8)
    for code, pixel in enumerate(pixels[1:], start=1):
        winner = jnp.where(pixel > best, jnp.uint8(code), winner)
        best = lax.max(best, pixel)
    return best, winner


def _backward(winner: jax.Array, dy: jax.Array) -> tuple[jax.Array]:
    def won(row: int, column: int) -> jax.Array:
        return jnp.where(winner == 3 * row + column, dy, 0)

    def odd_column(place: int) -> jax.Array:
        """An odd column is the last of one window and the first of the next; odd rows are alike."""
        return won(place, LAST) + shift(won(place, FIRST), 2, -1)

    def row(place: int) -> jax.Array:
        return jnp.stack([won(place, MIDDLE), odd_column(place)], axis=3)

    even_row, odd_row = row(MIDDLE), row(LAST) + shift(row(FIRST), 1, -1)
    batch, h, w, channels = dy.shape
    return (jnp.stack([even_row, odd_row], axis=2).reshape(batch, 2 * h, 2 * w, channels),)


_pool.defvjp(_forward, _backward)


def max_pool_3x3_s2(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """The maximum over 3x3 windows two pixels apart, one pixel of padding; ties go to a window's first pixel.

    Args:
      x: feature map of any height and width; h = (H + 1) // 2. Reverse-mode differentiable once.
    """
    odd = ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0))
    return _pool(jnp.pad(x, odd, constant_values=-jnp.inf))
