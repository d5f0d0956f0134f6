"""A picture of one byte a pixel on disk, for pictures too large for memory.

Plain reads and writes, no memory mapping: on a full disk a mapped write kills the process, a plain one is an
error with a message, and pages that are not mapped do not count as this process's memory.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from l2s_jax.system.files import unwritable


class RowFile(NamedTuple):
    """An open scratch picture."""

    file: BinaryIO
    folder: Path  # in which it lies, for messages
    size: tuple[int, int]  # (height, width)
    turn: threading.Lock  # for systems on which to read at a place is to move there


@contextlib.contextmanager
def scratch_picture(folder: Path, size: tuple[int, int]) -> Iterator[RowFile]:
    """A picture of zeros in `folder`, gone when the block ends.

    Raises:
      UserError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(prefix=".partial-", dir=folder, buffering=0)
    except OSError as error:
        raise unwritable(folder, error) from error
    with file:
        try:
            os.truncate(file.fileno(), size[0] * size[1])
        except OSError as error:
            raise unwritable(folder, error) from error
        yield RowFile(file, folder, size, threading.Lock())


def write_block(picture: RowFile, row: int, column: int, block: np.ndarray) -> None:
    """Writes u8[h,w] with its upper left corner at (row, column). Raises `UserError` on a full disk."""
    width = picture.size[1]
    lines = block.reshape(1, -1) if block.shape[1] == width else block
    try:
        for number, line in enumerate(lines):
            data = memoryview(np.ascontiguousarray(line).data).cast("B")
            place = (row + number) * width + column
            while data:
                written = _write_at(picture, data, place)
                data, place = data[written:], place + written
    except OSError as error:
        raise unwritable(picture.folder, error) from error


def read_rows(picture: RowFile, start: int, stop: int) -> np.ndarray:
    """u8[stop-start,W]: whole rows."""
    width = picture.size[1]
    data = bytearray((stop - start) * width)
    _read_into(picture, memoryview(data), start * width)
    return np.frombuffer(data, np.uint8).reshape(stop - start, width)


def sample(picture: RowFile, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """u8[len(rows),len(columns)]: the pixels where the given rows and columns cross."""
    out = np.empty((len(rows), len(columns)), np.uint8)
    for number, row in enumerate(rows.tolist()):
        out[number] = read_rows(picture, row, row + 1)[0, columns]
    return out


def _write_at(picture: RowFile, data: memoryview, place: int) -> int:
    """Bytes that were written at a place; Windows has no way to do so without moving there."""
    if hasattr(os, "pwrite"):
        return os.pwrite(picture.file.fileno(), data, place)
    with picture.turn:
        picture.file.seek(place)
        return picture.file.write(data)


def _read_at(picture: RowFile, size: int, place: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(picture.file.fileno(), size, place)
    with picture.turn:
        picture.file.seek(place)
        return picture.file.read(size)


def _read_into(picture: RowFile, data: memoryview, place: int) -> None:
    while data:
        part = _read_at(picture, min(len(data), 2**30), place)
        if not part:
            raise EOFError("a scratch file is shorter than it was made")
        data[: len(part)] = part
        data, place = data[len(part) :], place + len(part)
