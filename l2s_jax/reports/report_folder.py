"""`RESULTS/report`: tables, figures and the page, from results that were read."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from l2s_jax.figures import html
from l2s_jax.figures.svg import svg_of
from l2s_jax.reports.aggregation import aggregate
from l2s_jax.reports.choosing import named_methods
from l2s_jax.reports.confusions import COLUMN, UNIT, confusion_rows, draw_confusions, summed
from l2s_jax.reports.curves import draw_study, look_of, reference_means
from l2s_jax.reports.difference_figure import against_reference, draw_differences
from l2s_jax.reports.differences import differences_table, paired_differences
from l2s_jax.reports.fold_table import fold_table
from l2s_jax.reports.names import (
    DEFAULT_METRICS,
    DISTANCES,
    FOLD,
    REFERENCE,
    Method,
    askable_columns,
    in_order,
    metric_columns,
    metric_title,
    percent_text,
    require_metrics,
    units,
)
from l2s_jax.reports.out_of_fold import folds_of, out_of_fold
from l2s_jax.reports.page import (
    Drawing,
    contents_html,
    drawing_html,
    facts_html,
    list_html,
    matrices_html,
    means_html,
    runs_html,
    table_html,
)
from l2s_jax.reports.paper_tables import paper_confusion_html, with_printed
from l2s_jax.reports.plan_output import draw_plan, plan_of, plan_table
from l2s_jax.reports.planning import answers_table
from l2s_jax.reports.reading import Results
from l2s_jax.reports.study_table import study_table
from l2s_jax.reports.summary import failures_html, summary_facts, summary_notes
from l2s_jax.reports.text_table import TextTable, to_csv, to_latex, to_markdown
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.files import write_text

PAGE = "report.html"


class Samples(NamedTuple):
    """Pictures of what the networks do, in the form of Figs. C.10 to C.12, or why there are none."""

    drawings: tuple[Drawing, ...] = ()
    reason: str = ""


class _Study(NamedTuple):
    """What a report needs of one study."""

    name: str
    cells: pd.DataFrame
    means: pd.DataFrame  # of all metrics, and of what was asked for
    metrics: list[str]  # those that are shown
    mark: str  # in file names, where there are two studies


def write_report(
    results: Results,
    folder: Path,
    metrics: Sequence[str] | None,
    ddof: int,
    samples: Samples,
    against: Sequence[str] = (),
) -> Path:
    """Writes everything into `folder` and gives the page's path.

    Args:
      results: from `reading`.
      folder: made where it does not exist.
      metrics: of tables and figures; by default those of the study.
      ddof: of standard deviations.
      samples: pictures to put in.
      against: names of methods from which all others are subtracted too.

    Raises:
      UserError: an unknown metric or method, listing the known ones.
    """
    wanted = None if metrics is None else require_metrics(metrics, askable_columns(results.cells))
    bases = named_methods(results.cells, against)
    studies = _studies(results, wanted, ddof)
    sections: list[tuple[str, str]] = []
    for study in studies:
        more = f" ({study.name})" if len(studies) > 1 else ""
        sections += [
            (heading + more, text) for heading, text in _study_sections(study, results, folder, bases)
        ]
    if samples.drawings or samples.reason:
        sections.append(("What the networks do", _samples(samples, folder)))
    means = pd.concat([study.means for study in studies], ignore_index=True)
    printed = pd.concat([with_printed(study.means, study.name) for study in studies], ignore_index=True)
    write_text(folder / "cells.csv", table_text(printed))
    shown = list(dict.fromkeys(name for study in studies for name in study.metrics))
    sections += [
        ("Every mean and its runs", means_html(means[means["metric"].isin(shown) & (means["n"] > 0)])),
        ("Every run", runs_html(results.runs, shown)),
    ]
    failures = failures_html(results)
    sections += [("Not finished", failures)] if failures else []
    head = facts_html(summary_facts(results, ddof)) + list_html(summary_notes(results), "care")
    names = [heading for heading, _ in sections]
    sections.insert(0, ("About these results", head + contents_html(names)))
    title = f"Results: {results.sweep.get('name') or results.folder.resolve().name}"
    text = html.page(title, sections, style=html.TABLES_STYLE, script=html.SORT_SCRIPT)
    write_text(folder / PAGE, text)
    return folder / PAGE


def _studies(results: Results, wanted: list[str] | None, ddof: int) -> list[_Study]:
    names = in_order(results.cells["study"])
    studies = []
    for name in names:
        cells = results.cells[results.cells["study"] == name]
        known = metric_columns(cells)
        metrics = wanted or [metric for metric in DEFAULT_METRICS[name] if metric in known] or known[:2]
        mark = f"_{name}" if len(names) > 1 else ""
        extra = [metric for metric in metrics if metric in askable_columns(cells)]
        means = aggregate(cells, list(dict.fromkeys([*known, *extra])), ddof=ddof)
        studies.append(_Study(name, cells, means, metrics, mark))
    return studies


def _study_sections(
    study: _Study, results: Results, folder: Path, bases: list[Method]
) -> list[tuple[str, str]]:
    table = study_table(study.means, study.cells, study.name, study.metrics)
    _write_table(table, folder)
    differences = paired_differences(study.cells, study.name, study.metrics, against=bases)
    of_pairs = differences_table(differences, FOLD if FOLD in study.cells else "draw")
    of_pairs = dataclasses.replace(of_pairs, name=of_pairs.name + study.mark)
    _write_table(of_pairs, folder)
    sections = [
        ("Means and spreads", table_html(table)),
        *([("Folds", _folds(study, results, folder))] if FOLD in study.cells else []),
        ("Curves", "".join(drawing_html(one) for one in _curves(study, folder)) + _left_out(study)),
    ]
    none = html.paragraph("No two methods have a draw in common at one percentage: nothing to compare.")
    pairs = "".join(drawing_html(one) for one in _difference_drawings(differences, study, folder))
    sections.append(("Paired differences", pairs + table_html(of_pairs) if len(differences) else none))
    if study.name == "segmentation":
        sections.append(("How many masks are needed", _plan(study, results, folder)))
    sections.append(("Confusion matrices", _confusions(study, results, folder)))
    return sections


def _folds(study: _Study, results: Results, folder: Path) -> str:
    folds = folds_of(study.cells, results.sweep)
    pooled = out_of_fold(study.cells, folds, _class_names(results, _classes(study.cells)), study.name)
    write_text(folder / f"out_of_fold{study.mark}.csv", table_text(pooled))
    table = fold_table(study.means, study.cells, pooled, folds, study.metrics)
    table = dataclasses.replace(table, name=table.name + study.mark)
    _write_table(table, folder)
    return table_html(table) + html.paragraph(
        f"out_of_fold{study.mark}.csv has all pooled figures and the matrices that they were made from, a "
        "row a draw."
    )


def _classes(cells: pd.DataFrame) -> int:
    """How many classes the confusion matrices tell apart; 0 where there is none."""
    named = (cells[name] for name in COLUMN.values() if name in cells)
    return max((len(one) for matrices in named for one in matrices if one is not None), default=0)


def _write_table(table: TextTable, folder: Path) -> None:
    for suffix, form in ((".md", to_markdown), (".csv", to_csv), (".tex", to_latex)):
        write_text(folder / f"{table.name}{suffix}", form(table))


def _saved(folder: Path, drawing: Drawing) -> Drawing:
    write_text(folder / f"{drawing.name}.svg", drawing.svg)
    return drawing


def _suffix(study: _Study, dataset: str) -> str:
    """Tells figures of several data sets and studies apart."""
    several = study.cells["dataset"].nunique() > 1
    return study.mark + (f"_{html.anchor(dataset)}" if several else "")


def _curves(study: _Study, folder: Path) -> list[Drawing]:
    drawings = []
    setting, percent = REFERENCE[study.name]
    for dataset in in_order(study.cells["dataset"]):
        means = study.means[study.means["dataset"] == dataset]
        cells = study.cells[study.cells["dataset"] == dataset]
        names = ", ".join(map(metric_title, study.metrics))
        of = f" on {dataset}" if dataset else ""
        svg = svg_of(draw_study(means, cells, study.name, study.metrics))
        text = (
            f"{names}{of}, after Fig. 5: means over {units(cells)}, bands of one standard deviation, a point "
            "a run. Crosses, where there are any, are the paper's printed means."
        )
        drawings.append(_saved(folder, Drawing(f"curves{_suffix(study, dataset)}", svg, text, text)))
        if reference_means(means[means["metric"].isin(study.metrics)], study.name):
            svg = svg_of(draw_study(means, cells, study.name, study.metrics, relative=True))
            at = f"{setting} at {percent_text(percent)}%"
            text = f"The same relative to the mean of {at}, after Figs. 5 and 6."
            drawings.append(_saved(folder, Drawing(f"relative{_suffix(study, dataset)}", svg, text, text)))
    return drawings


def _difference_drawings(differences: pd.DataFrame, study: _Study, folder: Path) -> list[Drawing]:
    drawings = []
    for dataset in in_order(differences["dataset"]):
        own = against_reference(differences[differences["dataset"] == dataset], study.name)
        if len(own):
            of = f" on {dataset}" if dataset else ""
            caption = (
                f"Score minus that of {REFERENCE[study.name][0]}{of} at equal percentage: a point a "
                f"{'fold' if FOLD in study.cells else 'draw'}, "
                "the mean and its 95% interval. Above 0 the method is better, of HD95 below 0. Intervals "
                "that leave the figure are cut."
            )
            svg = svg_of(draw_differences(own, study.name, study.metrics, look_of(study.cells)))
            name = f"differences{_suffix(study, dataset)}"
            drawings.append(_saved(folder, Drawing(name, svg, caption, caption)))
    return drawings


def _left_out(study: _Study) -> str:
    setting, percent = REFERENCE[study.name]
    lacking = [
        dataset
        for dataset in in_order(study.cells["dataset"])
        if not reference_means(study.means[study.means["dataset"] == dataset], study.name)
    ]
    if not lacking:
        return ""
    return html.paragraph(
        f"Curves relative to {setting} at {percent_text(percent)}% are left out: no such run has finished"
        + (f" on {', '.join(lacking)}." if any(lacking) else "."),
        "note",
    )


def _plan(study: _Study, results: Results, folder: Path) -> str:
    known = [metric for metric in metric_columns(study.cells) if metric not in DISTANCES]
    if not known:
        return html.paragraph("Left out: the results hold no score, of which more is better.", "note")
    metric = next((metric for metric in study.metrics if metric in known), known[0])
    answers, fitted = plan_of(results, metric)
    write_text(folder / "plan_masks.csv", table_text(answers_table(answers)))
    text = table_html(plan_table(answers, metric))
    if fitted:
        caption = (
            f"Fitted curves of {metric_title(metric)} with 95% bands; bars are standard errors, dotted lines "
            "the targets, thick lines the answers' intervals."
        )
        svg = svg_of(draw_plan(fitted, answers, metric, look_of(study.cells)))
        text += drawing_html(_saved(folder, Drawing("plan_masks", svg, caption, caption)))
    return text


def _confusions(study: _Study, results: Results, folder: Path) -> str:
    matrices = summed(study.cells, study.name)
    if not matrices:
        return html.paragraph("Left out: the results hold no confusion matrices.", "note")
    names = {key[0]: _class_names(results, len(one.matrix)) for key, one in matrices.items()}
    rows = confusion_rows(matrices, names)
    write_text(folder / f"confusion{study.mark}.csv", table_text(rows))
    text = ""
    for dataset in in_order(key[0] for key in matrices):
        own = {key: value for key, value in matrices.items() if key[0] == dataset}
        caption = (
            f"After Table 1: {UNIT[study.name]} of the test split, summed over draws{_and_folds(study)}; "
            "rows are the truth and give percent of it, counts below. All percentages are in "
            f"confusion{study.mark}.csv."
        )
        svg = svg_of(draw_confusions(own, names[dataset], study.name))
        drawing = Drawing(f"confusion{_suffix(study, dataset)}", svg, caption, caption)
        text += drawing_html(_saved(folder, drawing)) + matrices_html(own)
        if study.name == "classification":
            text += paper_confusion_html(dataset)
    return text


def _and_folds(study: _Study) -> str:
    return " and folds, so that a test patch counts once a draw" if FOLD in study.cells else ""


def _class_names(results: Results, classes: int) -> list[str]:
    names = [str(name) for name in results.sweep.get("classes", [])]
    return names if len(names) == classes else [f"class {code}" for code in range(classes)]


def _samples(samples: Samples, folder: Path) -> str:
    text = "".join(drawing_html(_saved(folder, drawing)) for drawing in samples.drawings)
    return text + (html.paragraph(samples.reason, "note") if samples.reason else "")
