"""What colours a JPEG or JPEG 2000 says that its samples are, whatever the file around it says of them."""

from typing import Literal, NamedTuple

from l2s_jax.data.jpeg_bytes import segments

Colours = Literal["RGB", "YCbCr"]

_APP0, _ADOBE, _FRAMES = 0xE0, 0xEE, (0xC0, 0xC1, 0xC2)
_SIZE, _STYLE, _TILE, _DATA = 0xFF51, 0xFF52, 0xFF90, 0xFF93


def jpeg_colours(content: bytes, tables: bytes = b"") -> Colours | None:
    """The colours that a JPEG of three components names; None where it names none, or two.

    JFIF allows YCbCr alone, Adobe's segment names its transform, and components can be called R, G and B. It
    is the rule of libjpeg, but that libjpeg guesses where nothing is named.

    Args:
      content: a JPEG, or its beginning up to the first scan.
      tables: the tables that a TIFF keeps once for all of its tiles.
    """
    named: set[Colours] = set()
    for marker, data, _ in (*segments(tables), *segments(content)):
        if marker in _FRAMES and (len(data) < 15 or data[5] != 3):
            return None
        if marker == _APP0 and data.startswith(b"JFIF\0"):
            named.add("YCbCr")
        elif marker == _ADOBE and data.startswith(b"Adobe") and len(data) > 11:
            named.add("YCbCr" if data[11] else "RGB")
        elif marker in _FRAMES and bytes(data[6:15:3]) == b"RGB":
            named.add("RGB")
    return next(iter(named)) if len(named) == 1 else None


MOST_HEADER = 2**16
"""Bytes of a tile in which its header is looked for."""

_RGB, _YCBCR = 2, 6


def tiff_colours_fault(photometric: int, tile: bytes, tables: bytes = b"") -> str | None:
    """What is wrong with a TIFF whose JPEG names other colours than its tags, by which decoders show it.

    What libtiff writes names no colours in its tiles or strips.

    Args:
      photometric: the tag PhotometricInterpretation.
      tile: the first tile or strip, or its first `MOST_HEADER` bytes.
      tables: the tag JPEGTables.
    """
    found, said = jpeg_colours(tile, tables), {_RGB: "RGB", _YCBCR: "YCbCr"}.get(photometric)
    if None in (found, said) or found == said:
        return None
    return (
        f"its tags say that its colours are {said}, by which they would be shown, and its JPEG data that "
        f"they are {found}. If the data are right, set the tag in a copy, e.g. `tiffset -s 262 "
        f"{_RGB if found == 'RGB' else _YCBCR} FILE`; else convert it again from its original"
    )


class Coding(NamedTuple):
    """What the main header of a JPEG 2000 codestream says of its three components."""

    transform: bool  # decoding undoes a transform of colours and gives RGB
    subsampled: bool  # a component has fewer samples than another: they are not red, green and blue


def jpeg_2000_coding(content: bytes) -> Coding | None:
    """How a codestream of three components, or the one in a JP2 file, is coded; None where it does not say.

    Args:
      content: its beginning; some hundred bytes are enough.
    """
    at = content.find(b"\xff\x4f\xff\x51") + 2
    subsampled = transform = None
    while 2 <= at <= len(content) - 4:
        marker, length = (int.from_bytes(content[i : i + 2], "big") for i in (at, at + 2))
        data, at = content[at + 4 : at + 2 + length], at + 2 + length
        if marker in (_TILE, _DATA) or length < 2:
            break
        if marker == _SIZE:
            if int.from_bytes(data[34:36], "big") != 3:
                return None
            subsampled = len({*zip(data[37::3], data[38::3], strict=False)}) > 1
        elif marker == _STYLE and len(data) > 4:
            transform = bool(data[4])
    return None if subsampled is None or transform is None else Coding(transform, subsampled)
