"""Slides and annotations as scanners and BACH have them, written tile by tile.

OpenSlide opens the slides as `aperio` or `generic-tiff`; one of 60,000 x 60,000 pixels takes seconds and
little memory where most of its tiles are of one colour.
"""

import functools
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile
from PIL import Image

from l2s_jax.system.files import atomic_path, write_text

Colour = tuple[int, int, int]
TileFunction = Callable[[int, int, int, int, int], np.ndarray | Colour]
"""(row, col, height, width, downsample) -> uint8[height,width,3], or one colour for the whole tile.

`row` and `col` are the level-0 position of the tile's upper left corner, `downsample` the level-0 pixels of
one of its pixels.
"""
Polygon = Sequence[tuple[float | int, float | int]]
"""Vertices (x, y) in level-0 pixels, as annotation files have them; not closed."""

_JPEG, _TIFF_COMPRESSION_TAG = 7, 259


def write_pyramidal_slide(
    path: str | Path,
    image: np.ndarray | TileFunction,
    *,
    size: tuple[int, int] = (0, 0),
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
      style: which scanner's file it is.
      compression: deflate keeps pixels exactly, and makes huge slides of few colours small.
      quality: of JPEG, 1 to 100.
      tile: side of the tiles in pixels, a multiple of 16.
      power: of the objective, for aperio.

    Raises:
      UserError: the file cannot be written.
    """
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else size
    row_mpp, col_mpp = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    with atomic_path(path) as temporary:
        with tifffile.TiffWriter(temporary, bigtiff=height * width > 2**30) as writer:
            for level, downsample in enumerate(downsamples):
                h, w = max(1, height // downsample), max(1, width // downsample)
                draw = _tiles_of_array(image, downsample) if isinstance(image, np.ndarray) else image
                options: dict[str, Any] = {}
                if style == "generic" and row_mpp is not None and col_mpp is not None:
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
            with tifffile.TiffFile(temporary, mode="r+") as file:
                for page in file.pages:
                    page.aspage().tags[_TIFF_COMPRESSION_TAG].overwrite(_JPEG)
    return Path(path)


def write_bach_xml(
    path: str | Path,
    regions: Sequence[tuple[str, Polygon]],
    *,
    mpp: float | None = 0.467,
    label_in: Literal["attribute", "text"] = "attribute",
) -> Path:
    """BACH's dialect of ImageScope XML: one Annotation, the label in Region/Attributes or Region/@Text.

    Args:
      path: the .xml file.
      regions: (label, vertices) in drawing order.
      mpp: level-0 um/px that the file states, or None.
      label_in: where the label stands.

    Raises:
      UserError: the file cannot be written.
    """
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
        lines += [f'<Vertex X="{x:.10g}" Y="{y:.10g}" Z="0"/>' for x, y in polygon]
        lines.append("</Vertices></Region>")
    write_text(path, "\n".join([*lines, "</Regions></Annotation></Annotations>"]))
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

    def draw(row: int, col: int, tile_height: int, tile_width: int, _: int) -> np.ndarray:
        top, left = row // downsample, col // downsample
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
        return zlib.compress(full.tobytes(), 1)

    @functools.cache
    def encode_colour(colour: Colour) -> bytes:
        return encode(np.broadcast_to(np.array(colour, np.uint8), (tile, tile, 3)))

    for row in range(0, size[0], tile):
        for col in range(0, size[1], tile):
            height, width = min(tile, size[0] - row), min(tile, size[1] - col)
            drawn = draw(row * downsample, col * downsample, height, width, downsample)
            yield encode_colour(drawn) if isinstance(drawn, tuple) else encode(drawn)
