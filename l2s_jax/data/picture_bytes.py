"""What the bytes of a picture's file say by themselves: which format, and whether they are whole.

Pillow leaves most checksums of a PNG unread: of a small one's single flipped bits, one in a hundred gives
other pixels without a word. A JPEG whose end was filled up with zeros it draws to the end. JPEG and
uncompressed TIFF have no checksums: a byte changed in the middle of one cannot be seen by anybody. Blocks of
a JPEG that were lost can (`jpeg_bytes`).
"""

import re
import struct
import zlib
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEAD = 64
"""So many first bytes tell the format."""

_PIECE = 2**20
# FF and what is no stuffed byte, no restart within a scan and no filling.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_END_OF_IMAGE, _WITHOUT_LENGTH = 0xD9, (0x01, 0xD8)

_OTHERS = (
    (0, b"GIF8", "a GIF"),
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (4, b"ftypavi", "an AVIF picture"),
    (4, b"ftyphei", "an HEIC picture"),
    (4, b"ftypmif1", "an HEIC picture"),
    (128, b"DICM", "a DICOM file"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (8, b"WEBP", "a WebP picture, which this machine's Pillow cannot read"),
    (0, b"P5", "a PGM picture"),
    (0, b"P6", "a PPM picture"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML file"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer, not the picture itself: fetch it with `git lfs pull`",
    ),
)
HEAD_OF_OTHERS = 132


def foreign_format(head: bytes) -> str | None:
    """What a file is that is none of the formats that are read, by its first bytes; None where unknown."""
    for at, magic, name in _OTHERS:
        if head[at : at + len(magic)] == magic:
            return name
    return None


def png_chunks(file: BinaryIO) -> frozenset[bytes]:
    """Reads a PNG to its end and holds every chunk against its CRC-32.

    Returns:
      Names of the chunks that it has.

    Raises:
      ValueError: what is wrong with it.
    """
    if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        raise ValueError("its signature is wrong")
    found: set[bytes] = set()
    while b"IEND" not in found:
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("it ends before its last chunk")
        left, kind = struct.unpack(">I4s", head)
        crc = zlib.crc32(kind)
        while left:
            piece = file.read(min(left, _PIECE))
            if not piece:
                raise ValueError("it ends within a chunk")
            crc, left = zlib.crc32(piece, crc), left - len(piece)
        if file.read(4) != struct.pack(">I", crc):
            raise ValueError(f"the checksum of its chunk {kind.decode('ascii', 'replace')!r} is wrong")
        found.add(kind)
    return frozenset(found)


def require_whole_jpeg(content: bytes) -> None:
    """Raises `ValueError` where a JPEG has no end-of-image marker after its scans."""
    at = len(JPEG_SIGNATURE) - 1
    while match := _MARKER.search(content, at):
        at, marker = match.end(), match[1][0]
        if marker == _END_OF_IMAGE:
            return
        if marker not in _WITHOUT_LENGTH:
            at += max(int.from_bytes(content[at : at + 2], "big"), 2)
    raise ValueError("it ends before its end-of-image marker")


def is_lossy_webp(head: bytes) -> bool:
    """Whether a WebP file keeps values only roughly. An extended one counts as lossy: it rarely is not."""
    return head[12:16] != b"VP8L"
