"""A slide with its drawn regions, whose picture and mask are had window by window.

At 0.5 um/px a slide is 3.6 billion pixels: nothing here holds a picture of all of it but the overview, unless
it is small at the working scale. Patches overlap, so what is near is painted and read once for all of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial

import numpy as np
import shapely

from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.grids import centres
from l2s_jax.slides.marked import Part
from l2s_jax.slides.overview import Overview
from l2s_jax.slides.reading import UnreadableRegion, read_window
from l2s_jax.slides.slide import Slide, downsample_at, size_at
from l2s_jax.types import IGNORE_PIXEL

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels of the working scale."""

PIXELS_AT_ONCE = 2**24
"""A slide of no more at the working scale is read whole; masks are painted in bands of so many."""


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
    part: Part | None = None  # its tissue, and what files leave out of it

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

    @property
    def band_rows(self) -> int:
        """Rows of a band that is painted at once."""
        return max(1, PIXELS_AT_ONCE // self.size[1])

    @cached_property
    def band(self) -> Callable[[int], np.ndarray]:
        """From a band's number to its class codes, u8[rows,W]; the last two are kept."""
        return lru_cache(maxsize=2)(partial(_paint_band, self))

    @cached_property
    def picture(self) -> np.ndarray | None:
        """u8[H,W,3]: all of a small slide; None where it is large, or can be read in parts only."""
        if math.prod(self.size) > PIXELS_AT_ONCE:
            return None
        try:
            return read_window(self.slide, (0, 0), self.size, self.mpp)
        except UnreadableRegion:
            return None


def mask_window(sheet: AnnotatedSlide, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """u8[h,w]: the class codes of a window; beyond the slide nothing is known."""
    out = np.full(size, IGNORE_PIXEL, np.uint8)
    (top, left), rows = origin, sheet.band_rows
    bottom, right = (
        min(start + length, whole) for start, length, whole in zip(origin, size, sheet.size, strict=True)
    )
    for number in range(top // rows, -(-bottom // rows)):
        first = number * rows
        low, high = max(top, first), min(bottom, first + rows)
        codes = sheet.band(number)[low - first : high - first, left:right]
        out[low - top : high - top, : codes.shape[1]] = codes
    return out


def _paint_band(sheet: AnnotatedSlide, number: int) -> np.ndarray:
    rows, (height, width) = sheet.band_rows, sheet.size
    top, down = number * rows, downsample_at(sheet.slide, sheet.mpp)
    size = (min(rows, height - top), width)
    area = shapely.box(0, top * down[0], width * down[1], (top + size[0]) * down[0])
    chosen = np.sort(sheet.tree.query(area))
    near = Annotations(tuple(sheet.annotations.regions[one] for one in chosen))
    return paint(near, size, down, origin=(top, 0), background=sheet.undrawn)


def image_window(sheet: AnnotatedSlide, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """u8[h,w,3]: the picture of a window, white beyond the slide. Raises `UnreadableRegion`."""
    if sheet.picture is None:
        return read_window(sheet.slide, origin, size, sheet.mpp)
    out = np.full((*size, 3), 255, np.uint8)
    (top, left), (height, width) = origin, size
    part = sheet.picture[top : top + height, left : left + width]
    out[: part.shape[0], : part.shape[1]] = part
    return out


def tissue_window(sheet: AnnotatedSlide, origin: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """bool[h,w]: the tissue of a window, from the overview's nearest pixels."""
    step = sheet.mpp / sheet.overview.mpp
    rows, cols = (
        centres(limit, start + length, step)[start:]
        for limit, start, length in zip(sheet.overview.tissue.shape, origin, size, strict=True)
    )
    return sheet.overview.tissue[np.ix_(rows, cols)]
