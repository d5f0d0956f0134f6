"""CSV files that gain a row with each result."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from l2s_jax.system.errors import UserError
from l2s_jax.system.files import unwritable, write_text


def replace_row(path: Path, row: dict[str, Any], key: str) -> None:
    """Adds a row to a CSV file, in place of an earlier one of the same key; several processes may do so.

    Args:
      path: the file; made where it does not exist.
      row: column names and values, the same columns each time.
      key: the column that tells rows apart.

    Raises:
      UserError: the file has other columns, cannot be read or cannot be written.
    """
    rows = pd.DataFrame([row])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / f".{path.name}.lock"):
            if path.exists():
                rows = pd.concat([_others(path, rows, key), rows])
            write_text(path, rows.to_csv(index=False, float_format="%.6g"))
    except OSError as error:
        raise unwritable(path, error) from error


def append_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Appends rows to a CSV file and waits until they are on the disk; what stands in it is not rewritten.

    A last line that was cut off while it was written is removed first. One process at a time.

    Args:
      path: the file; made where it does not exist.
      rows: column names and values, the same columns each time.

    Raises:
      UserError: the file has other columns or cannot be written.
    """
    if not rows:
        return
    text = pd.DataFrame(list(rows)).to_csv(index=False, float_format="%.10g", lineterminator="\n")
    header, body = text.split("\n", 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.seek(0)
            before = file.read()
            file.truncate(before.rfind(b"\n") + 1)
            found = before.split(b"\n", 1)[0].decode("utf-8", "replace") if b"\n" in before else ""
            if found and found != header:
                raise UserError(
                    f"{path} has other columns, {found}: it is of another sweep or version. "
                    "Move it away or choose another output folder"
                )
            file.write((body if found else text).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def complete_rows(path: Path) -> tuple[pd.DataFrame, bool]:
    """The whole lines of a CSV file as text, and whether a last line was cut off; empty without a file.

    Raises:
      UserError: it cannot be read as CSV.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        table = pd.read_csv(io.BytesIO(whole), dtype=str, keep_default_na=False) if whole else pd.DataFrame()
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}. Move it away") from error
    return table, len(whole) < len(content)


def _others(path: Path, rows: pd.DataFrame, key: str) -> pd.DataFrame:
    try:
        before = pd.read_csv(path, dtype={key: str})
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}. Move it away") from error
    if list(before.columns) != list(rows.columns):
        raise UserError(
            f"{path} has other columns, {', '.join(before.columns)}: it is of another run or version. "
            "Move it away or choose another output folder"
        )
    return before[before[key] != rows[key].iloc[0]]
