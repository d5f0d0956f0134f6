"""CSV files as text, strictly: what is wrong is named by line, a half-written last line is left out."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from l2s_jax.reports.names import is_own_metric
from l2s_jax.system.csv_text import decoded, read_text_rows
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
    header, rows, lines = read_text_rows(text, path, required)
    table = [(*fields, line) for fields, line in zip(rows, lines, strict=True)]
    return pd.DataFrame(table, columns=[*header, LINE], dtype=object), notes


def _complete_lines(path: Path) -> tuple[str, list[str]]:
    try:
        text = decoded(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    end = text.rfind("\n") + 1
    if end == len(text):
        return text, []
    if end == 0:  # a header alone
        return text, []
    number = text.count("\n") + 1
    return text[:end], [
        f"{path.name} line {number} does not end with a line break, so it may be half-written: left out"
    ]


def to_numbers(path: Path, rows: pd.DataFrame, text: Iterable[str], numeric: Iterable[str]) -> pd.DataFrame:
    """Turns columns into numbers, f64; an empty field or NaN is NaN.

    Args:
      path: for messages.
      rows: from `read_rows`.
      text: columns that are left as they are.
      numeric: columns that must be numbers. Any other is turned where all of its fields are numbers, and text
        where most are none.

    Raises:
      UserError: a field of a numeric column is none, or one of few in a column of numbers, by line.
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
        elif name in must or is_own_metric(name) or wrong.sum() < values.notna().sum():
            at = wrong.idxmax()
            raise UserError(
                f"{path} line {rows[LINE][at]}: {name} = {rows[name][at]!r} is no number (with a point, such "
                "as 0.408; nothing or nan where there is none)"
            )
    return turned
