"""The predicted areas of a slide as objects for QuPath: outlines to edit, and what is measured of them."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.data.classes import Classes
from l2s_jax.slides.annotations.object_ids import PREDICTED_AREA
from l2s_jax.slides.annotations.repair import polygon_parts
from l2s_jax.slides.annotations.tracing import Traced, trace_classes
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.annotations.writing import write_geojson
from l2s_jax.slides.grids import centres
from l2s_jax.slides.row_file import RowFile, read_rows, sample
from l2s_jax.slides.slide import Slide, downsample_at

MAX_TRACED_PIXELS = 2**24
"""Outlines of larger class maps are traced on every second, third ... pixel: tracing needs the map in memory,
and no viewer is glad of more detail. The record says at which scale."""

SMOOTH = 2.0
"""Pixels by which outlines leave the edges of pixels unless asked otherwise: their stairs become slopes."""

MUTUAL_INFORMATION = "Mutual information of runs"
"""Mean within an object, as a share of ln C: how far runs disagree, 0..1."""

ROWS_AT_ONCE = 256


class Grid(NamedTuple):
    """The pixels of a class map on which outlines are traced."""

    step: int
    rows: np.ndarray  # i64[h]
    columns: np.ndarray  # i64[w]


class Written(NamedTuple):
    """What was written."""

    objects: int
    mpp: float  # um/px at which they were traced
    simplified: float  # micrometres by which they may leave the edges of pixels


def traced_grid(size: tuple[int, int]) -> Grid:
    """The pixels of a class map of (height, width) `size` that are traced: at most `MAX_TRACED_PIXELS`."""
    step = max(1, math.ceil(math.sqrt(math.prod(size) / MAX_TRACED_PIXELS)))
    rows, columns = (centres(side, -(-side // step), step) for side in size)
    return Grid(step, rows, columns)


def write_outlines(
    path: Path,
    codes: RowFile,
    probabilities: RowFile,
    grid: Grid,
    slide: Slide,
    mpp: float,
    classes: Classes,
    simplify: float | None,
    key: str,
    *,
    disagreement: bool = False,
) -> Written:
    """Writes the areas of all classes but background as GeoJSON for QuPath, in level-0 pixels.

    QuPath counts from the corner of the non-empty area of slides that state one, and so does the file. Each
    object carries its area as it was predicted, and the mean probability of each class within it; its id is
    the same whenever the same prediction is written.

    Args:
      path: the .geojson file.
      codes: the class map at `mpp`.
      probabilities: u8 of each class on the grid, the classes of a pixel side by side, 0..255.
      grid: from `traced_grid`.
      slide: whose level 0 is meant.
      mpp: um/px of the class map.
      classes: names and colours.
      simplify: micrometres by which outlines may leave the edges of pixels; None is `SMOOTH` pixels.
      key: of the prediction, from which ids are made.
      disagreement: several runs' mutual information follows the classes of each pixel, 255 for ln C; objects
        carry its mean.
    """
    traced_mpp = mpp * grid.step
    tolerance = SMOOTH * traced_mpp if simplify is None else simplify
    regions: list[Region] = []
    measured: list[Mapping[str, float]] = []
    for traced in trace_classes(
        sample(codes, grid.rows, grid.columns),
        downsample_at(slide, traced_mpp),
        background=classes.background,
        simplify_level0=tolerance / max(slide.mpp),
    ):
        means = mean_probabilities(traced, probabilities, len(classes) + disagreement)
        for polygons, shares in zip(traced.polygons, means, strict=True):
            for part in (one for polygon in polygons for one in _on_slide(polygon, slide)):
                regions.append(Region(part, traced.code))
                measured.append(measurements(part, traced.code, shares, slide, classes))
    number = write_geojson(
        path,
        Annotations(tuple(regions)),
        classes,
        offset_level0=slide.bounds_level0[:2],
        measurements=measured,
        key=key,
    )
    return Written(number, traced_mpp, tolerance)


def measurements(
    polygon: Polygon, code: int, shares: np.ndarray, slide: Slide, classes: Classes
) -> dict[str, float]:
    """What an object carries, by the names under which QuPath shows it.

    They say "predicted" since they stay when somebody corrects the outline, while QuPath's own area follows.

    Args:
      polygon: in level-0 pixels.
      code: its class.
      shares: f64[C], mean probabilities within it, 0..1; of several runs also their mutual information.
      slide: gives the scale.
      classes: names.
    """
    area = polygon.area * slide.mpp[0] * slide.mpp[1]
    found = {PREDICTED_AREA: round(area, 1), "Mean probability": round(float(shares[code]), 4)}
    names = [f"Probability: {name}" for name in classes.names]
    names += [MUTUAL_INFORMATION] * (len(shares) - len(classes))
    each = zip(names, shares.tolist(), strict=True)
    return found | {name: round(share, 4) for name, share in each}


def mean_probabilities(traced: Traced, probabilities: RowFile, classes: int) -> np.ndarray:
    """f64[N,C]: mean probabilities of each class, or other channels, over the pixels of each area, 0..1."""
    number = len(traced.polygons) + 1
    sums, pixels = np.zeros((number, classes)), np.zeros(number)
    for labels, values in _strips(traced, probabilities, classes):
        pixels += np.bincount(labels, minlength=number)
        for code in range(classes):
            sums[:, code] += np.bincount(labels, weights=values[:, code], minlength=number)
    return sums[1:] / (255 * np.maximum(pixels[1:, None], 1))


def _strips(traced: Traced, probabilities: RowFile, classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Area numbers i32[N] and probabilities u8[N,C] of the pixels of a class, some rows at a time."""
    (top, left), (height, width) = traced.corner, traced.components.shape
    for start in range(0, height, ROWS_AT_ONCE):
        labels = traced.components[start : start + ROWS_AT_ONCE]
        rows = read_rows(probabilities, top + start, top + start + len(labels))
        values = rows.reshape(len(labels), -1, classes)[:, left : left + width]
        there = labels > 0
        yield labels[there], values[there]


def _on_slide(polygon: Polygon, slide: Slide) -> list[Polygon]:
    """The outline without what its last row or column of pixels has beyond the slide's edge."""
    height, width = slide.size_level0
    _, _, right, bottom = polygon.bounds
    if right <= width and bottom <= height:
        return [polygon]
    return polygon_parts(polygon.intersection(shapely.box(0, 0, width, height)))
