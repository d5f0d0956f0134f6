"""The network of contrastive pretraining: the encoder, and a head that is thrown away afterwards."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from l2s_jax.models.encoder import Encoder

HIDDEN, PROJECTED = 256, 128
"""Features in the projection head and after it."""


class Contrast(nn.Module):
    """Encoder and projection head: normalised RGB f32[B,H,W,3] to f32[B,128]."""

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = True) -> Float[Array, "b 128"]:
        """Runs both; the encoder's features are averaged over the picture."""
        rows = jnp.ones(image.shape[0], bool)
        features = Encoder(name="encoder")(image, rows, train).layer3.mean((1, 2))
        hidden = nn.relu(nn.Dense(HIDDEN, name="hidden")(features))
        projected: Array = nn.Dense(PROJECTED, name="projection")(hidden)
        return projected
