"""CSV files as text, strictly: what is wrong is named by line, a half-written last line is left out."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from l2s_jax.system.errors import UserError

LINE = "__line__"
"""Column with each row's line number in its file."""


def read_rows(path: Path, required: Iterable[str]) -> tuple[pd.DataFrame, list[str]]:
    """The complete rows of a CSV file, every field as text, and what a person should know about them.

    Args:
      path: the file. Rows end with a line break: a last line without one was not finished, and is left out.
      required: columns that must be there.

    Returns:
      The rows with their line numbers in a column `LINE`, and notes.

    Raises:
      UserError: the file cannot be read, or a column is missing, twice there or filled in too few rows.
    """
    text, notes = _complete_lines(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        _check_header(path, header, required)
        rows = []
        for fields in reader:
            if len(fields) != len(header):
                raise UserError(
                    f"{path} line {reader.line_num}: {len(fields)} fields, but the header names "
                    f"{len(header)}. Mend or remove that line"
                )
            rows.append((*fields, reader.line_num))
    except csv.Error as error:
        raise UserError(f"{path} near line {reader.line_num}: {error}. Mend or remove that line") from error
    return pd.DataFrame(rows, columns=[*header, LINE], dtype=object), notes


def _complete_lines(path: Path) -> tuple[str, list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    if "\0" in text:
        raise UserError(f"{path} holds NUL bytes: it is no CSV file")
    end = text.rfind("\n") + 1
    if end == len(text):
        return text, []
    if end == 0:  # a header alone
        return text, []
    number = text.count("\n") + 1
    return text[:end], [
        f"{path.name} line {number} does not end with a line break, so it may be half-written: left out"
    ]


def _check_header(path: Path, header: list[str], required: Iterable[str]) -> None:
    if not header:
        raise UserError(f"{path} is empty: expected a header with the columns {', '.join(required)}")
    missing = [name for name in required if name not in header]
    if missing:
        raise UserError(
            f"{path}: column(s) {', '.join(missing)} missing from the header (found: {', '.join(header)})"
        )
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise UserError(f"{path}: column(s) {', '.join(doubled)} stand in the header twice")


def to_numbers(path: Path, rows: pd.DataFrame, text: Iterable[str], numeric: Iterable[str]) -> pd.DataFrame:
    """Turns columns into numbers, f64; an empty field or NaN is NaN.

    Args:
      path: for messages.
      rows: from `read_rows`.
      text: columns that are left as they are.
      numeric: columns that must be numbers. Any other is turned where all of its fields are numbers.

    Raises:
      UserError: a field of a numeric column is none, by line.
    """
    must, skip = set(numeric), {*text, LINE}
    turned = rows.copy()
    for name in rows.columns:
        if name in skip:
            continue
        filled = rows[name].str.strip()
        values = pd.to_numeric(filled.where(filled != ""), errors="coerce").astype(float)
        wrong = values.isna() & (filled != "") & (filled.str.lower() != "nan")
        if not wrong.any():
            turned[name] = values
        elif name in must:
            at = wrong.idxmax()
            raise UserError(f"{path} line {rows[LINE][at]}: {name} = {rows[name][at]!r} is no number")
    return turned
