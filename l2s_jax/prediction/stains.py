"""Pictures and slides in the stains that a run was trained on.

One fit for a whole picture or slide: a fit of each tile by itself would make neighbouring tiles differ where
they overlap.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from l2s_jax.data.manifest import STAIN
from l2s_jax.models.forward import Forward
from l2s_jax.models.network import Outputs
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.slides.bands import tiles_over
from l2s_jax.prediction.slides.job import SlideJob
from l2s_jax.slides.sheets import Sheet
from l2s_jax.slides.tissue import is_saturated, sample_tissue_pixels
from l2s_jax.stain.fit import UNCHANGED, StainFit
from l2s_jax.stain.macenko import fit_stain, normalise_stain
from l2s_jax.stain.patches import normalise_picture
from l2s_jax.stain.reference_file import load_reference

AS_THEY_ARE = "as they are: the run has no stain reference, or is not asked for it"
NORMALISED = "normalised to the run's reference, by one fit of each"
NOT_FOUND = "as they are: no two stains were found"

FITTED_TILES = 64
"""Tiles, spread evenly over those with tissue, whose tissue a slide's stains are fitted to."""


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


def slide_in_stains_of_run(predictor: Predictor, job: SlideJob) -> tuple[SlideJob, str, StainFit | None]:
    """A slide's job with tiles in the stains of the run, in words how they are treated, and its own stains.

    Args:
      predictor: the run.
      job: whose `area` is the tissue, to which the slide's stains are fitted.
    """
    if predictor.reference is None:
        return job, AS_THEY_ARE, None
    fit = fit_slide(job)
    if not fit.usable:
        return job, NOT_FOUND, None
    forward = in_stains_of(predictor.forward, fit, predictor.reference, predictor.tiling.batch_size)
    return job._replace(forward=forward), NORMALISED, fit


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


def fit_slide(job: SlideJob) -> StainFit:
    """The stains of a slide's tissue at the working scale, NumPy arrays without batch axis.

    Unusable where there is too little tissue, or one stain only.

    Args:
      job: whose `area` is the tissue.
    """
    tile = job.tiling.tile
    total = sum(1 for _ in _places(job))
    chosen = set(np.linspace(0, total - 1, FITTED_TILES).astype(int).tolist())
    pixels, tissue = [np.zeros((0, 3), np.uint8)], [np.zeros(0, bool)]
    for row, column in (place for index, place in enumerate(_places(job)) if index in chosen):
        rows, columns = (
            slice(row, min(row + tile, job.size[0])),
            slice(column, min(column + tile, job.size[1])),
        )
        image = job.read((row, column), (rows.stop - row, columns.stop - column))
        if image is not None:
            inside = np.ones(image.shape[:2], bool)
            if job.area is not None:
                inside = job.area.mask[np.ix_(job.area.rows[rows], job.area.columns[columns])]
            pixels.append(image.reshape(-1, 3))
            tissue.append(inside.reshape(-1))
    sampled = sample_tissue_pixels(np.concatenate(pixels)[None], np.concatenate(tissue)[None])
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], fit_stain(*sampled))


def _places(job: SlideJob) -> Iterator[tuple[int, int]]:
    """(row, col) of the tiles over tissue."""
    for run in tiles_over(job.size, job.tiling, job.area, (0, job.size[1])):
        yield from ((run.row, column) for column in run.columns)


def in_stains_of(forward: Forward, fit: StainFit, reference: StainFit, batch_size: int) -> Forward:
    """A forward function that first gives tiles of stains `fit` those of `reference`; one compilation."""

    def stained(images: np.ndarray) -> Outputs:
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            padding = np.full((batch_size - len(chunk), *images.shape[1:]), 255, np.uint8)
            normalised = normalise_stain(np.concatenate([chunk, padding]), fit, reference)
            parts.append(np.asarray(normalised)[: len(chunk)])
        return forward(np.concatenate(parts))

    return stained
