"""A finer segmentation module: logits at a quarter of the patch's resolution. Not in the paper.

Figure 2 of the paper speaks of skip connections, and Table A.2 has none. These follow the feature pyramid
network (Lin et al. 2017, "Feature Pyramid Networks for Object Detection", https://arxiv.org/abs/1612.03144):
from coarse to fine, what comes from above is enlarged twice and a 1x1 projection of the encoder's features
of that size is added to it; a 3x3 convolution on the sum evens out what enlarging leaves. As in its form for
segmentation (Kirillov et al. 2019, "Panoptic Feature Pyramid Networks", https://arxiv.org/abs/1901.02446)
enlargement is bilinear, here with the corners aligned, as in the paper's own module, and the finest map alone
is classified.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from l2s_jax.models.decoder import torch_uniform, upsample_bilinear
from l2s_jax.models.encoder import Features
from l2s_jax.models.layers import BatchNorm, Conv

WIDTH = 64
"""Channels of the pyramid, as many as the paper's module has."""


class SkipDecoder(nn.Module):
    """Features of strides 4, 8 and 16 to logits [B,H/4,W/4,C]; 197,124 parameters at C=4.

    Its first layer is the paper's. Both classifiers take its logits as they are: that of Table A.3 begins
    with their mean over the patch, which is the same whether cells of 4 or of 8 pixels are averaged, and the
    largest logit of a class is looked for where the network says it, in the smaller cells.
    """

    classes: int

    cell: ClassVar[int] = 4
    """Pixels a side of the square that one low-resolution logit stands for."""

    @nn.compact
    def __call__(self, features: Features, rows: Bool[Array, " b"], train: bool) -> Float[Array, "b h4 w4 c"]:
        x = Conv(WIDTH, 3, name="conv", kernel_init=torch_uniform)(features.layer3)
        x = nn.relu(BatchNorm(name="bn")(x, rows, train))
        for name, finer in (("lateral2", features.layer2), ("lateral1", features.layer1)):
            x = upsample_bilinear(x) + Conv(WIDTH, 1, name=name, kernel_init=torch_uniform)(finer)
        x = Conv(WIDTH, 3, name="conv2", kernel_init=torch_uniform)(x)
        x = nn.relu(BatchNorm(name="bn2")(x, rows, train))
        kernel = self.param("logits_kernel", torch_uniform, (1, 1, WIDTH, self.classes))
        bias = self.param("logits_bias", lambda key: torch_uniform(key, (WIDTH, self.classes))[0])
        x = jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0].astype(x.dtype))
        return x.astype(jnp.float32) + bias[None, None, None, :]
