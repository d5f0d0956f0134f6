"""Patches of both kinds from fully annotated pictures: section 3.3 and Fig. 4."""

import numpy as np
from scipy import ndimage

from l2s_jax.prepare.centred_extraction import push_inside
from l2s_jax.prepare.extraction import (
    LITTLE_TISSUE,
    NO_CLASS,
    Patches,
    class_counts,
    join,
    little_tissue,
    make_patches,
    mask_labels,
    mask_patches,
)
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.types import IGNORE_PIXEL

ONE_CLASS = "one class, but less of it than the dominance"
MANY_CLASSES = "more than two classes"


def extract_tiles(
    mask: np.ndarray, tissue: np.ndarray | None, background: int | None, options: ExtractionOptions
) -> Patches:
    """Cuts a picture into tiles and sorts them by their classes (section 3.3, Fig. 4).

    A tile of which one class covers at least `options.dominance` is an image-level patch of that class. Of
    the others, those with exactly two classes are mask patches, and the rest is left out. Background is a
    class like any other. Pixels of IGNORE_PIXEL belong to no class, but they are part of the tile's area: a
    tile that is mostly unlabelled is never an image-level patch, while one with two classes and some
    unlabelled pixels is a mask patch.

    Args:
      mask: uint8[H,W], class codes.
      tissue: bool[H,W], or None for no rule on tissue.
      background: code of the background class, for the labels of mask patches; None where there is none.
      options: see `ExtractionOptions`; with `seg_from="perimeter"` mask patches come from class borders.

    Returns:
      Every whole tile, in row order, kept or not; then the perimeter patches, where asked for. Pixels to the
      right of and below the last whole tile are in none.
    """
    tiles = sort_tiles(mask, grid(mask.shape, options), tissue, background, options)
    if options.seg_from == "grid":
        return tiles
    return join(tiles, extract_perimeter(mask, tissue, background, options))


def grid(shape: tuple[int, ...], options: ExtractionOptions) -> np.ndarray:
    """int64[N,2]: the origins of all whole tiles, in row order."""
    last = 0 if options.drop_last else 1
    rows, cols = (np.arange(0, side - options.patch_size + last, options.patch_size) for side in shape)
    return np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)


def sort_tiles(
    mask: np.ndarray,
    origins: np.ndarray,
    tissue: np.ndarray | None,
    background: int | None,
    options: ExtractionOptions,
) -> Patches:
    """Decides for each tile what it is. Arguments as `extract_tiles`, and int64[N,2] origins."""
    counts = class_counts(mask, origins, options.patch_size)
    return tile_kinds(origins, counts, little_tissue(tissue, origins, options), background, options)


def tile_kinds(
    origins: np.ndarray,
    counts: np.ndarray,
    too_little: np.ndarray,
    background: int | None,
    options: ExtractionOptions,
) -> Patches:
    """Decides for each tile what it is, from its pixels of each class.

    Args:
      origins: int64[N,2].
      counts: int64[N,256], pixels of each class code.
      too_little: bool[N], the tile has too little tissue.
      background: as `extract_tiles`.
      options: as `extract_tiles`.
    """
    known = counts.copy()
    known[:, IGNORE_PIXEL] = 0
    classes = (known > 0).sum(1)
    share = known.max(1, initial=0) / options.patch_size**2
    is_label = (share >= options.dominance) & (classes > 0)
    is_mask = ~is_label & (classes == 2) & (options.seg_from == "grid")
    reasons = [
        (classes == 0, NO_CLASS),
        (~is_label & ~is_mask & (classes == 1), ONE_CLASS),
        (~is_label & ~is_mask, MANY_CLASSES),
        (too_little, LITTLE_TISSUE),
    ]
    dropped = np.select([where for where, _ in reasons], [reason for _, reason in reasons], "")
    labels = np.where(is_label, known.argmax(1), mask_labels(counts, background, options.label_rule))
    return make_patches(origins, labels, is_mask, dropped, np.full(len(origins), -1))


def extract_perimeter(
    mask: np.ndarray, tissue: np.ndarray | None, background: int | None, options: ExtractionOptions
) -> Patches:
    """The release's mask patches: centred on pixels beside another class, taken in row order if far enough.

    Arguments as `extract_tiles`. A picture of one class has none.
    """
    if min(mask.shape) < options.patch_size:
        return make_patches([], [], [], [], [])
    centres = np.argwhere(class_borders(mask)) + 0.5
    candidates = push_inside(centres, mask.shape, options.patch_size)
    kept = np.zeros((0, 2), np.int64)
    for origin in candidates:
        shared = np.maximum(options.patch_size - np.abs(kept - origin), 0).prod(1)
        if (shared < options.max_overlap * options.patch_size**2).all():
            kept = np.concatenate([kept, origin[None]])
    return mask_patches(mask, kept, np.full(len(kept), -1), tissue, background, options)


def class_borders(mask: np.ndarray) -> np.ndarray:
    """bool[H,W]: pixels of a class with a pixel of another class above, below, left or right."""
    cross = ndimage.generate_binary_structure(2, 1)
    # A pixel without class must be neither the highest nor the lowest beside one that has a class.
    low, high = np.where(mask == IGNORE_PIXEL, 0, mask), mask
    highest = ndimage.maximum_filter(low, footprint=cross, mode="nearest")
    lowest = ndimage.minimum_filter(high, footprint=cross, mode="nearest")
    return (mask != IGNORE_PIXEL) & (highest != lowest)
