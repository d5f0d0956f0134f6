"""What a stain fit is and the constants that give it its meaning. Imports no JAX: files hold fits too."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.slides.sheets import Sheet

INTENSITY = 240.0
"""Io: the light that comes through empty glass, in grey levels."""

BETA = 0.15
"""A pixel with an optical density below this in any channel is glass."""

ALPHA = 1.0
"""The stain vectors are the `ALPHA` and `100 - ALPHA` percentiles of the angle in the plane of the stains."""

CONCENTRATION_PERCENTILE = 99.0
"""A stain's maximum concentration is this percentile over the patch."""

MIN_PIXELS = math.ceil(100 / ALPHA)
"""Fewest tissue pixels for a fit: with fewer, the percentile of the angle is the one most extreme pixel."""

MIN_TISSUE_SHARE = 0.1
"""Least share of tissue among the pixels seen. The maximum concentration is a percentile over glass too, as
in torchstain, so in a patch of much glass it is a pale pixel's, and all others come out too dark: on four
phantom patches by 19 to 33 of 256 grey levels where 4 to 10% were tissue, by 4 to 6 where 24 to 49% were."""

MIN_VARIANCE = 1e-5
"""Least variance along the second stain axis, in squared optical density. Rounding to grey levels alone gives
about this much, so less means one colour only (black, grey), and no second stain."""

MIN_ANGLE = 0.05
"""Least angle between the stain vectors, in radians: below, unmixing only multiplies noise. The narrowest of
1,032 patches of colon biopsies was 0.16."""

MIN_CONCENTRATION = 0.05
"""Least maximum concentration: below, the stain is absent and scaling it up only multiplies noise. The least
of the same 1,032 patches was 0.59."""

OWN_FIT, SLIDE_FIT, UNCHANGED = 0, 1, 2
"""How a patch was normalised: by its own stains, by its slide's, or not at all."""

STATUS_NAMES = ("own fit", "slide's fit", "unchanged")
"""The three in words, for reports."""


class StainFit(NamedTuple):
    """The stains of a patch, slide or reference picture; a leading batch axis is optional."""

    stain_matrix: Any  # f32[..., 3, 2], unit columns haematoxylin and eosin, rows RGB
    max_concentration: Any  # f32[..., 2]
    usable: Any  # bool[...], False: no stains were found and the other fields mean nothing


class Stainer(NamedTuple):
    """How stains are normalised. `l2s_jax.stain.patches.MACENKO` is the one there is.

    It is passed in because host code under `l2s_jax.data` computes nothing with JAX.
    """

    fit: Callable[[np.ndarray], StainFit]
    """u8[N,H,W,3] to the fit of each, batch axis N."""
    patches: Callable[[np.ndarray, np.ndarray | None, Sheet, StainFit], tuple[np.ndarray, np.ndarray]]
    """(u8[N,H,W,3], bool[N,H,W] tissue or None, the patches' sheet, reference) to patches and i32[N] status:
    by their own stains, else by the sheet's."""
    picture: Callable[[Sheet, StainFit], tuple[np.ndarray, int]]
    """(sheet, reference) to u8[H,W,3] and status: the whole picture by its own stains."""
    window: Callable[[np.ndarray, Sheet, StainFit], tuple[np.ndarray, int]]
    """(u8[h,w,3], a part of a slide; the slide's sheet; reference) to the same: by the sheet's stains."""
    sheet: Callable[[Sheet], StainFit]
    """A sheet to the fit of its tissue, without batch axis."""
