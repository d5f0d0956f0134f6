"""How much of each class each of several runs finds by itself, and the interval that this gives.

Runs share their data and their recipe, so what all get wrong in the same way does not show in how they
differ: an interval says where another such run would lie, not where the truth is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l2s_jax.prediction.metrics import spread
from l2s_jax.system.csv_rows import remove_rows, replace_rows
from l2s_jax.system.outputs import begin_table, read_record

FEWEST = 3
"""Of two values an interval is 22 times as wide as they are apart, and rests on that one difference."""

LEVEL = 0.95

COLUMNS = ("together", "n", "mean", "sd", "ddof", "lowest", "highest", "next_low", "next_high")


def own_shares(values: Sequence[float], together: float, greatest: float = np.inf) -> dict[str, Any]:
    """A record of one class, see `COLUMNS`; NaN where there is none.

    `next_low` and `next_high` are the 95% prediction interval of one more run, mean -+ t sd sqrt(1 + 1/n)
    with Student's t of n - 1 degrees of freedom: exact where runs' values are independent and normal, as
    those of seeds may be. It is cut to 0 and `greatest`, and not given for fewer than `FEWEST` runs.

    Args:
      values: of each run by itself.
      together: by the mean of their probabilities.
      greatest: that the value can be.
    """
    found = spread(values)
    low = high = float("nan")
    if found["n"] >= FEWEST:
        from scipy.stats import t

        n = found["n"]
        half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * found["sd"] * np.sqrt(1 + 1 / n)
        low, high = max(found["mean"] - half, 0.0), min(found["mean"] + half, greatest)
    ends = {"lowest": float(min(values)), "highest": float(max(values)), "next_low": low, "next_high": high}
    record: dict[str, Any] = {"together": float(together), **found, **ends}
    return {name: record[name] for name in COLUMNS}


def too_few_text(runs: int) -> str:
    """Why there is no interval; "" where there is one."""
    if runs >= FEWEST:
        return ""
    return f"no interval is given for {runs} runs, since it takes {FEWEST}; their own values stand beside"


def table_columns(key: str, unit: str) -> list[str]:
    """Columns of a table of what runs find alone: what the rows are of, the class, the figures."""
    return [key, "class", unit, *COLUMNS[1:]]


def keep_own_shares(
    path: Path, key: str, value: str, unit: str, found: Mapping[str, Mapping[str, Any]] | None
) -> None:
    """Puts a row a class into a table, in place of earlier rows of the same slide or picture.

    Args:
      path: the table.
      key: its first column.
      value: of the rows in it.
      unit: the column of what all runs find together.
      found: class to record of `own_shares`; None of one run, by which earlier rows are true no more.
    """
    if found is None:
        if read_record(path.parent).get(path.name):
            remove_rows(path, key, value)
        return
    begin_table(path)
    names = table_columns(key, unit)
    rows = [
        dict(zip(names, (value, name, *(one[column] for column in COLUMNS)), strict=True))
        for name, one in found.items()
    ]
    replace_rows(path, rows, key)
