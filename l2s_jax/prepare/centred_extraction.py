"""Mask patches around annotated regions: Appendix B.2, Figs. B.8 and B.9."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits

from l2s_jax.prepare.extraction import (
    PICTURE_TOO_SMALL,
    Patches,
    make_patches,
    mask_patches,
)
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.types import IGNORE_PIXEL

EIGHT_NEIGHBOURS = np.ones((3, 3), bool)
POINTS_PER_CENTRE = 32


class ConnectedRegion(NamedTuple):
    """A connected component of the mask."""

    box: tuple[slice, slice]  # rows, cols
    inside: np.ndarray  # bool, the region within its box
    area: int  # pixels
    code: int  # its class; of mixed regions the commonest


def extract_centred(
    mask: np.ndarray, tissue: np.ndarray | None, background: int | None, options: ExtractionOptions
) -> Patches:
    """Cuts mask patches centred on annotated regions (Appendix B.2).

    A region that fits into a patch gets one. A larger one is split by K-means on its pixels' coordinates into
    ceil(1 + area / size^2) centres. Patches are pushed inside the picture.

    Args:
      mask: uint8[H,W], class codes; IGNORE_PIXEL belongs to no region.
      tissue: bool[H,W], or None for no rule on tissue.
      background: the class that is no region, or None where every class is one.
      options: see `ExtractionOptions`.

    Returns:
      The patches by region, with their region's number in `regions`. A patch with too little tissue is among
      them, with the reason, and so is each region of a picture that is smaller than the patch.
    """
    found = list(find_regions(mask, background, options))
    # Slides are worked on side by side; and where cores are scarce OpenMP's waiting costs K-means tenfold.
    with threadpool_limits(1):
        centres = [region_centres(region, options) for region in found]
    regions = np.repeat(np.arange(len(found)), [len(some) for some in centres])
    if found and min(mask.shape) < options.patch_size:
        labels = np.array([region.code for region in found])[regions]
        nowhere, why = np.zeros((len(regions), 2)), [PICTURE_TOO_SMALL] * len(regions)
        return make_patches(nowhere, labels, np.ones(len(regions)), why, regions)
    origins = push_inside(np.concatenate([np.zeros((0, 2)), *centres]), mask.shape, options.patch_size)
    return mask_patches(mask, origins, regions, tissue, background, options)


def find_regions(
    mask: np.ndarray, background: int | None, options: ExtractionOptions
) -> Iterator[ConnectedRegion]:
    """The 8-connected components of each class, by class and then row; or those of all classes together."""
    codes = [int(code) for code in np.unique(mask) if code not in (IGNORE_PIXEL, background)]
    if options.components == "any":
        yield from _components(np.isin(mask, codes), mask)
    else:
        for code in codes:
            yield from _components(mask == code, mask)


def _components(member: np.ndarray, mask: np.ndarray) -> Iterator[ConnectedRegion]:
    labelled, _ = ndimage.label(member, EIGHT_NEIGHBOURS)
    for number, box in enumerate(ndimage.find_objects(labelled), 1):
        inside = labelled[box] == number
        counts = np.bincount(mask[box][inside], minlength=256)
        yield ConnectedRegion(box, inside, int(counts.sum()), int(counts.argmax()))


def region_centres(region: ConnectedRegion, options: ExtractionOptions) -> np.ndarray:
    """Where patches are centred to take in a region.

    Returns:
      float64[K,2], (row, col) in pixel edges: the centre of pixel 0 is 0.5.
    """
    start = np.array([side.start for side in region.box], np.float64)
    extent = np.array(region.inside.shape)
    longest = int(extent.max())
    if options.small_region == "nextpow2":
        longest = 1 << (longest - 1).bit_length()
    if longest > options.patch_size:
        return start + _split(region, options)
    if options.centre == "box":
        return (start + extent / 2)[None]
    return (start + np.argwhere(region.inside).mean(0) + 0.5)[None]


def centre_count(region: ConnectedRegion, options: ExtractionOptions) -> int:
    """Into how many a large region is split: ceil(1 + area / size^2)."""
    area = region.area if options.kmeans_area == "region" else region.inside.size
    return math.ceil(1 + area / options.patch_size**2)


def _split(region: ConnectedRegion, options: ExtractionOptions) -> np.ndarray:
    """float64[K,2], the K-means centres of a region, from its box's corner in pixel edges."""
    count = centre_count(region, options)
    step = np.full(2, options.kmeans_step)
    first = -np.array([side.start for side in region.box]) % step
    seen = region.inside[first[0] :: step[0], first[1] :: step[1]]
    if seen.sum() < count:  # too thin a region for the step
        first, step, seen = np.zeros(2, int), np.ones(2, int), region.inside
    places = np.flatnonzero(seen)
    chosen = sampled(len(places), count, options)
    places = places if chosen is None else places[chosen]
    points = np.stack(np.unravel_index(places, seen.shape), -1) * step + first
    return cluster_centres(points, count, options)


def sampled(pixels: int, count: int, options: ExtractionOptions) -> np.ndarray | None:
    """int64[K]: which of a region's pixels K-means sees, in row order; None for all of them.

    Args:
      pixels: of the region.
      count: of the centres.
      options: whose `kmeans_points` and `seed` to use.
    """
    most = max(options.kmeans_points, POINTS_PER_CENTRE * count)
    return np.random.default_rng(options.seed).choice(pixels, most, replace=False) if pixels > most else None


def cluster_centres(points: np.ndarray, count: int, options: ExtractionOptions) -> np.ndarray:
    """float64[K,2]: K-means centres, in pixel edges, of int64[N,2] pixels; `count` where N allows."""
    # Not with the module: scikit-learn takes as long to import as a slide to cut, in processes that cut none.
    from sklearn.cluster import KMeans

    kmeans = KMeans(min(count, len(points)), n_init=1, random_state=options.seed)
    return kmeans.fit(points.astype(np.float64)).cluster_centers_ + 0.5


def push_inside(centres: np.ndarray, shape: tuple[int, ...], size: int) -> np.ndarray:
    """int64[K,2]: origins of patches around centres (float64[K,2], pixel edges), moved inside the picture."""
    origins = np.floor(centres - size / 2).astype(np.int64)
    return np.clip(origins, 0, np.array(shape) - size)
