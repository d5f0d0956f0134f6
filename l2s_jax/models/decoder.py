"""Segmentation module: encoder features to low-resolution logits (Table A.2)."""

import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from l2s_jax.models.encoder import Features
from l2s_jax.models.layers import BatchNorm, Conv


def torch_uniform(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Torch's default for convolutions: uniform within 1/sqrt(fan_in); `shape` is [k,k,I,O]."""
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def bilinear_matrix(size: int) -> np.ndarray:
    """f32[2*size,size]: linear interpolation to twice as many samples, the outer ones aligned."""
    position = np.linspace(0, size - 1, 2 * size)
    low = np.minimum(position.astype(int), max(size - 2, 0))
    share = position - low
    matrix = np.zeros((2 * size, size))
    matrix[np.arange(2 * size), low] += 1 - share
    matrix[np.arange(2 * size), np.minimum(low + 1, size - 1)] += share
    return matrix.astype(np.float32)


def upsample_bilinear(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Doubles height and width with aligned corners, as torch's UpsamplingBilinear2d does."""
    rows = bilinear_matrix(x.shape[1]).astype(x.dtype)
    columns = bilinear_matrix(x.shape[2]).astype(x.dtype)
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x)


def enlarge(logits: Float[Array, "b h w c"], cell: int) -> Float[Array, "b {cell}*h {cell}*w c"]:
    """Nearest-neighbour enlargement of low-resolution logits to mask logits (last line of Table A.2).

    Args:
      logits: of the network.
      cell: `L2S.cell` of that network.
    """
    return logits.repeat(cell, axis=1).repeat(cell, axis=2)


class Decoder(nn.Module):
    """The last features [B,h,w,256] to low-resolution logits [B,2h,2w,C]; 147,844 parameters at C=4.

    The paper enlarges before the 1x1 convolution. Both are linear and the interpolation weights sum to one,
    so their order does not matter, and C channels are cheaper to enlarge than 64.
    """

    classes: int

    cell: ClassVar[int] = 8
    """Pixels a side of the square that one low-resolution logit stands for."""

    @nn.compact
    def __call__(self, features: Features, rows: Bool[Array, " b"], train: bool) -> Float[Array, "b h8 w8 c"]:
        x = Conv(64, 3, name="conv", kernel_init=torch_uniform)(features.layer3)
        x = nn.relu(BatchNorm(name="bn")(x, rows, train))
        kernel = self.param("logits_kernel", torch_uniform, (1, 1, 64, self.classes))
        bias = self.param("logits_bias", lambda key: torch_uniform(key, (64, self.classes))[0])
        x = jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0].astype(x.dtype))
        return upsample_bilinear(x.astype(jnp.float32)) + bias[None, None, None, :]
