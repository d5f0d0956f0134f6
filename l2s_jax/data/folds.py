"""A cross-validation as data: one folder holds the pictures, once, and a manifest for each fold.

  folds.csv         `group,fold`: in the test split of which fold each patient or slide is
  fold1, fold2, ... a manifest each, whose paths lead to the pictures beside it

A fold's paths may lead out of its own folder, and no further than into the folder of the folds.
"""

import os
import re
from pathlib import Path

from l2s_jax.system.csv_text import decoded, read_text_rows
from l2s_jax.system.errors import UserError

FOLDS = "folds.csv"
COLUMNS = ("group", "fold")
_FOLD = re.compile(r"fold[1-9]\d*")


def fold_name(fold: int) -> str:
    """The folder of a fold's manifest, in the folder of the folds."""
    return f"fold{fold}"


def has_folds(path: Path) -> bool:
    """Whether a folder is that of a cross-validation."""
    return (path / FOLDS).is_file()


def root_of(folder: Path) -> Path:
    """The folder that a manifest's paths may not lead out of: its own, or that of the folds it is one of."""
    folder = Path(os.path.abspath(folder))
    return folder.parent if _FOLD.fullmatch(folder.name) and has_folds(folder.parent) else folder


def read_folds(path: Path) -> dict[str, int]:
    """The fold, 1 to K, in whose test split each group is.

    Raises:
      UserError: `folds.csv` cannot be read, names a group twice, or no number of a fold; a fold has no group.
    """
    file = path / FOLDS
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    header, rows, lines = read_text_rows(decoded(content, file), file, COLUMNS)
    columns = [header.index(name) for name in COLUMNS]
    found: dict[str, int] = {}
    for fields, line in zip(rows, lines, strict=True):
        group, fold = (fields[column] for column in columns)
        if not re.fullmatch(r"[1-9]\d{0,5}", fold):
            raise UserError(f"{file} line {line}: fold {fold!r} is no number of a fold: 1, 2, ...")
        if group in found:
            raise UserError(f"{file} line {line}: group {group!r} stands there twice. Keep one of the lines")
        found[group] = int(fold)
    numbers = set(found.values())
    if not numbers or numbers != set(range(1, max(numbers) + 1)):
        raise UserError(f"{file}: every fold from 1 to the last needs a group. `l2s prepare folds` makes it")
    return found
