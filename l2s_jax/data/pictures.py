"""Reading and writing single pictures, so that nothing about a file is guessed silently.

`read_image` always gives 8-bit RGB and `read_mask` always gives class codes; a file from which these cannot
be had without a guess is refused with a `UserError` that names it and says how to convert it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

from l2s_jax.data import tiff_facts
from l2s_jax.data.classes import Classes
from l2s_jax.data.picture_files import LARGE, MAX_PIXELS, Opened, is_large, opened
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path
from l2s_jax.types import IGNORE_PIXEL

__all__ = [
    "LARGE",
    "MAX_PIXELS",
    "ImageLook",
    "MaskLook",
    "codes_of_values",
    "is_large",
    "look_at_image",
    "look_at_mask",
    "orientation_of",
    "picture_size",
    "read_image",
    "read_image_told",
    "read_mask",
    "read_mask_colours",
    "read_mask_values",
    "write_png",
]

COLOUR_MODES = ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBX", "YCbCr")
GREY_MODES = ("1", "L", "LA")
MASK_MODES = ("1", "L", "P", "I;16", "I;16L", "I;16B", "I;16N", "I")
EQUAL_MODES = ("RGB", "LA", "RGBA")
"""Read as masks where the channels are equal and nothing is transparent."""
_BAND = 1_000_000  # pixels that are converted at a time
_UNKNOWN = 254  # a mask value of no class; never a code, since `types.MAX_CLASSES` is 254


class ImageLook(NamedTuple):
    """What can be said of an image without keeping its pixels."""

    size: tuple[int, int]  # (height, width) as `read_image` gives it
    digest: bytes  # of the pixels that `read_image` gives
    blank: bool  # one colour throughout
    conversions: tuple[str, ...]  # what is done to its colours, for people
    orientation: int  # EXIF, 1..8
    mpp: tuple[float, float] | None  # um/px (row, col) that a TIFF states


class MaskLook(NamedTuple):
    """What can be said of a mask without keeping its pixels."""

    size: tuple[int, int]
    pixels: np.ndarray  # i64[C], by class
    orientation: int


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture as it is meant to be seen.

    Greyscale and palette pictures become RGB, transparency is laid on white (the colour of empty glass), an
    EXIF orientation is applied. Colour profiles are not.

    Returns:
      uint8[H,W,3], RGB.

    Raises:
      UserError: no readable picture, a wrong checksum, 16 bits a channel (scaling it down needs a choice of
        range), CMYK or another colour space (converting it needs a colour profile), channels beyond RGB,
        several pages or frames, more than `MAX_PIXELS`.
    """
    return read_image_told(path)[0]


def read_image_told(path: str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """As `read_image`, and what was done to its colours, for people."""
    with opened(path) as found:
        image, _ = _upright_image(path, found)
        return _gathered(image, _rgb), _conversions(image)


def look_at_image(path: str | Path) -> ImageLook:
    """Reads a picture as `read_image` does, a band at a time. Raises `UserError` likewise."""
    with opened(path) as found:
        mpp = tiff_facts.stated_mpp(found.tags)
        image, orientation = _upright_image(path, found)
        conversions = _conversions(image)
        digest, blank, first = hashlib.blake2b(digest_size=16), True, None
        for _, part in _bands(image):
            pixels = _rgb(part)
            digest.update(pixels.data)
            first = pixels[0, 0].copy() if first is None else first
            blank = blank and bool((pixels == first).all())
        return ImageLook((image.height, image.width), digest.digest(), blank, conversions, orientation, mpp)


def _upright_image(path: str | Path, found: Opened) -> tuple[Any, int]:
    """See `_upright`. Raises `UserError` where the picture is neither 8-bit RGB nor 8-bit grey."""
    image = found.image
    if found.bits > 8:
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
    if found.signed:
        raise UserError(f"{path} holds signed numbers; expected 8-bit RGB, 0 to 255. Export it so")
    return _upright(found)


def _upright(found: Opened) -> tuple[Any, int]:
    """The decoded picture, turned as it is to be seen, and the EXIF orientation that it had."""
    image, stated = found.image, found.orientation
    image.load()
    if image.format == "TIFF":  # turned by now, and without its tag
        return image, stated
    stated = found.orientation  # a PNG's may stand behind its pixels
    if stated != 1:
        ImageOps.exif_transpose(image, in_place=True)
    return image, stated


def _conversions(image: Any) -> tuple[str, ...]:
    """What `read_image` does to the colours of a picture that is not plain sRGB, in words."""
    said = []
    if image.has_transparency_data and _shows_through(image):
        said.append("transparent: laid on white")
    elif image.mode in GREY_MODES:
        said.append("grey: read as RGB of three equal channels")
    profile = image.info.get("icc_profile")
    if profile and (name := _profile_name(profile)) is not None:
        said.append(f"with the colour profile {name!r}, which is not applied: its numbers are taken as RGB")
    return tuple(said)


def _shows_through(image: Any) -> bool:
    """Whether any pixel of a picture with an alpha channel is not opaque."""
    alphas = (part.convert("RGBA").getchannel("A") for _, part in _bands(image))
    return any(alpha.getextrema()[0] < 255 for alpha in alphas)


def _profile_name(profile: bytes) -> str | None:
    """Name of a colour profile; None for sRGB."""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile))).strip()
    except Exception:  # littleCMS raises its own errors, and not everybody's profile is one
        return "unreadable"
    return None if "srgb" in name.lower() else name[:60]


