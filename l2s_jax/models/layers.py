"""Layers with torch's arithmetic: explicit padding, batch statistics over the rows that count."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from l2s_jax.models.convolution import conv2d


def he_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Normal weights of variance 2 / fan-out, as torchvision draws a ResNet's (He et al. 2015).

    The same as JAX's `variance_scaling(2.0, "fan_out", "normal")` but for last bits. Those of JAX depend on
    its version and on whether the initialiser is compiled, by which of two factors is multiplied first; here
    the two are one, so that a seed's first weights are the same.

    Args:
      key: consumed.
      shape: of the kernel, (k, k, I, O).
      dtype: of the weights.
    """
    deviation = np.sqrt(np.float32(2 / (math.prod(shape[:-2]) * shape[-1])))
    above_minus_one = np.nextafter(np.float32(-1), np.float32(0))
    uniform = jax.random.uniform(key, shape, dtype, above_minus_one, 1)
    return jax.lax.erf_inv(uniform) * jnp.asarray(np.float32(np.sqrt(2)) * deviation, dtype)


class Conv(nn.Module):
    """Square convolution without bias; `kernel` is f32[k,k,I,O]."""

    features: int
    size: int
    stride: int = 1
    kernel_init: nn.initializers.Initializer = he_normal

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        kernel = self.param("kernel", self.kernel_init, (self.size, self.size, x.shape[-1], self.features))
        return conv2d(x, kernel.astype(x.dtype), stride=self.stride, padding=self.size // 2)


class BatchNorm(nn.Module):
    """Batch normalisation over batch, height and width, with torch's running statistics.

    Only the rows flagged in `rows` enter the batch statistics, so that padding a batch changes nothing; a
    batch with no such row leaves the running statistics alone. Differs from Linen's own layer in that the
    running variance is the unbiased one, as in torch.
    """

    eps: float = 1e-5
    momentum: float = 0.9  # torch calls this 1 - momentum = 0.1

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], rows: Bool[Array, " b"], train: bool
    ) -> Float[Array, "b h w c"]:
        features = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (features,))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (features,))
        if train:
            mean, var, n = masked_moments(x, rows)
            if not self.is_initializing():
                keep = jnp.where(n > 0, self.momentum, 1.0)
                unbiased = var * (n / jnp.maximum(n - 1, 1))
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
            # With nobody to measure, normalise by what is known: zero variance would blow up, layer by layer.
            mean = jnp.where(n > 0, mean, running_mean.value)
            var = jnp.where(n > 0, var, running_var.value)
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale * jax.lax.rsqrt(var + self.eps)
        offset = bias - mean * factor
        return x * _channels(factor, x) + _channels(offset, x)


def _channels(values: Float[Array, " c"], like: Float[Array, "b h w c"]) -> Float[Array, "1 1 1 c"]:
    return values.astype(like.dtype)[None, None, None, :]


def masked_moments(
    x: Float[Array, "b h w c"], rows: Bool[Array, " b"]
) -> tuple[Float[Array, " c"], Float[Array, " c"], Float[Array, ""]]:
    """Mean and biased variance over the flagged rows' pixels, and how many pixels that is (0 gives zeros)."""
    x = x.astype(jnp.float32)
    weight = rows.astype(jnp.float32)
    n = weight.sum() * (x.shape[1] * x.shape[2])
    mean = jnp.einsum("b,bc->c", weight, x.sum((1, 2))) / jnp.maximum(n, 1)
    squares = jnp.square(x - mean[None, None, None, :]).sum((1, 2))
    var = jnp.einsum("b,bc->c", weight, squares) / jnp.maximum(n, 1)
    return mean, var, n
