"""Paired differences as a figure: draws, means and intervals by percent."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from l2s_jax.figures.drawing import new_figure
from l2s_jax.reports.curves import AXIS, Look, share_axis
from l2s_jax.reports.names import REFERENCE, method_text, metric_title, unit_of

APART = 5.0
"""Points between the marks of two methods at one percentage."""
PANEL_POINTS = 270.0
"""Width of a panel."""


def against_reference(differences: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows that compare with the reference setting, S or S2+C2, of each method with one of them."""
    reference = REFERENCE[study][0]
    found = differences[(differences["minus_setting"] == reference) & (differences["setting"] != reference)]
    return found.drop_duplicates(["dataset", "variant", "setting", "percent", "metric"])


def draw_differences(differences: pd.DataFrame, study: str, metrics: Sequence[str], look: Look) -> Figure:
    """Differences in points against percent, a panel a metric.

    Args:
      differences: from `paired_differences`, of one data set and against one setting.
      study: "segmentation" or "classification".
      metrics: the panels.
      look: of all methods of the report.
    """
    methods = list(dict.fromkeys(zip(differences["variant"], differences["setting"], strict=True)))
    figure = new_figure(4.6 * len(metrics) + 0.4, 4.0)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    percents = sorted(set(differences["percent"]))
    for axes, metric in zip(panels, metrics, strict=True):
        times, _, unit = unit_of(metric)
        of_metric = _shown(differences[differences["metric"] == metric], times)
        for number, (variant, setting) in enumerate(methods):
            own = of_metric[(of_metric["variant"] == variant) & (of_metric["setting"] == setting)]
            shift = APART * (number - (len(methods) - 1) / 2)
            _draw_method(axes, own, shift, look.of(variant, setting), method_text(variant, setting))
        axes.axhline(0, color="grey", linewidth=0.8)
        share_axis(axes, percents, room=APART * len(methods) / 2 / PANEL_POINTS)
        axes.set(xlabel=AXIS[study], ylabel=f"difference in {metric_title(metric)}, {unit}")
        axes.set_ylim(*_limits(of_metric))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _shown(rows: pd.DataFrame, times: float) -> pd.DataFrame:
    """Differences in the unit that is shown; `by_draw` as arrays."""
    numbers = {name: times * rows[name] for name in ("mean", "low", "high")}
    return rows.assign(**numbers, by_draw=[times * np.array(text.split(), float) for text in rows["by_draw"]])


def _draw_method(axes: Axes, rows: pd.DataFrame, shift: float, look: dict, label: str) -> None:
    figure = axes.get_figure(root=True)
    moved = offset_copy(axes.transData, fig=figure, x=shift, units="points")
    means = rows["mean"]
    bars = np.stack([means - rows["low"], rows["high"] - means])
    axes.errorbar(rows["percent"], means, bars, transform=moved, fmt=look["marker"], color=look["color"],
                  markersize=4.5, linewidth=1.2, capsize=2, label=label)  # fmt: skip
    for percent, draws in zip(rows["percent"], rows["by_draw"], strict=True):
        axes.scatter([percent] * len(draws), draws, s=7, color=look["color"], alpha=0.45, linewidths=0,
                     transform=moved)  # fmt: skip


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """Room for 0, every draw and intervals, these as far as they do not dwarf the draws."""
    draws = np.concatenate([np.zeros(0), *rows["by_draw"]])
    low, high = draws.min(initial=0), draws.max(initial=0)
    room = 0.6 * max(high - low, 1.0)
    ends = np.nan_to_num(rows[["low", "high"]].to_numpy()).ravel()
    low, high = max(low - room, ends.min(initial=low)), min(high + room, ends.max(initial=high))
    margin = 0.05 * max(high - low, 1.0)
    return low - margin, high + margin
