"""A network with its scaling, and the function from raw RGB to logits. Touches no files."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from l2s_jax.models.encoder import Encoder
from l2s_jax.models.network import L2S, Outputs, normalise
from l2s_jax.system.devices import put_on_device

Forward = Callable[[np.ndarray], Outputs]
"""u8[K,t,t,3] to low-resolution logits f32[K,h,h,C] and class logits f32[K,C], for any K above 0.

Each low-resolution logit stands for a square of t/h pixels a side, which is `L2S.cell` of the network."""


class Network(NamedTuple):
    """A network and all that it needs to look at raw RGB."""

    model: L2S
    variables: Any  # params and batch_stats
    mean: Float32[Any, "3"]
    std: Float32[Any, "3"]


@partial(jax.jit, static_argnums=0)
def _forward(
    model: L2S,
    variables: Any,
    mean: Float[Array, "3"],
    std: Float[Array, "3"],
    images: UInt8[Array, "k h w 3"],
) -> Outputs:
    image = normalise(images.astype(jnp.float32) / 255, mean, std)
    outputs: Any = model.apply(variables, image, train=False)
    return outputs


@partial(jax.jit, static_argnums=0)
def _look(
    model: L2S,
    variables: Any,
    mean: Float[Array, "3"],
    std: Float[Array, "3"],
    images: UInt8[Array, "k h w 3"],
) -> Outputs:
    image = normalise(images.astype(jnp.float32) / 255, mean, std)
    outputs: Any
    outputs, seen = model.apply(
        variables,
        image,
        train=False,
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: isinstance(module, Encoder),
    )
    (features,) = seen["intermediates"]["encoder"]["__call__"]
    return Outputs(outputs.coarse_logits, features.layer3.mean((1, 2)))


def make_forward(network: Network, batch_size: int) -> Forward:
    """A function on any number of equal tiles that always runs the device on `batch_size` of them."""
    return _on_batches(_forward, network, batch_size)


def make_looks(network: Network, batch_size: int) -> Forward:
    """`make_forward` with the encoder's features f32[K,256], their mean over the tile, for class logits."""
    return _on_batches(_look, network, batch_size)


def _on_batches(function: Callable[..., Outputs], network: Network, batch_size: int) -> Forward:
    constants = jax.device_put((network.variables, jnp.asarray(network.mean), jnp.asarray(network.std)))

    def forward(images: np.ndarray) -> Outputs:
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            padding = np.zeros((batch_size - len(chunk), *images.shape[1:]), np.uint8)
            on_device = put_on_device(np.concatenate([chunk, padding]))
            outputs = function(network.model, *constants, on_device)
            parts.append([np.asarray(logits)[: len(chunk)] for logits in outputs])
        return Outputs(*(np.concatenate(logits) for logits in zip(*parts, strict=True)))

    return forward
