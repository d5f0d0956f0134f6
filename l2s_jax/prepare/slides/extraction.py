"""Which patches a slide gives, found without ever holding its mask: by regions, or by tiles.

The rules are those of `centred_extraction` and `tile_extraction`, and so are the patches: only what is not
drawn is passed over where it is not known.
"""

import math
from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from l2s_jax.prepare.centred_extraction import cluster_centres, push_inside, sampled
from l2s_jax.prepare.extraction import (
    LITTLE_TISSUE,
    NO_CLASS,
    PICTURE_TOO_SMALL,
    Patches,
    class_counts,
    make_patches,
    mask_labels,
)
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.prepare.slides.components import Band, Bands, find_components, pixels_of
from l2s_jax.prepare.tile_extraction import tile_kinds
from l2s_jax.slides.annotated_slide import PIXELS_AT_ONCE, AnnotatedSlide, mask_window, tissue_window
from l2s_jax.types import IGNORE_PIXEL

MOST_CENTRES = 256
"""A region of more is first cut into squares that hold about so many: K-means takes time with the square."""


def bands_of(sheet: AnnotatedSlide, pixels: int = PIXELS_AT_ONCE) -> Bands:
    """The bands of a slide's mask, in the columns in which there are regions; those without are left out."""
    height, width = sheet.size
    rows = max(1, pixels // width)

    def bands() -> Iterator[Band]:
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            here = sheet.boxes[(sheet.boxes[:, 0] < bottom) & (sheet.boxes[:, 2] > top)]
            if len(here):
                left, right = int(here[:, 1].min()), int(here[:, 3].max())
                yield Band(top, left, mask_window(sheet, (top, left), (bottom - top, max(1, right - left))))

    return bands


def class_pixels(sheet: AnnotatedSlide, bands: Bands) -> np.ndarray:
    """int64[256]: how many of a slide's pixels each class has, and at `IGNORE_PIXEL` how many are unknown."""
    counts = np.zeros(256, np.int64)
    for band in bands():
        counts += np.bincount(band.mask.reshape(-1), minlength=256)
    counts[sheet.undrawn] += math.prod(sheet.size) - counts.sum()
    return counts


def extract_centred_in_bands(
    sheet: AnnotatedSlide, background: int | None, options: ExtractionOptions, bands: Bands
) -> Patches:
    """What `extract_centred` gives for a slide.

    Drawn background is a region like others, since nothing else says what background looks like; not so
    where all that nobody drew is background.

    Args:
      sheet: the slide.
      background: the class of that name, or None.
      options: of extraction; of its variants of the release it knows none.
      bands: of the slide's mask.
    """
    codes = {region.code for region in sheet.annotations.regions} - {IGNORE_PIXEL, sheet.undrawn}
    wanted = tuple(sorted(codes))
    components = find_components(bands, wanted)
    size, found = options.patch_size, components.found
    counts = [math.ceil(1 + one.area / size**2) if max(one.extent) > size else 0 for one in found]
    chosen = {
        number: sampled(found[number].area, count, options) for number, count in enumerate(counts) if count
    }
    points = pixels_of(bands, wanted, components, chosen) if chosen else {}
    centres = []
    with threadpool_limits(1):
        for number, one in enumerate(found):
            inner = (
                _split(points[number], counts[number], options)
                if counts[number]
                else np.array([one.extent]) / 2
            )
            centres.append(inner + one.start)
    regions = np.repeat(np.arange(len(found)), [len(some) for some in centres])
    if found and min(sheet.size) < size:
        nowhere, why = np.zeros((len(regions), 2)), [PICTURE_TOO_SMALL] * len(regions)
        return make_patches(
            nowhere, np.array([one.code for one in found])[regions], nowhere[:, 0] == 0, why, regions
        )
    origins = push_inside(np.concatenate([np.zeros((0, 2)), *centres]), sheet.size, size)
    counted = np.zeros((len(origins), 256), np.int64)
    for number in np.lexsort(origins.T[::-1]).tolist():  # in the order of the bands
        origin = origins[number].tolist()
        window = mask_window(sheet, (origin[0], origin[1]), (size, size))
        counted[number] = np.bincount(window.reshape(-1), minlength=256)
    labels = mask_labels(counted, background, options.label_rule)
    dropped = np.where(_little_tissue(sheet, origins, options), LITTLE_TISSUE, "")
    dropped = np.where(counted[:, :IGNORE_PIXEL].any(1), dropped, NO_CLASS)
    return make_patches(origins, labels, np.ones(len(origins), bool), dropped, regions)


def extract_tiles_in_bands(
    sheet: AnnotatedSlide, background: int | None, options: ExtractionOptions
) -> Patches:
    """What `extract_tiles` gives for a slide, of the tiles that something is drawn in or known of.

    Arguments as `extract_centred_in_bands`.
    """
    size = options.patch_size
    rows, cols = (np.arange(0, side - size + 1, size) for side in sheet.size)
    origins: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
    counts: list[np.ndarray] = [np.zeros((0, 256), np.int64)]
    for row in rows.tolist():
        at = cols if sheet.undrawn != IGNORE_PIXEL else cols[_drawn_columns(sheet, row, cols, size)]
        if len(at) == 0:
            continue
        left, right = int(at.min()), int(at.max()) + size
        strip = mask_window(sheet, (row, left), (size, right - left))
        here = np.stack([np.zeros_like(at), at - left], 1)
        origins.append(here + (row, left))
        counts.append(class_counts(strip, here, size))
    places, counted = np.concatenate(origins), np.concatenate(counts)
    return tile_kinds(places, counted, _little_tissue(sheet, places, options), background, options)


def _drawn_columns(sheet: AnnotatedSlide, row: int, cols: np.ndarray, size: int) -> np.ndarray:
    """bool[T]: which tiles of a row have a region's box in them."""
    here = sheet.boxes[(sheet.boxes[:, 0] < row + size) & (sheet.boxes[:, 2] > row)]
    drawn = np.zeros(len(cols), bool)
    for left, right in here[:, [1, 3]].tolist():
        drawn |= (cols < right) & (cols + size > left)
    return drawn


def _little_tissue(sheet: AnnotatedSlide, origins: np.ndarray, options: ExtractionOptions) -> np.ndarray:
    """bool[N]: which patches have too small a share of tissue."""
    size = options.patch_size
    shares = [tissue_window(sheet, (row, col), (size, size)).mean() for row, col in origins.tolist()]
    return np.array(shares, float).reshape(-1) < options.min_foreground


def _split(points: np.ndarray, count: int, options: ExtractionOptions) -> np.ndarray:
    """float64[K,2]: K-means centres of a region's pixels, in pixel edges."""
    if count <= MOST_CENTRES:
        return cluster_centres(points, count, options)
    squares = points // (options.patch_size * math.isqrt(MOST_CENTRES))
    _, square = np.unique(squares, axis=0, return_inverse=True)
    parts = [points[square.reshape(-1) == number] for number in range(int(square.max()) + 1)]
    each = [max(1, round(count * len(part) / len(points))) for part in parts]
    return np.concatenate(
        [cluster_centres(part, number, options) for part, number in zip(parts, each, strict=True)]
    )
