"""Damage that the bytes of a JPEG show: an end that is missing, zeros or junk where no encoder writes them.

Decoders draw such a picture to its end without a word. What was lost on a disk or in a download is mostly
whole blocks, filled with zeros or with something else, and those can be seen without decoding anything. A
single changed byte cannot: a JPEG has no checksums.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

START, END = b"\xff\xd8", b"\xff\xd9"

FEW_ZEROS = 64
"""Bytes of zeros that no scan holds, unless zero bits are its code for a block of one colour: with the usual
tables they mean two blocks in a row whose every coefficient is -1."""

_SCAN, _TABLES, _END_OF_IMAGE = 0xDA, 0xC4, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {_TABLES, 0xC8, 0xCC}
_ONE_PASS = (0xC0, 0xC1)  # frames of Huffman's code whose scans hold whole blocks
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_BETWEEN_SCANS = {_TABLES, _SCAN, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_BLOCK_ENDS = 0
_WITHIN_SCANS = {0, 0xFF, *range(0xD0, 0xD8)}  # after FF: a stuffed byte, filling, a restart


class Segment(NamedTuple):
    """A marker with a length, and what it holds."""

    marker: int
    content: bytes
    end: int  # the byte after it


def segments(content: bytes) -> Iterator[Segment]:
    """The segments of a JPEG up to the first scan's header, that included; fewer where it is cut off."""
    at = len(START)
    while (at := content.find(b"\xff", at)) >= 0:
        while content[at : at + 1] == b"\xff":
            at += 1
        if at + 3 > len(content) or content[at] == _END_OF_IMAGE:
            return
        marker, at = content[at], at + 1
        if marker in _WITHOUT_LENGTH:
            continue
        end = at + max(2, int.from_bytes(content[at : at + 2], "big"))
        yield Segment(marker, content[at + 2 : end], end)
        if marker == _SCAN:
            return
        at = end


def jpeg_fault(content: bytes, tables: bytes = b"", *, ends: bool = True) -> str | None:
    """What of a JPEG is damaged, as far as its bytes show it; None where they show nothing.

    Args:
      content: the whole of it.
      tables: the tables that a TIFF keeps once for all of its tiles, as they stand there.
      ends: it must have an end-of-image marker.
    """
    if not content.startswith(START):
        zeros = not any(content[:FEW_ZEROS])
        return "it begins with zeros" if zeros else "it does not begin as a JPEG does"
    found = [*segments(tables), *segments(content)]
    if not found or found[-1].marker != _SCAN:
        return "it has no picture in it"
    start, stop = found[-1].end, len(content)
    at = _marker(content, start)
    if at is not None:
        stop = at
        if content[at + 1] != _END_OF_IMAGE and content[at + 1] not in _BETWEEN_SCANS:
            return f"marker FF{content[at + 1]:02X} stands in its picture"
    if bytes(FEW_ZEROS) in content:
        most = _most_zeros(found)
        if most is not None and content.find(bytes(most), start, stop) >= 0:
            return f"{most} bytes of zeros stand in its picture"
    return "it ends before its end-of-image marker" if ends and not has_end(content) else None


def _marker(content: bytes, at: int) -> int | None:
    """Where the first marker stands from a place on that is none within a scan; None without one.

    This is done for every tile that is read. Mostly all FF but the last are stuffed, which counting shows in
    a tenth of the time; a regular expression takes ten times as long.
    """
    if content.endswith(END) and content.count(b"\xff", at) == content.count(b"\xff\0", at) + 1:
        return len(content) - len(END)
    while 0 <= (at := content.find(b"\xff", at)) < len(content) - 1:
        if content[at + 1] not in _WITHIN_SCANS:
            return at
        at += 1
    return None


def has_end(content: bytes) -> bool:
    """Whether an end-of-image marker is the last of a JPEG but for zeros that fill it up."""
    return content.rstrip(b"\0").endswith(END)


def _most_zeros(found: Sequence[Segment]) -> int | None:
    """Bytes of zeros that the first scan cannot hold; None where that is not known."""
    frame = next((one for one in reversed(found) if one.marker in _FRAMES), None)
    if frame is None or frame.marker not in _ONE_PASS or len(frame.content) < 6:
        return None
    header, of_table = found[-1].content, _meaning_of_zeros(found)
    parts = header[0] if header else 0
    used = {header[2 + 2 * part] & 15 for part in range(parts) if 2 + 2 * part < len(header)}
    if any(of_table.get(table) != _BLOCK_ENDS for table in used):
        return FEW_ZEROS
    # A block takes two bits at least, so that more zeros than these would be more blocks than there are.
    height, width = (int.from_bytes(frame.content[at : at + 2], "big") for at in (1, 3))
    return max(FEW_ZEROS, frame.content[5] * (height // 8 + 4) * (width // 8 + 4) // 4)


def _meaning_of_zeros(found: Sequence[Segment]) -> dict[int, int]:
    """Of each table for coefficients: what its code that is all zeros stands for."""
    meaning = {}
    for tables in (one.content for one in found if one.marker == _TABLES):
        at = 0
        while at + 17 < len(tables):
            kind, number = tables[at], sum(tables[at + 1 : at + 17])
            if kind >> 4 and number:
                meaning[kind & 15] = tables[at + 17]
            at += 17 + number
    return meaning
