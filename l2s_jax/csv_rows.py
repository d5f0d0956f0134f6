"""CSV files that gain a row with each result."""

from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from l2s_jax.errors import UserError
from l2s_jax.files import unwritable, write_text


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
