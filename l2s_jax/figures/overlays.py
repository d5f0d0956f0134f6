"""Class maps laid over pictures; no matplotlib, whose import would be a tenth of what `l2s predict` takes."""

import numpy as np
from skimage.segmentation import find_boundaries

from l2s_jax.data.manifest import Classes
from l2s_jax.types import IGNORE_PIXEL

OVERLAY_OPACITY = 0.35


def overlay(image: np.ndarray, codes: np.ndarray, classes: Classes) -> np.ndarray:
    """Tints each pixel of an RGB picture with its class's colour and outlines the regions; u8[H,W,3].

    Background and ignored pixels are left as they are.

    Args:
      image: u8[H,W,3].
      codes: class codes u8[H,W] or any integer type.
      classes: whose colours to use.
    """
    shown = (codes != IGNORE_PIXEL) & (
        codes != -1 if classes.background is None else codes != classes.background
    )
    colours = np.array(classes.colours, np.float32)[np.where(codes == IGNORE_PIXEL, 0, codes)]
    opacity = np.where(shown, OVERLAY_OPACITY, 0.0)
    edges = find_boundaries(codes, mode="inner") & shown
    opacity[edges] = 1.0
    mixed = image * (1 - opacity[..., None]) + colours * opacity[..., None]
    return mixed.round().astype(np.uint8)
