"""From rings as drawn to valid polygons."""

from typing import Any

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.errors import UserError

MAX_COORDINATE = 1e7
"""Level-0 pixels; no slide is as large. Beyond it, and where it is no number, a vertex is taken as broken."""

MAX_CROSSINGS = 1_000_000
"""An outline that crosses itself more often is noise and would take unbounded memory to repair."""


def polygons_from_rings(rings: tuple[np.ndarray, ...]) -> tuple[list[Polygon], bool]:
    """Valid polygons of positive area that the rings enclose by the even-odd rule.

    Args:
      rings: f64[V,2] (x, y), open or closed; the outer one, then holes.

    Returns:
      The polygons (none where there is no area) and whether the rings had to be repaired.

    Raises:
      UserError: an outline that crosses itself so often that it is none.
    """
    opened = [_opened(ring) for ring in rings]
    sound = [ring for ring in opened if _is_ring(ring)]
    if not opened or not _is_ring(opened[0]):
        return [], False
    polygon = Polygon(sound[0], sound[1:])
    if polygon.is_valid:
        return ([polygon] if polygon.area > 0 else []), False
    for ring in sound:
        _refuse_tangles(ring)
    try:
        return polygon_parts(shapely.make_valid(polygon)), True
    except shapely.errors.GEOSException:
        return [], False


def polygon_parts(geometry: shapely.Geometry) -> list[Polygon]:
    """The polygons of positive area in a geometry of any kind."""
    if isinstance(geometry, Polygon):
        return [geometry] if geometry.area > 0 else []
    return [part for child in getattr(geometry, "geoms", ()) for part in polygon_parts(child)]


def lies_inside(polygon: Polygon, hole: Polygon) -> bool:
    """Whether `polygon` is an island in `hole`: all of it but what rounding of vertices explains."""
    return polygon.intersection(hole).area > 0.99 * polygon.area


def _opened(ring: np.ndarray) -> np.ndarray:
    """The ring without the vertices at its end that repeat the first."""
    differ = np.flatnonzero((ring != ring[:1]).any(axis=1))
    return ring[: differ[-1] + 1] if len(differ) else ring[:1]


def _is_ring(ring: np.ndarray) -> bool:
    """Whether a ring has three vertices, all of them numbers that can be positions (NaN is none)."""
    return len(ring) >= 3 and bool((np.abs(ring) <= MAX_COORDINATE).all())


def _refuse_tangles(ring: np.ndarray) -> None:
    """Estimates from some of its edges how often a ring crosses itself."""
    if len(ring) < 2000:
        return
    edges: Any = shapely.linestrings(np.stack([ring, np.roll(ring, -1, axis=0)], axis=1))
    sample = edges[:: max(1, len(edges) // 200)][:200]
    near = shapely.STRtree(edges).query(sample).shape[1] / len(sample) - 3  # itself and its neighbours
    if near * len(edges) / 2 > MAX_CROSSINGS:
        raise UserError(
            f"an outline of {len(ring)} vertices crosses itself about {near * len(edges) / 2:.0f} times: it "
            "is no region. Draw it again or remove it"
        )
