"""What a TIFF says of itself that Pillow does not act upon: planes, channels, how numbers are to be taken."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from l2s_jax.data.coded_colours import MOST_HEADER, tiff_colours_fault
from l2s_jax.data.ome_xml import MICROMETRES, read_ome
from l2s_jax.system.errors import UserError

BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, SAMPLES = 258, 259, 262, 270, 277
RESOLUTIONS, RESOLUTION_UNIT, EXTRA_SAMPLES, SAMPLE_FORMAT, DEPTH = (283, 282), 296, 338, 339, 32997
STRIPS, TILES, TABLES = (273, 279), (324, 325), 347
MIN_IS_WHITE, YCBCR = 0, 6
LOSSY = (6, 7, 50001)  # JPEG, old and new, and WebP
JPEG = 7
UNSIGNED, SIGNED = 1, 2

PLAUSIBLE_MPP = (0.02, 20.0)
"""um/px that a picture's or slide's file is believed to state. Outside lie the print resolutions that cameras
and editors write into pictures: 300 dpi is 85 um/px and 72 dpi is 353 um/px."""

_IMAGEJ = MICROMETRES | {"micron": 1.0, "microns": 1.0, "\\u00b5m": 1.0, "\\u00B5m": 1.0}
_UNITS = {2: 25400.0, 3: 10000.0}


def require_faithful(path: Path, tags: Mapping[int, Any]) -> None:
    """Raises `UserError` for a TIFF of which Pillow would show a part only, or wrong colours."""
    planes = _planes(tags)
    if planes > 1:
        raise UserError(f"{path} holds {planes} pages; expected one picture. Save one as PNG")
    extra = _tuple(tags.get(EXTRA_SAMPLES, ()))
    if 0 in extra:
        raise UserError(
            f"{path} is a TIFF of {tags.get(SAMPLES, 1)} channels, {extra.count(0)} of them of no stated "
            "meaning; expected grey or RGB. Save the channels that you mean as RGB"
        )
    if tags.get(PHOTOMETRIC) == YCBCR and tags.get(COMPRESSION) != JPEG:
        raise UserError(
            f"{path} is a YCbCr TIFF that is not compressed by JPEG; expected RGB. Save it as RGB, e.g. "
            "`magick IN -colorspace sRGB OUT.png`"
        )
    if tags.get(COMPRESSION) == JPEG:
        fault = tiff_colours_fault(tags.get(PHOTOMETRIC, 0), _first_data(path, tags), tags.get(TABLES, b""))
        if fault is not None:
            raise UserError(f"{path}: {fault}")


def _first_data(path: Path, tags: Mapping[int, Any]) -> bytes:
    """The beginning of the first strip or tile; nothing where the tags do not say where it is."""
    for offsets, counts in (STRIPS, TILES):
        where, many = _tuple(tags.get(offsets, ())), _tuple(tags.get(counts, ()))
        if where and many:
            with path.open("rb") as file:
                file.seek(where[0])
                return file.read(min(many[0], MOST_HEADER))
    return b""


def _planes(tags: Mapping[int, Any]) -> int:
    """Pictures in one page: ImageJ's stacks, volumes."""
    text = _text(tags.get(DESCRIPTION))
    images = re.search(r"^images=(\d{1,9})\r?$", text, re.M) if text.startswith("ImageJ=") else None
    depth = tags.get(DEPTH, 1)
    return max(int(images[1]) if images else 1, depth if isinstance(depth, int) else 1)


def read_stored_grey(path: Path, max_pixels: int) -> Image.Image:
    """A greyscale TIFF of a kind that Pillow does not know, its numbers as they are stored.

    Returns:
      An image of mode I;16 or I.

    Raises:
      UserError: another kind, named.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            kind = (
                f"{page.samplesperpixel} x {page.bitspersample}-bit {getattr(page.photometric, 'name', '?')}"
                f"{f' of type {page.dtype}' if page.dtype else ''}"
            )
            grey = page.samplesperpixel == 1 and page.photometric in (0, 1) and page.dtype is not None
            upright = int(page.tags.valueof(274, default=1)) == 1
            if len(file.pages) == 1 and grey and upright and page.dtype.kind in "bui":
                if page.size > max_pixels:
                    raise Image.DecompressionBombError(f"{page.size:,} pixels")
                return _image_of(page.asarray())
    except (UserError, Image.DecompressionBombError, MemoryError):
        raise
    except Exception as error:  # tifffile raises whatever the bytes lead it to
        raise UserError(
            f"{path} is a TIFF that is cut short or damaged, or of a kind that cannot be read ({error}). "
            "Export it again as PNG"
        ) from error
    raise UserError(
        f"{path} is a TIFF of a kind that is not read ({kind}); expected one picture of 8-bit RGB, or grey. "
        "Save it as 8-bit RGB, or a mask as 8- or 16-bit greyscale PNG"
    )


def _image_of(values: np.ndarray) -> Image.Image:
    if values.ndim != 2:
        raise ValueError(f"shape {values.shape}")
    if values.dtype == np.uint16:
        return Image.fromarray(values.astype("<u2"))
    if values.dtype.kind != "b":
        # NumPy 2.0 refuses bounds that a type has not.
        whole, own = np.iinfo(np.int32), np.iinfo(values.dtype)
        values = np.clip(values, max(whole.min, own.min), min(whole.max, own.max))
    return Image.fromarray(values.astype(np.int32))


def stated_mpp(tags: Mapping[int, Any]) -> tuple[float, float] | None:
    """Micrometres a pixel (row, col) that a TIFF states; None where it states none that can be true.

    OME's PhysicalSize comes first, then ImageJ's unit, then the resolution tags.
    """
    text = _text(tags.get(DESCRIPTION))
    ome = read_ome(text)
    for found in (
        ome.mpp if ome else None,
        _of_resolution(tags, _unit_of_imagej(text)),
        _of_resolution(tags, None),
    ):
        if found and all(PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1] for value in found):
            return found
    return None


def _unit_of_imagej(text: str) -> float | None:
    found = re.search(r"^unit=(.*?)\r?$", text, re.M) if text.startswith("ImageJ=") else None
    return _IMAGEJ.get(found[1].strip()) if found else None


def _of_resolution(tags: Mapping[int, Any], unit: float | None) -> tuple[float, float] | None:
    unit = unit or _UNITS.get(tags.get(RESOLUTION_UNIT, 2))
    values = [_number(tags.get(tag)) for tag in RESOLUTIONS]
    if unit is None or not all(value and value > 0 for value in values):
        return None
    return unit / (values[0] or math.inf), unit / (values[1] or math.inf)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    """A tag's text, which is UTF-8 where it can be; Pillow takes each byte for a character."""
    if isinstance(value, str):
        try:
            return value.encode("latin-1").decode("utf-8").lstrip("\ufeff")
        except UnicodeError:
            return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
