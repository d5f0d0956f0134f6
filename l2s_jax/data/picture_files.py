"""Opening a picture's file so that what is read from it is what stands in it, or a refusal that says why."""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from l2s_jax.data import picture_bytes, tiff_facts
from l2s_jax.data.jpeg_bytes import jpeg_fault
from l2s_jax.system.errors import UserError

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
MAX_PIXELS = 80_000_000
"""Larger pictures are slides, not patches. Below the size at which Pillow warns of a decompression bomb."""

LARGE = 8_000_000
"""Pixels from which pictures are to be decoded one at a time, and by one thread: what a thread has freed, the
others cannot use (six pictures of 79 million pixels in six threads kept 1.5 GiB, in one 0.3)."""

_ORIENTATION = 0x0112  # EXIF tag
_TEXTS = {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}  # chunks of a PNG in which an orientation can stand

# Said of pictures that are cut short, without their name; the error that follows names them.
warnings.filterwarnings("ignore", "Corrupt EXIF data|Truncated File Read", UserWarning)


@dataclass(frozen=True)
class Opened:
    """A picture whose header has been read."""

    image: Any  # PIL.Image; its pixels are not decoded yet
    bits: int  # a channel, in the file
    turned_about: bool = False  # Pillow shows it as 255 - value: a TIFF in which 0 is white
    signed: bool = False  # 8 bits, of which Pillow shows -1 as 255
    lossy: bool = False  # values are kept only roughly
    chunks: frozenset[bytes] = frozenset()  # of a PNG

    @property
    def orientation(self) -> int:
        """EXIF orientation 1..8. Does not decode a PNG that has no metadata, as `Image.getexif` would."""
        if self.image.format == "PNG" and not _TEXTS & self.chunks:
            return 1
        value = self.image.getexif().get(_ORIENTATION, 1)
        return value if value in range(1, 9) else 1

    @property
    def tags(self) -> Any:
        """Tags of a TIFF; empty of any other."""
        return getattr(self.image, "tag_v2", {})


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Opened]:
    """A picture of one page in one of `FORMATS`, whole as far as its checksums tell.

    Whatever Pillow raises on it inside the block becomes a `UserError`.

    Raises:
      UserError: see `pictures.read_image`.
    """
    path = Path(path)
    try:
        with path.open("rb") as file, _open(path, file) as found:
            image = found.image
            pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if pages > 1:
                what = "pages" if image.format == "TIFF" else "frames (it is an animation)"
                raise UserError(f"{path} holds {pages} {what}; expected one picture. Save one as PNG")
            if image.format == "TIFF" and found.orientation >= 5:  # Pillow 13 scrambles uncompressed ones
                raise UserError(f"{path} is a TIFF that is to be shown turned by its tag. Save it upright")
            yield found
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise _too_large(path, str(error) or "it does not fit in memory") from error
    except Exception as error:  # Pillow's decoders raise whatever the bytes lead them to
        raise UserError(_why_unreadable(path, error)) from error


def is_large(path: str | Path) -> bool:
    """Whether a picture has more than `LARGE` pixels, by its header; False where that cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.width * image.height > LARGE
    except Exception:  # who reads it will say why
        return False


@contextlib.contextmanager
def _open(path: Path, file: Any) -> Iterator[Opened]:
    head = file.read(picture_bytes.HEAD)
    file.seek(0)
    source, chunks = file, frozenset[bytes]()
    try:
        if head.startswith(picture_bytes.JPEG_SIGNATURE):
            content = file.read()
            source = BytesIO(content)
            with Image.open(source, formats=FORMATS) as image:
                _require_size(path, image)
            picture_bytes.require_whole_jpeg(content)
            if (fault := jpeg_fault(content, ends=False)) is not None:
                raise ValueError(fault)
        elif head.startswith(picture_bytes.PNG_SIGNATURE):
            with Image.open(file, formats=FORMATS) as image:
                _require_size(path, image)
            file.seek(0)
            chunks = picture_bytes.png_chunks(file)
        source.seek(0)
        image = Image.open(source, formats=FORMATS)
    except Image.UnidentifiedImageError:
        if not head.startswith(picture_bytes.TIFF_SIGNATURES):
            raise
        grey = tiff_facts.read_stored_grey(path, MAX_PIXELS)
        yield Opened(grey, 16 if grey.mode == "I;16" else 32)
        return
    with image:
        _require_size(path, image)
        yield _described(path, image, head, chunks)


def _described(path: Path, image: Any, head: bytes, chunks: frozenset[bytes]) -> Opened:
    bits = _bits(image)
    if image.format != "TIFF":
        lossy = image.format in ("JPEG", "MPO") or (
            image.format == "WEBP" and picture_bytes.is_lossy_webp(head)
        )
        return Opened(image, bits, lossy=lossy, chunks=chunks)
    tags = image.tag_v2
    tiff_facts.require_faithful(path, tags)
    sample_format = tags.get(tiff_facts.SAMPLE_FORMAT, (1,))
    return Opened(
        image,
        bits,
        tags.get(tiff_facts.PHOTOMETRIC) == tiff_facts.MIN_IS_WHITE and bits <= 8,
        bits == 8 and tiff_facts.SIGNED in (sample_format if isinstance(sample_format, tuple) else ()),
        tags.get(tiff_facts.COMPRESSION) in tiff_facts.LOSSY,
    )


def _bits(image: Any) -> int:
    """Bits a channel in the file; Pillow hides those of 16-bit RGB and of 2- and 4-bit greyscale."""
    if image.mode.startswith(("I", "F")):
        return 16 if ";16" in image.mode else 32
    if image.format == "TIFF":
        return max(image.tag_v2.get(tiff_facts.BITS, (1,)))
    if image.mode == "1":
        return 1
    raw_modes = [str(tile[3]) for tile in image.tile] if image.format == "PNG" else []
    return next((bits for bits in (16, 4, 2) if any(f";{bits}" in mode for mode in raw_modes)), 8)


def _require_size(path: Path, image: Any) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(path, f"{image.width} x {image.height} pixels")


def _too_large(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} is too large for one picture: {what}; at most {MAX_PIXELS:,} pixels are read. "
        "Cut it into patches first"
    )


def _why_unreadable(path: Path, error: Exception) -> str:
    try:
        if not path.exists():
            return f"{path} not found. Check its spelling; in a manifest paths are relative to its folder"
        if not path.is_file():
            return f"{path} is no file; expected a picture ({', '.join(FORMATS)})"
        if isinstance(error, PermissionError):
            return f"{path} may not be read (permission denied). Change its permissions"
        if path.stat().st_size == 0:
            return f"{path} is empty (0 bytes); expected a picture. Copy or export it again"
    except (OSError, ValueError):
        return f"{path} cannot be read: {error}"
    if isinstance(error, Image.UnidentifiedImageError):
        with path.open("rb") as file:
            head = file.read(picture_bytes.HEAD_OF_OTHERS)
        if head.startswith((picture_bytes.PNG_SIGNATURE, picture_bytes.JPEG_SIGNATURE)):
            return f"{path} is cut short or damaged (its header cannot be read). Copy or export it again"
        foreign = picture_bytes.foreign_format(head)
        if foreign:
            return (
                f"{path} is {foreign}; expected {', '.join(FORMATS)}. Convert it without loss, e.g. "
                "`magick IN OUT.png`"
            )
        return f"{path} is no picture, whatever its name says; expected {', '.join(FORMATS)}. Export it again"
    return f"{path} is cut short or damaged ({error}). Copy or export it again"
