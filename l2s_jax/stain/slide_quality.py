"""What can be measured of a slide before any network sees it: tissue, ink, blur, stains. Hints to look."""

from typing import Any

import numpy as np

from l2s_jax.slides.marked import Part
from l2s_jax.slides.quality import sharpness, tissue_windows
from l2s_jax.slides.slide import Slide
from l2s_jax.stain.fit import StainFit


def quality_of(slide: Slide, part: Part, fit: StainFit | None, reference: StainFit | None) -> dict[str, Any]:
    """A slide's row without its name; None where there is nothing to measure.

    Args:
      slide: the slide.
      part: its tissue, and what of it is left out.
      fit: of its stains, where they were fitted.
      reference: the stains that it is to be brought to.

    Returns:
      Shares 0..1: of the slide that is tissue, of the tissue that is left out, of the tissue that has the
      colours of ink. Sharpness (`quality.sharpness`). The greater of the angles in degrees between its
      stains and the reference's.
    """
    tissue, inside = part.tissue, int(part.tissue.mask.sum())
    excluded = 0 if part.excluded is None else int((tissue.mask & part.excluded).sum())
    found = {
        "tissue_share": float(tissue.mask.mean()),
        "excluded_share": excluded / inside if inside else float("nan"),
        "ink_share": part.ink,
        "sharpness": sharpness(tissue_windows(slide, tissue)),
        "stain_angle": stain_angle(fit, reference),
    }
    return {name: value if np.isfinite(value) else None for name, value in found.items()}


def stain_angle(fit: StainFit | None, reference: StainFit | None) -> float:
    """The greater of the angles between haematoxylins and between eosins, in degrees; NaN where unknown."""
    if fit is None or reference is None or not (fit.usable and reference.usable):
        return float("nan")
    cosines = (np.asarray(fit.stain_matrix) * np.asarray(reference.stain_matrix)).sum(0)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())
