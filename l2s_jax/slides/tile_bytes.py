"""Tiles of TIFF slides whose bytes are damaged, which OpenSlide can show with other pixels and no error.

Looked at is each tile that is read, once in a process: whether it lies inside the file, how it begins and
ends, and whether zeros or junk stand where its compression has none. Nothing is decoded, so that it costs
little beside the reading; what the compression itself cannot tell (a changed byte in a JPEG, anything in
uncompressed tiles) is not seen.
"""

import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import tifffile

from l2s_jax.data.jpeg_bytes import FEW_ZEROS, has_end, jpeg_fault
from l2s_jax.slides.tiff_tags import MAX_PAGES, ONE_PLANE_A_PAGE

MOST_BYTES = 2**26
"""A tile of more is not looked at; one of 4096 x 4096 pixels without compression has fewer."""

_LZW, _JPEG, _DEFLATE, _JPEG_2000 = 5, 7, (8, 32946), (33003, 33005, 34712)
_JPEG_TABLES = 347

_PIECE = 2**20

_STARTS_OF_JPEG_2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_MOST_EMPTY_PACKETS = 1024
"""Zeros that can stand in JPEG 2000: a byte for each component, layer and resolution that adds nothing."""


class TileIndex(NamedTuple):
    """Where the tiles of a level lie in its file."""

    tile: tuple[int, int]  # (height, width) in pixels
    grid: tuple[int, int]  # tiles down and across
    offsets: np.ndarray  # int64[P*T], row by row, for each plane
    counts: np.ndarray  # int64[P*T]; 0: there is no such tile, which scanners leave out where glass is empty
    compression: int
    tables: bytes  # of JPEG, for all tiles
    ends: bool  # its JPEGs have an end-of-image marker
    sound: np.ndarray  # bool[P*T]: looked at before


def read_tile_index(
    path: Path, vendor: str, level_sizes: Sequence[tuple[int, int]]
) -> tuple[TileIndex | None, ...]:
    """The tiles of each level; None for levels that are not known to be a page of the file.

    Args:
      path: a file that OpenSlide opens.
      vendor: OpenSlide's name of the format.
      level_sizes: (height, width) of the levels.
    """
    if vendor not in ONE_PLANE_A_PAGE:
        return (None,) * len(level_sizes)
    found: dict[tuple[int, int], TileIndex] = {}
    try:
        with tifffile.TiffFile(path) as tiff, path.open("rb") as file:
            for page in (page.aspage() for page in tiff.pages[:MAX_PAGES]):
                size = page.imagelength, page.imagewidth
                if page.is_tiled and size in level_sizes and size not in found:
                    found[size] = _index_of(page, file)
    except Exception:  # tifffile raises whatever the bytes lead it to; opening the slide says so
        return (None,) * len(level_sizes)
    return tuple(found.get(size) for size in level_sizes)


def _index_of(page: Any, file: BinaryIO) -> TileIndex:
    tile = page.tilelength, page.tilewidth
    grid = -(-page.imagelength // tile[0]), -(-page.imagewidth // tile[1])
    offsets, counts = (np.array(values, np.int64) for values in (page.dataoffsets, page.databytecounts))
    if len(counts) != len(offsets) or len(counts) % math.prod(grid):
        raise ValueError(f"{len(counts)} tiles of {math.prod(grid)}")
    tables = page.tags.valueof(_JPEG_TABLES, default=b"")
    index = TileIndex(
        tile, grid, offsets, counts, int(page.compression), bytes(tables), True, np.zeros(len(counts), bool)
    )
    if index.compression != _JPEG or not counts.any():
        return index
    # A writer that leaves end-of-image markers out does so everywhere.
    first = int(np.argmax(counts > 0))
    return index._replace(ends=has_end(_read(file, int(offsets[first]), int(counts[first]))))


def tile_fault(
    path: Path, index: TileIndex, origin: tuple[int, int], size: tuple[int, int]
) -> tuple[tuple[int, int], str] | None:
    """The first damaged tile of a rectangle; None where none shows damage.

    Args:
      path: the slide's file.
      index: of the level.
      origin: (row, col) of the rectangle in the level's pixels.
      size: its (height, width).

    Returns:
      (row, col) of the tile in the level's pixels, and what is wrong with it.
    """
    (down, across), plane = index.grid, math.prod(index.grid)
    rows, cols = (
        np.arange(start // side, min(limit, -(-(start + length) // side)))
        for start, length, side, limit in zip(origin, size, index.tile, (down, across), strict=True)
    )
    planes = np.arange(0, len(index.counts), plane)
    wanted = (planes[:, None, None] + rows[:, None] * across + cols).ravel()
    wanted = wanted[~index.sound[wanted]]
    if not len(wanted):
        return None
    with path.open("rb") as file:
        whole = file.seek(0, 2)
        for one in wanted.tolist():
            why = _fault(file, whole, index, int(index.offsets[one]), int(index.counts[one]))
            if why is not None:
                row, col = divmod(one % plane, across)
                return (row * index.tile[0], col * index.tile[1]), why
            index.sound[one] = True
    return None


def _fault(file: BinaryIO, whole: int, index: TileIndex, offset: int, count: int) -> str | None:
    """What is wrong with one tile of `count` bytes in a file of `whole` bytes."""
    if count == 0:
        return None
    if offset + count > whole:
        return f"it ends at byte {offset + count:,} of a file that has {whole:,}"
    if offset <= 0 or count < 0:
        return "the file does not say where it is"
    if count > MOST_BYTES:
        return None
    data = _read(file, offset, count)
    if index.compression == _JPEG:
        return jpeg_fault(data, index.tables, ends=index.ends)
    if index.compression in _DEFLATE:
        return _deflate_fault(data)
    if index.compression == _LZW:
        return _zeros_fault(data, FEW_ZEROS)
    if index.compression in _JPEG_2000:
        if not data.startswith(_STARTS_OF_JPEG_2000):
            return "it does not begin as JPEG 2000 does"
        return _zeros_fault(data, _MOST_EMPTY_PACKETS)
    return None


def _zeros_fault(data: bytes, most: int) -> str | None:
    return f"{most} bytes of zeros stand in it" if bytes(most) in data else None


def _deflate_fault(data: bytes) -> str | None:
    """Zeros can stand in deflated data; whether they belong there its checksum tells, and only then."""
    if bytes(FEW_ZEROS) not in data and data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0:
        return None
    unpacker, piece = zlib.decompressobj(), b""
    try:
        while not unpacker.eof:  # by pieces: a few bytes can become more than fit into memory
            piece = unpacker.decompress(data, _PIECE)
            data = unpacker.unconsumed_tail
            if not piece and not data:
                return "it ends too early"
    except zlib.error as error:
        return f"it cannot be unpacked ({error})"
    return None


def _read(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
