"""A slide with its drawn regions, whose picture and mask are had window by window.

At 0.5 um/px a slide is 3.6 billion pixels: nothing here holds a picture of all of it but the overview.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import shapely

from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.grids import centres
from l2s_jax.slides.overview import Overview
from l2s_jax.slides.reading import read_window
from l2s_jax.slides.slide import Slide, downsample_at, size_at
from l2s_jax.types import IGNORE_PIXEL

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels of the working scale."""


@dataclass(frozen=True)
class AnnotatedSlide:
    """A slide at the scale of the patches, painted where it is looked at. Pixels are those of `mpp`."""

    slide: Slide
    annotations: Annotations  # later regions over earlier ones
    mpp: float  # um/px
    undrawn: int  # class code of what nobody drew, or IGNORE_PIXEL
    overview: Overview
    notes: tuple[str, ...] = field(default=())  # what a person should know
    labelled: tuple[Region, ...] = ()  # in which a class is somewhere; it is not painted

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return size_at(self.slide, self.mpp)

    @cached_property
    def tree(self) -> shapely.STRtree:
        """The regions' boxes."""
        return shapely.STRtree([region.polygon for region in self.annotations.regions])

    @cached_property
    def boxes(self) -> np.ndarray:
        """int64[R,4]: (top, left, bottom, right) of each region's pixels, cut at the slide's edge."""
        down = downsample_at(self.slide, self.mpp)
        every = [region.polygon for region in self.annotations.regions]
        left, top, right, bottom = shapely.bounds(every).reshape(-1, 4).T
        low = np.floor(np.stack([top / down[0], left / down[1]], 1))
        high = np.ceil(np.stack([bottom / down[0], right / down[1]], 1))
        return np.concatenate([np.clip(part, 0, self.size) for part in (low, high)], 1).astype(np.int64)


def mask_window(sheet: AnnotatedSlide, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """u8[h,w]: the class codes of a window; beyond the slide nothing is known."""
    down = downsample_at(sheet.slide, sheet.mpp)
    top, left = origin[0] * down[0], origin[1] * down[1]
    area = shapely.box(left, top, left + size[1] * down[1], top + size[0] * down[0])
    chosen = np.sort(sheet.tree.query(area))
    near = Annotations(tuple(sheet.annotations.regions[number] for number in chosen))
    mask = paint(near, size, down, origin=origin, background=sheet.undrawn)
    height, width = (max(0, whole - start) for whole, start in zip(sheet.size, origin, strict=True))
    mask[height:] = IGNORE_PIXEL
    mask[:, width:] = IGNORE_PIXEL
    return mask


def image_window(sheet: AnnotatedSlide, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """u8[h,w,3]: the picture of a window, white beyond the slide. Raises `UnreadableRegion`."""
    return read_window(sheet.slide, origin, size, sheet.mpp)


def tissue_window(sheet: AnnotatedSlide, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """bool[h,w]: the tissue of a window, from the overview's nearest pixels."""
    step = sheet.mpp / sheet.overview.mpp
    rows, cols = (
        centres(limit, start + length, step)[start:]
        for limit, start, length in zip(sheet.overview.tissue.shape, origin, size, strict=True)
    )
    return sheet.overview.tissue[np.ix_(rows, cols)]
