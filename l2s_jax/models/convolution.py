"""The two spatial operations of the encoder, padded as torch pads them, each by the fastest way known.

GPUs and all else get XLA's own operations. CPUs get the formulations in `winograd`, `stem`,
`strided` and `max_pool`.
The choice is made when a program is lowered, so a program lowered for CUDA on a CPU machine holds none of
them. Both sides agree to within 1e-5 of the largest value in float32. On the CPU side derivatives are
reverse-mode and first order only.
"""

from functools import partial

import jax
from jax import lax
from jax import numpy as jnp
from jaxtyping import Array, Float

from l2s_jax.models import max_pool, stem, strided, winograd

MANY_PRODUCTS = 50_000_000
"""Multiplications from which a CPU gains more by these formulations than their compilation costs."""

FREE_BATCH = 16
"""Pictures that a batch of no fixed size is taken to have: an exported program's."""

FEW_CHANNELS = 4
"""Up to so many input channels the weight gradient of a strided convolution is done by `stem`."""


def conv2d(
    x: Float[Array, "B H W I"], kernel: Float[Array, "kh kw I O"], *, stride: int, padding: int
) -> Float[Array, "B h w O"]:
    """Convolves with the same zero padding on all four sides, as `torch.nn.Conv2d` does.

    Args:
      x: feature map, channels last.
      kernel: weights, output channel last.
      stride: step in both directions, in pixels.
      padding: zeros added to each side, in pixels.

    Returns:
      Feature map with h = (H + 2 padding - kh) // stride + 1, and w likewise.
    """
    plain = partial(plain_conv2d, stride=stride, padding=padding)
    fast = partial(_conv2d_cpu, stride=stride, padding=padding)
    return lax.platform_dependent(x, kernel, cpu=fast, default=plain)


def plain_conv2d(
    x: Float[Array, "B H W I"], kernel: Float[Array, "kh kw I O"], *, stride: int, padding: int
) -> Float[Array, "B h w O"]:
    """`conv2d` by XLA's convolution, on any platform."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def max_pool_3x3_s2(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """The maximum over 3x3 windows two pixels apart: torch's `MaxPool2d(3, stride=2, padding=1)`."""
    return lax.platform_dependent(x, cpu=max_pool.max_pool_3x3_s2, default=plain_max_pool_3x3_s2)


def plain_max_pool_3x3_s2(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """`max_pool_3x3_s2` by XLA's window reduction, on any platform."""
    return lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        window_dimensions=(1, 3, 3, 1),
        window_strides=(1, 2, 2, 1),
        padding=((0, 0), (1, 1), (1, 1), (0, 0)),
    )


def _conv2d_cpu(x: jax.Array, kernel: jax.Array, *, stride: int, padding: int) -> jax.Array:
    # XLA:CPU computes in float32 in any case, and would cast back after each operation.
    if x.dtype == jnp.bfloat16:
        y = _conv2d_cpu(x.astype(jnp.float32), kernel.astype(jnp.float32), stride=stride, padding=padding)
        return y.astype(x.dtype)
    height, width, channels = kernel.shape[:3]
    if (height, width, padding) == (1, 1, 0):
        return jnp.einsum("bhwi,io->bhwo", x[:, ::stride, ::stride], kernel[0, 0])
    batch = x.shape[0] if isinstance(x.shape[0], int) else FREE_BATCH
    if batch * x.shape[1] * x.shape[2] * kernel.size >= MANY_PRODUCTS * stride**2:
        if (height, width, padding, stride) == (3, 3, 1, 1):
            return winograd.conv3x3(x, kernel)
        if stride > 1 and channels <= FEW_CHANNELS and height == width:
            return _conv2d_stem(stride, padding, x, kernel)
        if (height, width, padding, stride) == (3, 3, 1, 2) and x.shape[1] % 2 == x.shape[2] % 2 == 0:
            return _conv3x3_s2(x, kernel)
    return plain_conv2d(x, kernel, stride=stride, padding=padding)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _conv2d_stem(stride: int, padding: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return plain_conv2d(x, kernel, stride=stride, padding=padding)


def _stem_forward(stride: int, padding: int, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return _conv2d_stem(stride, padding, x, kernel), (x, kernel)


def _stem_backward(stride: int, padding: int, residuals: tuple, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    to_x = jax.linear_transpose(lambda x: plain_conv2d(x, kernel, stride=stride, padding=padding), x)
    d_kernel = stem.weight_gradient(x, dy, size=kernel.shape[0], stride=stride, padding=padding)
    return to_x(dy)[0], d_kernel


_conv2d_stem.defvjp(_stem_forward, _stem_backward)


@jax.custom_vjp
def _conv3x3_s2(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return plain_conv2d(x, kernel, stride=2, padding=1)


def _strided_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return _conv3x3_s2(x, kernel), (x, kernel)


def _strided_backward(residuals: tuple, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    return strided.gradients(*residuals, dy)


_conv3x3_s2.defvjp(_strided_forward, _strided_backward)