def _bands(image: Any) -> Iterator[tuple[int, Any]]:
    """(first row, part of the picture) from top to bottom: memory beyond the picture stays small."""
    rows = max(_BAND // image.width, 1)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _gathered(image: Any, convert: Any) -> np.ndarray:
    """The arrays that `convert` makes of a picture's bands, as one."""
    whole = None
    for top, part in _bands(image):
        values = convert(part)
        if whole is None:
            whole = np.empty((image.height, *values.shape[1:]), values.dtype)
        whole[top : top + len(values)] = values
    assert whole is not None  # Pillow opens no picture without pixels
    return whole


def _rgb(part: Any) -> np.ndarray:
    """u8[h,w,3] of a part of a picture."""
    if part.has_transparency_data:
        part = part.convert("RGBA")
        part = Image.alpha_composite(Image.new("RGBA", part.size, "white"), part)
    return np.asarray(part.convert("RGB"))


def read_mask_values(path: str | Path) -> np.ndarray:
    """Reads the values that stand in a mask file: grey levels or palette indices as stored, not as shown.

    A TIFF in which 0 is white (as ImageJ writes binary masks) gives what is stored, like any other. A
    greyscale file of 1, 2 or 4 bits gives its samples 0..1, 0..3 or 0..15. A picture whose colour channels
    are equal, and none of it transparent, is read as greyscale. An EXIF orientation is applied, as in
    `read_image`.

    Returns:
      uint8, uint16 or int32 [H,W].

    Raises:
      UserError: no readable picture, one whose values are colours, or one that was compressed with loss.
    """
    with opened(path) as found:
        return _gathered(_upright_mask(path, found)[0], lambda part: _stored(path, found, part))


def read_mask_colours(path: str | Path) -> np.ndarray:
    """Reads the colours of a mask whose classes have colours: a palette's as shown, grey as three equal ones.

    An EXIF orientation is applied, as in `read_image`.

    Returns:
      int32[H,W], 0xRRGGBB.

    Raises:
      UserError: no readable picture, one of more than 8 bits, with transparency, or compressed with loss.
    """
    with opened(path) as found:
        if found.bits > 8 or found.signed or found.image.mode not in COLOUR_MODES:
            raise _no_mask(path, f"it is a {found.bits}-bit {found.image.mode} picture")
        if found.lossy:
            raise _no_mask(path, f"it is compressed with loss ({found.image.format}), which changes colours")
        return _gathered(_upright(found)[0], lambda part: _packed(path, part))


def _packed(path: str | Path, part: Any) -> np.ndarray:
    if part.has_transparency_data and part.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise UserError(
            f"{path} is partly transparent: which colours are meant? Save it without transparency"
        )
    rgb = np.asarray(part.convert("RGB")).astype(np.int32)
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def read_both(image: Path, mask: Path) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """Image u8[H,W,3] and the mask's stored values [H,W], None where one cannot be read, and every fault."""
    faults: list[str] = []

    def read(reader: Callable[[Path], np.ndarray], path: Path) -> np.ndarray | None:
        try:
            return reader(path)
        except UserError as error:
            faults.append(str(error))
            return None

    return read(read_image, image), read(read_mask_values, mask), faults


def _upright_mask(path: str | Path, found: Opened) -> tuple[Any, int]:
    """See `_upright`. Raises `UserError` where a mask's values cannot be had from the picture."""
    image = found.image
    if image.mode not in MASK_MODES and not (image.mode in EQUAL_MODES and found.bits == 8):
        raise _no_mask(path, f"it is a {found.bits}-bit {image.mode} picture")
    if found.lossy:
        raise _no_mask(path, f"it is compressed with loss ({image.format}), which changes values")
    return _upright(found)


def _stored(path: str | Path, found: Opened, part: Any) -> np.ndarray:
    """Values [h,w] of a part of a mask, as they stand in the file."""
    values = np.asarray(part)
    if values.ndim == 3:
        if part.mode in ("LA", "RGBA"):
            if not (values[..., -1] == 255).all():
                raise _no_mask(path, f"it is a {part.mode} picture of which some is transparent")
            values = values[..., :-1]
        if not (values == values[..., :1]).all():
            raise _no_mask(path, "it is an RGB picture whose channels differ")
        values = values[..., 0]
    if values.dtype == bool:
        values = values.astype(np.uint8)
        return 1 - values if found.turned_about else values
    if part.mode == "L":
        if found.turned_about:
            values = 255 - values
        if found.bits in (2, 4):
            values = values // (255 // (2**found.bits - 1))  # Pillow stretches these to 0..255
    if found.signed:
        return values.view(np.int8).astype(np.int32)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


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
    unknown: Counter[int] = Counter()
    with opened(path) as found:
        codes = _gathered(
            _upright_mask(path, found)[0], lambda part: _codes(path, found, part, classes, unknown)
        )
    _require_known(path, classes, unknown)
    return codes


def look_at_mask(path: str | Path, classes: Classes) -> MaskLook:
    """Counts the pixels of a mask by class, a band at a time. Raises `UserError` as `read_mask` does."""
    unknown: Counter[int] = Counter()
    pixels = np.zeros(256, np.int64)
    with opened(path) as found:
        image, orientation = _upright_mask(path, found)
        for _, part in _bands(image):
            pixels += np.bincount(_codes(path, found, part, classes, unknown).ravel(), minlength=256)
        look = MaskLook((image.height, image.width), pixels[: len(classes)], orientation)
    _require_known(path, classes, unknown)
    return look


def _codes(path: str | Path, found: Opened, part: Any, classes: Classes, unknown: Counter[int]) -> np.ndarray:
    """Class codes u8[h,w] of a part of a mask; counts the values of no class in `unknown`."""
    values = _stored(path, found, part)
    codes = codes_of_values(values, classes)
    strange = codes == _UNKNOWN
    if strange.any():
        listed, counts = np.unique(values[strange], return_counts=True)
        unknown.update(dict(zip(listed.tolist(), counts.tolist(), strict=True)))
    return codes


def _require_known(path: str | Path, classes: Classes, unknown: Counter[int]) -> None:
    if not unknown:
        return
    listed = ", ".join(f"{value} ({unknown[value]} px)" for value in sorted(unknown)[:8])
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    known = ", ".join(map(str, classes.pixel_values))
    ignored = f" or {classes.ignore_value} (ignored)" if classes.ignore_value is not None else ""
    raise UserError(
        f"{path}: mask values outside the classes: {listed}{more}; expected {known}{ignored}. "
        f"Mend the mask, or add the class{'' if ignored else ' or an ignore_value'} to classes.toml"
    )


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


def orientation_of(path: str | Path) -> int:
    """The EXIF orientation 1..8 of a picture or mask, 1 without any. Raises `UserError`: unreadable."""
    with opened(path) as found:
        return _upright(found)[1]


def picture_size(path: str | Path) -> tuple[int, int]:
    """(height, width) in pixels as `read_image` would give it, from the header alone. Raises `UserError`."""
    with opened(path) as found:
        width, height = found.image.size
        return (width, height) if found.orientation >= 5 else (height, width)


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


def _no_mask(path: str | Path, what: str) -> UserError:
    return UserError(
        f"{path}: {what}; expected a mask with one value a pixel: 8- or 16-bit greyscale, or a palette. "
        "Save class values, not colours"
    )
