"""From rings as drawn to valid polygons."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.system.errors import UserError

MAX_CROSSINGS = 20_000
"""A shape whose edges meet more often is noise; the time of a repair (1 s at this limit) grows with them."""

MAX_FILE_CROSSINGS = 200_000
"""All outlines of a file together; bounds the time of repairs."""

_MAX_BOX_PAIRS = 5_000_000


TWICE_ROUND = 1.5
"""An outline that encloses its area this many times on average was drawn round twice (a pentagram: 1.3)."""


class Mended(NamedTuple):
    """A shape's polygons: none where it has no area."""

    polygons: list[Polygon]  # valid, of positive area, not overlapping
    repaired: bool
    crossings: int = 0  # how often its edges met where they should not; 0 unless repaired
    rewound: bool = False  # a ring that runs round twice was taken as if it did once


def polygons_from_rings(rings: tuple[np.ndarray, ...]) -> Mended:
    """Valid polygons of what lies inside the outer ring and in no hole, each by the even-odd rule.

    By that rule an outline that was drawn round twice encloses next to nothing; such a ring is filled.

    Args:
      rings: f64[V,2] (x, y), open or closed, of positions (see `vertices`); the outer one, then holes.
        Without a usable outer ring there is no polygon; holes that cannot be used are left out.

    Raises:
      UserError: an outline that crosses itself so often that it is none.
    """
    opened = [_opened(ring) for ring in rings]
    if not opened or len(opened[0]) < 3:
        return Mended([], False)
    drawn = [ring for ring in opened if len(ring) >= 3]
    sound = [_once(ring) for ring in drawn]
    rewound = any(len(one) < len(other) for one, other in zip(sound, drawn, strict=True))
    polygon = Polygon(sound[0], sound[1:])
    if polygon.is_valid:
        return Mended([polygon] if polygon.area > 0 else [], False, rewound=rewound and polygon.area > 0)
    crossings = _crossings(sound)
    try:
        twice = [_winds_twice(ring) for ring in (polygon.exterior, *polygon.interiors)]
        polygons = _filled(polygon, twice) if any(twice) else even_odd_polygons(polygon)
    except shapely.errors.GEOSException:
        polygons, twice = [], []
    rewound = bool(polygons) and (rewound or any(twice))
    return Mended(polygons, bool(polygons) and not rewound, crossings, rewound)


def each_mended(shapes: Iterable[tuple[np.ndarray, ...]]) -> Iterator[Mended]:
    """`polygons_from_rings` of each shape of a file.

    Raises:
      UserError: one of them, or all together, cross themselves so often that they are no outlines.
    """
    crossings = 0
    for rings in shapes:
        mended = polygons_from_rings(rings)
        crossings += mended.crossings
        if crossings > MAX_FILE_CROSSINGS:
            raise UserError(f"its outlines cross themselves more than {MAX_FILE_CROSSINGS} times")
        yield mended


def areas_of(shapes: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
    """f64[N]: how large the polygons of each shape are. Raises as `each_mended`.

    Valid outlines, which most are, are measured all at once, in less than half of the time.
    """
    areas = np.zeros(len(shapes))
    # GEOS takes no closed ring of three vertices.
    plain = np.array([bool(one) and min(map(len, one)) > 3 for one in shapes], bool)
    polygons = _as_drawn([one for one, taken in zip(shapes, plain, strict=True) if taken])
    valid = shapely.is_valid(polygons)
    measured = np.flatnonzero(plain)[valid]
    areas[measured] = shapely.area(polygons[valid])
    others = np.setdiff1d(np.arange(len(shapes)), measured)
    for number, mended in zip(others, each_mended(shapes[number] for number in others.tolist()), strict=True):
        areas[number] = sum(polygon.area for polygon in mended.polygons)
    return areas


def _as_drawn(shapes: Sequence[tuple[np.ndarray, ...]]) -> Any:
    """Polygons of rings as they are, valid or not."""
    rings = [ring for one in shapes for ring in one]
    if not rings:
        return np.empty(0, object)
    of_ring = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    of_shape = np.repeat(np.arange(len(shapes)), [len(one) for one in shapes])
    drawn: Any = shapely.linearrings(np.concatenate(rings), indices=of_ring)
    return shapely.polygons(drawn, indices=of_shape)


def _once(ring: np.ndarray) -> np.ndarray:
    """The ring without exact repetitions of itself."""
    for times in (2, 3):
        length, rest = divmod(len(ring), times)
        if rest == 0 and length >= 3 and (ring.reshape(times, length, 2) == ring[:length]).all():
            return ring[:length]
    return ring


def _winds_twice(ring: shapely.LinearRing) -> bool:
    """Whether a ring goes `TWICE_ROUND` about the area that it encloses."""
    x, y = shapely.get_coordinates(ring).T
    enclosed = abs(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2  # each part as often as the ring goes round it
    return bool(0 < TWICE_ROUND * shapely.area(_faces(ring)).sum() <= enclosed)


def _filled(polygon: Polygon, twice: list[bool]) -> list[Polygon]:
    """`even_odd_polygons`, but a ring that winds twice holds all that it encloses."""
    areas = [
        shapely.union_all(_faces(ring) if wound else even_odd_polygons(Polygon(ring)))
        for ring, wound in zip((polygon.exterior, *polygon.interiors), twice, strict=True)
    ]
    return polygon_parts(areas[0].difference(shapely.union_all(areas[1:])) if areas[1:] else areas[0])


def _faces(boundary: shapely.Geometry) -> Any:
    """The polygons into which lines part the plane."""
    return shapely.get_parts(shapely.polygonize([shapely.union_all(boundary)]))


def even_odd_polygons(polygon: Polygon) -> list[Polygon]:
    """What lies inside an invalid polygon's outer ring by the even-odd rule, and in no hole by the same.

    For a single ring the same areas as `shapely.make_valid`, which takes minutes where this takes a second.

    Returns:
      The faces that the rings cut out of the plane, those that lie inside.
    """
    faces = _faces(polygon.boundary)
    points = shapely.get_coordinates(shapely.point_on_surface(faces))
    # GEOS locates a point by the parity of crossings, whether the ring crosses itself or not.
    inside = _in_ring(polygon.exterior, points)
    for hole in polygon.interiors:
        inside &= ~_in_ring(hole, points)
    return [face for face in faces[inside] if face.area > 0]


def polygons_on_grid(polygon: Polygon, size: float) -> list[Polygon]:
    """Valid polygons with vertices on a grid, of what lies inside a valid one that rounding would break.

    `shapely.set_precision` does the same, and raises where many rings meet ("unable to assign free hole").

    Args:
      polygon: valid.
      size: between the grid's lines.
    """
    noded = shapely.union_all([polygon.boundary], grid_size=size)
    faces = shapely.get_parts(shapely.polygonize([noded]))
    shapely.prepare(polygon)
    points = shapely.get_coordinates(shapely.point_on_surface(faces))
    inside = faces[shapely.contains_xy(polygon, points[:, 0], points[:, 1])]
    return polygon_parts(shapely.union_all(inside, grid_size=size))


def polygon_parts(geometry: shapely.Geometry) -> list[Polygon]:
    """The polygons of positive area in a geometry of any kind."""
    if isinstance(geometry, Polygon):
        return [geometry] if geometry.area > 0 else []
    return [part for child in getattr(geometry, "geoms", ()) for part in polygon_parts(child)]


def lies_inside(polygon: Polygon, hole: Polygon) -> bool:
    """Whether `polygon` is an island in `hole`: all of it but what rounding of vertices explains."""
    return polygon.intersection(hole).area > 0.99 * polygon.area


def _in_ring(ring: shapely.LinearRing, points: np.ndarray) -> np.ndarray:
    """bool[N]: which points f64[N,2] (x, y) lie inside a ring."""
    area = Polygon(ring)
    shapely.prepare(area)
    return shapely.contains_xy(area, points[:, 0], points[:, 1])


def _opened(ring: np.ndarray) -> np.ndarray:
    """The ring without vertices that repeat the one before, or at its end the first."""
    if len(ring) > 1:
        ring = ring[np.append(True, (ring[1:] != ring[:-1]).any(axis=1))]
    differ = np.flatnonzero((ring != ring[:1]).any(axis=1))
    return ring[: differ[-1] + 1] if len(differ) else ring[:1]


def _crossings(rings: list[np.ndarray]) -> int:
    """How often edges meet other than their neighbours. Raises `UserError` beyond `MAX_CROSSINGS`."""
    pairs = np.concatenate([np.stack([ring, np.roll(ring, -1, axis=0)], axis=1) for ring in rings])
    edges: Any = shapely.linestrings(pairs)
    tree = shapely.STRtree(edges)
    sample = edges[:: -(-len(edges) // 64)]
    crossings = tree.query(sample).shape[1] / len(sample) * len(edges)  # pairs of boxes, estimated
    if crossings <= _MAX_BOX_PAIRS:
        # Each edge meets itself and two neighbours; the rest is counted from both sides.
        crossings = (tree.query(edges, predicate="intersects").shape[1] - 3 * len(edges)) / 2
    if crossings > MAX_CROSSINGS:
        raise UserError(
            f"an outline of {len(edges)} vertices crosses itself about {crossings:.0f} times: it is no "
            "region. Draw it again or remove it"
        )
    return max(0, int(crossings))
