"""The small files of a run folder, written with their checksums and read with care.

People copy, mail and edit run folders, and disks fail. Whatever became of such a file, it is either what the
run wrote or named in a message, with what to do.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from l2s_jax.runs.checksums import SUMS, note_sum, read_sums
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import json_text, parse_json, write_text
from l2s_jax.system.values import clipped, converted, describe, fits, shown

RESTORE = "Restore it from a copy of the run, or train again"


def keep_text(folder: Path, name: str, text: str) -> None:
    """Writes a small file of a run, and its checksum."""
    write_text(folder / name, text)
    note_sum(folder, name, text.encode("utf-8"))


def keep_json(folder: Path, name: str, content: Any) -> None:
    """Writes a small JSON file of a run, and its checksum."""
    keep_text(folder, name, json_text(content, indent=2) + "\n")


def read_kept(folder: Path, name: str) -> bytes:
    """A small file of a run, the same that was written.

    Raises:
      UserError: it cannot be read, or is another one than the run wrote.
    """
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}. {RESTORE}") from error
    expected = read_sums(folder).get(name)
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise UserError(
            f"{path} is not as the run wrote it (SHA-256): it was damaged or edited. {RESTORE}. If you "
            f"changed it on purpose, take its line out of {SUMS}"
        )
    return content


def has_kept(folder: Path, name: str) -> bool:
    """Whether a run has a small file that not all runs have.

    Raises:
      UserError: it had one and that is gone, damaged or edited.
    """
    if (folder / name).is_file():
        read_kept(folder, name)
        return True
    if name in read_sums(folder):
        raise UserError(f"{folder / name} is gone, which the run has written. {RESTORE}")
    return False


def read_record(folder: Path, name: str, hints: dict[str, Any]) -> dict[str, Any]:
    """A small JSON file of a run whose fields have these types; a field that may be None may be missing.

    Raises:
      UserError: it cannot be read, is damaged, or is of another version of this package.
    """
    return checked_record(read_json_record(folder, name), hints, folder / name)


def read_json_record(folder: Path, name: str) -> Any:
    """A small JSON file of a run. Raises `UserError` where it cannot be read or is damaged."""
    try:
        return parse_json(read_kept(folder, name))
    except ValueError as error:
        raise UserError(f"{folder / name} is damaged: no valid JSON ({clipped(error)}). {RESTORE}") from error


def checked_record(table: Any, hints: dict[str, Any], where: Path) -> dict[str, Any]:
    """Fields as their types want them. Raises `UserError` naming all that are wrong, missing or unknown."""
    if not isinstance(table, dict):
        raise UserError(f"{where} is damaged: expected a table of {', '.join(hints)}. {RESTORE}")
    table = {name: None for name in hints} | table
    faults = [f"unknown field {shown(name)}" for name in table if name not in hints]
    faults += [
        f"{name} is missing" if table[name] is None else f"{name} = {shown(table[name])}: no {describe(hint)}"
        for name, hint in hints.items()
        if not fits(table[name], hint)
    ]
    if faults:
        raise UserError(
            f"{where} is damaged, or was written by another version of l2s_jax: {'; '.join(faults[:10])}. "
            f"{RESTORE}"
        )
    return {name: converted(table[name], hint) for name, hint in hints.items()}


def read_rows(content: bytes, columns: Sequence[str], where: Path) -> list[dict[str, str]]:
    """Rows of a CSV file that have these columns, all filled in. Raises `UserError` naming the line."""
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
        header = reader.fieldnames or ()
        if not set(columns) <= set(header) or len(set(header)) < len(header):
            raise UserError(
                f"{where} is damaged: expected the columns {', '.join(columns)}, found "
                f"{shown(', '.join(header)) if header else 'nothing'}. {RESTORE}"
            )
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{where} line {reader.line_num} is damaged: expected {len(header)} fields. {RESTORE}"
                )
            rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{where} is damaged: {clipped(error)}. {RESTORE}") from error
    return rows
