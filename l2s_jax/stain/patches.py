"""Macenko's normalisation for the patches and pictures of `prepare`: the bridge from NumPy to `macenko.py`.

Everything has one of a few fixed shapes: a data set compiles a handful of programs, not one a slide.
"""

import jax
import numpy as np

from l2s_jax.slides.sheets import Sheet
from l2s_jax.slides.slide import windows
from l2s_jax.slides.tissue import sample_tissue_pixels
from l2s_jax.stain.fit import SLIDE_FIT, UNCHANGED, Stainer, StainFit
from l2s_jax.stain.macenko import fit_stain, macenko, normalise_stain

BATCH = 32
"""Patches at once, where there is more than one."""

BLOCK = 512
"""Side of the blocks in which whole pictures are normalised."""


def fit_pictures(images: np.ndarray) -> StainFit:
    """The stains of each of u8[N,H,W,3], NumPy arrays with batch axis N."""
    fits = [jax.device_get(fit_stain(chunk)) for chunk in _chunks(images)]
    return StainFit(*(np.concatenate(parts)[: len(images)] for parts in zip(*fits, strict=True)))


def normalise_patches(
    images: np.ndarray, tissue: np.ndarray | None, sheet: Sheet, reference: StainFit
) -> tuple[np.ndarray, np.ndarray]:
    """Gives patches the reference's stains, each by its own fit, else by that of the sheet's tissue.

    Args:
      images: u8[N,S,S,3].
      tissue: bool[N,S,S], the pixels to fit on; None for all.
      sheet: where the patches are from; one without a mask is itself the patch, and lends it no other fit.
      reference: the stains to give, without batch axis.

    Returns:
      u8[N,S,S,3], and for each `OWN_FIT`, `SLIDE_FIT` or `UNCHANGED`, i32[N].
    """
    slide = sheet_fit(sheet) if sheet.mask is not None else None
    seen = np.ones(images.shape[:3], bool) if tissue is None else tissue
    done = [
        jax.device_get(macenko(image, reference, slide, mask))
        for image, mask in zip(_chunks(images), _chunks(seen), strict=True)
    ]
    normalised, status = (np.concatenate(parts)[: len(images)] for parts in zip(*done, strict=True))
    return normalised, status


def normalise_picture(sheet: Sheet, reference: StainFit) -> tuple[np.ndarray, int]:
    """Gives a whole picture the reference's stains, by the fit of its tissue.

    Returns:
      u8[H,W,3], and `SLIDE_FIT` or `UNCHANGED`.
    """
    return normalise_window(sheet.image, sheet, reference)


def normalise_window(image: np.ndarray, sheet: Sheet, reference: StainFit) -> tuple[np.ndarray, int]:
    """Gives u8[h,w,3] the reference's stains, by the fit of the tissue of a sheet of the same slide.

    Returns:
      u8[h,w,3], and `SLIDE_FIT` or `UNCHANGED`.
    """
    fit = sheet_fit(sheet)
    if not bool(fit.usable[0]):
        return image, UNCHANGED
    out = np.empty_like(image)
    for row, col, height, width in windows(image.shape[:2], (BLOCK, BLOCK)):
        block = np.full((1, BLOCK, BLOCK, 3), 255, np.uint8)
        block[0, :height, :width] = image[row : row + height, col : col + width]
        done = np.asarray(normalise_stain(block, fit, reference))
        out[row : row + height, col : col + width] = done[0, :height, :width]
    return out, SLIDE_FIT


def sheet_fit(sheet: Sheet) -> StainFit:
    """The stains of a sheet's tissue, with a batch axis of 1."""
    tissue = np.ones(sheet.image.shape[:2], bool) if sheet.tissue is None else sheet.tissue
    return jax.device_get(fit_stain(*sample_tissue_pixels(sheet.image, tissue)))


def fit_sheet(sheet: Sheet) -> StainFit:
    """The stains of a sheet's tissue, NumPy arrays without batch axis."""
    return StainFit(*(np.asarray(part)[0] for part in sheet_fit(sheet)))


def _chunks(array: np.ndarray) -> list[np.ndarray]:
    """[N,...] in parts of `BATCH`, the last filled up with the last item; one item stays alone."""
    if len(array) == 1:
        return [array]
    short = -len(array) % BATCH
    padded = np.concatenate([array, np.repeat(array[-1:], short, axis=0)])
    return np.split(padded, len(padded) // BATCH)


MACENKO = Stainer(fit_pictures, normalise_patches, normalise_picture, normalise_window, fit_sheet)
"""What `prepare_bach` and its like take to normalise stains."""
