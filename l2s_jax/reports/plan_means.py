"""The means that a plan is made from, how sure they are, and as they could as well have come out."""

import numpy as np
import pandas as pd

from l2s_jax.reports.mask_curves import moderated_variances, redraw
from l2s_jax.reports.names import CELL, FOLD, REFERENCE

RESAMPLES = 4000
FEWEST_DRAWS = 2
SETTING, WHOLE = REFERENCE["segmentation"]


def moderated_means(cells: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row a cell: mean over draws, n, moderated variance of the mean and its df (NaN below two draws).

    Folds stand for draws where there are some, their own draws averaged.
    """
    unit = FOLD if FOLD in cells else "draw"
    by_draw = cells.groupby([*CELL, unit], sort=False).agg(value=(metric, "mean"), runs=("run", frozenset))
    grouped = by_draw.groupby(list(CELL), sort=False)
    means = grouped.agg(
        mean=("value", "mean"),
        variance=("value", "var"),
        n=("value", "size"),
        runs=("runs", lambda runs: frozenset().union(*runs)),
    ).reset_index()
    known = (means["n"] >= FEWEST_DRAWS).to_numpy()
    # The same runs shown in two cells are evidence once.
    once = known & ~means["runs"].duplicated().to_numpy()
    means["df"] = np.nan
    if once.any():
        variances, counts = (means.loc[once, name].to_numpy(float) for name in ("variance", "n"))
        moderated = moderated_variances(variances, counts - 1)
        for name, values in zip(("variance", "df"), moderated, strict=True):
            of_runs = dict(zip(means.loc[once, "runs"], values, strict=True))
            means[name] = [of_runs.get(runs, np.nan) for runs in means["runs"]]
    means["variance"] /= means["n"]
    return means


def redrawn_means(means: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Redrawn means f64[RESAMPLES, rows of means]; cells of the same runs are redrawn together."""
    drawn = np.full((RESAMPLES, len(means)), np.nan)
    known = np.flatnonzero(means["df"].notna())
    of_runs: dict[frozenset, int] = {}
    for row in map(int, known):
        first = of_runs.setdefault(means["runs"].iloc[row], row)
        if first == row:
            one = means.iloc[[row]]
            drawn[:, [row]] = redraw(
                one["mean"].to_numpy(), one["variance"].to_numpy(), one["df"].to_numpy(), RESAMPLES, rng
            )
        else:
            drawn[:, row] = drawn[:, first]
    return drawn


def mask_count(cells: pd.DataFrame) -> float:
    """How many mask patches there are in all, from the largest share; NaN where the results do not say."""
    if "n_mask" not in cells:
        return float("nan")
    known = cells[cells["n_mask"].notna() & (cells["percent"] > 0)]
    largest = known[known["percent"] == known["percent"].max()]
    return (
        float(np.round(largest["n_mask"].max() * WHOLE / largest["percent"].max()))
        if len(known)
        else float("nan")
    )


def reference_row(means: pd.DataFrame, variant: str) -> int | None:
    """The row of the full-mask score: the variant's own, else the first variant's."""
    at = np.flatnonzero((means["setting"] == SETTING) & (means["percent"] == WHOLE)).tolist()
    own = [row for row in at if means["variant"].iloc[row] == variant]
    return next(iter([*own, *at]), None)
