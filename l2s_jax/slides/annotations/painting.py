"""Painting regions as a mask, straight at the scale of the mask."""

from collections.abc import Iterator

import numpy as np
from shapely import Polygon

from l2s_jax.slides.annotations.types import Annotations

_MAX_CROSSINGS = 2_000_000
"""Edge-row crossings worked on at once: bounds the memory for outlines with very many vertices."""


def paint(
    annotations: Annotations,
    size: tuple[int, int],
    downsample: tuple[float, float],
    *,
    origin: tuple[int, int] = (0, 0),
    background: int = 0,
) -> np.ndarray:
    """Paints regions in their order, a later one over an earlier one.

    A pixel belongs to a region if its centre lies inside by the even-odd rule, so that holes stay open; a
    centre exactly on an outline belongs to the region on its right or below it, so that neighbours that
    share an edge neither overlap nor leave a gap. Memory and time depend on `size`, not on the slide's size
    at level 0. A window is exactly the crop of the whole.

    Args:
      annotations: in level-0 pixels.
      size: (height, width) of the mask (`slides.size_at` for a whole slide).
      downsample: level-0 pixels to a mask pixel, (row, col) (`slides.downsample_at`).
      origin: (row, col) of the mask's first pixel, in mask pixels from level-0 (0, 0).
      background: the code where nothing is drawn.

    Returns:
      u8[h,w], class codes.
    """
    mask = np.full(size, background, np.uint8)
    for region in annotations.regions:
        _paint_polygon(mask, region.polygon, region.code, downsample, origin)
    return mask


def count_unpainted(annotations: Annotations, downsample: tuple[float, float]) -> int:
    """How many regions hold no pixel's centre at a scale, and leave no trace in a mask of it.

    Args:
      annotations: in level-0 pixels.
      downsample: level-0 pixels to a mask pixel, (row, col).
    """
    number = 0
    for region in annotations.regions:
        left, top, right, bottom = np.array(region.polygon.bounds) / np.tile(downsample[::-1], 2)
        first = _first_centre(np.array([top, left]))
        size = _first_centre(np.array([bottom, right])) - first
        if region.polygon.area > 4 * downsample[0] * downsample[1] and size.min() > 1:
            continue
        mask = np.zeros((max(0, size[0]), max(0, size[1])), np.uint8)
        _paint_polygon(mask, region.polygon, 1, downsample, (int(first[0]), int(first[1])))
        number += not mask.any()
    return number


def _paint_polygon(
    mask: np.ndarray, polygon: Polygon, code: int, downsample: tuple[float, float], origin: tuple[int, int]
) -> None:
    """Writes `code` into `mask` where pixel centres lie inside `polygon`."""
    scale = np.array(downsample[::-1])
    # In mask pixels from level-0 (0, 0), whatever the origin: a window then rounds exactly as the whole.
    rings = [np.asarray(ring.coords)[:, :2] / scale for ring in (polygon.exterior, *polygon.interiors)]
    low, high = rings[0].min(axis=0), rings[0].max(axis=0)
    left, top = np.maximum(_first_centre(low), origin[::-1])
    right, bottom = np.minimum(_first_centre(high), np.add(origin, mask.shape)[::-1])
    if left >= right or top >= bottom:
        return
    # Every crossing flips what lies to its right; the running parity of a row is then the inside.
    flips = np.zeros((bottom - top, right - left + 1), np.uint8)
    edges = np.concatenate([np.concatenate([ring[:-1], ring[1:]], axis=1) for ring in rings])
    for rows, cols in _crossings(edges, top, bottom):
        np.bitwise_xor.at(flips, (rows - top, np.clip(cols, left, right) - left), 1)
    inside = np.bitwise_xor.accumulate(flips, axis=1)[:, :-1].view(bool)
    window = mask[top - origin[0] : bottom - origin[0], left - origin[1] : right - origin[1]]
    np.copyto(window, np.uint8(code), where=inside)


def _crossings(edges: np.ndarray, top: int, bottom: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (rows, first columns to the right) of the crossings of edges with rows of pixel centres.

    Args:
      edges: f64[E,4], (x0, y0, x1, y1) in mask pixels.
      top: first row of interest.
      bottom: row after the last.
    """
    edges = np.where((edges[:, 1] > edges[:, 3])[:, None], edges[:, [2, 3, 0, 1]], edges)
    first = np.maximum(_first_centre(edges[:, 1]), top)
    number = np.minimum(_first_centre(edges[:, 3]), bottom) - first
    edges, first, number = (part[number > 0] for part in (edges, first, number))
    chunk = np.cumsum(number) // _MAX_CROSSINGS
    for start, stop in zip(*_runs(chunk), strict=True):
        some, counts = edges[start:stop], number[start:stop]
        of_edge = np.repeat(np.arange(len(some)), counts)
        rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows += first[start:stop][of_edge]
        x0, y0, x1, y1 = some[of_edge].T
        yield rows, _first_centre(x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0)))


def _first_centre(position: np.ndarray) -> np.ndarray:
    """i64: index of the first pixel whose centre is not before `position`."""
    return np.ceil(position - 0.5).astype(np.int64)


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops of the runs of equal values."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    return starts, np.append(starts[1:], len(values))[: len(starts)]
