"""Weight gradient of a strided convolution with few input channels, for CPUs: the 7x7 stem.

XLA:CPU takes four times as long for it as a matrix product would. Here each image's windows are copied into a
matrix, channel by channel so that a copy runs along a row of the picture, and multiplied with the gradient:
two images at a time, so that the matrices stay in the cache and two cores have one each. Gains:
benchmarks/README.md.
"""

import jax
from jax import lax
from jax import numpy as jnp
from jaxtyping import Array, Float


def _windows(
    x: Float[Array, "H W I"], size: int, stride: int, padding: int, out: tuple[int, int]
) -> Float[Array, "{size}*{size}*I {out[0]}*{out[1]}"]:
    """Row (i, j, c): pixel (i, j), channel c of every window."""
    height, width, channels = x.shape
    h, w = out
    # Pad to whole strides, then put pixels `stride` apart side by side: copies become contiguous.
    pad = [(padding, padding + -(length + 2 * padding) % stride) for length in (height, width)]
    x = jnp.pad(x, (*pad, (0, 0)))
    x = x.reshape(x.shape[0] // stride, stride, x.shape[1] // stride, stride, channels)
    x = x.transpose(1, 3, 4, 0, 2)  # row phase, column phase, channel, row, column
    columns = [x[:, j % stride, :, :, j // stride : j // stride + w] for j in range(size)]
    x = jnp.stack(columns, axis=1)
    x = jnp.stack([x[i % stride, :, :, i // stride : i // stride + h] for i in range(size)])
    return x.reshape(size * size * channels, h * w)


def weight_gradient(
    x: Float[Array, "B H W I"], dy: Float[Array, "B h w O"], *, size: int, stride: int, padding: int
) -> Float[Array, "{size} {size} I O"]:
    """The gradient of a convolution's kernel."""
    _, h, w, channels = dy.shape

    pair = 2 if x.shape[0] % 2 == 0 else 1
    x, dy = (array.reshape(-1, pair, *array.shape[1:]) for array in (x, dy))

    def add_pair(total: jax.Array, of_pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        images, d_images = of_pair
        windows = jax.vmap(lambda image: _windows(image, size, stride, padding, (h, w)))(images)
        return total + windows @ d_images.reshape(pair, h * w, channels), None

    total = jnp.zeros((pair, size * size * x.shape[-1], channels), x.dtype)
    return lax.scan(add_pair, total, (x, dy))[0].sum(0).reshape(size, size, x.shape[-1], channels)
