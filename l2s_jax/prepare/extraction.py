"""What patch extraction yields, its options, and the rules that both ways of it share.

`centred_extraction.py` cuts around annotated regions (Appendix B.2), `tile_extraction.py` cuts a grid
(section 3.3). Both are functions of (mask, tissue, options) and never read a slide. Coordinates are
(row, col) pixels of the mask.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from l2s_jax.slides.tissue import foreground_share
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL

LITTLE_TISSUE = "too little tissue"
NO_CLASS = "no pixel has a class"
PICTURE_TOO_SMALL = "picture smaller than the patch"


@dataclass(frozen=True)
class ExtractionOptions:
    """How patches are cut. The defaults are the paper's; `RELEASE` is what its authors' code does."""

    size: int = 128
    """Side of a patch in pixels of the working mpp."""
    min_foreground: float = 0.75
    """Patches with a smaller share of tissue are dropped (B.1). The release keeps all: 0."""
    morphology: Literal["open", "close"] = "open"
    """Last step of the tissue mask: opening (B.1) or, in the release, closing."""
    components: Literal["class", "any"] = "class"
    """Regions are connected components (8 neighbours) of each class, or (release) of all classes but
    background together, so that touching regions of different classes are one."""
    small_region: Literal["box", "nextpow2"] = "box"
    """A region gets one patch where the longer side of its bounding box, or (release) that side rounded up to
    a power of two, is at most `size`."""
    centre: Literal["box", "centroid"] = "box"
    """A small region's patch is centred on its bounding box, so that all of it is in the patch, or on its
    centroid (release)."""
    kmeans_area: Literal["region", "box"] = "region"
    """A larger region is split into ceil(1 + area / size^2) by its own area or (release) its box's area."""
    kmeans_step: int = 1
    """K-means sees the pixels whose row and column are multiples of this (release: 16)."""
    kmeans_points: int = 4096
    """K-means sees at most this many pixels, or 32 a centre where that is more, drawn at random."""
    seed: int = 0
    """Of that draw and of K-means."""
    dominance: float = 0.9
    """Tiles: from this share on, a class makes the tile an image-level patch. 0 (release): every tile is one,
    of its most frequent class."""
    seg_from: Literal["grid", "perimeter"] = "grid"
    """Tiles: mask patches are the grid tiles with exactly two classes, or (release) patches centred on class
    borders, taken greedily in row order."""
    max_overlap: float = 0.2
    """Perimeter patches overlap each one kept before by less than this share of their area."""
    label_rule: Literal["foreground", "three_to_one"] = "foreground"
    """Label of a mask patch: its most frequent class other than background; background where there is none.
    Or (release) the most frequent class, but the next where background has at most 3 times its pixels."""
    drop_last: bool = False
    """Tiles: leave out the last row and column even where they are whole, as the release's loop does."""
    report_overlap: float = 0.5
    """Pairs of patches that share more than this part of their area are reported."""

    def __post_init__(self):
        limits = {"size": 1, "kmeans_step": 1, "kmeans_points": 1}
        for name, least in limits.items():
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("min_foreground", "dominance", "max_overlap", "report_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}; it is a share, from 0 to 1")


PAPER = ExtractionOptions()
RELEASE = ExtractionOptions(
    min_foreground=0.0,
    morphology="close",
    components="any",
    small_region="nextpow2",
    centre="centroid",
    kmeans_area="box",
    kmeans_step=16,
    dominance=0.0,
    seg_from="perimeter",
    label_rule="three_to_one",
    drop_last=True,
)
PRESETS = {"paper": PAPER, "release": RELEASE}


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
    return foreground_share(tissue, origins, options.size) < options.min_foreground


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
    labels = mask_labels(class_counts(mask, origins, options.size), background, options.label_rule)
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
