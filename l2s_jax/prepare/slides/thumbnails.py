"""A small picture of a slide with the outlines of what is drawn on it, to be looked at among many."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import shapely
from PIL import Image

from l2s_jax.data.classes import Classes
from l2s_jax.slides.annotated_slide import AnnotatedSlide
from l2s_jax.slides.annotations.types import Region
from l2s_jax.slides.slide import downsample_at

SIDE = 256
"""Pixels of the longer side, at most."""

UNKNOWN_COLOUR = (0, 0, 0)
"""Of outlines in which no class is known: ignored regions, what files leave out."""

_QUALITY = 75
_VERTICES_AT_ONCE = 200_000


def thumbnail(sheet: AnnotatedSlide, classes: Classes) -> str:
    """A slide's overview, `SIDE` pixels at most, with its outlines in their classes' colours: JPEG, base64.

    Args:
      sheet: the slide.
      classes: of its regions' codes.
    """
    image, mpp = sheet.overview.image, sheet.overview.mpp
    height, width = image.shape[:2]
    share = min(1.0, SIDE / max(height, width))
    size = max(1, round(height * share)), max(1, round(width * share))
    # Rows and columns are left out first: Pillow would copy all of a large overview.
    step = max(1, int(1 / (4 * share)))
    small = Image.fromarray(np.ascontiguousarray(image[::step, ::step]))
    picture = np.array(small.resize(size[::-1], Image.Resampling.BOX))
    down = downsample_at(sheet.slide, mpp)
    scale = down[0] * height / size[0], down[1] * width / size[1]
    lines = outline_codes((*sheet.annotations.regions, *sheet.labelled), size, scale)
    colours = np.full((256, 3), UNKNOWN_COLOUR, np.uint8)
    colours[: len(classes)] = classes.colours
    picture = np.where(lines[..., None] < 0, picture, colours[lines])
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=_QUALITY, subsampling=0, optimize=True)
    return base64.b64encode(out.getvalue()).decode("ascii")


def outline_codes(
    regions: Sequence[Region], size: tuple[int, int], downsample: tuple[float, float]
) -> np.ndarray:
    """The outlines of regions, two pixels wide; one of a region smaller than a pixel is there too.

    Args:
      regions: later ones over earlier ones, in level-0 pixels.
      size: (height, width) of the picture.
      downsample: level-0 pixels to a pixel, (row, col).

    Returns:
      i16[h,w]: the code of the region whose outline runs there, -1 elsewhere.
    """
    lines = np.full(size, -1, np.int16)
    polygons = np.array([region.polygon for region in regions], object)
    codes = np.array([region.code for region in regions], np.int16)
    if not len(regions):
        return lines
    part = np.cumsum(shapely.get_num_coordinates(polygons)) // _VERTICES_AT_ONCE
    for number in np.unique(part):
        rings, of_region = shapely.get_rings(polygons[part == number], return_index=True)
        points, of_ring = shapely.get_coordinates(rings, return_index=True)
        points = points / downsample[::-1]
        joined = of_ring[:-1] == of_ring[1:]
        starts, ways = points[:-1][joined], np.diff(points, axis=0)[joined]
        steps = np.ceil(np.abs(ways).max(1)).astype(np.int64) + 1
        of_way = np.repeat(np.arange(len(steps)), steps)
        along = (np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[of_way]
        cols, rows = np.floor(starts[of_way] + ways[of_way] * along[:, None]).astype(np.int64).T
        value = codes[part == number][of_region][of_ring[:-1][joined]][of_way]
        for row in (0, 1):
            for col in (0, 1):
                here = np.clip(rows - row, 0, size[0] - 1), np.clip(cols - col, 0, size[1] - 1)
                lines[here] = value
    return lines


def legend(classes: Classes) -> list[tuple[str, tuple[int, int, int]]]:
    """What the outlines' colours mean."""
    known = [(name, colour) for name, colour in zip(classes.names, classes.colours, strict=True)]
    return [*known, ("of no known class", UNKNOWN_COLOUR)]
