"""Classification module: low-resolution logits to one vector a patch (Table A.3)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from l2s_jax.models.decoder import torch_uniform
from l2s_jax.models.layers import BatchNorm, Conv


class Classifier(nn.Module):
    """Average pool, 1x1 convolution to 8, batch norm, ReLU, 1x1 convolution to C; 80 parameters at C=4.

    Its last convolution can permute classes, so labels alone do not tie a channel of the segmentation to a
    class: without any mask the segmentation's classes are undefined.
    """

    classes: int

    @nn.compact
    def __call__(
        self, coarse_logits: Float[Array, "b h w c"], rows: Bool[Array, " b"], train: bool
    ) -> Float[Array, "b c"]:
        x = coarse_logits.mean((1, 2), keepdims=True)
        x = Conv(8, 1, name="conv1", kernel_init=torch_uniform)(x)
        x = nn.relu(BatchNorm(name="bn")(x, rows, train))
        return Conv(self.classes, 1, name="conv2", kernel_init=torch_uniform)(x)[:, 0, 0, :]


def spatial_maximum(coarse_logits: Float[Array, "b h w c"]) -> Float[Array, "b c"]:
    """The released code's classifier: the largest logit of each class over the patch. No parameters."""
    return jnp.max(coarse_logits, axis=(1, 2))
