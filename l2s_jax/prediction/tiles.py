"""From pictures to logits: batches of fixed shape, overlapping tiles, a weighted mean. Touches no files."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from l2s_jax.models.forward import Forward
from l2s_jax.types import Enlargement

Weighting = Literal["gaussian", "uniform"]


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
    """Weight f32[tile,tile] of a tile's pixels in the mean: 1, or a centred Gaussian of sigma tile/4."""
    if weighting == "uniform":
        return np.ones((tile, tile), np.float32)
    offset = np.arange(tile) - (tile - 1) / 2
    profile = np.exp(-0.5 * (offset / (tile / 4)) ** 2)
    return np.outer(profile, profile).astype(np.float32)


class Tiling(NamedTuple):
    """How pictures larger than a patch are covered."""

    tile: int  # pixels a side, the network's patch size
    stride: int  # pixels between tiles, 1..tile; below `tile` they overlap
    weighting: Weighting = "gaussian"
    batch_size: int = 20  # tiles a batch; does not change the result


def default_tiling(
    patch_size: int,
    *,
    stride: int | None = None,
    weighting: Weighting = "gaussian",
    batch_size: int = 20,
) -> Tiling:
    """Tiles of the network's patch size, half a patch apart unless `stride` says otherwise."""
    return Tiling(patch_size, max(patch_size // 2, 1) if stride is None else stride, weighting, batch_size)


class Answer(NamedTuple):
    """What a network says of one picture."""

    logits: np.ndarray  # f32[h,w,C], of its cells
    class_logits: np.ndarray  # f32[C]
    cell: int  # pixels a side of a cell: 1, or those of the network's own cells

    def codes(self) -> np.ndarray:
        """Class codes [H,W] of the pixels."""
        codes = self.logits.argmax(-1)
        return codes if self.cell == 1 else enlarge(codes, self.cell)


def predict_pictures(forward: Forward, images: Iterable[np.ndarray], tiling: Tiling) -> Iterator[Answer]:
    """What a network says of pictures u8[H,W,3] of any sizes, in their order.

    A picture of the network's size goes through whole, in batches with the others; any other by tiles.
    """
    for chunk in batched(images, tiling.batch_size):
        whole = [image.shape[:2] == (tiling.tile, tiling.tile) for image in chunk]
        patches = [image for image, is_whole in zip(chunk, whole, strict=True) if is_whole]
        logits = zip(*forward(np.stack(patches)), strict=True) if patches else iter(())
        for image, is_whole in zip(chunk, whole, strict=True):
            if is_whole:
                coarse, class_logits = next(logits)
                yield Answer(coarse, class_logits, tiling.tile // len(coarse))
            else:
                yield Answer(*predict_picture(forward, image, tiling), 1)


def predict_picture(forward: Forward, image: np.ndarray, tiling: Tiling) -> tuple[np.ndarray, np.ndarray]:
    """Mask logits f32[H,W,C] and class logits f32[C] of a picture of any size.

    A pixel's logits are the weighted mean over all tiles that cover it; the class logits are the mean over
    tiles. A picture with a side shorter than a tile is reflected up to one tile first.

    Args:
      forward: from `make_forward`.
      image: u8[H,W,3], RGB.
      tiling: how the picture is covered.
    """
    tile = tiling.tile
    height, width = image.shape[:2]
    image = reflect_to(image, tile)
    weights = tile_weights(tile, tiling.weighting)
    rows, columns = (tile_origins(side, tile, tiling.stride) for side in image.shape[:2])
    origins = [(row, column) for row in rows for column in columns]
    total = weight = labels = wide = np.zeros(0, np.float32)
    for chunk in batched(origins, tiling.batch_size):
        coarse, class_logits = forward(np.stack([image[r : r + tile, c : c + tile] for r, c in chunk]))
        if not total.size:
            total = np.zeros((*image.shape[:2], coarse.shape[-1]), np.float32)
            weight = np.zeros(image.shape[:2], np.float32)
            labels = np.zeros(coarse.shape[-1], np.float32)
            wide = weights.repeat(coarse.shape[-1], axis=1)
        labels += class_logits.sum(0)
        for (row, column), logits in zip(chunk, coarse, strict=True):
            add_tile(total[row : row + tile], logits, wide, column)
            weight[row : row + tile, column : column + tile] += weights
    return (total / weight[..., None])[:height, :width], labels / len(origins)


def add_tile(sums: np.ndarray, logits: np.ndarray, wide: np.ndarray, column: int) -> None:
    """Adds a tile's logits, times its weights, at a column; what lies beyond the sides is left out.

    Args:
      sums: f32[t,w,C], contiguous.
      logits: f32[h,h,C], each for a square of t/h pixels a side.
      wide: f32[t,t*C], the weights of the tile's pixels, once for each class: along an axis of a few classes
        sums take twice as long.
      column: of the tile's left side, may be negative; a part of the tile lies within.
    """
    tile, width, classes = sums.shape
    low, high = max(column, 0), min(column + tile, width)
    here, part = (
        slice(start * classes, stop * classes) for start, stop in ((low, high), (low - column, high - column))
    )
    cells, cell = len(logits), tile // len(logits)
    along = logits if cell == 1 else logits.repeat(cell, axis=1)
    rows = along.reshape(cells, 1, -1)[..., part]
    sums.reshape(cells, cell, -1)[..., here] += rows * wide.reshape(cells, cell, -1)[..., part]


def enlarge(coarse: np.ndarray, cell: int, how: Enlargement = "nearest") -> np.ndarray:
    """Enlarges a low-resolution map [h,w,...] to [cell*h,cell*w,...], in NumPy.

    Args:
      coarse: logits [h,w,C] for "bilinear"; class codes too for "nearest".
      cell: pixels a side of the square that one of its values stands for.
      how: see `Enlargement`. Bilinearly, a cell's own value stands at its centre, and beyond the outermost
        centres nothing is made up.
    """
    if how == "nearest":
        return coarse.repeat(cell, axis=0).repeat(cell, axis=1)
    rows, columns = (_bilinear(side, cell) for side in coarse.shape[:2])
    return np.matmul(columns, np.tensordot(rows, coarse, 1))


@functools.cache
def _bilinear(side: int, cell: int) -> np.ndarray:
    """f32[cell*n,n]: what each cell of a side of n cells gives to each of its pixels."""
    place = ((np.arange(side * cell) + 0.5) / cell - 0.5).clip(0, side - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(side)), 0).astype(np.float32)


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
