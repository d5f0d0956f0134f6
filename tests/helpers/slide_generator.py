"""Scenes, damage and annotations with known truth, for slides that `l2s_jax.phantom.slide_writing` writes."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile

from l2s_jax.phantom.slide_writing import Colour, Polygon, TileFunction


def ellipses(
    parts: Sequence[tuple[float, float, float, float, Colour]], background: Colour = (243, 240, 244)
) -> TileFunction:
    """A scene of filled ellipses, later over earlier.

    Tiles of one colour are recognised without drawing them, which is what makes huge slides cheap.

    Args:
      parts: (row, col, row radius, col radius, colour) in level-0 pixels.
      background: the colour of empty glass.
    """

    def draw(row: int, col: int, height: int, width: int, downsample: int) -> np.ndarray | Colour:
        bottom, right = row + height * downsample, col + width * downsample
        touching: list[tuple[float, float, float, float, Colour]] = []
        base = background
        for part in parts:
            y, x, row_radius, col_radius, colour = part
            if abs((row + bottom) / 2 - y) < row_radius + (bottom - row) / 2 and (
                abs((col + right) / 2 - x) < col_radius + (right - col) / 2
            ):
                farthest = max(abs(row - y), abs(bottom - y)), max(abs(col - x), abs(right - x))
                if (farthest[0] / row_radius) ** 2 + (farthest[1] / col_radius) ** 2 < 1:
                    base, touching = colour, []
                else:
                    touching.append(part)
        if not touching:
            return base
        rows = row + (np.arange(height) + 0.5) * downsample
        cols = col + (np.arange(width) + 0.5) * downsample
        which = np.zeros((height, width), np.uint8)
        for number, (y, x, row_radius, col_radius, _) in enumerate(touching, 1):
            # Half the ellipse's extent along each row of pixels; negative above and below it.
            reach = col_radius * np.sqrt(np.clip(1 - ((rows - y) / row_radius) ** 2, 0, None)) - 1e-9
            np.copyto(which, number, where=np.abs(cols - x)[None, :] < reach[:, None])
        palette = np.array([base, *(part[4] for part in touching)], np.uint8)
        return np.take(palette, which, axis=0)

    return draw


def smooth_picture(height: int, width: int, seed: int = 0, waves: int = 6) -> np.ndarray:
    """A smooth colour picture, u8[height,width,3]: no detail finer than about 40 pixels."""
    rng = np.random.default_rng(seed)
    rows, cols = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    total = np.zeros((height, width, 3))
    for _ in range(waves):
        frequency, phase = rng.uniform(-0.15, 0.15, (2, 3)), rng.uniform(0, 2 * np.pi, 3)
        total += np.sin(rows * frequency[0] + cols * frequency[1] + phase)
    return (128 + 110 * total / waves).clip(0, 255).astype(np.uint8)


def cut_off(source: str | Path, path: str | Path, share: float = 0.5) -> Path:
    """Copies the first `share` of a file's bytes."""
    path = Path(path)
    shutil.copyfile(source, path)
    os.truncate(path, int(path.stat().st_size * share))
    return path


def corrupt_tile(source: str | Path, path: str | Path, row: int, col: int, level: int = 0) -> Path:
    """Copies a slide, with junk in the tile of `level` that holds its pixel (row, col)."""
    path = Path(path)
    shutil.copyfile(source, path)
    with tifffile.TiffFile(path) as file:
        page = [page for page in file.pages if page.is_tiled][level]
        across = -(-page.imagewidth // page.tilewidth)
        index = (row // page.tilelength) * across + col // page.tilewidth
        offset, count = page.dataoffsets[index], page.databytecounts[index]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(range(1, 200)) * (count // 199 + 1) if count < 199 else b"\x5a" * count)
    return path


def write_leica_slide(
    path: str | Path, image: np.ndarray, *, canvas: tuple[int, int], corner: tuple[int, int], mpp: float = 0.5
) -> Path:
    """A Leica SCN slide: the scanned area lies on a larger canvas, and OpenSlide states its bounds.

    Args:
      path: the .scn file.
      image: uint8[H,W,3], the scanned area; stored exactly.
      canvas: (height, width) of the whole in level-0 pixels.
      corner: (row, col) of the area on it.
      mpp: um/px.
    """
    nm = mpp * 1000
    (height, width), (rows, cols), (top, left) = image.shape[:2], canvas, corner
    text = f"""<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="c" uuid="u" sizeX="{cols * nm:.0f}" sizeY="{rows * nm:.0f}"><barcode>x</barcode>
<image name="main" uuid="m"><creationDate>2020-01-01T00:00:00</creationDate>
<device model="SCN400" version="1"/><pixels sizeX="{width}" sizeY="{height}">
<dimension sizeX="{width}" sizeY="{height}" r="0" ifd="0"/></pixels>
<view sizeX="{width * nm:.0f}" sizeY="{height * nm:.0f}" offsetX="{left * nm:.0f}" offsetY="{top * nm:.0f}"
 spacingX="{nm:.0f}" spacingY="{nm:.0f}" spacingZ="0"/><scanSettings><objectiveSettings>
<objective>20</objective></objectiveSettings><illuminationSettings><numericalAperture>0.4</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>
</image></collection></scn>"""
    tifffile.imwrite(
        path,
        image,
        photometric="rgb",
        tile=(256, 256),
        compression="zlib",
        description=text,
        resolution=(1e4 / mpp, 1e4 / mpp),
        resolutionunit="CENTIMETER",
        metadata=None,
        software=False,
        bigtiff=True,
    )
    return Path(path)


def write_asap_xml(path: str | Path, regions: Sequence[tuple[str, Polygon]]) -> Path:
    """ASAP's XML: the class is the annotation's group; the coordinates carry their order."""
    lines = ['<?xml version="1.0"?>', "<ASAP_Annotations><Annotations>"]
    for number, (label, polygon) in enumerate(regions):
        lines.append(
            f'<Annotation Name="Annotation {number}" Type="Polygon" PartOfGroup={quoteattr(label)} '
            'Color="#F4FA58"><Coordinates>'
        )
        lines += [f'<Coordinate Order="{i}" X="{x:g}" Y="{y:g}"/>' for i, (x, y) in enumerate(polygon)]
        lines.append("</Coordinates></Annotation>")
    lines.append("</Annotations><AnnotationGroups>")
    lines += [
        f'<Group Name={quoteattr(name)} PartOfGroup="None" Color="#00ff00"><Attributes/></Group>'
        for name in sorted({label for label, _ in regions})
    ]
    return _write(path, "\n".join([*lines, "</AnnotationGroups></ASAP_Annotations>"]))


def write_qupath_geojson(
    path: str | Path, regions: Sequence[tuple[str, Sequence[Polygon]]], *, bare_list: bool = False
) -> Path:
    """QuPath's GeoJSON: each region a class and its rings (the outer one, then holes)."""
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[x, y] for x, y in [*ring, ring[0]]] for ring in rings],
            },
            "properties": {
                "objectType": "annotation",
                "classification": {"name": label, "color": [200, 0, 0]},
            },
        }
        for label, rings in regions
    ]
    content = features if bare_list else {"type": "FeatureCollection", "features": features}
    return _write(path, json.dumps(content))


def _write(path: str | Path, text: str) -> Path:
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)
