"""Regions of which a later one leaves nothing to be seen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.slides.annotations.types import Region

MAX_PAIRS = 2_000_000
"""Pairs of regions whose boxes meet that are looked at; beyond it, nothing is said of what is covered."""

PROBES = 8
"""Vertices of a region that are looked up before areas are compared."""


class Hidden(NamedTuple):
    """How many regions cannot be seen."""

    covered: int  # by later ones
    doubled: int  # by an equal one of the same class
    notes: tuple[str, ...] = ()


def count_hidden(regions: Sequence[Region]) -> Hidden:
    """Counts regions that are painted over altogether, and those that stand twice."""
    if not regions:
        return Hidden(0, 0)
    every: Any = np.array([region.polygon for region in regions])
    forms = shapely.to_wkb(shapely.normalize(every))
    codes = [region.code for region in regions]
    last = {key: number for number, key in enumerate(zip(forms, codes, strict=True))}
    polygons = every[sorted(last.values())]
    doubled = len(regions) - len(polygons)
    tree = shapely.STRtree(polygons)
    sample = polygons[:: -(-len(polygons) // 256)]
    if tree.query(sample).shape[1] / len(sample) * len(polygons) > MAX_PAIRS:
        return Hidden(0, doubled, ("too many overlaps to tell which regions are covered",))
    under, over = tree.query(polygons)  # whose boxes meet
    under, over = under[over > under], over[over > under]
    shapely.prepare(polygons)
    rings = shapely.get_exterior_ring(polygons)
    vertices = shapely.get_num_points(rings) - 1
    for place in range(PROBES):
        # A region is covered only if each of its vertices is.
        probe = shapely.get_coordinates(shapely.get_point(rings, place * vertices // PROBES))[under]
        seen = np.zeros(len(polygons), bool)
        seen[under[shapely.intersects_xy(polygons[over], probe[:, 0], probe[:, 1])]] = True
        under, over = under[seen[under]], over[seen[under]]
    shapely.destroy_prepared(polygons)
    order = np.argsort(under, kind="stable")
    numbers, starts = np.unique(under[order], return_index=True)
    covered = 0
    groups = np.split(over[order], starts[1:]) if len(numbers) else []
    for number, above in zip(numbers, groups, strict=True):
        covered += bool(shapely.covers(polygons[above], polygons[number]).any()) or _covers_together(
            polygons[above], polygons[number]
        )
    return Hidden(covered, doubled)


def _covers_together(above: Any, polygon: Polygon) -> bool:
    """Whether several regions leave nothing of one."""
    if len(above) < 2 or shapely.area(above).sum() < polygon.area:
        return False
    return bool(polygon.difference(shapely.union_all(above)).area <= 1e-9 * polygon.area)
