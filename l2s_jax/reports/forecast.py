"""What more masks would bring: the score at twice and four times as many as the largest share has.

Curves of scores over the logarithm of the masks flatten as a rule (Viering and Loog 2022,
doi:10.1109/TPAMI.2022.3220744). So a forecast lies in the middle between no gain and the gain per doubling of
the last two shares going on. Their means are redrawn within their errors: the interval begins where there is
no gain, and ends where all of it goes on. docs/experiments/forecasts.md has what came of it on hidden data.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from l2s_jax.reports.aggregation import within_runs
from l2s_jax.reports.names import SETTINGS, in_order, method_text, metric_title, percent_text
from l2s_jax.reports.plan_means import (
    FEWEST_DRAWS,
    WHOLE,
    mask_count,
    moderated_means,
    redrawn_means,
)
from l2s_jax.reports.planning import CONFIDENCE
from l2s_jax.system.chance import generator

TIMES = (2.0, 4.0)
FARTHEST = 4.0
"""Times the masks beyond which nothing is said."""
WIDEST = 0.4
"""Width of an interval, of scores 0..1, from which it says nothing."""


@dataclass(frozen=True)
class Forecast:
    """The score of one method with more masks than were measured, or why it cannot be told."""

    dataset: str
    variant: str
    setting: str
    percent: float  # the largest share measured
    times: float  # as many masks as that
    masks: float  # so many are these; NaN where the results do not say
    now: float  # the mean at the largest share, 0..1
    score: float  # NaN where refused
    low: float  # 95% interval of the mean
    high: float
    reason: str  # empty where answered


def forecasts(
    cells: pd.DataFrame, metric: str, times: Sequence[float] = TIMES, *, seed: int = 0
) -> list[Forecast]:
    """A forecast for every data set, method and number of times.

    Args:
      cells: a table as `aggregation` describes it, perhaps with `n_mask`.
      metric: a column of scores 0..1, more being better.
      times: as many masks as the largest share has.
      seed: of the redrawing.
    """
    cells = within_runs(cells)
    found: list[Forecast] = []
    for dataset in in_order(cells["dataset"]):
        own = cells[(cells["dataset"] == dataset) & cells[metric].notna() & (cells["percent"] > 0)]
        means = moderated_means(own, metric)
        rng = generator(seed)
        drawn = redrawn_means(means, rng)
        for variant in in_order(own["variant"]):
            for setting in in_order(own.loc[own["variant"] == variant, "setting"], SETTINGS):
                of_method = ((means["variant"] == variant) & (means["setting"] == setting)).to_numpy()
                rows = np.flatnonzero(of_method & means["df"].notna().to_numpy())
                rows = rows[np.argsort(means["percent"].to_numpy()[rows])]
                name = (dataset, variant, setting)
                ends = means.iloc[rows[-2:]]
                found += [_forecast(name, ends, drawn[:, rows[-2:]], one, mask_count(own)) for one in times]
    return found


def _forecast(
    name: tuple[str, str, str],
    ends: pd.DataFrame,
    drawn: np.ndarray,
    times: float,
    masks: float,
) -> Forecast:
    """From the means of the last two shares, redrawn f64[B,2]."""
    percents, means = ends["percent"].to_numpy(float), ends["mean"].to_numpy(float)
    largest, now = (percents[-1], means[-1]) if len(ends) else (np.nan, np.nan)

    def made(score: float = np.nan, low: float = np.nan, high: float = np.nan, reason: str = "") -> Forecast:
        count = float(np.round(times * masks * largest / WHOLE))
        return Forecast(*name, largest, times, count, now, score, low, high, reason)

    if len(ends) < 2:
        return made(reason=f"a forecast needs 2 shares above 0 with {FEWEST_DRAWS} or more draws each")
    if not 1 < times <= FARTHEST:
        return made(reason=f"nothing is said beyond {FARTHEST:g} times the masks")
    gain = np.maximum(drawn[:, 1] - drawn[:, 0], 0) * np.log2(times) / np.log2(percents[1] / percents[0])
    score = min(np.median(drawn[:, 1] + gain / 2), 1.0)
    low = np.quantile(drawn[:, 1], (1 - CONFIDENCE) / 2)
    high = min(np.quantile(drawn[:, 1] + gain, (1 + CONFIDENCE) / 2), 1.0)
    if high - low > WIDEST:
        return made(
            reason=f"too uncertain: 95% interval {100 * low:.0f} to {100 * high:.0f}. More draws are needed"
        )
    return made(float(score), float(low), float(high))


def forecast_table(found: Sequence[Forecast]) -> pd.DataFrame:
    """One row a forecast."""
    return pd.DataFrame([asdict(one) for one in found], columns=list(Forecast.__dataclass_fields__))


def forecast_text(one: Forecast, metric: str) -> str:
    """A forecast in a sentence."""
    what = (
        f"{one.times:g} times the masks of {percent_text(one.percent)}%" if one.percent > 0 else "more masks"
    )
    if one.masks == one.masks:
        what += f" ({one.masks:.0f})"
    start = f"{method_text(one.variant, one.setting)}, {what}: "
    if one.reason:
        return f"{start}no forecast: {one.reason}"
    return (
        f"{start}{metric_title(metric)} of about {100 * one.score:.1f} ({100 * one.low:.1f} to "
        f"{100 * one.high:.1f}; now {100 * one.now:.1f})"
    )
