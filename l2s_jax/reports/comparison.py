"""Whether labels help on a data set: recipes that learn from them beside S, in sentences and a figure."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from l2s_jax.figures.drawing import new_figure
from l2s_jax.reports.curves import Look
from l2s_jax.reports.names import Method, method_text, metric_title, signed

CANNOT_SAY = "these runs cannot say whether the labels help"


def minus_baseline(differences: pd.DataFrame, baseline: Method) -> pd.DataFrame:
    """The rows of `paired_differences` that subtract one method from each other."""
    minus = zip(differences["minus_variant"], differences["minus_setting"], strict=True)
    return differences[[other == baseline for other in minus]].reset_index(drop=True)


def seconds_by_method(cells: pd.DataFrame) -> dict[Method, float]:
    """Median training time of each method's runs, all phases together, in seconds."""
    medians = cells.groupby(["variant", "setting"], sort=False)["seconds"].median()
    return {(str(variant), str(setting)): float(value) for (variant, setting), value in medians.items()}


def comparison_sentences(
    rows: pd.DataFrame, seconds: Mapping[Method, float], unit: str = "draw"
) -> list[str]:
    """A sentence a recipe: by how much it is above S, how sure that is, what it means and what it costs.

    Args:
      rows: of `minus_baseline`, one a recipe.
      seconds: median training time of each method.
      unit: what the interval is over, draw or fold.
    """
    return [_sentence(row, seconds, unit) for row in rows.itertuples()]


def _sentence(row, seconds: Mapping[Method, float], unit: str) -> str:
    one, other = (row.variant, row.setting), (row.minus_variant, row.minus_setting)
    known = row.low == row.low
    spread = f"95% interval {signed(100 * row.low)} to {signed(100 * row.high)}" if known else row.reason
    how = f"{spread}, n = {row.n} {unit}s, above in {row.better} of {row.n}" if known else spread
    gain, times = (
        f"{signed(100 * row.mean)} points of {metric_title(row.metric)}",
        seconds[one] / seconds[other],
    )
    return (
        f"{method_text(*one)}: {gain} beside S ({how}): {_meaning(row.low, row.high)}. It takes {times:.2g} "
        "times as long as S"
    )


def _meaning(low: float, high: float) -> str:
    if low > 0:
        return "the labels help"
    if high < 0:
        return "the labels do harm here, so leave them out (--setting S)"
    return CANNOT_SAY


def draw_comparison(rows: pd.DataFrame, look: Look, unit: str = "draw") -> Figure:
    """Differences from S in points: a line a recipe, a dot a draw, their mean and its interval."""
    figure = new_figure(6.4, 1.3 + 0.5 * len(rows))
    axes = figure.subplots()
    for height, row in zip(range(len(rows), 0, -1), rows.itertuples(), strict=True):
        options = look.of(row.variant, row.setting)
        each = 100 * np.array(row.by_draw.split(), float)
        axes.scatter(each, np.full(len(each), height - 0.18), s=10, color=options["color"], alpha=0.5)
        ends = 100 * np.array([[row.mean - row.low], [row.high - row.mean]])
        axes.errorbar([100 * row.mean], [height], xerr=None if row.low != row.low else ends,
                      fmt=options["marker"], color=options["color"], capsize=3, linewidth=1.4)  # fmt: skip
    axes.axvline(0, color="grey", linewidth=0.8)
    names = [method_text(row.variant, row.setting) for row in rows.itertuples()]
    axes.set_yticks(range(len(rows), 0, -1), names)
    axes.set_ylim(0.4, len(rows) + 0.6)
    what = metric_title(rows["metric"].iloc[0])
    axes.set_xlabel(f"{what} minus that of S, points: each {unit}, mean, 95% interval")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.25)
    return figure
