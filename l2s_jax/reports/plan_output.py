"""The answers of `l2s plan` as a table, a figure and files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from l2s_jax.figures.drawing import new_figure
from l2s_jax.figures.svg import svg_of
from l2s_jax.reports.curves import AXIS, Look, look_of, share_axis
from l2s_jax.reports.forecast import forecast_table, forecast_text, forecasts
from l2s_jax.reports.mask_worth import worth_table, worth_text, worths
from l2s_jax.reports.names import (
    DISTANCES,
    method_text,
    metric_columns,
    metric_title,
    percent_text,
    require_metrics,
)
from l2s_jax.reports.plan_means import SETTING, WHOLE
from l2s_jax.reports.planning import (
    CONFIDENCE,
    TARGETS,
    Answer,
    FittedMethod,
    answer_text,
    answers_table,
    plan,
)
from l2s_jax.reports.reading import Results, read_results
from l2s_jax.reports.study_table import cell_id
from l2s_jax.reports.text_table import MISSING, ON_TEST, Entry, Notes, TextTable
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.outputs import publishing, require_replaceable, source_of
from l2s_jax.system.ranges import require_seed

STEM = "plan_masks"
AHEAD, WORTH = "plan_ahead.csv", "plan_worth.csv"


def plan_masks(
    results: str | Path,
    metric: str = "macro_f1",
    targets: Sequence[float] = TARGETS,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Says which share of the masks reaches so much of the full-mask score, and writes it down.

    Beside it, what twice and four times the masks would bring (`forecast`, plan_ahead.csv), and what labels
    are worth in masks (`mask_worth`, plan_worth.csv).

    Args:
      results: folder of a segmentation sweep, or a CSV file with the columns of `aggregation`.
      metric: the score, more being better.
      targets: percent of the mean score of S at 100% of the masks.
      out: where plan_masks.csv and plan_masks.svg go; `RESULTS/report` by default.
      seed: of the resampling.
      say: receives progress messages.

    Returns:
      One row a method and target: percent of the masks with low and high (95%; low 0: below the smallest
      share measured), the same as counts of masks, and `reason`, empty where answered.

    Raises:
      UserError: results that cannot be read, an unknown metric, or results without a segmentation study.
    """
    require_seed(seed)
    if not targets or not all(0 < target <= 100 for target in targets):
        raise UserError(f"targets {tuple(targets)} must be percentages of the full-mask score, 0 to 100")
    if metric in DISTANCES:
        raise UserError(f"--metric {metric} is a distance, less being better: plan needs a score")
    found = read_results(results)
    folder = Path(out) if out is not None else found.folder / "report"
    sources = (source_of(results, outputs=folder),)
    require_replaceable(folder, (f"{STEM}.csv", f"{STEM}.svg", AHEAD, WORTH), sources)
    answers, fitted = plan_of(found, metric, targets, seed)
    cells = found.cells[found.cells["study"] == "segmentation"]
    ahead, worth = forecasts(cells, metric, seed=seed), worths(cells, metric, seed=seed)
    with publishing(folder, sources) as stage:
        write_text(stage / f"{STEM}.csv", table_text(answers_table(answers)))
        if fitted:
            drawing = draw_plan(fitted, answers, metric, look_of(found.cells))
            write_text(stage / f"{STEM}.svg", svg_of(drawing))
        write_text(stage / AHEAD, table_text(forecast_table(ahead)))
        if worth:
            write_text(stage / WORTH, table_text(worth_table(worth)))
    for line in [*found.notes, *map(answer_text, answers)]:
        say(line)
    for one in ahead:
        say(forecast_text(one, metric))
    for value in worth:
        say(worth_text(value))
    say(f"written to {folder}")
    return answers_table(answers)


def plan_of(
    results: Results, metric: str, targets: Sequence[float] = TARGETS, seed: int = 0
) -> tuple[list[Answer], list[FittedMethod]]:
    """Answers and curves of the segmentation study of results. Raises `UserError` where there is none."""
    require_metrics([metric], metric_columns(results.cells))
    cells = results.cells[results.cells["study"] == "segmentation"]
    if cells.empty:
        raise UserError(
            "these results are a classification study, which varies the labels: how many masks are needed "
            "can be read from settings S, S+C and S+C* only"
        )
    return plan(cells, metric, targets, seed=seed)


