"""A trained network as one StableHLO program that runs without this package."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from l2s_jax.models.decoder import enlarge
from l2s_jax.models.network import L2S

PLATFORMS = ("cpu", "cuda")

Predict = Callable[[Any], dict[str, jax.Array]]


def make_predict(
    model: L2S, variables: Mapping[str, Any], mean: Sequence[float], std: Sequence[float]
) -> Predict:
    """A function of pictures alone: weights and normalisation are constants in it.

    Args:
      model: the network.
      variables: its `params` and `batch_stats`.
      mean: channel means of RGB in 0..1.
      std: channel standard deviations of RGB in 0..1.

    Returns:
      u8[B,H,W,3] (RGB) to `mask_logits` f32[B,H,W,C] and `class_logits` f32[B,C].
    """
    variables = jax.tree.map(np.asarray, variables)
    offset, scale = (np.asarray(values, np.float32).reshape(1, 1, 1, 3) for values in (mean, std))

    def predict(images: Any) -> dict[str, jax.Array]:
        image = (images.astype(jnp.float32) / 255 - offset) / scale
        outputs: Any = model.apply(jax.tree.map(jnp.asarray, variables), image, train=False)
        return {
            "mask_logits": enlarge(outputs.coarse_logits, model.cell),
            "class_logits": outputs.class_logits,
        }

    return predict


def lower(predict: Predict, patch_size: int, platforms: Sequence[str] = PLATFORMS) -> bytes:
    """Lowers `predict` for patches of one size and any number of them: the same bytes for the same network.

    Args:
      predict: as `make_predict` gives it.
      patch_size: side of a patch in pixels, a multiple of 16.
      platforms: what the program can run on; none of them needs to be here.

    Returns:
      A serialised `jax.export.Exported`; `jax.export.deserialize` reads it.
    """
    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, patch_size, patch_size, 3), jnp.uint8)
    with _without_places():
        return bytes(export.export(jax.jit(predict), platforms=platforms)(images).serialize())


@contextmanager
def _without_places() -> Iterator[None]:
    """Keeps out of a program where in which files it was traced: paths of this machine, and other bytes."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)
