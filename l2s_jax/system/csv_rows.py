"""CSV files that gain a row with each result."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
from filelock import FileLock

from l2s_jax.system.csv_text import decoded, guarded, read_text_rows, rows_text, table_text
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import unwritable, write_text

BLOCK = 65536
"""Bytes that are read at a time where a file is read from its end."""


def replace_row(path: Path, row: dict[str, Any], key: str) -> None:
    """Adds a row to a CSV file, in place of an earlier one of the same key; several processes may do so.

    Args:
      path: the file; made where it does not exist.
      row: column names and values, the same columns each time.
      key: the column that tells rows apart.

    Raises:
      UserError: the file has other columns, cannot be read or cannot be written.
    """
    replace_rows(path, [row], key)


def replace_rows(path: Path, rows: Sequence[dict[str, Any]], key: str) -> None:
    """`replace_row` for several rows of one key, which take the place of all earlier ones of it."""
    text = table_text(pd.DataFrame(list(rows)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / f".{path.name}.lock"):
            if path.exists():
                header, new, _ = read_text_rows(text, path)
                before = _rows_before(path, header)
                at = header.index(key)
                text = rows_text([header, *(old for old in before if old[at] != new[0][at]), *new])
            write_text(path, text)
    except OSError as error:
        raise unwritable(path, error) from error


def keys_in(path: Path, key: str) -> set[str]:
    """What the rows of a CSV file have in a column; nothing where there is no file.

    Raises:
      UserError: it cannot be read, or has no such column.
    """
    if not path.exists():
        return set()
    try:
        header, rows, _ = read_text_rows(decoded(path.read_bytes(), path), path, (key,))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    return {row[header.index(key)] for row in rows}


def remove_rows(path: Path, key: str, value: str) -> None:
    """Takes the rows of a key out of a CSV file, where there is one, since they are true no more.

    Args:
      path: the file.
      key: the column that tells rows apart.
      value: that the rows have in it.

    Raises:
      UserError: it cannot be read or written, or has no such column.
    """
    try:
        with FileLock(path.parent / f".{path.name}.lock"):
            if not path.exists():
                return
            header, rows, _ = read_text_rows(decoded(path.read_bytes(), path), path, (key,))
            at = header.index(key)
            kept = [row for row in rows if row[at] != value]
            if len(kept) < len(rows):
                write_text(path, rows_text([header, *kept]))
    except OSError as error:
        raise unwritable(path, error) from error


def _rows_before(path: Path, header: list[str]) -> list[list[str]]:
    try:
        found, before, _ = read_text_rows(decoded(path.read_bytes(), path), path)
    except UserError as error:
        raise UserError(f"cannot read {path}: {error}. Move it away") from error
    if found != header:
        raise UserError(
            f"{path} has other columns, {', '.join(found)}: it is of another run or version. "
            "Move it away or choose another output folder"
        )
    return before


def append_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Appends rows to a CSV file and waits until they are on the disk; what stands in it is not rewritten.

    A last line that was cut off while it was written is removed first. One process at a time.

    Args:
      path: the file; made where it does not exist.
      rows: column names and values, the same columns each time. No name has a line break in it.

    Raises:
      UserError: the file has other columns or cannot be written.
    """
    if not rows:
        return
    text = table_text(pd.DataFrame(list(rows)), float_format="%.10g")
    header, body = text.split("\n", 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            end = _end_of_whole_lines(file)
            file.truncate(end)
            file.seek(0)
            found = file.readline()[:-1].decode("utf-8", "replace") if end else ""
            if found and found != header:
                raise UserError(_other_columns(path, found))
            file.write((body if found else text).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def _end_of_whole_lines(file: BinaryIO) -> int:
    """Where the last line break of a file ends, sought from its end: a long file is not read for one row."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - BLOCK, 0)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def require_appendable(path: Path, columns: Sequence[str]) -> None:
    """Raises `UserError` at once where `append_rows` would refuse a row of these columns later on."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    found = line.decode("utf-8", "replace")
    if found.endswith("\n") and found != rows_text([columns]):
        raise UserError(_other_columns(path, found.rstrip("\r\n")) + _by_a_spreadsheet(found, columns))


def _other_columns(path: Path, found: str) -> str:
    return (
        f"{path} has other columns, {found[:300]}{'...' if len(found) > 300 else ''}: it is of another sweep "
        "or version. Move it away or choose another output folder"
    )


def _by_a_spreadsheet(found: str, columns: Sequence[str]) -> str:
    """What to think where a header is ours but for marks that other programs leave."""
    bare = [name.strip().strip('"') for name in found.lstrip("\ufeff").replace(";", ",").split(",")]
    if bare[: len(columns)] != [guarded(name) for name in columns]:
        return ""
    return (
        ". It looks as if another program had saved it (a spreadsheet): that can change numbers, dates and "
        "names such as 1e5. Put back the file as it was"
    )


def complete_rows(path: Path) -> tuple[pd.DataFrame, bool]:
    """The whole lines of a CSV file as text, and whether a last line was cut off; empty without a file.

    Raises:
      UserError: it cannot be read as CSV.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        header, rows, _ = read_text_rows(decoded(whole, path), path)
    except (OSError, UserError) as error:
        raise UserError(f"cannot read {path}: {error}. Move it away") from error
    return pd.DataFrame(rows, columns=header, dtype=object), len(whole) < len(content)