def plan_table(answers: Sequence[Answer], metric: str) -> TextTable:
    """The answers for people."""
    rows, notes = [], Notes()
    several = len({one.dataset for one in answers}) > 1
    for one in answers:
        marks = (notes.mark(ON_TEST),) if one.on_test else ()
        refused = bool(one.reason)
        below = f"<{percent_text(one.smallest)}" if one.low == 0 else f"{one.low:.3g}"
        full = cell_id(one.dataset, one.reference, SETTING, WHOLE, metric)
        entries = (
            Entry(method_text(one.variant, one.setting), marks),
            Entry(f"{one.target:g}%", value=one.target),
            Entry(f"{100 * one.score:.1f}", link=full) if one.score == one.score else Entry(MISSING),
            Entry(MISSING if refused else f"{one.percent:.3g}%", value=None if refused else one.percent),
            Entry(MISSING if refused else f"{below} to {one.high:.3g}%"),
            Entry(MISSING if one.masks != one.masks else f"{one.masks:.0f}"),
            Entry(f"{one.shares} shares, {one.draws} draws" if one.shares else MISSING),
            Entry(one.reason or "answered"),
        )
        rows.append((Entry(one.dataset), *entries) if several else entries)
    head = (
        "method",
        "target",
        "its score",
        "share of masks",
        "95% interval",
        "masks",
        "curve through",
        "answer",
    )
    return TextTable(
        STEM,
        "How many masks are needed",
        f"The share of the masks at which a method's fitted curve of {metric_title(metric)} reaches so much "
        f"of the score of S at 100%, with a {100 * CONFIDENCE:.0f}% interval from means redrawn within their "
        "errors. Curves go through all means above 0% that have two draws or more. Where the runs cannot "
        "tell, there is a reason instead of a number.",
        ("data set", *head) if several else head,
        tuple(rows),
        notes.all(),
        labels=3 if several else 2,
    )


def draw_plan(fitted: Sequence[FittedMethod], answers: Sequence[Answer], metric: str, look: Look) -> Figure:
    """Means with their errors, curves with their 95% bands, targets and the answers' intervals."""
    datasets = list(dict.fromkeys(method.dataset for method in fitted))
    figure = new_figure(6.4 * len(datasets), 4.6)
    panels = figure.subplots(1, len(datasets), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=True):
        own = [method for method in fitted if method.dataset == dataset]
        for method in own:
            _draw_method(axes, method, look)
        _draw_targets(axes, [one for one in answers if one.dataset == dataset], look)
        share_axis(axes, sorted({percent for method in own for percent in method.percents}))
        axes.set(xlabel=AXIS["segmentation"], ylabel=f"{metric_title(metric)}, %", title=dataset)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _draw_method(axes, method: FittedMethod, look: Look) -> None:
    options = look.of(method.variant, method.setting)
    percents = np.geomspace(method.percents[0], method.percents[-1], 80)
    low, high = np.quantile(method.redrawn.at(percents / 100), (0.025, 0.975), axis=0)
    axes.fill_between(percents, 100 * low, 100 * high, color=options["color"], alpha=0.15, linewidth=0)
    axes.plot(percents, 100 * method.curve.at(percents / 100)[0], color=options["color"],
              linestyle=options["linestyle"], linewidth=1.5)  # fmt: skip
    axes.errorbar(method.percents, 100 * method.means, 100 * method.errors, color=options["color"],
                  fmt=options["marker"], markersize=4.5, linewidth=1, capsize=2,
                  label=method_text(method.variant, method.setting))  # fmt: skip


def _draw_targets(axes, answers: Sequence[Answer], look: Look) -> None:
    for target, score in {one.target: one.score for one in answers}.items():
        axes.axhline(100 * score, color="grey", linewidth=0.7, linestyle=":")
        axes.annotate(f"{target:g}%", (1.0, 100 * score), xycoords=("axes fraction", "data"), fontsize=7,
                      color="grey", va="bottom", ha="right")  # fmt: skip
    for one in answers:
        if not one.reason:
            colour = look.of(one.variant, one.setting)["color"]
            ends = (max(one.low, one.smallest), one.high)
            axes.plot(
                ends, [100 * one.score] * 2, color=colour, linewidth=3, alpha=0.55, solid_capstyle="butt"
            )
            axes.plot(one.percent, 100 * one.score, marker="|", color=colour, markersize=9)
