"""Paired differences: two methods at equal percent, draw by draw."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from l2s_jax.reports.aggregation import within_runs
from l2s_jax.reports.names import (
    DISTANCES,
    FOLD,
    REFERENCE,
    SETTINGS,
    Method,
    in_order,
    method_text,
    metric_title,
    on_test,
    percent_text,
    signed,
    unit_of,
    units_text,
)
from l2s_jax.reports.study_table import cell_id
from l2s_jax.reports.text_table import ON_TEST, Entry, Notes, TextTable

CONFIDENCE = 0.95
_WIDER = ", wider by what the networks of two folds have learned from in common (Nadeau and Bengio 2003)"
COLUMNS = (
    "dataset", "variant", "setting", "minus_variant", "minus_setting", "percent", "metric", "mean", "low",
    "high", "n", "better", "worse", "draws", "by_draw", "on_test", "reason",
)  # fmt: skip


def paired_differences(
    cells: pd.DataFrame,
    study: str,
    metrics: Sequence[str],
    confidence: float = CONFIDENCE,
    against: Sequence[Method] = (),
) -> pd.DataFrame:
    """Each setting minus S (or S2+C2) of its variant, and each variant minus the first variant, draw by draw.

    A variant without S of its own is compared with the first variant's. Several runs of one draw are
    averaged first. Draws in which both sides are the same run are left out: their difference is 0 by
    construction. The interval is Student's t over draws, not corrected for the number of comparisons.

    Where there are folds, differences are made fold by fold and draw by draw, and averaged within each fold.
    The interval is over folds then, and wider, since networks of two folds have learned from the same patches
    (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366): each of K folds trains on K - 2 parts.

    Args:
      cells: a table as `aggregation` describes it.
      study: "segmentation" or "classification".
      metrics: which to compare.
      confidence: of the interval.
      against: methods from which all others are to be subtracted too.

    Returns:
      One row a comparison: mean, low and high (NaN where there is no interval, with a `reason`), n (draws),
      better and worse (draws in which the first is above and below; of distances below and above), draws and
      by_draw (their numbers and differences, separated by spaces). With folds, all of these are of folds.
    """
    cells = within_runs(cells)
    found = []
    for dataset in in_order(cells["dataset"]):
        of_dataset = cells[cells["dataset"] == dataset]
        for one, other in comparisons(of_dataset, REFERENCE[study][0], against):
            for percent in sorted(set(_of(of_dataset, one)["percent"])):
                for metric in metrics:
                    row = _compare(of_dataset, one, other, percent, metric, confidence)
                    if row is not None:
                        found.append({"dataset": dataset, "percent": percent, "metric": metric, **row})
    return pd.DataFrame(found, columns=list(COLUMNS))


def comparisons(
    cells: pd.DataFrame, reference: str, against: Sequence[Method] = ()
) -> Iterator[tuple[Method, Method]]:
    """Pairs of methods that are compared, each pair once."""
    seen: set[frozenset[Method]] = set()
    for one, other in (*_usual(cells, reference), *_asked(cells, against)):
        if one != other and frozenset((one, other)) not in seen:
            seen.add(frozenset((one, other)))
            yield one, other


def _asked(cells: pd.DataFrame, against: Sequence[Method]) -> Iterator[tuple[Method, Method]]:
    """Everything with each of some methods."""
    for other in against:
        for variant in in_order(cells["variant"]):
            for setting in in_order(cells.loc[cells["variant"] == variant, "setting"], SETTINGS):
                yield (variant, setting), other


def _usual(cells: pd.DataFrame, reference: str) -> Iterator[tuple[Method, Method]]:
    """Settings with the reference setting, then variants with the first variant."""
    variants = in_order(cells["variant"])
    settings = {v: in_order(cells.loc[cells["variant"] == v, "setting"], SETTINGS) for v in variants}
    with_reference = [variant for variant in variants if reference in settings[variant]]
    for variant in variants:
        for base in [v for v in (variant, *with_reference) if v in with_reference][:1]:
            yield from (
                ((variant, setting), (base, reference))
                for setting in settings[variant]
                if setting != reference
            )
    for variant in variants[1:]:
        yield from (
            ((variant, setting), (variants[0], setting))
            for setting in settings[variant]
            if setting in settings[variants[0]]
        )


def _of(cells: pd.DataFrame, method: Method) -> pd.DataFrame:
    return cells[(cells["variant"] == method[0]) & (cells["setting"] == method[1])]


def _compare(
    cells: pd.DataFrame, one: Method, other: Method, percent: float, metric: str, confidence: float
) -> dict | None:
    """One comparison; None where the two have no draw in common, or only runs that they share."""
    keys = [FOLD, "draw"] if FOLD in cells else ["draw"]
    shared = 1 / max(cells[FOLD].nunique() - 2, 1) if FOLD in cells else 0.0
    sides, on_test_split = [], False
    for method in (one, other):
        rows = _of(cells, method)
        rows = rows[(rows["percent"] == percent) & rows[metric].notna()]
        on_test_split |= rows["selection"].astype(str).map(on_test).any()
        sides.append(rows.groupby(keys).agg(value=(metric, "mean"), runs=("run", frozenset)))
    both = sides[0].join(sides[1].add_suffix("_other"), how="inner")
    both = both[both["runs"] != both["runs_other"]]
    if both.empty:
        return None
    of_units = (both["value"] - both["value_other"]).groupby(keys[0]).mean()
    differences = of_units.to_numpy()
    low, high, reason = t_interval(differences, confidence, shared)
    gains = -differences if metric in DISTANCES else differences
    return {
        "variant": one[0], "setting": one[1], "minus_variant": other[0], "minus_setting": other[1],
        "mean": differences.mean(), "low": low, "high": high, "n": len(differences),
        "better": int((gains > 0).sum()), "worse": int((gains < 0).sum()),
        "draws": " ".join(f"{draw:g}" for draw in of_units.index),
        "by_draw": " ".join(f"{value:.6g}" for value in differences), "on_test": bool(on_test_split),
        "reason": reason,
    }  # fmt: skip


def t_interval(
    values: np.ndarray, confidence: float = CONFIDENCE, shared: float = 0.0
) -> tuple[float, float, str]:
    """Student's t interval of the mean of f64[N]: low, high and, where there is none, why (both NaN then).

    Args:
      values: one a draw or a fold.
      confidence: of the interval.
      shared: for folds, the patches that are tested on by those that are learned from (Nadeau and Bengio's
        correction); 0 for draws.
    """
    n = len(values)
    if n < 2:
        what = "folds" if shared else "draws"
        return float("nan"), float("nan"), f"no interval: n = {n}, and a spread needs 2 {what} at least"
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) * np.sqrt(1 / n + shared)
    return float(values.mean() - half), float(values.mean() + half), ""


def differences_table(differences: pd.DataFrame, unit: str = "draw") -> TextTable:
    """The differences for people, in points of a percent. `unit` is what they are over, draw or fold."""
    several = differences["dataset"].nunique() > 1
    rows, notes = [], Notes()
    for row in differences.itertuples():
        mark, times = notes.mark(ON_TEST) if row.on_test else "", unit_of(row.metric)[0]
        interval = row.reason
        if row.low == row.low:
            interval = f"{signed(times * row.low)} to {signed(times * row.high)}"
        sides = ((row.variant, row.setting), (row.minus_variant, row.minus_setting))
        one, other = (cell_id(row.dataset, *side, row.percent, row.metric) for side in sides)
        pairs = zip(row.draws.split(), map(float, row.by_draw.split()), strict=True)
        entries = (
            Entry(method_text(*sides[0]), (mark,) if row.on_test else (), one),
            Entry(method_text(*sides[1]), link=other),
            Entry(f"{percent_text(row.percent)}%", value=row.percent),
            Entry(metric_title(row.metric)),
            Entry(signed(times * row.mean), value=row.mean),
            Entry(interval, value=row.low if row.low == row.low else None),
            Entry(str(row.n), value=float(row.n)),
            Entry(f"{row.better} of {row.n}", value=row.better / row.n),
            Entry(", ".join(f"{draw}: {signed(times * value)}" for draw, value in pairs)),
        )
        rows.append((Entry(row.dataset), *entries) if several else entries)
    head = (
        "method",
        "minus",
        "percent",
        "metric",
        "difference",
        "95% interval",
        "n",
        "better in",
        f"{unit} by {unit}",
    )
    unit_text = units_text("Points of a percent", differences["metric"])
    return TextTable(
        "differences",
        "Paired differences",
        f"{unit_text}: the first method minus the second, {unit} by {unit} at equal percent. The "
        f"interval is Student's t over {unit}s{_WIDER if unit == FOLD else ''}, for each comparison by "
        "itself: of 20 that differ by chance alone, about one excludes 0. Draws in which both are the same "
        "run are left out.",
        ("data set", *head) if several else head,
        tuple(rows),
        notes.all(),
        labels=5 if several else 4,
    )
