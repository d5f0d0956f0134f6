"""Writes slides and annotations with known truth, in the formats in which real ones come.

Slides are real pyramidal TIFF files that OpenSlide opens as `aperio` or `generic-tiff`; they are written tile
by tile, so that a 60,000 x 60,000 slide takes seconds and little memory.
"""

import functools
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile
from PIL import Image

Colour = tuple[int, int, int]
TileFunction = Callable[[float, float, int, int, float], np.ndarray | Colour]
"""(row, col, height, width, downsample) -> uint8[height,width,3], or one colour for the whole tile.

`row` and `col` are the level-0 position of the tile's upper left corner, `downsample` the level-0 pixels of
one of its pixels.
"""
Polygon = Sequence[tuple[float, float]]
"""Vertices (x, y) in level-0 pixels, as annotation files have them; not closed."""

_JPEG, _TIFF_COMPRESSION_TAG = 7, 259


def write_pyramidal_slide(
    path: str | Path,
    image: np.ndarray | TileFunction,
    *,
    size: tuple[int, int] | None = None,
    mpp: float | tuple[float, float] | None = 0.5,
    downsamples: Sequence[int] = (1, 4, 16),
    style: Literal["aperio", "generic"] = "aperio",
    compression: Literal["jpeg", "deflate"] = "jpeg",
    quality: int = 90,
    tile: int = 256,
    power: int = 20,
) -> Path:
    """Writes a tiled pyramid that OpenSlide opens.

    Args:
      path: .svs or .tif; the suffix does not matter to OpenSlide.
      image: level 0 as uint8[H,W,3] (coarser levels are its block means, the remainder dropped as scanners
        do), or a function that draws any tile of any level.
      size: (height, width) of level 0, where `image` is a function.
      mpp: um/px; aperio stores one number, generic TIFF (row, col) as its resolution; None leaves it out.
      downsamples: one whole number a level; (1,) makes a slide without a pyramid.
      compression: deflate keeps pixels exactly, and makes huge slides of few colours small.
    """
    path = Path(path)
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else size
    row_mpp, col_mpp = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    with tifffile.TiffWriter(path, bigtiff=height * width > 2**30) as writer:
        for level, downsample in enumerate(downsamples):
            h, w = max(1, height // downsample), max(1, width // downsample)
            draw = _tiles_of_array(image, downsample) if isinstance(image, np.ndarray) else image
            options = {}
            if style == "generic" and mpp is not None:
                options["resolution"] = (1e4 / (col_mpp * downsample), 1e4 / (row_mpp * downsample))
                options["resolutionunit"] = "CENTIMETER"
            if style == "aperio":
                options["description"] = _aperio_description(h, w, tile, power, col_mpp)
            writer.write(
                _encoded_tiles(draw, (h, w), downsample, tile, compression, quality),
                shape=(h, w, 3),
                dtype=np.uint8,
                tile=(tile, tile),
                photometric="rgb",
                compression="zlib",
                subfiletype=1 if level else 0,
                metadata=None,
                software=False,
                **options,
            )
    if compression == "jpeg":
        # tifffile knows JPEG only together with imagecodecs; the tiles are JPEG streams already.
        with tifffile.TiffFile(path, mode="r+") as file:
            for page in file.pages:
                page.tags[_TIFF_COMPRESSION_TAG].overwrite(_JPEG)
    return path


def ellipses(
    parts: Sequence[tuple[float, float, float, float, Colour]], background: Colour = (243, 240, 244)
) -> TileFunction:
    """A scene of filled ellipses, later over earlier.

    Tiles of one colour are recognised without drawing them, which is what makes huge slides cheap.

    Args:
      parts: (row, col, row radius, col radius, colour) in level-0 pixels.
      background: the colour of empty glass.
    """

    def draw(row: float, col: float, height: int, width: int, downsample: float) -> np.ndarray | Colour:
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


def write_bach_xml(
    path: str | Path,
    regions: Sequence[tuple[str, Polygon]],
    *,
    mpp: float | None = 0.467,
    label_in: Literal["attribute", "text"] = "attribute",
) -> Path:
    """BACH's dialect of ImageScope XML: one Annotation, the label in Region/Attributes or Region/@Text."""
    lines = [f'<Annotations MicronsPerPixel="{mpp}">' if mpp is not None else "<Annotations>"]
    lines += ['<Annotation Id="1" Name="" ReadOnly="0"><Attributes/>', "<Regions><RegionAttributeHeaders/>"]
    for number, (label, polygon) in enumerate(regions, 1):
        text, value = ("", label) if label_in == "attribute" else (label, "")
        lines.append(
            f'<Region Id="{number}" Type="0" Text={quoteattr(text)} NegativeROA="0" AreaMicrons="1.0" '
            'LengthMicrons="1.0">'
        )
        attribute = f'<Attribute Id="0" Name="" Value={quoteattr(value)}/>' if value else ""
        lines.append(f"<Attributes>{attribute}</Attributes><Vertices>")
        lines += [f'<Vertex X="{x:g}" Y="{y:g}" Z="0"/>' for x, y in polygon]
        lines.append("</Vertices></Region>")
    return _write(path, "\n".join([*lines, "</Regions></Annotation></Annotations>"]))


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


def _aperio_description(height: int, width: int, tile: int, power: int, mpp: float | None) -> str:
    size = f"{width}x{height} [0,0 {width}x{height}] ({tile}x{tile}) JPEG/RGB Q=90"
    scale = "" if mpp is None else f"|MPP = {mpp}"
    return f"Aperio Image Library v11.2.1\r\n{size}|AppMag = {power}{scale}"


def _tiles_of_array(image: np.ndarray, downsample: int) -> TileFunction:
    """Tiles of an array's block means."""
    height, width = image.shape[0] // downsample, image.shape[1] // downsample
    whole = image[: height * downsample, : width * downsample]
    if downsample > 1:
        blocks = whole.reshape(height, downsample, width, downsample, 3)
        whole = np.round(blocks.mean((1, 3), dtype=np.float64)).astype(np.uint8)

    def draw(row: float, col: float, tile_height: int, tile_width: int, _: float) -> np.ndarray:
        top, left = int(row) // downsample, int(col) // downsample
        return whole[top : top + tile_height, left : left + tile_width]

    return draw


def _encoded_tiles(
    draw: TileFunction, size: tuple[int, int], downsample: int, tile: int, compression: str, quality: int
) -> Iterator[bytes]:
    """Encodes the tiles of a level row by row; those of one colour are encoded once."""

    def encode(pixels: np.ndarray) -> bytes:
        full = np.full((tile, tile, 3), 255, np.uint8)
        full[: pixels.shape[0], : pixels.shape[1]] = pixels
        if compression == "jpeg":
            out = io.BytesIO()
            Image.fromarray(full).save(out, "JPEG", quality=quality, keep_rgb=True)
            return out.getvalue()
        return tifffile.tifffile.imagecodecs.zlib_encode(full.tobytes(), 1)

    @functools.cache
    def encode_colour(colour: Colour) -> bytes:
        return encode(np.broadcast_to(np.array(colour, np.uint8), (tile, tile, 3)))

    for row in range(0, size[0], tile):
        for col in range(0, size[1], tile):
            height, width = min(tile, size[0] - row), min(tile, size[1] - col)
            drawn = draw(row * downsample, col * downsample, height, width, downsample)
            yield encode_colour(drawn) if isinstance(drawn, tuple) else encode(drawn)
