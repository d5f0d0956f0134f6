"""Handing regions on to QuPath and ImageScope."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.data.manifest import Classes
from l2s_jax.slides.annotations.object_ids import object_id
from l2s_jax.slides.annotations.repair import lies_inside, polygons_on_grid
from l2s_jax.slides.annotations.types import Annotations, Region
from l2s_jax.system.files import atomic_path, json_text
from l2s_jax.types import IGNORE_PIXEL

DECIMALS = 3
"""Of a level-0 pixel. Rounding moves a vertex by less than 0.001, so an area changes by at most that times
its perimeter. What rounding makes touch or cross itself is mended at the same measure; where it has become
two areas, two regions are written, and what has no area left is left out."""


def write_geojson(
    path: str | Path,
    annotations: Annotations,
    classes: Classes,
    *,
    offset_level0: tuple[float, float] = (0, 0),
    measurements: Sequence[Mapping[str, float]] | None = None,
    key: str | None = None,
) -> int:
    """Writes a FeatureCollection that QuPath imports as annotations, classes with their colours.

    Regions that are to be ignored have QuPath's class `Ignore*`. Each region is a valid Polygon with closed
    rings, the outer one turning as RFC 7946 asks (in x, y).

    Args:
      path: the .geojson file; written whole or not at all.
      annotations: what to write, in drawing order.
      classes: names and colours of the codes.
      offset_level0: (row, col) taken from every vertex: the corner of `Slide.bounds_level0`.
      measurements: what each region carries, by name; written as a list, which QuPath 0.2 to 0.7 read.
      key: makes ids (UUIDs) that depend on it, the class and the outline only; none are written without.

    Returns:
      The number of features, see `DECIMALS`.

    Raises:
      UserError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        number = 0
        for place, region in _as_written(annotations.regions, offset_level0):
            rings = _rings(region.polygon)
            feature: dict[str, Any] = {"type": "Feature"}
            if key is not None:
                feature["id"] = object_id(key, _name(region.code, classes), rings)
            feature["geometry"] = {"type": "Polygon", "coordinates": rings}
            feature["properties"] = {
                "objectType": "annotation",
                "classification": {
                    "name": _name(region.code, classes),
                    "color": list(_colour(region.code, classes)),
                },
            }
            if measurements is not None:
                values = measurements[place].items()
                feature["properties"]["measurements"] = [{"name": k, "value": v} for k, v in values]
            file.write((",\n" if number else "\n") + json_text(feature))
            number += 1
        file.write("\n]}\n")
    return number


def write_imagescope_xml(
    path: str | Path, annotations: Annotations, classes: Classes, *, mpp: float | None = None
) -> None:
    """Writes Aperio ImageScope XML.

    Consecutive regions of a class share an Annotation (a layer) with the class's name and colour. Holes are
    regions with NegativeROA="1"; since they count for the whole layer, a region that another one's hole
    would cut gets a layer of its own.

    Args:
      path: the .xml file; written whole or not at all.
      annotations: what to write, in drawing order.
      classes: names and colours of the codes.
      mpp: level-0 um/px, written as MicronsPerPixel.

    Raises:
      UserError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
        file.write(f'<Annotations MicronsPerPixel="{mpp:.8g}">\n' if mpp else "<Annotations>\n")
        for number, layer in enumerate(_layers([one for _, one in _as_written(annotations.regions)]), 1):
            file.writelines(_layer_lines(number, layer, classes))
        file.write("</Annotations>\n")


def _name(code: int, classes: Classes) -> str:
    return "Ignore*" if code == IGNORE_PIXEL else classes.names[code]


def _colour(code: int, classes: Classes) -> tuple[int, int, int]:
    return (180, 180, 180) if code == IGNORE_PIXEL else classes.colours[code]


def _layers(regions: Sequence[Region]) -> Iterator[list[Region]]:
    """Splits regions into runs of one class in which no hole of one cuts another."""
    for _, run in itertools.groupby(regions, key=lambda region: region.code):
        layer = list(run)
        cut = _cut_by_holes([region.polygon for region in layer])
        # The regions between two that are cut stay together.
        for is_cut, part in itertools.groupby(enumerate(layer), key=lambda item: item[0] in cut):
            of_part = [region for _, region in part]
            yield from ([region] for region in of_part) if is_cut else [of_part]


def _cut_by_holes(polygons: list[Polygon]) -> set[int]:
    """Indices of polygons with a hole that overlaps another polygon, and of those other polygons."""
    holes = [(i, Polygon(ring)) for i, polygon in enumerate(polygons) for ring in polygon.interiors]
    cut: set[int] = set()
    if holes:
        pairs = shapely.STRtree(polygons).query([hole for _, hole in holes], predicate="intersects")
        for hole_index, other in pairs.T.tolist():
            owner, hole = holes[hole_index]
            if other != owner and not lies_inside(polygons[other], hole):
                cut |= {owner, other}
    return cut


def _layer_lines(number: int, regions: list[Region], classes: Classes) -> Iterator[str]:
    name = quoteattr(_name(regions[0].code, classes))
    red, green, blue = _colour(regions[0].code, classes)
    colour = red | green << 8 | blue << 16  # ImageScope's byte order
    yield f'<Annotation Id="{number}" Name={name} ReadOnly="0" Visible="1" LineColor="{colour}">\n'
    yield "<Attributes/>\n<Regions>\n<RegionAttributeHeaders/>\n"
    rings = ((ring, hole) for region in regions for hole, ring in enumerate(_rings(region.polygon)))
    for ident, (ring, hole) in enumerate(rings, 1):
        yield f'<Region Id="{ident}" Type="0" Text={name} NegativeROA="{int(hole > 0)}">\n'
        yield "<Attributes/>\n<Vertices>\n"
        yield from (f'<Vertex X="{x}" Y="{y}" Z="0"/>\n' for x, y in ring[:-1])
        yield "</Vertices>\n</Region>\n"
    yield "</Regions>\n</Annotation>\n"


def _as_written(
    regions: Iterable[Region], offset_level0: tuple[float, float] = (0, 0)
) -> Iterator[tuple[int, Region]]:
    """Regions whose vertices are rounded, and which are valid nevertheless; each with its place before.

    Args:
      regions: in level-0 pixels.
      offset_level0: (row, col) taken from every vertex first.
    """
    shift = np.array(offset_level0[::-1], np.float64)
    for place, region in enumerate(regions):
        moved = shapely.transform(region.polygon, lambda xy: xy - shift)
        rounded = shapely.transform(moved, lambda xy: np.round(xy, DECIMALS))
        whole = rounded.is_valid and rounded.area > 0
        parts = [rounded] if whole else polygons_on_grid(moved, 10.0**-DECIMALS)
        yield from ((place, Region(part, region.code)) for part in parts if _is_wider_than_rounding(part))


def _is_wider_than_rounding(polygon: Polygon) -> bool:
    """Whether it is more than a line there and back, which a reader's own rounding leaves without an area."""
    return bool(2 * polygon.area > 10.0**-DECIMALS * polygon.length)


def _rings(polygon: Polygon) -> list[list[list[Any]]]:
    """Closed rings of [x, y], whole numbers without a decimal point; the outer ring first."""
    turned = shapely.orient_polygons(polygon)
    return [
        [[_short(x), _short(y)] for x, y, *_ in ring.coords] for ring in (turned.exterior, *turned.interiors)
    ]


def _short(value: float) -> float | int:
    rounded = round(value, DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded
