"""The whole network: encoder, decoder, classifier (Fig. 1)."""

from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Float32

from l2s_jax.models.classifier import Classifier, spatial_maximum
from l2s_jax.models.decoder import Decoder
from l2s_jax.models.encoder import Encoder
from l2s_jax.models.skip_decoder import SkipDecoder
from l2s_jax.types import PATCH_MULTIPLE, DecoderName, fits_network

DECODERS: dict[DecoderName, type[Decoder] | type[SkipDecoder]] = {"paper": Decoder, "skip": SkipDecoder}


class Outputs(NamedTuple):
    """What the network says of a batch."""

    coarse_logits: Float32[Any, "b h w c"]  # of square cells: h and w are the patch's over `L2S.cell`
    class_logits: Float32[Any, "b c"]


class L2S(nn.Module):
    """Normalised RGB patches to `Outputs`. 2,930,708 parameters at four classes with head `a3`."""

    classes: int
    head: Literal["a3", "max"] = "a3"
    dtype: DTypeLike = jnp.float32  # of the encoder's and decoder's activations; logits are always f32
    decoder: DecoderName = "paper"

    @property
    def cell(self) -> int:
        """Pixels a side of the square that one of its low-resolution logits stands for: 8, `skip` 4."""
        return DECODERS[self.decoder].cell

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        rows: Bool[Array, " b"] | None = None,
        label_rows: Bool[Array, " b"] | None = None,
        *,
        train: bool = False,
    ) -> Outputs:
        """Runs the network.

        Args:
          image: normalised RGB; H and W multiples of 16.
          rows: rows whose pixels enter the batch statistics of encoder and decoder; all by default.
          label_rows: rows that pass through the classifier in the paper's sense, so that enter its batch
            statistics; `rows` by default.
          train: batch statistics are used and updated (collection `batch_stats` mutable) instead of the
            running ones.
        """
        height, width = image.shape[1:3]
        if not fits_network(height, width):
            raise ValueError(f"patch of {height}x{width}: both must be multiples of {PATCH_MULTIPLE}")
        if rows is None:
            rows = jnp.ones(image.shape[0], bool)
        if label_rows is None:
            label_rows = rows
        features = Encoder(name="encoder")(image.astype(self.dtype), rows, train)
        coarse_logits = DECODERS[self.decoder](self.classes, name="decoder")(features, rows, train)
        if self.head == "max":
            return Outputs(coarse_logits, spatial_maximum(coarse_logits))
        class_logits = Classifier(self.classes, name="classifier")(coarse_logits, label_rows, train)
        return Outputs(coarse_logits, class_logits)


def zero_variables(model: L2S) -> dict[str, Any]:
    """Zeros of the shapes of `init_variables`, f32 on the default device, to be filled from a file.

    NumPy's: jnp.zeros would be a program for each of the 17 or 19 shapes, which take half a second.
    """
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    zeros: dict[str, Any] = jax.device_put(
        jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    )
    return zeros


def init_variables(model: L2S, key: jax.Array, patch_size: int = 32) -> dict[str, Any]:
    """Random `params` and `batch_stats`: torchvision's initialisation, torch's defaults in the two modules.

    The parameters do not depend on the patch size, so a small one is enough to make them.
    """

    @jax.jit  # drops the forward pass, whose result is not asked for
    def init(key: jax.Array) -> Any:
        return model.init(key, jnp.zeros((2, patch_size, patch_size, 3)))

    variables = init(key)
    return {"params": variables["params"], "batch_stats": variables["batch_stats"]}


def count_parameters(params: Any) -> int:
    """Number of trainable values."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def normalise(
    image: Float[Array, "b h w 3"], mean: Float[Array, "3"], std: Float[Array, "3"]
) -> Float[Array, "b h w 3"]:
    """RGB in 0..1 to zero mean and unit deviation by channel."""
    return (image - jnp.expand_dims(mean, (0, 1, 2))) / jnp.expand_dims(std, (0, 1, 2))
