"""A results folder as a sweep leaves it: runs, the cells in which they are shown, and what is missing."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2s_jax.reports.aggregation import within_runs
from l2s_jax.reports.checked_values import require_names_apart, require_scores, share_notes, stripped
from l2s_jax.reports.csv_reading import LINE, read_rows, to_numbers
from l2s_jax.reports.names import CELL, FOLD, REQUIRED, TEXT, method_text, percent_text, study_of
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import read_json

RESULTS, PLAN, SWEEP, FAILURES = "results.csv", "plan.csv", "sweep.json", "failures.csv"
KEYS = ("dataset", "study", "variant", "setting", "percent", "draw", "run")


@dataclass(frozen=True)
class Results:
    """What a results folder says."""

    folder: Path  # in which `runs/` and `report/` are
    runs: pd.DataFrame  # a row a finished run, as in results.csv (groups averaged)
    cells: pd.DataFrame  # a row a finished run and cell; `shared` names the other cells of the same run
    planned: int  # cells, finished or not
    waiting: pd.DataFrame  # planned cells whose run has not finished
    failures: pd.DataFrame  # rows of failures.csv of runs that have not finished since
    sweep: dict[str, Any]  # sweep.json, or nothing
    notes: tuple[str, ...]  # what a person should know about the files

    @property
    def ddof(self) -> int:
        """The ddof that the sweep was set up with; 1 where it does not say."""
        return int(self.sweep.get("ddof", 1))


def read_results(path: str | Path) -> Results:
    """Reads the folder of a sweep, or a table of results made elsewhere.

    Args:
      path: the folder with `results.csv` (and `plan.csv`, `sweep.json`, `failures.csv` where there are), or a
        CSV file with the columns of `aggregation`.

    Raises:
      UserError: nothing there, no finished run, or a file that cannot be used, with file and line.
    """
    path = Path(path)
    file = path if path.is_file() else path / RESULTS
    if not file.is_file():
        raise UserError(
            f"{file} not found. Expected the folder of a sweep, with {RESULTS} in it, or a CSV file of runs"
        )
    folder = file.parent
    table, notes = read_rows(file, REQUIRED)
    if not len(table):
        raise UserError("\n".join([f"{file} holds no finished run: there is nothing to report yet", *notes]))
    table = stripped(table)
    require_names_apart(file, table)
    table = _known_once(to_numbers(file, table, TEXT, ("percent", "draw", "seed", FOLD)), notes)
    table["percent"] = _finite(file, table, "percent")
    require_scores(file, table)
    notes += share_notes(table)
    for name in ("confusion", "classifier_confusion"):
        if name in table:
            table[name] = [
                _matrix(text, f"{file} line {line}: {name}")
                for text, line in zip(table[name], table[LINE], strict=True)
            ]
    runs = within_runs(table).drop(columns=LINE)
    if "study" not in runs:
        runs["study"] = study_of(runs["setting"])
    _one_manifest(file, runs)
    sweep = read_json(folder / SWEEP) if (folder / SWEEP).is_file() else {}
    if not isinstance(sweep, dict) or not str(sweep.get("ddof", 1)).isdigit():
        raise UserError(f"{folder / SWEEP} is no table with a whole number `ddof`: was it edited?")
    plan, plan_notes = _plan(folder, runs)
    failures, failure_notes = _failures(folder, set(runs["run"]))
    notes += plan_notes + failure_notes
    cells = _shared(plan.merge(runs.drop(columns=[k for k in plan if k != "run"]), on="run"))
    waiting = plan[~plan["run"].isin(runs["run"])]
    return Results(folder, runs, cells, len(plan), waiting, failures, sweep, tuple(notes))


def _known_once(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """The last row of each run (and group), saying where there were several."""
    key = [name for name in ("run", "group") if name in table]
    if "config_hash" not in table:
        return table  # made elsewhere: `within_runs` decides
    earlier = table.duplicated(key, keep="last")
    if earlier.any():
        named = ", ".join(dict.fromkeys(table.loc[earlier, "run"]))
        notes.append(f"finished more than once, the last row counts: run {named}")
    return table[~earlier]


def _finite(file: Path, table: pd.DataFrame, name: str) -> pd.Series:
    wrong = ~np.isfinite(table[name]) | (table[name] < 0) | (table[name] > 100)
    if wrong.any():
        line = table.loc[wrong, LINE].iloc[0]
        raise UserError(f"{file} line {line}: {name} must be a number from 0 to 100")
    return table[name]


def _one_manifest(file: Path, runs: pd.DataFrame) -> None:
    """Refuses figures of one data set, or of one fold of it, that were made on two versions of it."""
    if "manifest_sha256" not in runs:
        return
    keys = [name for name in ("dataset", "study", FOLD) if name in runs]
    for of, own in runs.groupby(keys, sort=False):
        counts = own["manifest_sha256"].value_counts()
        if len(counts) > 1:
            listed = ", ".join(f"{n} of {str(sha)[:12]}…" for sha, n in counts.items())
            what = " ".join(f"fold {one:g}" if isinstance(one, float) else str(one) for one in of)
            raise UserError(
                f"{file}: runs of {what} were made on {len(counts)} versions of the manifest "
                f"({listed}): their figures do not compare. Keep those of one version in the file"
            )


def _matrix(text: Any, where: str) -> np.ndarray | None:
    """A confusion matrix f64[C,C] from JSON; None where there is none."""
    if not str(text).strip() or text != text:
        return None
    try:
        matrix = np.asarray(json.loads(text), float)
    except (ValueError, TypeError) as error:
        raise UserError(f"{where} is no JSON list of rows of numbers ({error})") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not (matrix >= 0).all():
        raise UserError(f"{where} is no square matrix of counts")
    return matrix


def _plan(folder: Path, runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Planned cells; the runs' own where there is no plan, or it does not know them."""
    keys = [*KEYS, FOLD] if FOLD in runs else list(KEYS)
    own = runs[keys]
    file = folder / PLAN
    if not file.is_file():
        return own, []
    plan, notes = read_rows(file, keys)
    plan = to_numbers(file, plan, TEXT, ("percent", "draw", FOLD))[keys]
    strangers = own[~own["run"].isin(plan["run"])]
    if len(strangers):
        notes.append(f"{len(strangers)} finished run(s) are not in {PLAN}; shown as {RESULTS} describes them")
        plan = pd.concat([plan, strangers], ignore_index=True)
    return plan.drop_duplicates(), notes


def _failures(folder: Path, finished: set[str]) -> tuple[pd.DataFrame, list[str]]:
    columns = ("run", "variant", "setting", "percent", "draw", "error", "when")
    file = folder / FAILURES
    if not file.is_file():
        return pd.DataFrame(columns=list(columns)), []
    rows, notes = read_rows(file, columns)
    rows = rows[~rows["run"].isin(finished)].drop_duplicates("run", keep="last")
    return rows[list(columns)], notes


def _shared(cells: pd.DataFrame) -> pd.DataFrame:
    """Adds `shared`: the other cells in which a row's run is shown, in words."""
    names = {
        key: f"{method_text(key[1], key[2])} at {percent_text(key[3])}%"
        for key in cells[list(CELL)].drop_duplicates().itertuples(index=False, name=None)
    }
    keys = list(cells[list(CELL)].itertuples(index=False, name=None))
    shown: dict[str, list] = {}
    for run, key in zip(cells["run"], keys, strict=True):
        shown.setdefault(run, []).append(key)
    others = [
        "; ".join(names[other] for other in dict.fromkeys(shown[run]) if other != key)
        for run, key in zip(cells["run"], keys, strict=True)
    ]
    return cells.assign(shared=others)
