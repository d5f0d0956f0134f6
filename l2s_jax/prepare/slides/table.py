"""A table of slides, as people and spreadsheets write it."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from l2s_jax.slides.mpp import IMPOSSIBLE, possible
from l2s_jax.system.csv_text import decoded
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import control_fault, shown
from l2s_jax.types import SPLITS, Split

COLUMNS = ("slide", "annotation", "label", "group", "split", "mpp")


class TableRow(NamedTuple):
    """A slide of the table; paths count from the table's folder."""

    slide: Path
    annotation: Path | None
    label: str
    group: str
    split: Split | None
    mpp: float | None


def read_slide_table(path: Path) -> list[TableRow]:
    """Reads the column `slide` and any of `annotation`, `label`, `group`, `split`, `mpp`; no others.

    Commas, semicolons or tabs part the fields, whichever the header has; a byte order mark, quotes and the
    line `sep=;` of spreadsheets are understood.

    Raises:
      UserError: names every faulty line.
    """
    rows, faults = [], []
    seen: dict[Path, int] = {}
    for line, record in table_records(path, ("slide",), COLUMNS):
        row, wrong = _row(record, path.parent)
        first = seen.setdefault(row.slide.resolve(), line)
        if first != line:
            wrong.append(f"{row.slide.name} stands in line {first} already")
        faults += [f"{path.name} line {line}: {fault}" for fault in wrong]
        rows.append(row)
    if faults:
        raise UserError("\n".join([f"{len(faults)} problem(s) in {path}:", *faults]))
    if not rows:
        raise UserError(f"{path} has a header but no rows: expected one a slide")
    return rows


def read_groups(path: Path, named: tuple[str, ...] = ("slide", "picture")) -> dict[str, str]:
    """{slide or picture: group} of a table with the column `group` and one of `named`.

    Raises:
      UserError: a column is missing, a field is empty, or a name has two groups.
    """
    groups: dict[str, str] = {}
    for line, record in table_records(path, ("group",), None):
        name = next((record[column] for column in named if record.get(column)), "")
        if not name or not record["group"]:
            raise UserError(f"{path.name} line {line}: expected a {' or '.join(named)} and its group")
        if groups.setdefault(name, record["group"]) != record["group"]:
            raise UserError(
                f"{path.name} line {line}: {name} is of {record['group']} here, of {groups[name]} above"
            )
    return groups


def table_records(
    path: Path, required: tuple[str, ...], known: tuple[str, ...] | None
) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and fields of a table, stripped; rows of nothing are passed over.

    Args:
      path: the file.
      required: columns that must be there.
      known: columns that may be there; None for any.

    Raises:
      UserError: unreadable, no CSV, or other columns.
    """
    try:
        text = decoded(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if text[:4].lower() == "sep=":
        text = text.partition("\n")[2]
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    records = []
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        missing = [name for name in required if name not in names]
        other = [name for name in names if known is not None and name and name not in known]
        if missing or other or len({*names}) < len(names):
            what = (
                f"column(s) {', '.join(missing)} missing"
                if missing
                else f"column(s) {', '.join(other)} not known"
            )
            what = what if missing or other else "a column stands there twice"
            raise UserError(
                f"{path}: {what} in the header (found: {', '.join(names) or 'nothing'}); expected "
                f"{', '.join(known or required)}"
            )
        for record in reader:
            if None in record and any((text or "").strip() for text in record[None]):
                raise UserError(f"{path.name} line {reader.line_num}: more fields than the header has")
            fields = {name: (record[name] or "").strip() for name in names if name}
            if any(fields.values()):
                records.append((reader.line_num, fields))
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num} is no CSV: {error}") from error
    return records


def _row(record: dict[str, str], folder: Path) -> tuple[TableRow, list[str]]:
    faults = []
    for name in ("label", "group"):
        if fault := control_fault(record.get(name, "")):
            faults.append(f"{name} {fault}")
    slide = folder / record["slide"]
    if not record["slide"]:
        faults.append("no slide")
    elif not slide.exists():
        faults.append(f"{slide} not found (paths count from the folder of the table)")
    annotation = folder / record["annotation"] if record.get("annotation") else None
    if annotation is not None and not annotation.is_file():
        faults.append(f"{annotation} not found (paths count from the folder of the table)")
    split = record.get("split", "").lower()
    if split and split not in SPLITS:
        faults.append(f"split {shown(split)} is none of {', '.join(SPLITS)}")
    mpp = number_of(record.get("mpp", ""))
    if record.get("mpp") and (mpp is None or not possible(mpp)):
        faults.append(f"mpp {shown(record['mpp'])} is {IMPOSSIBLE}")
    row = TableRow(
        slide,
        annotation,
        record.get("label", ""),
        record.get("group", ""),
        split if split in SPLITS else None,
        mpp,
    )
    return row, faults


def number_of(text: str) -> float | None:
    """A number, of which a spreadsheet may have made its comma a point's."""
    try:
        return float(text.replace(",", ".")) if text else None
    except ValueError:
        return None
