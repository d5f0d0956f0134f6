"""Tables in the form of D.5 (segmentation) and D.4 (classification): percent across."""

from collections.abc import Iterator, Sequence

import pandas as pd

from l2s_jax.reports.names import (
    CELL,
    SETTINGS,
    in_order,
    method_text,
    metric_title,
    on_test,
    percent_text,
    unit_of,
    units,
    units_text,
)
from l2s_jax.reports.paper_values import paper_dataset, paper_values
from l2s_jax.reports.text_table import MISSING, ON_TEST, PLUS_MINUS, Entry, Notes, TextTable

FORM = {"segmentation": "D.5", "classification": "D.4"}
SHARE = {
    "segmentation": "s, the percentage of the mask patches that is used",
    "classification": "c, the percentage of the label patches that is used",
}
PRINTED = "the paper's print: {}"
NOTHING = (
    "S at 0% has nothing to learn from and is not run; what the paper prints there is an untrained network"
)
SHARED = "run once, shown twice, being the same experiment by definition: the same runs as {}"


def study_table(means: pd.DataFrame, cells: pd.DataFrame, study: str, metrics: Sequence[str]) -> TextTable:
    """The means and spreads of one study, with the paper's printed values below where it has the data set.

    Args:
      means: from `aggregation.aggregate`, of one study.
      cells: rows of runs and cells with `shared`, from `reading`.
      study: "segmentation" or "classification".
      metrics: the rows of each method.
    """
    notes = Notes()
    shown = means[means["metric"].isin(metrics) & (means["n"] > 0)]
    columns = sorted(set(shown["percent"]))
    counts = set(shown["n"])
    shared = _shared(cells)
    several = shown["dataset"].nunique() > 1
    rows: list[tuple[Entry, ...]] = []
    quiet: set[int] = set()
    printed = {dataset: paper_values(dataset, study) for dataset in set(shown["dataset"])}
    with_paper = set()
    for (dataset, variant, setting, metric), line in lines_of(shown, metrics):
        title = (Entry(dataset),) if several else ()
        own = {row.percent: row for row in line.itertuples()}
        entries = [
            _nothing(setting, percent, notes)
            if percent not in own
            else _own(own[percent], counts, shared, notes)
            for percent in columns
        ]
        rows.append((*title, _method(variant, setting, line, notes), Entry(metric_title(metric)), *entries))
        paper = printed[dataset]
        paper = paper[(paper["setting"] == setting) & (paper["metric"] == metric)]
        if len(paper) and (dataset, setting, metric) not in with_paper:
            with_paper.add((dataset, setting, metric))
            quiet.add(len(rows))
            of_paper = {row.percent: row for row in paper.itertuples()}
            common = set.intersection(*(set(row.doubts) for row in paper.itertuples()))
            marks = [
                notes.mark(PRINTED.format(doubt)) for doubt in paper["doubts"].iloc[0] if doubt in common
            ]
            name = Entry(f"{setting}, as printed", tuple(marks))
            entries = [_printed(of_paper.get(percent), common, notes) for percent in columns]
            rows.append((*title, name, Entry(metric_title(metric)), *entries))
    head = (*(("data set",) if several else ()), "method", "metric")
    return TextTable(
        f"table_{study}",
        f"{study.capitalize()} study, in the form of Table {FORM[study]}",
        _caption(shown, study, counts, bool(quiet)),
        (*head, *(f"{percent_text(percent)}%" for percent in columns)),
        tuple(rows),
        notes.all(),
        labels=len(head),
        quiet=frozenset(quiet),
    )


def lines_of(
    means: pd.DataFrame, metrics: Sequence[str]
) -> Iterator[tuple[tuple[str, str, str, str], pd.DataFrame]]:
    """(dataset, variant, setting, metric) and its cells, in the order in which people want to see them."""
    for dataset in in_order(means["dataset"]):
        of_dataset = means[means["dataset"] == dataset]
        for variant in in_order(of_dataset["variant"]):
            of_variant = of_dataset[of_dataset["variant"] == variant]
            for setting in in_order(of_variant["setting"], SETTINGS):
                for metric in metrics:
                    line = of_variant[(of_variant["setting"] == setting) & (of_variant["metric"] == metric)]
                    if len(line):
                        yield (dataset, variant, setting, metric), line


def _shared(cells: pd.DataFrame) -> dict[tuple, str]:
    columns = [*CELL, "shared"]
    found = cells.loc[cells["shared"] != "", columns].drop_duplicates()
    return {key[:4]: key[4] for key in found.itertuples(index=False, name=None)}


def _method(variant: str, setting: str, line: pd.DataFrame, notes: Notes) -> Entry:
    text = method_text(variant, setting)
    on_test_split = any(map(on_test, line["selection"]))
    return Entry(f"{text} [chosen on test]", (notes.mark(ON_TEST),)) if on_test_split else Entry(text)


def _nothing(setting: str, percent: float, notes: Notes) -> Entry:
    return Entry(MISSING, (notes.mark(NOTHING),) if (setting, percent) == ("S", 0) else ())


def _own(row, counts: set[int], shared: dict, notes: Notes) -> Entry:
    times, *_ = unit_of(row.metric)
    text = _spread(times * row.mean, times * row.sd)
    if len(counts) > 1:
        text += f" ({row.n})"
    other = shared.get((row.dataset, row.variant, row.setting, row.percent))
    marks = (notes.mark(SHARED.format(other)),) if other else ()
    link = cell_id(row.dataset, row.variant, row.setting, row.percent, row.metric)
    return Entry(text, marks, link, times * row.mean)


def _printed(row, common: set[str], notes: Notes) -> Entry:
    if row is None:
        return Entry(MISSING)
    marks = [notes.mark(PRINTED.format(doubt)) for doubt in row.doubts if doubt not in common]
    return Entry(_spread(100 * row.mean, 100 * row.sd), tuple(marks), value=100 * row.mean)


def _spread(mean: float, sd: float) -> str:
    return f"{mean:.1f} {PLUS_MINUS} " + (f"{sd:.1f}" if sd == sd else MISSING)


def cell_id(dataset: str, variant: str, setting: str, percent: float, metric: str) -> str:
    """The id of an aggregated cell's row in the HTML page."""
    parts = (dataset, variant, setting.replace("*", "star"), f"{percent:g}", metric)
    text = "-".join(part for part in parts if part)
    return "cell-" + "".join(c if c.isalnum() or c in "-_." else "_" for c in text)


def _caption(shown: pd.DataFrame, study: str, counts: set[int], paper: bool) -> str:
    ddof = ", ".join(str(ddof) for ddof in sorted(set(shown["ddof"])))
    if len(counts) == 1:
        n = f"n = {next(iter(counts))} in every cell"
    else:
        n = f"n, the number of {units(shown)}, in brackets"
    over = "folds (the draws of a fold averaged first)" if units(shown) == "folds" else "runs"
    unit = units_text("Percent", shown["metric"])
    text = (
        f"{unit}; mean {PLUS_MINUS} standard deviation (ddof {ddof}) over {over}, {n}. "
        f"Across: {SHARE[study]}."
    )
    if set(shown["selection"]) == {"validation"}:
        text += " Epochs were chosen on the validation split; the test split was read once a run."
    if paper:
        return text + " Rows 'as printed' are the paper's values, five runs each."
    names = [name for name in dict.fromkeys(shown["dataset"]) if name and paper_dataset(name) is None]
    return text + (f" The paper has no values for {', '.join(names)}." if names else "")
