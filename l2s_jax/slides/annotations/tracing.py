"""Tracing a mask: polygons along the edges of its pixels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from shapely import Polygon

from l2s_jax.slides.annotations.repair import even_odd_polygons, polygon_parts
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.types import IGNORE_PIXEL

# A vertex of the pixel grid by which of its four pixels are set: 1 upper left, 2 upper right, 4 lower left,
# 8 lower right. For each corner of the outline there: the pixel (row, col; 0 is the one before the vertex) to
# whose component it belongs, and whether it comes first or second on its row and on its column. Where only
# two opposite pixels are set, two corners meet in the vertex and each keeps to its own pixel.
_CORNERS = {
    1: ((0, 0, 0, 0),),
    2: ((0, 1, 0, 0),),
    4: ((1, 0, 0, 0),),
    8: ((1, 1, 0, 0),),
    7: ((0, 0, 0, 0),),
    11: ((0, 1, 0, 0),),
    13: ((1, 0, 0, 0),),
    14: ((1, 1, 0, 0),),
    9: ((0, 0, 0, 0), (1, 1, 1, 1)),
    6: ((0, 1, 1, 0), (1, 0, 0, 1)),
}


def polygons_from_mask(
    mask: np.ndarray,
    downsample: tuple[float, float],
    *,
    origin: tuple[int, int] = (0, 0),
    background: int | None = 0,
    simplify_level0: float = 0.0,
    ignored: bool = False,
) -> Annotations:
    """Outlines of the connected areas of each class, as `trace_classes` gives them."""
    traced = trace_classes(
        mask,
        downsample,
        origin=origin,
        background=background,
        simplify_level0=simplify_level0,
        ignored=ignored,
    )
    return Annotations(
        tuple(
            Region(polygon, one.code) for one in traced for polygons in one.polygons for polygon in polygons
        )
    )


class Traced(NamedTuple):
    """The connected areas of a class."""

    code: int
    corner: tuple[int, int]  # (row, col) of `components` in the mask
    components: np.ndarray  # i32[h,w]: the number of the area that a pixel belongs to, from 1; 0 is none
    polygons: list[list[Polygon]]  # of each area, in level-0 pixels; several where one touches itself


def trace_classes(
    mask: np.ndarray,
    downsample: tuple[float, float],
    *,
    origin: tuple[int, int] = (0, 0),
    background: int | None = 0,
    simplify_level0: float = 0.0,
    ignored: bool = False,
) -> Iterator[Traced]:
    """Outlines of the connected areas of each class, exactly along pixel edges.

    Areas are connected through edges, not corners. Without simplification, areas are exact and `paint` with
    the same arguments gives the mask back. With it (Douglas-Peucker), every outline stays within
    `simplify_level0` of the pixel edges, so that an area changes by at most `simplify_level0` times its
    perimeter.

    Args:
      mask: u8[h,w], class codes.
      downsample: level-0 pixels to a mask pixel, (row, col).
      origin: (row, col) of the mask's first pixel, in mask pixels from level-0 (0, 0).
      background: the code that is not traced; None traces every class.
      simplify_level0: distance in level-0 pixels; from 1.5 * downsample on, stairs become slopes.
      ignored: trace the areas of `IGNORE_PIXEL` too.

    Yields:
      One class after the other, by code, its areas by place.
    """
    scale = np.array(downsample[::-1])
    shift = np.array(origin[::-1])
    for code in np.unique(mask):
        if code == background or (code == IGNORE_PIXEL and not ignored):
            continue
        rows, cols = (np.flatnonzero((mask == code).any(axis=axis)) for axis in (1, 0))
        corner = np.array([cols[0], rows[0]])
        area = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] == code
        components, count = ndimage.label(area)
        polygons = []
        for shell, holes in _outlines(area, components, count):
            rings = [(ring + corner + shift) * scale for ring in (shell, *holes)]
            valid = _valid(Polygon(rings[0], rings[1:]))
            polygons.append([part for one in valid for part in _simplified(one, simplify_level0)])
        yield Traced(int(code), (int(rows[0]), int(cols[0])), components, polygons)


def _outlines(
    area: np.ndarray, components: np.ndarray, count: int
) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """For each 4-connected component of bool[h,w]: its outer ring and its holes, i64[V,2] (x, y) each."""
    vertices, component, on_row, on_column = _corners(area, components)
    # Along a row of the grid, corners pair up as the ends of edges; so they do along a column.
    along_row = _partners(np.lexsort((on_row, vertices[:, 0], vertices[:, 1])))
    along_column = _partners(np.lexsort((on_column, vertices[:, 1], vertices[:, 0])))
    found: list[list[np.ndarray]] = [[] for _ in range(count)]
    seen = bytearray(len(vertices))
    for start in range(len(vertices)):
        ring, here = [], start
        while not seen[here]:
            there = along_row[here]
            seen[here] = seen[there] = 1
            ring += [here, there]
            here = along_column[there]
        if ring:
            found[component[start] - 1].append(vertices[ring])
    # A component's outer ring encloses its holes.
    ordered = [sorted(rings, key=_ring_area, reverse=True) for rings in found]
    return [(rings[0], rings[1:]) for rings in ordered]


def _corners(
    area: np.ndarray, components: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Corners of all outlines: vertex i64[N,2] (x, y), component, orders on its row and its column."""
    padded = np.pad(area, 1).astype(np.uint8)
    kinds = padded[:-1, :-1] | padded[:-1, 1:] << 1 | padded[1:, :-1] << 2 | padded[1:, 1:] << 3
    # A bend, unless none, all, or two neighbouring pixels are set.
    bends = ~np.isin(kinds, (0, 3, 5, 10, 12, 15))
    y, x = np.nonzero(bends)
    kind = kinds[bends]
    labels = np.pad(components, 1)
    parts = []
    for value, corners in _CORNERS.items():
        at_y, at_x = y[kind == value], x[kind == value]
        for down, right, on_row, on_column in corners:
            orders = np.full((len(at_y), 2), (on_row, on_column))
            parts.append(np.column_stack([at_x, at_y, labels[at_y + down, at_x + right], orders]))
    table = np.concatenate(parts)
    return table[:, :2], table[:, 2], table[:, 3], table[:, 4]


def _partners(order: np.ndarray) -> list[int]:
    """For each corner the other one of its pair, where pairs stand side by side in `order`."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner.tolist()


def _ring_area(ring: np.ndarray) -> float:
    x, y = ring.T.astype(np.float64)
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _valid(polygon: Polygon) -> list[Polygon]:
    """The polygon; a ring that touches itself in a corner becomes rings that touch each other."""
    return [polygon] if polygon.is_valid else even_odd_polygons(polygon)


def _simplified(polygon: Polygon, tolerance: float) -> list[Polygon]:
    """Douglas-Peucker at half the tolerance: GEOS then drops a ring's end point by the same measure again."""
    return polygon_parts(polygon.simplify(tolerance / 2)) if tolerance > 0 else [polygon]
