"""A network with its scaling, and the function from raw RGB to logits. Touches no files."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2s_jax.models.network import L2S, normalise
from l2s_jax.system.devices import put_on_device

Forward = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""u8[K,t,t,3] to low-resolution logits f32[K,t/8,t/8,C] and class logits f32[K,C], for any K above 0."""


class Network(NamedTuple):
    """A network and all that it needs to look at raw RGB."""

    model: L2S
    variables: Any  # params and batch_stats
    mean: Any  # f32[3]
    std: Any  # f32[3]


@partial(jax.jit, static_argnums=0)
def _forward(model: L2S, variables: Any, mean: Any, std: Any, images: Any) -> tuple[jax.Array, jax.Array]:
    image = normalise(images.astype(jnp.float32) / 255, mean, std)
    outputs: Any = model.apply(variables, image, train=False)
    return outputs.coarse_logits, outputs.class_logits


def make_forward(network: Network, batch_size: int) -> Forward:
    """A function on any number of equal tiles that always runs the device on `batch_size` of them."""
    constants = jax.device_put((network.variables, jnp.asarray(network.mean), jnp.asarray(network.std)))

    def forward(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            padding = np.zeros((batch_size - len(chunk), *images.shape[1:]), np.uint8)
            there = put_on_device(np.concatenate([chunk, padding]))
            logits = _forward(network.model, *constants, there)
            parts.append([np.asarray(part)[: len(chunk)] for part in logits])
        coarse, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return coarse, labels

    return forward
