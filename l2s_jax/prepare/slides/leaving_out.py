"""What files leave out of a slide, as regions of no known class: outside of what is kept, artefacts, pen."""

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.slides.annotations.repair import polygon_parts
from l2s_jax.slides.annotations.tracing import polygons_from_mask
from l2s_jax.slides.annotations.types import Region
from l2s_jax.slides.areas import Areas
from l2s_jax.slides.marked import Marked
from l2s_jax.slides.slide import Slide
from l2s_jax.types import IGNORE_PIXEL


def left_out_regions(slide: Slide, marked: Marked) -> tuple[Region, ...]:
    """Regions of `IGNORE_PIXEL` in level-0 pixels, to be painted over all others."""
    polygons: list[Polygon] = []
    if marked.within is not None:
        height, width = slide.size_level0
        kept = shapely.union_all(_polygons(marked.within))
        polygons += polygon_parts(shapely.box(0, 0, width, height).difference(kept))
    if marked.exclude is not None:
        polygons += _polygons(marked.exclude)
    return tuple(Region(polygon, IGNORE_PIXEL) for polygon in polygons)


def _polygons(areas: Areas) -> list[Polygon]:
    """Outlines in level-0 pixels of the whole slide, of a mask too."""
    if areas.mask is None:
        return list(areas.polygons)
    top, left, height, width = areas.place
    downsample = height / areas.mask.shape[0], width / areas.mask.shape[1]
    traced = polygons_from_mask(areas.mask.astype(np.uint8), downsample).regions
    return [shapely.transform(region.polygon, lambda xy: xy + (left, top)) for region in traced]
