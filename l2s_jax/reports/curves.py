"""Curves over the share of patches, after Figs. 5 and 6: means, their spread, and relative to the whole."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from l2s_jax.figures.drawing import new_figure
from l2s_jax.reports.names import REFERENCE, method_text, metric_title, on_test, percent_text, unit_of
from l2s_jax.reports.paper_values import paper_values
from l2s_jax.reports.study_table import lines_of

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#B8860B",
    "#882255",
    "#332288",
)  # Okabe and Ito's and two of Tol's, all told apart
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
MARKERS = "osD^vPX*"
AXIS = {"segmentation": "mask patches used, %", "classification": "label patches used, %"}


class Look:
    """A colour and a mark for each method, a line for each variant: the same in all figures of a report."""

    def __init__(self, methods: Sequence[tuple[str, str]]) -> None:
        """Takes every (variant, setting) of the report, in order."""
        methods = list(dict.fromkeys(methods))
        variants = list(dict.fromkeys(variant for variant, _ in methods))
        self._of = {
            (variant, setting): {
                "color": COLOURS[number % len(COLOURS)],
                "linestyle": DASHES[variants.index(variant) % len(DASHES)],
                "marker": MARKERS[number % len(MARKERS)],
            }
            for number, (variant, setting) in enumerate(methods)
        }

    def of(self, variant: str, setting: str) -> dict:
        """Options of matplotlib's `plot`."""
        return self._of[variant, setting]


def look_of(cells: pd.DataFrame) -> Look:
    """The look of all methods that have runs."""
    return Look(list(zip(cells["variant"], cells["setting"], strict=True)))


