"""A cross-validation as a table: each fold, the mean over folds, and the pooled figure beside it."""

from collections.abc import Mapping, Sequence

import pandas as pd

from l2s_jax.reports.names import CELL, FOLD, method_text, metric_title, percent_text, unit_of, units_text
from l2s_jax.reports.study_table import cell_id, lines_of
from l2s_jax.reports.text_table import MISSING, PLUS_MINUS, Entry, Notes, TextTable

UNFINISHED = "not every test patch is predicted yet: fold {} is missing"
NO_MATRIX = "no pooled figure: it cannot be made from confusion matrices, or a run has none"


def fold_table(
    means: pd.DataFrame,
    cells: pd.DataFrame,
    pooled: pd.DataFrame,
    folds: Mapping[int, int | None],
    metrics: Sequence[str],
) -> TextTable:
    """A line a method, percentage and metric.

    Args:
      means: from `aggregation.aggregate`.
      cells: rows of runs and cells with `fold`.
      pooled: from `out_of_fold.out_of_fold`.
      folds: from `out_of_fold.folds_of`.
      metrics: those that are shown.
    """
    several, notes, rows = means["dataset"].nunique() > 1, Notes(), []
    for (dataset, variant, setting, metric), line in lines_of(means[means["n"] > 0], metrics):
        for row in line.sort_values("percent").itertuples():
            key = (dataset, variant, setting, row.percent)
            own, whole = _of(cells, key), _of(pooled, key)
            by_fold, times = own.groupby(FOLD)[metric].mean(), unit_of(metric)[0]
            entries = (
                Entry(method_text(variant, setting)),
                Entry(f"{percent_text(row.percent)}%", value=row.percent),
                Entry(metric_title(metric)),
                *(_number(times * by_fold.get(fold, float("nan"))) for fold in folds),
                Entry(_spread(times * row.mean, times * row.sd), (), cell_id(*key, metric), times * row.mean),
                Entry(str(row.n), value=float(row.n)),
                _pooled(whole, metric, row.ddof, notes),
            )
            rows.append((Entry(dataset), *entries) if several else entries)
    head = (
        "method",
        "percent",
        "metric",
        *(f"fold {fold}" for fold in folds),
        "mean over folds",
        "n",
        "pooled",
    )
    known = [patches for patches in folds.values() if patches is not None]
    total = f" of {sum(known)} patches" if len(known) == len(folds) else ""
    ddof = ", ".join(str(one) for one in sorted(set(means["ddof"])))
    return TextTable(
        "folds",
        f"Cross-validation over {len(folds)} folds",
        f"{units_text('Percent', metrics)}. A fold's figure is the mean over its draws; then their mean "
        f"{PLUS_MINUS} standard "
        f"deviation over n folds (ddof {ddof}). Pooled: from the confusion matrix{total} summed over the "
        "folds of a draw, in which every test patch stands once, predicted by a network that never saw its "
        f"patient; where there are several draws, mean {PLUS_MINUS} standard deviation over them. Means over "
        "folds weigh folds equally and leave out classes that a fold does not show; pooled figures weigh "
        "pixels equally.",
        ("data set", *head) if several else head,
        tuple(rows),
        notes.all(),
        labels=4 if several else 3,
    )  # fmt: skip


def _of(table: pd.DataFrame, key: tuple[str, str, str, float]) -> pd.DataFrame:
    wanted = [table[name] == value for name, value in zip(CELL, key, strict=True)]
    return table[wanted[0] & wanted[1] & wanted[2] & wanted[3]]


def _number(value: float) -> Entry:
    return Entry(f"{value:.1f}", value=value) if value == value else Entry(MISSING)


def _spread(mean: float, sd: float) -> str:
    return f"{mean:.1f} {PLUS_MINUS} " + (f"{sd:.1f}" if sd == sd else MISSING)


def _pooled(draws: pd.DataFrame, metric: str, ddof: int, notes: Notes) -> Entry:
    missing = sorted({fold for text in draws["missing"] for fold in text.split()}, key=int)
    marks = (notes.mark(UNFINISHED.format(", ".join(missing))),) if missing else ()
    values = draws[metric].dropna() if metric in draws else pd.Series(dtype=float)
    if not len(values):
        return Entry(MISSING, marks or (notes.mark(NO_MATRIX),))
    mean = 100 * values.mean()
    if len(draws) == 1:
        return Entry(f"{mean:.1f}", marks, value=mean)
    sd = 100 * values.std(ddof=ddof) if len(values) > ddof else float("nan")
    return Entry(f"{_spread(mean, sd)} ({len(values)} draws)", marks, value=mean)
