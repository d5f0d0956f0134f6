"""Gradients of a 3x3 convolution of stride 2 as two matrix products, for CPUs.

XLA:CPU copies the whole feature map into another layout for the kernel's gradient. Here each window becomes a
row of a matrix, whose product with the output's gradient is that of the kernel. The other product gives the
gradient of each window's nine pixels, and each pixel of the input adds up those of the one, two or four
windows that hold it. Gains: benchmarks/README.md.
"""

import jax
from jax import lax
from jax import numpy as jnp
from jaxtyping import Array, Float

from l2s_jax.models.shift import shift


def _windows(x: Float[Array, "B H W I"]) -> Float[Array, "B H//2 W//2 9*I"]:
    """The nine pixels of every window side by side, row by row; H and W are even."""
    batch, height, width, channels = x.shape
    h, w = height // 2, width // 2
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = x.reshape(batch, h + 1, 2, w + 1, 2, channels)
    pixels = [
        x[:, i // 2 : i // 2 + h, i % 2, j // 2 : j // 2 + w, j % 2] for i in range(3) for j in range(3)
    ]
    return jnp.concatenate(pixels, axis=-1)


def _lay_out(pixels: Float[Array, "B h w 3 3 I"]) -> Float[Array, "B 2*h 2*w I"]:
    """Adds up pixels where they lie: an odd one is the last of one window and the first of the next."""
    batch, h, w, _, _, channels = pixels.shape

    def row(place: int) -> jax.Array:
        first, middle, last = (pixels[:, :, :, place, j] for j in range(3))
        return jnp.stack([middle, last + shift(first, 2, -1)], axis=3)

    even, odd = row(1), row(2) + shift(row(0), 1, -1)
    return jnp.stack([even, odd], axis=2).reshape(batch, 2 * h, 2 * w, channels)


@jax.jit  # so that convolutions of equal shape are traced once
def gradients(
    x: Float[Array, "B H W I"], kernel: Float[Array, "3 3 I O"], dy: Float[Array, "B H//2 W//2 O"]
) -> tuple[Float[Array, "B H W I"], Float[Array, "3 3 I O"]]:
    """Of input and kernel, for a convolution with one pixel of zero padding; H and W are even."""
    # Without the barriers XLA makes the windows anew inside the product, and the sums nine times.
    windows = lax.optimization_barrier(_windows(x))
    d_kernel = jnp.einsum("bhwk,bhwo->ko", windows, dy).reshape(kernel.shape)
    pixels = jnp.einsum("bhwo,ijco->bhwijc", dy, kernel)
    return _lay_out(lax.optimization_barrier(pixels)), d_kernel
