"""Means and spreads over runs, from a plain table: the sweep's, or any other with these columns.

run       id of a run, text
setting   S, S+C, S+C*, ... text
percent   s (or c), 0 to 100
draw      which random subset
dataset, variant, selection   optional text; a cell is one (dataset, variant, setting, percent)
fold      optional, a whole number from 1: the fold of a cross-validation on which a run was tested. Runs of
          one fold are averaged first; a mean is then over folds, and n counts them
group     optional: a run then has one row a group, which are averaged within the run first
...       metrics: every other numeric column that is no fact such as `seed` or `seconds` (`names.FACTS`)
"""

from collections.abc import Sequence

import pandas as pd

from l2s_jax.reports.names import CELL, FOLD, REQUIRED, askable_columns, metric_columns, require_metrics
from l2s_jax.system.errors import UserError

COLUMNS = (*CELL, "metric", "mean", "sd", "n", "ddof", "selection", "draws", "runs")


def aggregate(table: pd.DataFrame, metrics: Sequence[str] | None = None, *, ddof: int = 1) -> pd.DataFrame:
    """Mean and standard deviation of each metric in each cell: over runs, or over folds where there are some.

    Args:
      table: one row a run and cell, or one a run, cell and group; see this module's columns. A run may stand
        in several cells.
      metrics: which columns; by default all metrics. `validation_score`, which is none, can be asked for.
      ddof: the standard deviation divides by n - ddof.

    Returns:
      One row a cell and metric: dataset, variant, setting, percent, metric, mean, sd (NaN where n <= ddof),
      n (runs or folds in which the metric is defined), ddof, selection ("validation", "test", or both joined
      by "+"), draws and runs (those behind the mean, separated by spaces), and folds where there are some.

    Raises:
      UserError: a column is missing or no number, there are no rows, a metric is unknown, or a run has two
        rows where it should have one.
    """
    if isinstance(ddof, bool) or not isinstance(ddof, int) or ddof < 0:
        raise UserError(f"ddof = {ddof!r} must be a whole number, 0 or more (1: the sample's deviation)")
    rows = within_runs(table)
    metrics = require_metrics(metrics, askable_columns(rows)) if metrics is not None else metric_columns(rows)
    if not metrics:
        raise UserError("the results hold no metric: no numeric column beside the keys and facts")
    found = [
        _cell(dict(zip(CELL, key, strict=True)), group, metric, ddof)
        for key, group in rows.groupby(list(CELL), sort=False)
        for metric in metrics
    ]
    return pd.DataFrame(found, columns=[*COLUMNS, *(("folds",) if FOLD in rows else ())])


def _cell(key: dict, group: pd.DataFrame, metric: str, ddof: int) -> dict:
    defined = group[group[metric].notna()]
    values = defined.groupby(FOLD)[metric].mean() if FOLD in group else defined[metric]
    draws, of_folds = defined["draw"], {}
    if FOLD in group:
        draws = draws.drop_duplicates()
        of_folds = {"folds": " ".join(f"{fold:g}" for fold in values.index)}
    return key | {
        "metric": metric,
        "mean": values.mean(),
        "sd": values.std(ddof=ddof) if len(values) > ddof else float("nan"),
        "n": len(values),
        "ddof": ddof,
        "selection": "+".join(sorted(set(defined["selection"]) - {""})),
        "draws": " ".join(f"{draw:g}" for draw in draws),
        "runs": " ".join(defined["run"]),
        **of_folds,
    }


def within_runs(table: pd.DataFrame) -> pd.DataFrame:
    """One row a run and cell: optional columns filled in, rows of groups averaged over the groups.

    A group in which a metric is undefined does not count in that metric's average.

    Raises:
      UserError: a column is missing or no number, there are no rows, or a run has two rows where it should
        have one.
    """
    rows = _with_keys(table)
    key = [*CELL, "draw", "run"]
    grouped = "group" in rows
    doubled = rows[rows.duplicated([*key, "group"] if grouped else key)]
    if len(doubled):
        first = doubled.iloc[0]
        what = f"group {first['group']!r} of run" if grouped else "run"
        hint = "" if grouped else "; rows of patients or slides need a column `group`"
        raise UserError(
            f"{what} {first['run']} has more than one row for setting {first['setting']} at "
            f"{first['percent']:g}%, draw {first['draw']:g}{hint}"
        )
    if not grouped:
        return rows
    numbers = [name for name in rows.columns if name not in key and pd.api.types.is_numeric_dtype(rows[name])]
    texts = [name for name in rows.columns if name not in (*key, *numbers, "group")]
    grouping = rows.groupby(key, sort=False)
    return pd.concat([grouping[numbers].mean(), grouping[texts].first()], axis=1).reset_index()


def _with_keys(table: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in REQUIRED if name not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns)) or "nothing"
        raise UserError(f"the results have no column(s) {', '.join(missing)} (found: {found})")
    if not len(table):
        raise UserError("the results hold no finished run: there is nothing to report yet")
    rows = table.copy()
    for name in ("dataset", "variant", "selection"):
        rows[name] = rows[name].fillna("").astype(str) if name in rows else ""
    for name in ("run", "setting"):
        rows[name] = rows[name].astype(str)
    for name in ("percent", "draw"):
        numbers = pd.to_numeric(rows[name], errors="coerce").astype(float)
        if numbers.isna().any():
            wrong = rows.loc[numbers.isna()].iloc[0]
            raise UserError(f"run {wrong['run']}: {name} = {wrong[name]!r} is no number")
        rows[name] = numbers
    if FOLD in rows:
        rows = _with_folds(rows)
    return rows.reset_index(drop=True)


def _with_folds(rows: pd.DataFrame) -> pd.DataFrame:
    """Folds as whole numbers; without the column where no run names one."""
    folds = pd.to_numeric(rows[FOLD], errors="coerce").astype(float)
    if folds.isna().all():
        return rows.drop(columns=FOLD)
    wrong = rows[folds.isna() | (folds < 1) | (folds % 1 != 0)]
    if len(wrong):
        one = wrong.iloc[0]
        raise UserError(
            f"run {one['run']}: fold = {one[FOLD]!r}, where other runs name the fold they were tested on. "
            "Expected 1, 2, ... for every run, or a table of its own for runs without folds"
        )
    return rows.assign(**{FOLD: folds})
