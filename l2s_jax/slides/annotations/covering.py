"""Regions of which a later one leaves nothing to be seen."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely

from l2s_jax.slides.annotations.types import Region

MAX_PAIRS = 2_000_000
"""Pairs of regions whose boxes meet that are looked at; beyond it, nothing is said of what is covered."""

MAX_UNIONS = 100_000
"""Pairs looked at where no single region covers another, but several together may."""


class Hidden(NamedTuple):
    """How many regions cannot be seen."""

    covered: int  # by later ones
    doubled: int  # by an equal one of the same class
    notes: tuple[str, ...] = ()


def count_hidden(regions: Sequence[Region]) -> Hidden:
    """Counts regions that are painted over altogether, and those that stand twice."""
    if not regions:
        return Hidden(0, 0)
    last: dict[tuple[bytes, int], int] = {}
    for number, region in enumerate(regions):
        last[(shapely.to_wkb(shapely.normalize(region.polygon)), region.code)] = number
    single = [regions[number] for number in sorted(last.values())]
    doubled = len(regions) - len(single)
    polygons: Any = np.array([region.polygon for region in single])
    tree = shapely.STRtree(polygons)
    sample = polygons[:: -(-len(polygons) // 256)]
    if tree.query(sample).shape[1] / len(sample) * len(polygons) > MAX_PAIRS:
        return Hidden(0, doubled, ("too many overlaps to tell which regions are covered",))
    over, under = _later(tree.query(polygons, predicate="covered_by"))
    covered = set(under.tolist())
    over, under = _later(tree.query(polygons, predicate="intersects"))
    if len(under) <= MAX_UNIONS:
        for number in sorted(set(under.tolist()) - covered):
            above = polygons[over[under == number]]
            area = polygons[number].area
            if shapely.area(above).sum() >= area:
                rest = polygons[number].difference(shapely.union_all(above)).area
                covered |= {number} if rest <= 1e-9 * area else set()
    return Hidden(len(covered), doubled)


def _later(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(over, under) of the pairs (under, over) in which the one over is the later one."""
    under, over = pairs
    later = over > under
    return over[later], under[later]
