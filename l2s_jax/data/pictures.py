"""Reading and writing single pictures, so that nothing about a file is guessed silently.

`read_image` always gives 8-bit RGB and `read_mask` always gives class codes; a file from which these cannot
be had without a guess is refused with a `UserError` that names it and says how to convert it.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from l2s_jax.data.classes import Classes
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path
from l2s_jax.types import IGNORE_PIXEL

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
MAX_PIXELS = 80_000_000
"""Larger pictures are slides, not patches. Below the size at which Pillow warns of a decompression bomb."""

COLOUR_MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
GREY_MODES = ("1", "L", "LA")
MASK_MODES = ("1", "L", "P", "I;16", "I;16L", "I;16B", "I;16N", "I")
_UNKNOWN = 254  # a mask value of no class; never a code, since `types.MAX_CLASSES` is 254
_ORIENTATION = 0x0112  # EXIF tag

# Said of pictures that are cut short, without their name; the error that follows names them.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture as it is meant to be seen.

    Greyscale and palette pictures become RGB, transparency is laid on white (the colour of empty glass), an
    EXIF orientation is applied. Colour profiles are not.

    Returns:
      uint8[H,W,3], RGB.

    Raises:
      UserError: no readable picture, 16 bits a channel (scaling it down needs a choice of range), CMYK or
        another colour space (converting it needs a colour profile), several pages, more than `MAX_PIXELS`.
    """
    with _opened(path) as image:
        if _bits(image) > 8:
            raise UserError(
                f"{path} has more than 8 bits a channel ({image.mode}); expected 8-bit RGB. Scale it to "
                "8 bits with a range that you choose once for all pictures, e.g. ImageMagick's "
                "`magick IN -level 0,65535 -depth 8 OUT.png`"
            )
        if image.mode not in COLOUR_MODES:
            raise UserError(
                f"{path} is a {image.mode} picture; expected RGB. Convert it with its colour profile, e.g. "
                "`magick IN -profile sRGB.icc -colorspace sRGB OUT.png`"
            )
        image.load()  # a TIFF is turned here and loses its tag
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.array(image.convert("RGB"))


def read_mask_values(path: str | Path) -> np.ndarray:
    """Reads the values that stand in a mask file: grey levels or palette indices as stored, not as shown.

    A greyscale file of 1, 2 or 4 bits gives its samples 0..1, 0..3 or 0..15. An RGB picture whose three
    channels are equal is read as greyscale. An EXIF orientation is applied, as in `read_image`.

    Returns:
      uint8, uint16 or int32 [H,W].

    Raises:
      UserError: no readable picture, or one whose values are colours.
    """
    with _opened(path) as image:
        bits = _bits(image)
        if image.mode not in MASK_MODES and not (image.mode == "RGB" and bits == 8):
            raise _no_mask(path, f"it is a {bits}-bit {image.mode} picture")
        image.load()  # a TIFF is turned here and loses its tag
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        values = np.array(image)
    if values.ndim == 3:
        if not (values == values[..., :1]).all():
            raise _no_mask(path, "it is an RGB picture whose channels differ")
        values = values[..., 0]
    if values.dtype == bool:
        return values.astype(np.uint8)
    if image.mode == "L" and bits in (2, 4):
        return values // (255 // (2**bits - 1))  # Pillow stretches these to 0..255
    return values


def read_mask(path: str | Path, classes: Classes) -> np.ndarray:
    """Reads a mask as class codes.

    Args:
      path: see `read_mask_values` for what is accepted.
      classes: which value stands for which class.

    Returns:
      uint8[H,W], codes 0..C-1, `IGNORE_PIXEL` where the file has `classes.ignore_value`.

    Raises:
      UserError: no readable mask, or values that are none of the classes (with their number of pixels).
    """
    values = read_mask_values(path)
    codes = codes_of_values(values, classes)
    unknown = codes == _UNKNOWN
    if unknown.any():
        found, counts = np.unique(values[unknown], return_counts=True)
        listed = ", ".join(f"{v} ({n} px)" for v, n in list(zip(found, counts, strict=True))[:8])
        more = f" and {len(found) - 8} more" if len(found) > 8 else ""
        known = ", ".join(map(str, classes.pixel_values))
        ignored = f" or {classes.ignore_value} (ignored)" if classes.ignore_value is not None else ""
        raise UserError(
            f"{path}: mask values outside the classes: {listed}{more}; expected {known}{ignored}. "
            "Mend the mask, or add the class or an ignore_value to classes.toml"
        )
    return codes


