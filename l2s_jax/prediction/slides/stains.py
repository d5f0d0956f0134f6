"""A slide in the stains that the network was trained on: one fit for the whole slide.

A fit of each tile by itself would make neighbouring tiles differ where they overlap.
"""

from collections.abc import Iterator

import jax
import numpy as np

from l2s_jax.models.forward import Forward
from l2s_jax.prediction.slides.bands import Job, tiles_over
from l2s_jax.slides.tissue import sample_tissue_pixels
from l2s_jax.stain.fit import StainFit
from l2s_jax.stain.macenko import fit_stain, normalise_stain

FITTED_TILES = 64
"""Tiles, spread evenly over those with tissue, whose tissue a slide's stains are fitted to."""


def fit_slide(job: Job) -> StainFit:
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


def _places(job: Job) -> Iterator[tuple[int, int]]:
    """(row, col) of the tiles over tissue."""
    for run in tiles_over(job.size, job.tiling, job.area, (0, job.size[1])):
        yield from ((run.row, column) for column in run.columns)


def in_stains_of(forward: Forward, fit: StainFit, reference: StainFit, batch_size: int) -> Forward:
    """A forward function that first gives tiles of stains `fit` those of `reference`; one compilation."""

    def stained(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            padding = np.full((batch_size - len(chunk), *images.shape[1:]), 255, np.uint8)
            normalised = normalise_stain(np.concatenate([chunk, padding]), fit, reference)
            parts.append(np.asarray(normalised)[: len(chunk)])
        return forward(np.concatenate(parts))

    return stained
