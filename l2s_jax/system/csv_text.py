"""CSV in which text stays text: one way to write a table, one to read it.

Nothing is guessed: `None`, `NA`, `01`, `1e5` and `True` come back as they were written. A cell that a
spreadsheet would run as a formula (it begins with = + - @, a tab or a carriage return, and is no number) is
written with an apostrophe before it, which reading takes away again; `patches.csv` alone is left as it is,
since people and other tools write it as well.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from l2s_jax.system.errors import UserError

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
"""What parts fields in tables of other programs."""

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_DIGITS = r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_NUMBER = re.compile(rf"[+-]?{_DIGITS}( ± {_DIGITS})?%?|[+-]?(inf|nan)")


class TextRows(NamedTuple):
    """The records of a CSV file, every field as text."""

    header: list[str]
    rows: list[list[str]]  # as many fields each as the header
    lines: list[int]  # line number in the file on which each record ends


def guarded(text: str) -> str:
    """A cell as it is written: with an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def table_text(frame: Any, *, index: bool = False, float_format: str = "%.6g") -> str:
    """A `pandas.DataFrame` as CSV; what is not there (None, NaN) is an empty field."""
    text = frame.to_csv(index=index, float_format=float_format, lineterminator="\n")
    return rows_text(csv.reader(io.StringIO(text, newline="")))


def rows_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows of text as CSV."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows([guarded(cell) for cell in row] for row in rows)
    return out.getvalue()


def decoded(content: bytes, path: Path) -> str:
    """UTF-8 text without its byte order mark. Raises `UserError` where it is none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} is not UTF-8 text ({error.reason} in line {line}, byte {error.start}). Save it as "
            "UTF-8; spreadsheets call it CSV UTF-8"
        ) from error
    if "\0" in text:
        raise UserError(f"{path} holds NUL bytes: it is no CSV file")
    return text


def read_text_rows(text: str, path: Path, required: Iterable[str] = ()) -> TextRows:
    """Reads CSV strictly.

    Args:
      text: see `decoded`.
      path: for messages.
      required: columns that must be there.

    Raises:
      UserError: no CSV, by line; a column missing or twice there; a row of more or fewer fields.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, lines = [], []
    try:
        header = [unguarded(cell) for cell in next(reader, [])]
        _require_header(path, header, required)
        for fields in reader:
            if not fields:  # an empty line
                continue
            if len(fields) != len(header):
                raise UserError(
                    f"{path} line {reader.line_num}: {len(fields)} fields, but the header names "
                    f"{len(header)}. Mend or remove that line"
                )
            rows.append([unguarded(cell) for cell in fields])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path} near line {reader.line_num}: {error}. Mend or remove that line") from error
    return TextRows(header, rows, lines)


def _require_header(path: Path, header: list[str], required: Iterable[str]) -> None:
    required = list(required)
    if not header and required:
        raise UserError(f"{path} is empty: expected a header with the columns {', '.join(required)}")
    missing = [name for name in required if name not in header]
    if missing:
        shown = ", ".join(header)
        other = next((name for sign, name in SEPARATORS.items() if sign in header[0]), None)
        raise UserError(
            f"{path}: column(s) {', '.join(missing)} missing from the header (found: {shown[:300]}"
            f"{'...' if len(shown) > 300 else ''})"
            + (f". It is parted by {other}: save it with commas, and numbers with points" if other else "")
        )
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise UserError(f"{path}: column(s) {', '.join(doubled)} stand in the header twice")