def codes_of_values(values: np.ndarray, classes: Classes) -> np.ndarray:
    """Turns mask values (integers, [H,W]) into uint8 class codes; 254 where a value is of no class."""
    table = np.full(65536, _UNKNOWN, np.uint8)
    table[list(classes.pixel_values)] = np.arange(len(classes), dtype=np.uint8)
    if classes.ignore_value is not None:
        table[classes.ignore_value] = IGNORE_PIXEL
    if values.dtype in (np.uint8, np.uint16):
        return table[values]
    outside = (values < 0) | (values > 65535)
    return np.where(outside, np.uint8(_UNKNOWN), table[np.where(outside, 0, values)])


def picture_size(path: str | Path) -> tuple[int, int]:
    """(height, width) in pixels as `read_image` would give it, from the header alone. Raises `UserError`."""
    with _opened(path) as image:
        width, height = image.size
        return (width, height) if _orientation(image) >= 5 else (height, width)


def picture_conversion(path: str | Path) -> str | None:
    """What `read_image` does to the colours of a picture that is not plain RGB; None where it does nothing.

    Raises `UserError`.
    """
    with _opened(path) as image:
        if image.has_transparency_data:
            return "transparent: laid on white"
        return "grey: read as RGB of three equal channels" if image.mode in GREY_MODES else None


def picture_orientation(path: str | Path) -> int:
    """EXIF orientation 1..8 of a picture; 1 is upright. Raises `UserError`."""
    with _opened(path) as image:
        return _orientation(image)


def write_png(path: str | Path, array: np.ndarray) -> None:
    """Writes a PNG, whole or not at all.

    Args:
      path: ends in .png.
      array: uint8[H,W], uint8[H,W,3] (RGB) or uint16[H,W].

    Raises:
      UserError: the folder cannot be written, or the disk is full.
    """
    picture = Image.fromarray(np.ascontiguousarray(array))
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    """An open `PIL.Image`; whatever Pillow raises on it inside the block becomes a `UserError`."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path, f"{image.width} x {image.height} pixels")
            pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            if pages > 1:
                raise UserError(f"{path} holds {pages} pages; expected one picture. Save one as PNG")
            if image.format == "TIFF" and _orientation(image) >= 5:  # Pillow 13 scrambles uncompressed ones
                raise UserError(f"{path} is a TIFF that is to be shown turned by its tag. Save it upright")
            yield image
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise _too_large(path, str(error) or "it does not fit in memory") from error
    except Exception as error:  # Pillow's decoders raise whatever the bytes lead them to
        raise UserError(_why_unreadable(Path(path), error)) from error


def _why_unreadable(path: Path, error: Exception) -> str:
    if not path.exists():
        return f"{path} not found. Check the path (it is relative to the manifest's folder) and its spelling"
    if not path.is_file():
        return f"{path} is no file; expected a picture ({', '.join(FORMATS)})"
    if isinstance(error, PermissionError):
        return f"{path} may not be read (permission denied). Change its permissions"
    if path.stat().st_size == 0:
        return f"{path} is empty (0 bytes); expected a picture. Copy or export it again"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"{path} is no picture, whatever its name says; expected {', '.join(FORMATS)}. Export it again"
    return f"{path} is cut short or damaged ({error}). Copy or export it again"


def _too_large(path: str | Path, what: str) -> UserError:
    return UserError(
        f"{path} is too large for one picture: {what}; at most {MAX_PIXELS:,} pixels are read. "
        "Cut it into patches first"
    )


def _no_mask(path: str | Path, what: str) -> UserError:
    return UserError(
        f"{path}: {what}; expected a mask with one value a pixel: 8- or 16-bit greyscale, or a palette. "
        "Save class values, not colours"
    )


def _bits(image: Any) -> int:
    """Bits a channel in the file; Pillow hides those of 16-bit RGB and of 2- and 4-bit greyscale."""
    if image.mode.startswith(("I", "F")):
        return 16 if ";16" in image.mode else 32
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,)))
    if image.mode == "1":
        return 1
    raw_modes = [str(tile[3]) for tile in image.tile] if image.format == "PNG" else []
    return next((bits for bits in (16, 4, 2) if any(f";{bits}" in mode for mode in raw_modes)), 8)


def _orientation(image: Any) -> int:
    """EXIF orientation 1..8. Does not decode a PNG that has no metadata, as `Image.getexif` would."""
    if image.format == "PNG" and not {"exif", "xmp", "Raw profile type exif"} & image.info.keys():
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1
