"""What can be wrong with a slide before any network sees it: ink, blur. Hints to look, no verdicts.

Made for H&E. Values are to be compared among slides of one scanner and one stain.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from l2s_jax.slides.overview import Tissue
from l2s_jax.slides.reading import UnreadableRegion, read_region
from l2s_jax.slides.slide import Slide

INK_HUES = (70.0, 225.0)
"""Degrees from green to blue: haematoxylin lies beyond (about 240 to 280), eosin further on."""

INK_SATURATION = 0.25
BLACK = 70
"""Grey levels: nuclei are never as dark at the scale of the tissue mask."""

SHARP_MPP = 1.0
"""um/px at which sharpness is looked at; coarser where the slide is. At the mask's blur does not show."""

WINDOW = 256
WINDOWS = 16


def ink_share(image: np.ndarray, tissue: np.ndarray) -> float:
    """The share of tissue that has the colours of green, blue or black ink, 0..1; NaN without tissue.

    Args:
      image: u8[H,W,3], RGB, at the scale of the tissue mask.
      tissue: bool[H,W]; ink is as saturated as tissue, and counts as such.
    """
    red, green, blue = image[tissue].T.astype(np.float32)
    if not len(red):
        return float("nan")
    brightest = np.maximum(np.maximum(red, green), blue)
    spread = brightest - np.minimum(np.minimum(red, green), blue)
    saturation = spread / np.maximum(brightest, 1)
    steps = np.maximum(spread, 1)
    of_green, of_blue = 60 * (blue - red) / steps + 120, 60 * (red - green) / steps + 240
    hue = np.where(brightest == green, of_green, np.where(brightest == blue, of_blue, 0))
    coloured = (hue >= INK_HUES[0]) & (hue <= INK_HUES[1]) & (saturation >= INK_SATURATION)
    return float((coloured | ((brightest < BLACK) & (saturation < 2 * INK_SATURATION))).mean())


def sharpness(images: Sequence[np.ndarray]) -> float:
    """Median over pictures of the Laplacian's deviation to that of the grey levels; NaN without pictures.

    A blurred picture keeps its contrast and loses its edges: the ratio falls, whatever the stain's strength.

    Args:
      images: u8[h,w,3] each, of one scale.
    """
    found = []
    for image in images:
        grey = image.mean(-1, dtype=np.float32)
        contrast = float(grey.std())
        if contrast >= 1:  # less is rounding
            found.append(float(ndimage.laplace(grey).std()) / contrast)
    return float(np.median(found)) if found else float("nan")


def tissue_windows(slide: Slide, tissue: Tissue) -> list[np.ndarray]:
    """Up to `WINDOWS` pictures u8[h,w,3] from all over the tissue at `SHARP_MPP`, without damaged places."""
    places = np.flatnonzero(tissue.mask)
    mpp = max(SHARP_MPP, *slide.mpp)
    images = []
    for place in places[np.linspace(0, len(places) - 1, WINDOWS).astype(int)] if len(places) else ():
        middle = np.array(np.unravel_index(place, tissue.mask.shape)) * tissue.mpp / np.array(slide.mpp)
        corner = middle - WINDOW / 2 * mpp / np.array(slide.mpp)
        try:
            images.append(read_region(slide, (float(corner[0]), float(corner[1])), (WINDOW, WINDOW), mpp))
        except UnreadableRegion:
            continue
    return images