def draw_study(
    means: pd.DataFrame, cells: pd.DataFrame, study: str, metrics: Sequence[str], *, relative: bool = False
) -> Figure:
    """Mean over runs against percent for each method, a panel a metric; bands are one standard deviation.

    Args:
      means: from `aggregate`, of one data set.
      cells: the runs behind them, drawn as small points.
      study: "segmentation" or "classification".
      metrics: the panels.
      relative: divided by the mean at the reference, S at 100% (S2+C2 at 50%), after Figs. 5 and 6; methods
        without one are left out.
    """
    lines = list(lines_of(means[means["n"] > 0], metrics))
    references = reference_means(means, study) if relative else {}
    methods = list(dict.fromkeys((variant, setting) for (_, variant, setting, _), _ in lines))
    look = look_of(cells)
    figure = new_figure(4.6 * len(metrics) + 0.4, 4.3)
    panels = list(figure.subplots(1, len(metrics), squeeze=False)[0])
    percents = sorted(set(means["percent"]))
    counts = mask_counts(cells) if study == "segmentation" else {}
    for axes, metric in zip(panels, metrics, strict=True):
        for (_, variant, setting, of), line in lines:
            reference = references.get((variant, metric)) if relative else 1.0
            if of == metric and reference:
                scale = 100 / reference if relative else unit_of(metric)[0]
                mine = (cells["variant"] == variant) & (cells["setting"] == setting)
                label = method_text(variant, setting)
                label += " [chosen on test]" if line["selection"].map(on_test).any() else ""
                _draw_line(axes, line, cells[mine], metric, scale, look.of(variant, setting), label)
        printed = paper_values(means["dataset"].iloc[0], study)
        _draw_paper(axes, printed[printed["metric"] == metric], look, methods, percents, study, relative)
        if relative:
            axes.axhline(100, color="grey", linewidth=0.8, linestyle=":")
        _finish(axes, percents, metric, study, relative, counts)
    handles, labels = _unique_labels(panels)
    if handles:
        across = len(labels) if len(labels) < 6 else -(-len(labels) // 2)
        figure.legend(handles, labels, loc="outside lower center", ncols=across, fontsize=8, frameon=False)
    return figure


def reference_means(means: pd.DataFrame, study: str) -> dict[tuple[str, str], float]:
    """The mean at S and 100% (S2+C2 and 50%) by (variant, metric): the variant's own, else the first's."""
    setting, percent = REFERENCE[study]
    at = means[(means["setting"] == setting) & (means["percent"] == percent) & (means["n"] > 0)]
    own = {(row.variant, row.metric): row.mean for row in at.itertuples()}
    first: dict[str, float] = {}
    for (_, metric), mean in own.items():
        first.setdefault(metric, mean)
    every = itertools.product(dict.fromkeys(means["variant"]), first)
    return {(variant, metric): own.get((variant, metric), first[metric]) for variant, metric in every}


def _draw_line(
    axes: Axes, line: pd.DataFrame, runs: pd.DataFrame, metric: str, scale: float, look: Mapping, label: str
) -> None:
    line = line.sort_values("percent")
    percents, means, spread = line["percent"], scale * line["mean"], scale * line["sd"]
    axes.plot(percents, means, label=label, linewidth=1.6, markersize=4.5, **look)
    axes.fill_between(percents, means - spread, means + spread, color=look["color"], alpha=0.15, linewidth=0)
    axes.scatter(runs["percent"], scale * runs[metric], s=6, color=look["color"], alpha=0.45, linewidths=0)


def _draw_paper(
    axes: Axes,
    printed: pd.DataFrame,
    look: Look,
    methods: Sequence[tuple[str, str]],
    percents: Sequence[float],
    study: str,
    relative: bool,
) -> None:
    of = dict(zip(zip(printed["setting"], printed["percent"], strict=True), printed["mean"], strict=True))
    scale = 100 / of.get(REFERENCE[study], float("nan")) if relative else 100.0
    for setting in dict.fromkeys(setting for _, setting in methods):
        line = printed[(printed["setting"] == setting) & printed["percent"].isin(percents)]
        variant = next(variant for variant, of in methods if of == setting)
        if len(line):
            axes.plot(line["percent"], scale * line["mean"], color=look.of(variant, setting)["color"],
                      linestyle=(0, (1, 2)), linewidth=1, marker="x", markersize=4,
                      label=f"{setting}, as printed")  # fmt: skip


def _finish(
    axes: Axes,
    percents: Sequence[float],
    metric: str,
    study: str,
    relative: bool,
    counts: Mapping[float, int],
) -> None:
    share_axis(axes, percents, counts)
    setting, percent = REFERENCE[study]
    of = f", % of {setting} at {percent_text(percent)}%" if relative else f", {unit_of(metric)[1]}"
    axes.set_ylabel(metric_title(metric) + of)
    axes.set_xlabel(AXIS[study] + (", and their number" if counts else ""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def mask_counts(cells: pd.DataFrame) -> dict[float, int]:
    """How many masks each percentage is; nothing where the runs do not say or do not agree."""
    if "n_mask" not in cells:
        return {}
    counts = cells.groupby("percent")["n_mask"].agg(["min", "max"])
    agreed = bool((counts["min"] == counts["max"]).all())
    return {float(percent): int(count) for percent, count in counts["min"].items()} if agreed else {}


def share_axis(
    axes: Axes, percents: Sequence[float], counts: Mapping[float, int] | None = None, room: float = 0.0
) -> None:
    """A logarithmic axis of percentages with the measured ones as ticks; 0 stands at its left end.

    Args:
      axes: the panel.
      percents: the measured ones.
      counts: how many patches each is, written below it.
      room: share of the width that is left free at both ends, beside a narrow margin.
    """
    positive = [percent for percent in percents if percent > 0] or [1.0]
    axes.set_xscale("symlog", linthresh=positive[0], linscale=0.6)
    shown, last = [], -np.inf
    ends = min(percents, default=0.0), max(percents, default=100.0)
    left, right = axes.transScale.transform([(end, 0) for end in ends])[:, 0]
    margin = 0.03 * max(right - left, 1e-9)
    free = margin + room * (right - left)
    back = axes.transScale.inverted().transform([(left - free, 0), (right + free, 0)])[:, 0]
    axes.set_xlim(*back)
    for percent in percents:
        at = axes.transScale.transform((percent, 0))[0]
        if percent == ends[1] or (at - last > 2 * margin and right - at > 2 * margin):
            shown.append(percent)
            last = at
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    below = {percent: f"\n{count}" for percent, count in (counts or {}).items()}
    axes.set_xticklabels([percent_text(percent) + below.get(percent, "") for percent in shown], fontsize=8)


def _unique_labels(panels: Sequence[Axes]) -> tuple[list, list[str]]:
    found: dict[str, object] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
