"""The page of a report: every number leads to the runs that it was worked out from."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

import pandas as pd

from l2s_jax.figures.html import Html, anchor, paragraph, sortable_table
from l2s_jax.figures.svg import inline
from l2s_jax.reports.confusions import Matrices
from l2s_jax.reports.names import method_text, metric_title, percent_text
from l2s_jax.reports.study_table import cell_id
from l2s_jax.reports.text_table import Entry, TextTable

RUN_COLUMNS = {
    "run": "run", "dataset": "data set", "variant": "variant", "preset": "preset", "setting": "setting",
    "percent": "percent", "draw": "draw", "fold": "fold", "seed": "seed", "selection": "epoch chosen on",
    "n_mask": "masks", "n_label": "labels", "steps": "steps", "best_epoch": "best epoch",
    "best_phase": "network kept", "validation_score": "score it was chosen by",
    "n_test": "test patches", "n_test_groups": "test groups",
    "group_macro_f1_mean": "macro F1, mean over groups", "group_macro_f1_sd": "its sd",
    "seconds": "seconds", "device": "device", "config_hash": "config", "finished": "finished",
}  # fmt: skip
"""Columns of results.csv that the table of runs shows beside the metrics, and their headings."""

COUNTS = (
    "percent", "draw", "fold", "seed", "n_mask", "n_label", "steps", "best_epoch", "n_test", "n_test_groups",
)  # fmt: skip


class Drawing(NamedTuple):
    """A figure of the report."""

    name: str  # stem of its file
    svg: str
    alt: str
    caption: str


def drawing_html(drawing: Drawing) -> str:
    """A figure with its caption, inside the page."""
    return (
        f"<figure>{inline(drawing.svg, drawing.name, drawing.alt)}"
        f"<figcaption>{escape(drawing.caption)}</figcaption></figure>"
    )


def table_html(table: TextTable) -> str:
    """A table with its caption and notes."""
    rows = []
    for number, row in enumerate(table.rows):
        cells = [_entry(entry, column < table.labels) for column, entry in enumerate(row)]
        quiet = ' class="quiet"' if number in table.quiet else ""
        rows.append(f"<tr{quiet}>{''.join(cells)}</tr>\n")
    notes = "".join(f"<li><sup>{mark}</sup> {escape(text)}</li>" for mark, text in table.notes)
    body = sortable_table(table.title, table.header, rows)
    return paragraph(table.caption) + body + (f'<ul class="notes">{notes}</ul>' if notes else "")


def _entry(entry: Entry, label: bool) -> str:
    text = escape(entry.text)
    if entry.link:
        text = f'<a href="#{entry.link}">{text}</a>'
    if entry.marks:
        text += f"<sup>{escape(','.join(entry.marks))}</sup>"
    value = "" if entry.value is None else f' data-value="{entry.value:.9g}"'
    if label:
        return f'<th scope="row"{value}>{text}</th>'
    kind = "number" if entry.value is not None or entry.text[:1] in "0123456789+−–<" else "text"
    return f'<td class="{kind}"{value}>{text}</td>'


def means_html(means: pd.DataFrame) -> str:
    """Every aggregated cell, with links to its runs."""
    rows = []
    for row in means.itertuples():
        cells = [
            *map(text_cell, (row.dataset, row.variant, row.setting)),
            number_cell(row.percent, percent_text(row.percent)),
            text_cell(metric_title(row.metric)),
            number_cell(row.mean, f"{row.mean:.4f}"),
            number_cell(row.sd, f"{row.sd:.4f}"),
            number_cell(row.n, str(row.n)),
            number_cell(row.ddof, str(row.ddof)),
            text_cell(row.selection or "–"),
            f'<td class="text">{run_links(row.runs.split())}</td>',
        ]
        place = cell_id(row.dataset, row.variant, row.setting, row.percent, row.metric)
        rows.append(f'<tr id="{place}">{"".join(cells)}</tr>\n')
    header = ("data set", "variant", "setting", "percent", "metric", "mean", "sd", "n", "ddof",
              "epoch chosen on", "runs")  # fmt: skip
    return sortable_table("every mean and its runs", header, rows)


def runs_html(runs: pd.DataFrame, metrics: Sequence[str]) -> str:
    """One row a run, to which every mean links."""
    facts = [name for name in RUN_COLUMNS if name in runs and name != "finished"]
    extra = [name for name in metrics if name not in facts]
    columns = [*facts, *extra, *(["finished"] if "finished" in runs else [])]
    rows = []
    for record in runs[columns].to_dict("records"):
        cells = [_run_cell(name, record[name]) for name in columns]
        rows.append(f'<tr id="{run_id(record["run"])}">{"".join(cells)}</tr>\n')
    header = [RUN_COLUMNS.get(name) or metric_title(name) for name in columns]
    return sortable_table("every run", header, rows)


def _run_cell(name: str, value: object) -> str:
    if name == "run":
        return f'<th scope="row"><code>{escape(str(value))}</code></th>'
    if isinstance(value, float):
        return number_cell(
            value, f"{value:g}" if name in COUNTS else f"{value:.4f}" if value < 10 else f"{value:.0f}"
        )
    return text_cell(str(value))


def matrices_html(matrices: Matrices) -> str:
    """Which runs each confusion matrix is the sum of."""
    rows = [
        f"<tr>{text_cell(method_text(variant, setting))}{number_cell(percent, percent_text(percent))}"
        f'<td class="text">{run_links(one.runs)}</td></tr>\n'
        for (_, variant, setting, percent), one in matrices.items()
    ]
    table = sortable_table("runs behind each matrix", ("method", "percent", "runs"), rows)
    return f"<details><summary>The runs behind each matrix</summary>{table}</details>"


def run_links(runs: Iterable[str]) -> Html:
    """Links to rows of the table of runs."""
    return Html(" ".join(f'<a href="#{run_id(run)}"><code>{escape(run)}</code></a>' for run in runs))


def run_id(run: str) -> str:
    """The id of a run's row."""
    return f"run-{anchor(run)}"


def text_cell(text: str) -> str:
    """A table cell of plain text."""
    return f"<td>{escape(text)}</td>"


def number_cell(value: float, text: str) -> str:
    """A table cell that is sorted by its value; a dash for NaN."""
    if value != value:
        return '<td class="number" data-value="">–</td>'
    return f'<td class="number" data-value="{value:.9g}">{text}</td>'


def facts_html(facts: Iterable[tuple[str, str]]) -> str:
    """Names and values, one a line."""
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in facts)}</dl>"


def list_html(lines: Sequence[str], kind: str = "") -> str:
    """A list of sentences; nothing where there are none."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<ul{attribute}>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def contents_html(headings: Iterable[str]) -> str:
    """Links to the page's sections."""
    links = "".join(f'<li><a href="#{anchor(heading)}">{escape(heading)}</a></li>' for heading in headings)
    return f'<nav aria-label="contents"><ul>{links}</ul></nav>'
