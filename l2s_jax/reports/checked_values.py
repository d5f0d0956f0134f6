"""What stands in a table of results, held against what can: scores, shares and names of settings."""

from pathlib import Path

import pandas as pd

from l2s_jax.reports.csv_reading import LINE
from l2s_jax.reports.names import DISTANCES, VALIDATION, metric_columns
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import alike, listed

NAMED = ("dataset", "study", "variant", "setting", "selection")
"""Columns of names, by which rows are put together."""


def stripped(table: pd.DataFrame) -> pd.DataFrame:
    """The table without spaces at the ends of names."""
    return table.assign(**{name: table[name].str.strip() for name in NAMED if name in table})


def require_names_apart(file: Path, table: pd.DataFrame) -> None:
    """Refuses settings and variants that differ in case or Unicode form only: each would be a method."""
    for column in ("setting", "variant", "dataset"):
        if column not in table:
            continue
        counts = table[column].value_counts()
        for name in counts.index[::-1]:
            if (other := alike(name, counts.index)) is not None:
                lines = table[LINE][table[column] == name]
                raise UserError(
                    f"{file} line {lines.iloc[0]}: {column} {name!r} and {other!r} differ in case only, and "
                    "would be two. Write both alike, or call one otherwise"
                )


def require_scores(file: Path, table: pd.DataFrame) -> None:
    """Refuses metrics outside of -1 to 1, such as scores in percent, by line."""
    for name in [*metric_columns(table), *([VALIDATION] if VALIDATION in table else [])]:
        if name in DISTANCES or not pd.api.types.is_numeric_dtype(table[name]):
            continue
        wrong = table[name].abs() > 1
        if wrong.any():
            at = wrong.idxmax()
            raise UserError(
                f"{file} line {table[LINE][at]}: {name} = {table[name][at]:g}, in {wrong.sum()} of "
                f"{len(table)} rows beyond 1. Every numeric column is a score from 0 to 1 (kappa and such "
                "from -1), but hd95 and facts such as seed. Divide percent by 100, and take out columns that "
                "are no scores"
            )


def share_notes(table: pd.DataFrame) -> list[str]:
    """A note where percents look as if they were shares of 1."""
    found = sorted(table["percent"].unique())
    if len(found) > 1 and found[-1] == 1:
        return [
            f"percent is {listed((f'{one:g}' for one in found), 6)}: taken for at most 1% of the masks. If "
            "these are shares of 1, multiply them by 100"
        ]
    return []
