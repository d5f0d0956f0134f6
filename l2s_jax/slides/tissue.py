"""Where the tissue is: Appendix B.1, and the rule that drops patches with too little of it.

What saturation can and cannot tell:

- White, grey and black have none, so empty glass and a scanner's black margin are background. The saturation
  of nearly black pixels is noise, which is why `DARKEST` sets a floor.
- Pen marks are as saturated as tissue and count as tissue: no threshold on colour separates green ink from
  every stain. Draw them as QuPath's Ignore* or under --ignore, which makes them unknown, or leave them out
  with --exclude.
- Pale, fatty tissue lies below the threshold. Filling holes brings back what is enclosed by other tissue.
"""

import numpy as np
from scipy import ndimage

SATURATION = 0.1
"""Pixels with less than this share of the greatest possible saturation are background."""

DARKEST = 20
"""Pixels whose brightest channel is below this are background whatever their saturation. Not in the paper;
0 turns it off. Nuclei are never as dark at `TISSUE_MPP`."""

OPENING = 10
"""Side of the square that the opening fits into the tissue, in pixels at `TISSUE_MPP`."""

TISSUE_MPP = 8.0
"""Micrometres a pixel at which Appendix B.1 works: 1.25x magnification."""


def tissue_mask(
    image: np.ndarray,
    *,
    saturation: float = SATURATION,
    morphology: str = "open",
    opening: int = OPENING,
    darkest: int = DARKEST,
) -> np.ndarray:
    """Finds the tissue in a picture of a slide (Appendix B.1).

    Args:
      image: uint8[H,W,3], RGB, read at `TISSUE_MPP`: `opening` is in its pixels.
      saturation: least HSV saturation of tissue, 0..1.
      morphology: "open" removes specks (the paper), "close" joins what is near (the release).
      opening: side of the square footprint, in pixels.
      darkest: least brightness of tissue, 0..255.

    Returns:
      bool[H,W], True on tissue.
    """
    return tissue_steps(
        image, saturation=saturation, morphology=morphology, opening=opening, darkest=darkest
    )[-1]


def tissue_steps(
    image: np.ndarray,
    *,
    saturation: float = SATURATION,
    morphology: str = "open",
    opening: int = OPENING,
    darkest: int = DARKEST,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three masks of Fig. B.7: saturated, holes filled, opened or closed. Arguments as `tissue_mask`."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected uint8[H,W,3], got {image.dtype}{list(image.shape)}")
    if morphology not in ("open", "close"):
        raise ValueError(f"morphology is 'open' or 'close', not {morphology!r}")
    saturated = is_saturated(image, saturation, darkest)
    filled = fill_holes(saturated)
    cleaned = open_square(filled, opening) if morphology == "open" else close_square(filled, opening)
    return saturated, filled, cleaned


def is_saturated(image: np.ndarray, least: float = SATURATION, darkest: int = DARKEST) -> np.ndarray:
    """bool[H,W]: HSV saturation (max - min) / max at least `least`, and max at least `darkest`.

    Exact where floating-point HSV is not: 200, 180, 180 has a saturation of exactly 10% and is tissue, while
    scikit-image's division of rounded quotients puts it on either side. The release asks for more than 10%;
    that differs only for the 25 pairs of max and min that give exactly 10%.
    """
    # Pair by pair: along an axis of three NumPy is many times slower.
    red, green, blue = np.moveaxis(image, -1, 0)
    brightest = np.maximum(np.maximum(red, green), blue)
    spread = brightest - np.minimum(np.minimum(red, green), blue)
    values = np.arange(256)
    with np.errstate(invalid="ignore", divide="ignore"):
        enough = (values[None] / values[:, None] >= least) & (values[:, None] >= max(darkest, 1))
    least_spread = np.where(enough.any(1), enough.argmax(1), 256).astype(np.uint16)  # by brightness
    return spread >= np.take(least_spread, brightest)


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """bool[H,W]: background that does not reach the picture's edge (4-connected) becomes tissue.

    Equal to `scipy.ndimage.binary_fill_holes`, which takes seconds on a slide; labelling takes a tenth.
    """
    background, count = ndimage.label(~mask)
    outside = np.zeros(count + 1, bool)
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        outside[edge] = True
    outside[0] = False
    return ~outside[background]


def open_square(mask: np.ndarray, size: int) -> np.ndarray:
    """bool[H,W]: the part of the mask that a size x size square inside the mask can reach."""
    shrunk = ndimage.minimum_filter(mask, size, mode="constant", cval=False)
    return ndimage.maximum_filter(
        shrunk, size, mode="constant", cval=False, origin=-1 if size % 2 == 0 else 0
    )


def close_square(mask: np.ndarray, size: int) -> np.ndarray:
    """bool[H,W]: the mask and all that a size x size square outside the mask cannot reach.

    The square may hang over the picture's edge, so closing never removes anything.
    """
    padded = np.pad(mask, size)
    return ~open_square(~padded, size)[size:-size, size:-size]


def foreground_share(tissue: np.ndarray, origins: np.ndarray, size: int) -> np.ndarray:
    """The share of each patch that is tissue.

    Args:
      tissue: bool[H,W].
      origins: int[N,2], (row, col) of the patches' upper left corners. What lies outside is no tissue.
      size: the patches' side, in pixels of `tissue`.

    Returns:
      float64[N], 0..1.
    """
    total = np.zeros((tissue.shape[0] + 1, tissue.shape[1] + 1), np.int64)
    total[1:, 1:] = tissue.cumsum(0, dtype=np.int64).cumsum(1)
    origins = np.asarray(origins, np.int64).reshape(-1, 2)
    top, left = np.clip(origins, 0, tissue.shape).T
    bottom, right = np.clip(origins + size, 0, tissue.shape).T
    inside = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    return inside / size**2


def sample_tissue_pixels(
    image: np.ndarray, tissue: np.ndarray, count: int = 65536, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draws tissue pixels of a slide, as one picture of fixed shape: what a slide's stains are fitted to.

    Args:
      image: uint8[H,W,3].
      tissue: bool[H,W].
      count: how many pixels; fewer are used where there is less tissue.
      seed: of the draw.

    Returns:
      uint8[1,count,1,3], the pixels, white after the last; bool[1,count,1], which of them are tissue.
    """
    places = np.flatnonzero(tissue)
    if len(places) > count:
        places = np.random.default_rng(seed).choice(places, count, replace=False)
    pixels = np.full((1, count, 1, 3), 255, np.uint8)
    pixels[0, : len(places), 0] = image.reshape(-1, 3)[places]
    return pixels, (np.arange(count) < len(places)).reshape(1, count, 1)
