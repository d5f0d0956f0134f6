"""A whole slide at low resolution, and the tissue on it, also where parts of the file are damaged."""

import math
from typing import NamedTuple

import numpy as np

from l2s_jax.slides.reading import UnreadableRegion, read_window
from l2s_jax.slides.sheets import opening_at
from l2s_jax.slides.slide import Slide, size_at, windows
from l2s_jax.slides.tissue import TISSUE_MPP, tissue_mask
from l2s_jax.system.errors import UserError

MAX_OVERVIEW_PIXELS = 2**25
"""The overview of a slide that is larger at `TISSUE_MPP` is coarser: at 8 um/px this is 46 mm x 46 mm, more
than a glass of 25 mm x 75 mm holds. It bounds the memory that finding the tissue takes."""

MAX_UNREADABLE = 0.05
"""Share of a slide from which on it counts as cut off or damaged, and is refused."""

BLOCK, SMALLEST_BLOCK = 256, 16
"""Pixels a side read at once, and of the smallest part that is given up where something cannot be read."""


class Overview(NamedTuple):
    """A whole slide at low resolution, from level-0 (0, 0)."""

    image: np.ndarray  # u8[h,w,3]; white where it cannot be read
    tissue: np.ndarray  # bool[h,w]; True where it cannot be read
    mpp: float  # um/px
    unreadable: float = 0.0  # share of the slide


class Tissue(NamedTuple):
    """Where the tissue of a slide is."""

    mask: np.ndarray  # bool[h,w]; from level-0 (0, 0)
    mpp: float  # um/px of the mask


def read_overview(slide: Slide, mpp: float) -> tuple[np.ndarray, np.ndarray]:
    """Reads a whole slide block by block; where a block cannot be read, by ever smaller parts.

    Returns:
      u8[H,W,3], white where it cannot be read, and bool[H,W], where that is.

    Raises:
      UserError: more than `MAX_UNREADABLE` of the slide cannot be read.
    """
    size = size_at(slide, mpp)
    image, unreadable = np.full((*size, 3), 255, np.uint8), np.zeros(size, bool)
    todo = list(windows(size, (BLOCK, BLOCK)))[::-1]
    while todo:
        row, column, height, width = todo.pop()
        here = np.s_[row : row + height, column : column + width]
        try:
            image[here] = read_window(slide, (row, column), (height, width), mpp)
        except UnreadableRegion as error:
            side = max(height, width) // 2
            if side >= SMALLEST_BLOCK:
                parts = windows((height, width), (side, side))
                todo += [(row + r, column + c, h, w) for r, c, h, w in parts]
                continue
            unreadable[here] = True
            if unreadable.mean() > MAX_UNREADABLE:
                raise too_damaged(slide, f"At last: {error}") from error
    return image, unreadable


def find_tissue(slide: Slide) -> Tissue:
    """The tissue mask of `overview_of`, with the scale that it has."""
    overview = overview_of(slide)
    return Tissue(overview.tissue, overview.mpp)


def overview_of(slide: Slide, morphology: str = "open") -> Overview:
    """A whole slide and its tissue by Appendix B.1; what cannot be read counts as tissue here.

    So it is tried again at the working scale, tile by tile, where less may be damaged.

    Args:
      slide: from `open_slide`.
      morphology: last step of `tissue_mask`.

    Raises:
      UserError: more than `MAX_UNREADABLE` of the slide cannot be read.
    """
    mpp = TISSUE_MPP * max(1.0, math.sqrt(math.prod(size_at(slide, TISSUE_MPP)) / MAX_OVERVIEW_PIXELS))
    image, unreadable = read_overview(slide, mpp)
    tissue = tissue_mask(image, morphology=morphology, opening=opening_at(mpp)) | unreadable
    return Overview(image, tissue, mpp, float(unreadable.mean()))


def too_damaged(slide: Slide, detail: str) -> UserError:
    """The refusal of a slide of which too much cannot be decoded."""
    return UserError(f"more than {MAX_UNREADABLE:.0%} of {slide.path} cannot be read. {detail}")
