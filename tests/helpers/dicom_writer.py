"""Slides as DICOM VL Whole Slide Microscopy files, one file a level, tiles uncompressed.

By hand (explicit VR, little endian): only the attributes that OpenSlide asks for.
"""

import struct
from pathlib import Path

import numpy as np

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_LONG = ("OB", "OW", "SQ", "UN")


def write_dicom_level(
    path: str | Path,
    image: np.ndarray,
    *,
    series: str,
    instance: str,
    mpp: float,
    tile: int = 64,
    original: bool = True,
) -> Path:
    """Writes one level of a slide.

    Args:
      path: the file.
      image: u8[H,W,3], sides multiples of `tile`.
      series: SeriesInstanceUID that the levels of a slide share.
      instance: SOPInstanceUID of this level.
      mpp: um/px.
      tile: side of a tile in pixels.
      original: level 0; the others are resampled from it.
    """
    height, width = image.shape[:2]
    tiles = image.reshape(height // tile, tile, width // tile, tile, 3).swapaxes(1, 2)
    kind = "ORIGINAL\\PRIMARY\\VOLUME\\NONE" if original else "DERIVED\\PRIMARY\\VOLUME\\RESAMPLED"
    spacing = _text(0x0028, 0x0030, "DS", f"{mpp / 1000:.8f}\\{mpp / 1000:.8f}")
    functional = _sequence(0x5200, 0x9229, _sequence(0x0028, 0x9110, spacing))
    body = b"".join(
        (
            _text(0x0008, 0x0008, "CS", kind),
            _text(0x0008, 0x0016, "UI", _WHOLE_SLIDE),
            _text(0x0008, 0x0018, "UI", instance),
            _text(0x0008, 0x0060, "CS", "SM"),
            _text(0x0020, 0x000D, "UI", f"{series}.1"),
            _text(0x0020, 0x000E, "UI", series),
            _text(0x0020, 0x9311, "CS", "TILED_FULL"),
            _number(0x0028, 0x0002, 3),
            _text(0x0028, 0x0004, "CS", "RGB"),
            _number(0x0028, 0x0006, 0),
            _text(0x0028, 0x0008, "IS", str((height // tile) * (width // tile))),
            _number(0x0028, 0x0010, tile),
            _number(0x0028, 0x0011, tile),
            _number(0x0028, 0x0100, 8),
            _number(0x0028, 0x0101, 8),
            _number(0x0028, 0x0102, 7),
            _number(0x0028, 0x0103, 0),
            _number(0x0048, 0x0006, width, "UL"),
            _number(0x0048, 0x0007, height, "UL"),
            _number(0x0048, 0x0303, 1, "UL"),
            functional,
            _element(0x7FE0, 0x0010, "OB", np.ascontiguousarray(tiles).tobytes()),
        )
    )
    meta = b"".join(
        (
            _element(0x0002, 0x0001, "OB", b"\x00\x01"),
            _text(0x0002, 0x0002, "UI", _WHOLE_SLIDE),
            _text(0x0002, 0x0003, "UI", instance),
            _text(0x0002, 0x0010, "UI", _EXPLICIT_LITTLE_ENDIAN),
            _text(0x0002, 0x0012, "UI", "1.2.3.4"),
        )
    )
    path = Path(path)
    path.write_bytes(bytes(128) + b"DICM" + _number(0x0002, 0x0000, len(meta), "UL") + meta + body)
    return path


def _element(group: int, element: int, kind: str, value: bytes) -> bytes:
    head = struct.pack("<HH", group, element) + kind.encode()
    size = struct.pack("<HI", 0, len(value)) if kind in _LONG else struct.pack("<H", len(value))
    return head + size + value


def _text(group: int, element: int, kind: str, text: str) -> bytes:
    padding = "\0" if kind == "UI" else " "
    return _element(group, element, kind, (text + padding * (len(text) % 2)).encode())


def _number(group: int, element: int, value: int, kind: str = "US") -> bytes:
    return _element(group, element, kind, struct.pack("<H" if kind == "US" else "<I", value))


def _sequence(group: int, element: int, content: bytes) -> bytes:
    return _element(group, element, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content)
