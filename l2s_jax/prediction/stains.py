"""Pictures in the stains that a run was trained on: for `predict` and `evaluate`."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.data.manifest import STAIN
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.slides.sheets import Sheet
from l2s_jax.slides.tissue import is_saturated
from l2s_jax.stain.fit import UNCHANGED
from l2s_jax.stain.patches import normalise_picture
from l2s_jax.stain.reference_file import load_reference

AS_THEY_ARE = "as they are: the run has no stain reference, or is not asked for it"
NORMALISED = "normalised to the run's reference, by one fit of each"
NOT_FOUND = "as they are: no two stains were found"


class Treatment(NamedTuple):
    """What becomes of the stains of a manifest's pictures."""

    normalise: bool
    text: str  # for people


def in_stains_of_run(predictor: Predictor, image: np.ndarray) -> tuple[np.ndarray, str]:
    """A picture u8[H,W,3] in the stains that the run was trained on, and in words how they were treated.

    The stains are fitted to all of the picture's tissue, as those of a slide are.
    """
    if predictor.reference is None:
        return image, AS_THEY_ARE
    normalised, status = normalise_picture(Sheet(image, None, is_saturated(image)), predictor.reference)
    return normalised, NOT_FOUND if status == UNCHANGED else NORMALISED


def stains_of_manifest(predictor: Predictor, folder: Path) -> Treatment:
    """Normalises the pictures of a manifest unless `prepare` has, to the reference of the run.

    Raises:
      UserError: the manifest's stain reference is damaged.
    """
    there = load_reference(folder / STAIN)[1] if (folder / STAIN).is_file() else ""
    if predictor.reference is None:
        already = "the manifest's, which are normalised; the run was trained on stains as they were"
        return Treatment(False, already if there else AS_THEY_ARE)
    if there == predictor.reference_sha256:
        return Treatment(False, "normalised to the run's reference when the manifest was prepared")
    of = "was prepared with another reference" if there else "has no reference"
    return Treatment(True, f"the manifest {of}; pictures are {NORMALISED}")
