"""What patch extraction yields, and the rules that both ways of it share.

`centred_extraction.py` cuts around annotated regions (Appendix B.2), `tile_extraction.py` cuts a grid
(section 3.3). Both are functions of (mask, tissue, options) and never read a slide. Coordinates are
(row, col) pixels of the mask.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.slides.tissue import foreground_share
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL

LITTLE_TISSUE = "too little tissue"
NO_CLASS = "no pixel has a class"
PICTURE_TOO_SMALL = "picture smaller than the patch"


@dataclass(frozen=True)
class Patches:
    """Patches that were considered, kept or not; one row of each array a patch."""

    origins: np.ndarray  # int64[N,2], (row, col) of the upper left pixel
    labels: np.ndarray  # int64[N], class code, IGNORE_LABEL where none can be told
    is_mask: np.ndarray  # bool[N], True: segmentation patch, False: image-level patch
    dropped: np.ndarray  # str[N], why the patch is left out, "" where it is kept
    regions: np.ndarray  # int64[N], the region it was cut around; -1 for tiles

    def __len__(self) -> int:
        return len(self.origins)

    def kept(self) -> "Patches":
        """Only the patches to use."""
        return self.where(self.dropped == "")

    def where(self, chosen: np.ndarray) -> "Patches":
        """The patches of a bool[N] or int[K] choice."""
        return Patches(
            self.origins[chosen],
            self.labels[chosen],
            self.is_mask[chosen],
            self.dropped[chosen],
            self.regions[chosen],
        )

    def dropped_counts(self) -> dict[str, int]:
        """How many were left out for each reason, the commonest first."""
        return dict(Counter(reason for reason in self.dropped.tolist() if reason).most_common())


def make_patches(
    origins: ArrayLike, labels: ArrayLike, is_mask: ArrayLike, dropped: ArrayLike, regions: ArrayLike
) -> Patches:
    """A `Patches` from lists or arrays, each brought to its dtype."""
    return Patches(
        np.asarray(origins, np.int64).reshape(-1, 2),
        np.asarray(labels, np.int64).reshape(-1),
        np.asarray(is_mask, bool).reshape(-1),
        np.asarray(dropped, dtype=np.str_).reshape(-1).astype(object),
        np.asarray(regions, np.int64).reshape(-1),
    )


def join(*parts: Patches) -> Patches:
    """The patches of several extractions, one after the other."""
    columns = (
        np.concatenate([getattr(part, name) for part in parts]) for name in Patches.__dataclass_fields__
    )
    return Patches(*columns)


def little_tissue(tissue: np.ndarray | None, origins: np.ndarray, options: ExtractionOptions) -> np.ndarray:
    """bool[N]: which patches have too small a share of tissue. None is tissue everywhere."""
    if tissue is None:
        return np.zeros(len(origins), bool)
    return foreground_share(tissue, origins, options.patch_size) < options.min_foreground


def class_counts(mask: np.ndarray, origins: np.ndarray, size: int) -> np.ndarray:
    """int64[N,256]: how many pixels of each class code a patch has."""
    counts = np.zeros((len(origins), 256), np.int64)
    for index, (row, col) in enumerate(origins):
        counts[index] = np.bincount(mask[row : row + size, col : col + size].ravel(), minlength=256)
    return counts


def mask_labels(counts: np.ndarray, background: int | None, rule: str) -> np.ndarray:
    """Labels of mask patches, by `ExtractionOptions.label_rule`.

    Args:
      counts: int64[N,256], pixels by class code.
      background: code of the background class, or None where there is none.
      rule: "foreground" or "three_to_one".

    Returns:
      int64[N], class codes; IGNORE_LABEL where no pixel has a class.
    """
    known = counts.copy()
    known[:, IGNORE_PIXEL] = 0
    labels = known.argmax(1)
    if background is not None:
        others = known.copy()
        others[:, background] = 0
        behind = others.max(1)
        if rule == "foreground":
            prefer = behind > 0
        else:
            prefer = (labels == background) & (behind > 0) & (known[:, background] <= 3 * behind)
        labels = np.where(prefer, others.argmax(1), labels)
    return np.where(known.any(1), labels, IGNORE_LABEL)


def mask_patches(
    mask: np.ndarray,
    origins: np.ndarray,
    regions: np.ndarray,
    tissue: np.ndarray | None,
    background: int | None,
    options: ExtractionOptions,
) -> Patches:
    """Mask patches at given origins (int64[K,2]) of given regions (int64[K]): labelled, dropped by the rules.

    Other arguments as `centred_extraction.extract_centred`.
    """
    labels = mask_labels(class_counts(mask, origins, options.patch_size), background, options.label_rule)
    dropped = np.where(little_tissue(tissue, origins, options), LITTLE_TISSUE, "")
    dropped = np.where(labels == IGNORE_LABEL, NO_CLASS, dropped)
    return make_patches(origins, labels, np.ones(len(origins), bool), dropped, regions)


def overlapping_pairs(origins: np.ndarray, size: int, share: float) -> np.ndarray:
    """Pairs of patches that have more than a share of their area in common: near-duplicates.

    Args:
      origins: int[N,2], (row, col).
      size: side of the patches.
      share: of the area, 0..1.

    Returns:
      int64[P,2], rows of `origins`, the lesser first.
    """
    origins = np.asarray(origins, np.int64).reshape(-1, 2)
    if len(origins) < 2:
        return np.zeros((0, 2), np.int64)
    pairs = cKDTree(origins).query_pairs(size, p=np.inf, output_type="ndarray")
    rows, cols = np.abs(origins[pairs[:, 0]] - origins[pairs[:, 1]]).T
    pairs = pairs[(size - rows) * (size - cols) > share * size**2]
    return pairs[np.lexsort(pairs.T[::-1])].astype(np.int64)
