"""The two spatial operations of the encoder: convolution and max pooling, padded as torch pads them."""

from jax import lax
from jax import numpy as jnp
from jaxtyping import Array, Float


def conv2d(
    x: Float[Array, "B H W I"], kernel: Float[Array, "kh kw I O"], *, stride: int, padding: int
) -> Float[Array, "B h w O"]:
    """Convolve with the same zero padding on all four sides, as `torch.nn.Conv2d` does.

    Args:
        x: Feature map, channels last.
        kernel: Weights, output channel last.
        stride: Step in both directions, in pixels.
        padding: Zeros added to each side, in pixels.

    Returns:
        Feature map with h = (H + 2 padding - kh) // stride + 1, and w likewise.
    """
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def max_pool_3x3_s2(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """Take the maximum over 3x3 windows two pixels apart: torch's `MaxPool2d(3, stride=2, padding=1)`."""
    return lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        window_dimensions=(1, 3, 3, 1),
        window_strides=(1, 2, 2, 1),
        padding=((0, 0), (1, 1), (1, 1), (0, 0)),
    )
