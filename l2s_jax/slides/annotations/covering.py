"""Regions that change nothing: under a later one, or within one of their own class."""

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
    """How many regions cannot be seen, or cannot be told from what they lie on."""

    covered: int  # by later ones
    doubled: int  # by an equal one of the same class
    within: int  # an earlier one of the same class: a hole, where a program writes holes as areas
    notes: tuple[str, ...] = ()


def count_hidden(regions: Sequence[Region]) -> Hidden:
    """Counts regions that are painted over, that stand twice, and that are painted on their own class."""
    if not regions:
        return Hidden(0, 0, 0)
    every: Any = np.array([region.polygon for region in regions])
    forms = shapely.to_wkb(shapely.normalize(every))
    codes = [region.code for region in regions]
    last = {key: number for number, key in enumerate(zip(forms, codes, strict=True))}
    kept = sorted(last.values())
    polygons, classes = every[kept], np.array(codes)[kept]
    doubled = len(regions) - len(polygons)
    tree = shapely.STRtree(polygons)
    sample = polygons[:: -(-len(polygons) // 256)]
    if tree.query(sample).shape[1] / len(sample) * len(polygons) > MAX_PAIRS:
        return Hidden(0, doubled, 0, ("too many overlaps to tell which regions are covered",))
    under, over = tree.query(polygons)  # whose boxes meet
    under, over = under[over > under], over[over > under]
    shapely.prepare(polygons)
    rings = shapely.get_exterior_ring(polygons)
    vertices = shapely.get_num_points(rings) - 1
    probes = [
        shapely.get_coordinates(shapely.get_point(rings, place * vertices // PROBES))
        for place in range(PROBES)
    ]
    within = _count_within(polygons, classes, probes, under, over)
    for probe in probes:
        # A region is covered only if each of its vertices is.
        seen = np.zeros(len(polygons), bool)
        seen[under[shapely.intersects_xy(polygons[over], *probe[under].T)]] = True
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
    return Hidden(covered, doubled, within)


def _count_within(polygons: Any, classes: Any, probes: Sequence[Any], under: Any, over: Any) -> int:
    """How many regions lie in an earlier one of their class, with none of another class between them."""
    outer, inner = under[classes[under] == classes[over]], over[classes[under] == classes[over]]
    for probe in probes:
        seen = shapely.intersects_xy(polygons[outer], *probe[inner].T)
        outer, inner = outer[seen], inner[seen]
    held = shapely.covers(polygons[outer], polygons[inner])
    nearest = np.full(len(polygons), -1)  # the region that each is painted on
    np.maximum.at(nearest, inner[held], outer[held])
    between = (classes[under] != classes[over]) & (nearest[over] >= 0) & (under > nearest[over])
    met = shapely.intersects(polygons[under[between]], polygons[over[between]])
    nearest[over[between][met]] = -1
    return int((nearest >= 0).sum())


def _covers_together(above: Any, polygon: Polygon) -> bool:
    """Whether several regions leave nothing of one."""
    if len(above) < 2 or shapely.area(above).sum() < polygon.area:
        return False
    return bool(polygon.difference(shapely.union_all(above)).area <= 1e-9 * polygon.area)
