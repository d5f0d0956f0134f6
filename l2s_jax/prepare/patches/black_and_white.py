"""Masks that are black and white, with soft edges perhaps: white is what was drawn."""

from pathlib import Path

import numpy as np

from l2s_jax.data.picture_files import opened
from l2s_jax.data.pictures import read_image_told, read_mask_values
from l2s_jax.system.errors import UserError

MOST_TINT = 32
"""How far the channels of a grey JPEG may lie apart."""


def read_drawn(path: Path, threshold: int) -> np.ndarray:
    """bool[H,W]: where a mask is brighter than a threshold.

    That is as it is shown: 1 bit is 0 and 255, a palette its colours. JPEG is taken here: what it does to
    values is far less than what lies between black and white.

    Raises:
      UserError: unreadable, coloured, partly transparent; or there is something, and all of it is darker.
    """
    with opened(path) as found:
        deep, inverted = found.bits > 8, found.turned_about
    if deep and inverted:
        raise UserError(f"{path} has 16 bits of which 0 is white: save it with 8 bits, or with 0 as black")
    if deep:
        values = read_mask_values(path)
    else:
        image, conversions = read_image_told(path)
        if any("transparent" in one for one in conversions):
            raise UserError(f"{path} is partly transparent, which is neither black nor white")
        if (image.max(2) - image.min(2)).max() > MOST_TINT:
            raise UserError(f"{path} is coloured: --mask-threshold is for masks in black and white")
        values = image[..., 1]
    drawn = values > threshold
    if values.any() and not drawn.any():
        raise UserError(
            f"{path}: its brightest value is {values.max()}, and nothing lies above --mask-threshold "
            f"{threshold}"
        )
    return drawn
