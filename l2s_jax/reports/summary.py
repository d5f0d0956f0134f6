"""What a report says about its results before the first number: what ran, where, how it was chosen."""

from collections import Counter

import pandas as pd

from l2s_jax.figures.html import paragraph, sortable_table
from l2s_jax.reports.names import BEST_PHASE, FOLD, method_text, on_test, percent_text, units
from l2s_jax.reports.page import number_cell, text_cell
from l2s_jax.reports.reading import Results
from l2s_jax.reports.text_table import ON_TEST


def summary_facts(results: Results, ddof: int) -> list[tuple[str, str]]:
    """Names and values for the head of the page."""
    runs, cells = results.runs, results.cells
    shared = cells.loc[cells["shared"] != "", "run"].nunique()
    once = f"; {shared} run(s) are shown in more than one cell" if shared else ""
    done = f"{len(cells)} of {results.planned} planned cells are finished, by {len(runs)} runs{once}"
    facts = [
        ("data set", _different(runs, "dataset")),
        ("study", _different(runs, "study")),
        ("finished", done),
        ("variants (presets)", _pairs(runs, "variant", "preset")),
        ("draws", _different(runs, "draw")),
        ("folds", _different(runs, FOLD)),
        ("seeds", _different(runs, "seed")),
        ("steps a run", _different(runs, "steps")),
        ("epochs chosen on", _different(runs, "selection")),
        ("test split", _test(runs)),
        ("standard deviations", f"over {units(runs)}, divided by n - {ddof} (ddof {ddof})"),
        ("devices", _counted(runs, "device")),
        ("versions", _counted(runs, "versions")),
        ("training time", _time(runs)),
        ("manifest", _short(runs, "manifest_sha256")),
    ]
    return [(name, text) for name, text in facts if text]


def summary_notes(results: Results) -> list[str]:
    """What a reader must know before believing a number."""
    notes = list(results.notes)
    runs = results.runs
    on_test_split = int(runs["selection"].map(on_test).sum())
    if on_test_split:
        notes.append(f"{on_test_split} run(s): {ON_TEST}. They are marked wherever they appear")
    if "versions" in runs and runs["versions"].nunique() > 1:
        notes.append("runs were made with different versions of packages: see the list above")
    notes += _kept_masks_only(runs)
    if FOLD in runs:
        notes.append(
            "a cross-validation: networks of different folds have learned from the same patches, so that the "
            "spread over folds makes means look surer than they are"
        )
    if len(results.waiting):
        notes.append(
            f"{len(results.waiting)} planned cell(s) have not finished: means are over what there is"
        )
    return notes


def _kept_masks_only(runs: pd.DataFrame) -> list[str]:
    """A line for each method of which runs kept the network of the masks alone."""
    if BEST_PHASE not in runs:
        return []
    lines = []
    for (variant, setting), own in runs.groupby(["variant", "setting"], sort=False):
        kept = own[own[BEST_PHASE] == "masks_only"]
        if len(kept):
            where = "; ".join(
                f"{percent_text(percent)}%: draw{'s' * (len(draws) > 1)} {', '.join(f'{d:g}' for d in draws)}"
                for percent, draws in kept.groupby("percent")["draw"]
            )
            lines.append(
                f"{method_text(variant, setting)}: {len(kept)} of {len(own)} run(s) kept the network of S on "
                f"their masks alone, which scored higher on the validation split ({where})"
            )
    return lines


def failures_html(results: Results) -> str:
    """Planned cells that have not finished, with the error where there was one; nothing where all have."""
    if results.waiting.empty and results.failures.empty:
        return ""
    errors = {row.run: (row.error, row.when) for row in results.failures.itertuples()}
    rows = []
    for row in results.waiting.itertuples():
        error, when = errors.get(row.run, ("not tried yet", ""))
        fold = f", fold {row.fold:g}" if FOLD in results.waiting else ""
        rows.append(_line(row.run, row.variant, row.setting, row.percent, row.draw, error, when, fold))
    known = set(results.waiting["run"])
    for row in results.failures[~results.failures["run"].isin(known)].itertuples():
        percent, draw = (pd.to_numeric(value, errors="coerce") for value in (row.percent, row.draw))
        rows.append(_line(row.run, row.variant, row.setting, percent, draw, row.error, row.when))
    header = ("run", "variant", "setting", "percent", "draw", "error", "when")
    failed = f"{len(results.failures)} run(s) failed and have not finished since."
    text = paragraph(f"{len(rows)} planned cell(s) have no run yet. {failed}")
    return text + sortable_table("planned cells that have not finished", header, rows)


def _line(
    run: str, variant: str, setting: str, percent: float, draw: float, error: str, when: str, fold: str = ""
) -> str:
    cells = (
        text_cell(run), text_cell(variant), text_cell(setting), number_cell(percent, percent_text(percent)),
        number_cell(draw, f"{draw:g}{fold}"), text_cell(error), text_cell(when),
    )  # fmt: skip
    return f"<tr>{''.join(cells)}</tr>\n"


def _different(runs: pd.DataFrame, name: str) -> str:
    if name not in runs:
        return ""
    values = sorted(set(runs[name].dropna()))
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values if value != ""]
    if len(texts) > 12:
        return f"{len(texts)} different, {texts[0]} to {texts[-1]}"
    return ", ".join(texts)


def _pairs(runs: pd.DataFrame, first: str, second: str) -> str:
    if second not in runs:
        return _different(runs, first)
    pairs = runs[[first, second]].drop_duplicates().itertuples(index=False, name=None)
    return ", ".join(f"{one} ({other})" for one, other in pairs)


def _counted(runs: pd.DataFrame, name: str) -> str:
    if name not in runs:
        return ""
    counts = Counter(runs[name].astype(str).str.replace(";", "; "))
    return " | ".join(f"{text} ({n} runs)" if len(counts) > 1 else text for text, n in counts.most_common())


def _test(runs: pd.DataFrame) -> str:
    if "n_test" not in runs:
        return ""
    patches = _different(runs, "n_test")
    groups = _different(runs, "n_test_groups")
    return f"{patches} patches" + (f" of {groups} groups" if groups else "")


def _time(runs: pd.DataFrame) -> str:
    if "seconds" not in runs or runs["seconds"].isna().all():
        return ""
    seconds = runs["seconds"]
    total = seconds.sum()
    in_all = f"{total / 3600:.1f} h" if total >= 3600 else f"{total / 60:.1f} min"
    return f"{in_all} in all, {seconds.median():.0f} s the median run"


def _short(runs: pd.DataFrame, name: str) -> str:
    if name not in runs:
        return ""
    return ", ".join(f"sha256 {value[:12]}…" for value in dict.fromkeys(runs[name].astype(str)))
