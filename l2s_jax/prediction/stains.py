"""Pictures and slides in the stains that a run was trained on.

One fit for a whole picture or slide: a fit of each tile by itself would make neighbouring tiles differ where
they overlap.
"""

from collections.abc import Callable, Iterator, Sequence
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

    treat: Callable[[np.ndarray], np.ndarray]  # of a picture u8[H,W,3]
    text: str  # for people


def in_stains_of_run(predictor: Predictor, image: np.ndarray) -> tuple[np.ndarray, str]:
    """A picture u8[H,W,3] in the stains that the run was trained on, and in words how they were treated.

    The stains are fitted to all of the picture's tissue, as those of a slide are. Of several runs whose
    references differ, u8[H,W,3R] has a version for each of `predictor.looks`.
    """
    return _side_by_side([_in_stains(one.reference, image) for one in predictor.looks])


def _in_stains(reference: StainFit | None, image: np.ndarray) -> tuple[np.ndarray, str]:
    if reference is None:
        return image, AS_THEY_ARE
    normalised, status = normalise_picture(Sheet(image, None, is_saturated(image)), reference)
    return normalised, NOT_FOUND if status == UNCHANGED else NORMALISED


def _side_by_side(versions: Sequence[tuple[np.ndarray, str]]) -> tuple[np.ndarray, str]:
    """Versions of a picture in one array, and what was done to them in words."""
    images, texts = zip(*versions, strict=True)
    if len(images) == 1:
        return images[0], texts[0]
    return np.concatenate(images, -1), f"{len(images)} references: {'; '.join(dict.fromkeys(texts))}"


def slide_in_stains_of_run(predictor: Predictor, job: SlideJob) -> tuple[SlideJob, str, StainFit | None]:
    """A slide's job with tiles in the stains of the run, in words how they are treated, and its own stains.

    Args:
      predictor: the run.
      job: whose `area` is the tissue, to which the slide's stains are fitted.
    """
    references = [one.reference for one in predictor.looks]
    if all(one is None for one in references):
        return job, AS_THEY_ARE, None
    fit = fit_slide(job)
    if not fit.usable:
        references = [None] * len(references)
    texts = [AS_THEY_ARE if one.reference is None else NORMALISED for one in predictor.looks]
    text = "; ".join(dict.fromkeys(texts)) if fit.usable else NOT_FOUND
    changes = [_change(fit, one, predictor.tiling.batch_size) for one in references]
    job = job._replace(forward=in_looks(predictor.forward, changes))
    return job, text, fit if fit.usable else None


def stains_of_manifest(predictor: Predictor, folder: Path) -> Treatment:
    """Normalises the pictures of a manifest unless `prepare` has, to the reference of the run.

    Raises:
      UserError: the manifest's stain reference is damaged.
    """
    there = load_reference(folder / STAIN)[1] if (folder / STAIN).is_file() else ""
    each = [_treatment(one, there) for one in predictor.looks]
    wanted = zip(predictor.looks, each, strict=True)
    references = [one.reference if normalise else None for one, (normalise, _) in wanted]

    def treat(image: np.ndarray) -> np.ndarray:
        return _side_by_side([_in_stains(reference, image) for reference in references])[0]

    return Treatment(treat, "; ".join(dict.fromkeys(text for _, text in each)))


def _treatment(predictor: Predictor, there: str) -> tuple[bool, str]:
    """Whether pictures of a manifest, whose reference is `there`, are normalised for a run, and why."""
    if predictor.reference is None:
        already = "the manifest's, which are normalised; the run was trained on stains as they were"
        return False, already if there else AS_THEY_ARE
    if there == predictor.reference_sha256:
        return False, "normalised to the run's reference when the manifest was prepared"
    of = "was prepared with another reference" if there else "has no reference"
    return True, f"the manifest {of}; pictures are {NORMALISED}"


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
    return in_looks(forward, [_change(fit, reference, batch_size)])


Change = Callable[[np.ndarray], np.ndarray]
"""u8[K,t,t,3] to the same in other stains."""


def _change(fit: StainFit, reference: StainFit | None, batch_size: int) -> Change:
    """From the stains of `fit` to those of a reference, or none at all."""
    if reference is None:
        return lambda images: images

    def change(images: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            padding = np.full((batch_size - len(chunk), *images.shape[1:]), 255, np.uint8)
            normalised = normalise_stain(np.concatenate([chunk, padding]), fit, reference)
            parts.append(np.asarray(normalised)[: len(chunk)])
        return np.concatenate(parts)

    return change


def in_looks(forward: Forward, changes: Sequence[Change]) -> Forward:
    """A forward function that first gives tiles other stains, a version for each look side by side."""

    def stained(images: np.ndarray) -> Outputs:
        versions = [change(images) for change in changes]
        return forward(versions[0] if len(versions) == 1 else np.concatenate(versions, -1))

    return stained
