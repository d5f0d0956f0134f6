"""From pictures to logits: batches of fixed shape, overlapping tiles, a weighted mean. Touches no files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2s_jax.models.decoder import SCALE
from l2s_jax.models.network import L2S
from l2s_jax.train_step import normalise

Weighting = Literal["gaussian", "uniform"]

Forward = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""u8[K,t,t,3] to low-resolution logits f32[K,t/8,t/8,C] and class logits f32[K,C], for any K."""


class Network(NamedTuple):
    """A network and all that it needs to look at raw RGB."""

    model: L2S
    variables: Any  # params and batch_stats
    mean: Any  # f32[3]
    std: Any  # f32[3]


@partial(jax.jit, static_argnums=0)
def _forward(model: L2S, variables: Any, mean: Any, std: Any, images: Any) -> tuple[jax.Array, jax.Array]:
    outputs = model.apply(variables, normalise(images.astype(jnp.float32) / 255, mean, std), train=False)
    return outputs.coarse_logits, outputs.class_logits


def make_forward(network: Network, batch_size: int) -> Forward:
    """A function on any number of equal tiles that always runs the device on `batch_size` of them."""
    constants = jax.device_put((network.variables, jnp.asarray(network.mean), jnp.asarray(network.std)))

    def forward(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            padding = np.zeros((batch_size - len(chunk), *images.shape[1:]), np.uint8)
            logits = _forward(network.model, *constants, np.concatenate([chunk, padding]))
            parts.append([np.asarray(part)[: len(chunk)] for part in logits])
        coarse, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        return coarse, labels

    return forward


def tile_origins(length: int, tile: int, stride: int) -> list[int]:
    """Where tiles start along one side so that they cover it all; the last is flush with the end.

    Raises:
      ValueError: the side is shorter than a tile, or the stride is not in 1..tile.
    """
    if length < tile:
        raise ValueError(f"a side of {length} pixels is shorter than a tile of {tile}")
    if not 1 <= stride <= tile:
        raise ValueError(f"a stride of {stride} leaves gaps between tiles of {tile}, or never moves")
    origins = list(range(0, length - tile + 1, stride))
    if origins[-1] != length - tile:
        origins.append(length - tile)
    return origins


def tile_weights(tile: int, weighting: Weighting) -> np.ndarray:
    """Weight f32[tile,tile] of a tile's pixels in the mean: all 1, or a Gaussian of sigma tile/4 at its centre."""
    if weighting == "uniform":
        return np.ones((tile, tile), np.float32)
    offset = np.arange(tile) - (tile - 1) / 2
    profile = np.exp(-0.5 * (offset / (tile / 4)) ** 2)
    return np.outer(profile, profile).astype(np.float32)


def predict_logits(
    forward: Forward, image: np.ndarray, *, tile: int, stride: int, weighting: Weighting, batch_size: int
) -> np.ndarray:
    """Mask logits f32[H,W,C] of a picture: the weighted mean of the logits of all tiles over each pixel.

    A picture with a side shorter than a tile is reflected up to one tile first.

    Args:
      forward: from `make_forward`.
      image: u8[H,W,3], RGB.
      tile: side of a tile in pixels, the network's patch size.
      stride: distance between tiles in pixels, 1..tile; below `tile` they overlap.
      weighting: how a tile's pixels count.
      batch_size: tiles gathered at a time; does not change the result.
    """
    height, width = image.shape[:2]
    image = reflect_to(image, tile)
    weights = tile_weights(tile, weighting)
    origins = [
        (row, column)
        for row in tile_origins(image.shape[0], tile, stride)
        for column in tile_origins(image.shape[1], tile, stride)
    ]
    total: np.ndarray | None = None
    weight = np.zeros(image.shape[:2], np.float32)
    for chunk in batched(origins, batch_size):
        coarse, _ = forward(np.stack([image[r : r + tile, c : c + tile] for r, c in chunk]))
        if total is None:
            total = np.zeros((*image.shape[:2], coarse.shape[-1]), np.float32)
        for (row, column), logits in zip(chunk, coarse, strict=True):
            here = np.s_[row : row + tile, column : column + tile]
            total[here] += enlarge(logits) * weights[..., None]
            weight[here] += weights
    assert total is not None
    return (total / weight[..., None])[:height, :width]


def enlarge(coarse: np.ndarray) -> np.ndarray:
    """Nearest-neighbour enlargement of low-resolution logits [h,w,C] to [8h,8w,C], in NumPy."""
    return coarse.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def reflect_to(image: np.ndarray, size: int) -> np.ndarray:
    """Reflects a picture at its lower and right edge until neither side is shorter than `size`."""
    missing = [max(size - side, 0) for side in image.shape[:2]]
    return (
        np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric") if any(missing) else image
    )


def batched(items: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    """Lists of `size` items, the last one shorter."""
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
