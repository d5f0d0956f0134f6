"""ResNet-18 (He et al. 2016) up to its third layer: the paper's encoder (section 2.2, Appendix A)."""

from typing import Any, NamedTuple

import flax.linen as nn
from jaxtyping import Array, Bool, Float

from l2s_jax.models.convolution import max_pool_3x3_s2
from l2s_jax.models.layers import BatchNorm, Conv

STAGES = ((64, 1), (128, 2), (256, 2))  # features and stride of layer1, layer2, layer3
BLOCKS = 2  # basic blocks a stage


class Features(NamedTuple):
    """What the encoder makes of pictures [B,H,W,3], after each of its layers."""

    layer1: Float[Any, "b h//4 w//4 64"]
    layer2: Float[Any, "b h//8 w//8 128"]
    layer3: Float[Any, "b h//16 w//16 256"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around an identity, or around a strided 1x1 projection."""

    features: int
    stride: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w i"], rows: Bool[Array, " b"], train: bool
    ) -> Float[Array, "b h2 w2 o"]:
        y = Conv(self.features, 3, self.stride, name="conv1")(x)
        y = nn.relu(BatchNorm(name="bn1")(y, rows, train))
        y = Conv(self.features, 3, name="conv2")(y)
        y = BatchNorm(name="bn2")(y, rows, train)
        if x.shape[-1] != self.features or self.stride != 1:
            x = Conv(self.features, 1, self.stride, name="downsample_conv")(x)
            x = BatchNorm(name="downsample_bn")(x, rows, train)
        return nn.relu(x + y)


class Encoder(nn.Module):
    """Normalised RGB [B,H,W,3] to `Features`; 2,782,784 parameters."""

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], rows: Bool[Array, " b"], train: bool) -> Features:
        x = Conv(64, 7, 2, name="conv1")(image)
        x = nn.relu(BatchNorm(name="bn1")(x, rows, train))
        x = max_pool_3x3_s2(x)
        after = []
        for stage, (features, stride) in enumerate(STAGES, start=1):
            for block in range(BLOCKS):
                name = f"layer{stage}_{block}"
                x = BasicBlock(features, stride if block == 0 else 1, name=name)(x, rows, train)
            after.append(x)
        return Features(*after)
