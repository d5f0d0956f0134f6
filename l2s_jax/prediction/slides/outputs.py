"""What a predicted slide becomes on disk: class map, outlines for QuPath, overlay, entropy map."""

import math
from pathlib import Path

import shapely

from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import write_png
from l2s_jax.figures.drawing import overlay
from l2s_jax.slides.annotations.repair import polygon_parts
from l2s_jax.slides.annotations.tracing import polygons_from_mask
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.slides.annotations.writing import write_geojson
from l2s_jax.slides.grids import centres
from l2s_jax.slides.ome_tiff import write_pyramid
from l2s_jax.slides.overview import read_overview
from l2s_jax.slides.row_file import RowFile, sample
from l2s_jax.slides.slide import Slide, downsample_at, size_at
from l2s_jax.types import IGNORE_PIXEL

MAX_TRACED_PIXELS = 2**24
"""Outlines of larger class maps are traced on every second, third ... pixel: tracing needs the map in memory,
and no viewer is glad of more detail. The record says at which scale."""

OVERLAY_SIDE = 2000
"""Longest side of the overlay, in pixels."""


def output_paths(out: Path, name: str, entropy: bool) -> dict[str, Path]:
    """The files of one slide, beside its record (`record_path`) and its row in areas.csv."""
    paths = {
        "class map": out / f"{name}.ome.tif",
        "outlines": out / f"{name}.geojson",
        "overlay": out / f"{name}_overlay.png",
    }
    return paths | ({"entropy": out / f"{name}_entropy.ome.tif"} if entropy else {})


def record_path(out: Path, name: str) -> Path:
    """The file that says how a slide was predicted; with it, the slide is finished."""
    return out / f"{name}.json"


def write_class_map(path: Path, codes: RowFile, mpp: float, name: str, classes: Classes) -> None:
    """Writes class codes as OME-TIFF in the classes' colours; the description says which code is which."""
    listed = ", ".join(f"{code} {title}" for code, title in enumerate(classes.names))
    text = f"class codes: {listed}; {IGNORE_PIXEL} no class"
    write_pyramid(path, codes, mpp, name=name, description=text, palette=classes.colours)


def write_entropy(path: Path, entropy: RowFile, mpp: float, name: str, classes: Classes) -> None:
    """Writes the entropy map as OME-TIFF in grey."""
    text = f"entropy of the class probabilities, 0..255 for 0..ln {len(classes)}"
    write_pyramid(path, entropy, mpp, name=f"{name} entropy", description=text)


def write_outlines(
    path: Path, codes: RowFile, slide: Slide, mpp: float, classes: Classes, simplify: float
) -> tuple[int, float]:
    """Writes the areas of all classes but background as GeoJSON for QuPath, in level-0 pixels.

    QuPath counts from the corner of the non-empty area of slides that state one, and so does the file.

    Args:
      path: the .geojson file.
      codes: the class map at `mpp`.
      slide: whose level 0 is meant.
      mpp: um/px of the class map.
      classes: names and colours.
      simplify: micrometres by which outlines may leave the edges of pixels.

    Returns:
      The number of outlines, and the um/px at which they were traced.
    """
    step = math.ceil(math.sqrt(math.prod(codes.size) / MAX_TRACED_PIXELS))
    factor = downsample_at(slide, mpp * step)
    rows, columns = (centres(side, -(-side // step), step) for side in codes.size)
    traced = polygons_from_mask(
        sample(codes, rows, columns),
        factor,
        background=classes.background,
        simplify_level0=simplify / max(slide.mpp),
    )
    inside = Annotations(tuple(part for region in traced.regions for part in _on_slide(region, slide)))
    number = write_geojson(path, inside, classes, offset_level0=slide.bounds_level0[:2])
    return number, mpp * step


def _on_slide(region: Region, slide: Slide) -> list[Region]:
    """The region without what its last row or column of pixels has beyond the slide's edge."""
    height, width = slide.size_level0
    _, _, right, bottom = region.polygon.bounds
    if right <= width and bottom <= height:
        return [region]
    cut = region.polygon.intersection(shapely.box(0, 0, width, height))
    return [Region(part, region.code) for part in polygon_parts(cut)]


def write_overlay(path: Path, codes: RowFile, slide: Slide, mpp: float, classes: Classes) -> None:
    """Writes the slide with its classes drawn over it, at most `OVERLAY_SIDE` pixels a side."""
    step = max(1.0, max(codes.size) / OVERLAY_SIDE)
    image, _ = read_overview(slide, mpp * step)
    sides = zip(codes.size, size_at(slide, mpp * step), strict=True)
    rows, columns = (centres(side, count, step) for side, count in sides)
    write_png(path, overlay(image, sample(codes, rows, columns), classes))
