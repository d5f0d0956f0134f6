"""Slides of val and test as windows that cover what is known of them, each known pixel in one."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from l2s_jax.slides.annotated_slide import AnnotatedSlide, mask_window, tissue_window
from l2s_jax.slides.slide import windows
from l2s_jax.types import IGNORE_PIXEL

CORE = 2048
"""Side of the squares whose pixels are scored, in pixels."""


class Window(NamedTuple):
    """A part of a slide, with a margin for the network to see what lies around."""

    origin: tuple[int, int]  # (row, col)
    mask: np.ndarray  # u8[h,w]; IGNORE_PIXEL in the margin


def known_windows(sheet: AnnotatedSlide, patch_size: int) -> Iterator[Window]:
    """The squares of a grid in which something is known, cut to that, and half a patch around it.

    Where all that is not drawn is background, squares without tissue or region are passed over.

    Args:
      sheet: the slide, at least a patch high and wide.
      patch_size: no window is smaller.
    """
    for row, col, height, width in windows(sheet.size, (CORE, CORE)):
        boxes = sheet.boxes
        drawn = (boxes[:, :2] < (row + height, col + width)).all(1) & (boxes[:, 2:] > (row, col)).all(1)
        if not drawn.any() and (
            sheet.undrawn == IGNORE_PIXEL or not tissue_window(sheet, (row, col), (height, width)).any()
        ):
            continue
        mask = mask_window(sheet, (row, col), (height, width))
        known = np.argwhere(mask != IGNORE_PIXEL)
        if len(known) == 0:
            continue
        low, high = known.min(0), known.max(0) + 1
        (top, bottom), (left, right) = (
            _with_margin(start + low[axis], start + high[axis], sheet.size[axis], patch_size)
            for axis, start in ((0, row), (1, col))
        )
        around = np.full((bottom - top, right - left), IGNORE_PIXEL, np.uint8)
        core = mask[low[0] : high[0], low[1] : high[1]]
        around[row + low[0] - top :, col + low[1] - left :][: core.shape[0], : core.shape[1]] = core
        yield Window((top, left), around)


def _with_margin(start: int, stop: int, limit: int, patch_size: int) -> tuple[int, int]:
    """A side grown by half a patch each way, to a patch at least, inside the slide."""
    middle, reach = (start + stop) / 2, max(stop - start + patch_size, patch_size) / 2
    first = max(0, min(int(middle - reach), limit - patch_size))
    return first, min(limit, max(int(middle + reach), first + patch_size))
