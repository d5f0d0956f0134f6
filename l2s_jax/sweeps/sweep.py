"""`sweep`: every run of an experiment, one row a finished run, safe to kill at any point."""

import dataclasses
import math
import shutil
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from l2s_jax.config import TrainConfig
from l2s_jax.data.fingerprint import PICTURES, fingerprint, fingerprint_text, require_same_pictures
from l2s_jax.data.manifest import Manifest, read_manifest
from l2s_jax.data.patch_set import PatchSet, load_patches
from l2s_jax.prediction.evaluate import evaluate
from l2s_jax.runs.folder import (
    CONFIG,
    FINISHED,
    LAST,
    read_fingerprint,
    read_finished,
    read_run_config,
    read_run_manifest,
)
from l2s_jax.runs.sittings import read_sittings
from l2s_jax.sweeps.data import SweepData, read_data
from l2s_jax.sweeps.estimate import estimate
from l2s_jax.sweeps.jobs import at_a_time, in_turn
from l2s_jax.sweeps.plan import (
    PlannedRun,
    describe_plan,
    fold_column,
    in_turn_of_draws,
    plan_sweep,
    plan_table,
)
from l2s_jax.sweeps.results_row import appendable_columns, result_columns, result_row
from l2s_jax.sweeps.sweep_file import SweepFile, read_sweep
from l2s_jax.sweeps.tracking import only_of_tracker, tell_of_test, tracked_sweep
from l2s_jax.system.children import require_main_guard
from l2s_jax.system.csv_rows import append_rows, complete_rows
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.errors import Unwritable, UserError
from l2s_jax.system.files import locked, read_json, remove_leftovers, write_json, write_text
from l2s_jax.system.outputs import refuse
from l2s_jax.system.progress import duration, track
from l2s_jax.system.stopping import Stopped, stop_requests
from l2s_jax.training.train import train

SWEEP, PLAN, RESULTS = "sweep.json", "plan.csv", "results.csv"
PER_GROUP, FAILURES, RUNS = "per_group.csv", "failures.csv", "runs"
CELL_KEYS = ("dataset", "study", "variant", "setting", "percent", "draw")


class RunsFailed(UserError):
    """Runs of a sweep failed; all others are finished.

    Attributes:
      folder: of the results; failures.csv in it says why.
      runs: names of the runs.
    """

    def __init__(self, folder: Path, runs: Collection[str]):
        self.folder, self.runs = folder, tuple(sorted(runs))
        super().__init__(f"{len(runs)} run(s) failed; the others are finished", exit_code=1)


def sweep(
    file: str | Path | SweepFile,
    out: str | Path | None = None,
    *,
    manifest: str | Path | None = None,
    dry_run: bool = False,
    say_time: bool = False,
    retry_failed: bool = False,
    jobs: int = 1,
    allow_outside: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Runs what a sweep's file asks for and has not been run yet.

    A killed sweep goes on from the last checkpoint of the run in hand when it is started again. Runs that
    fail are written to failures.csv and passed over.

    Args:
      file: TOML, see `sweeps.sweep_file.read_sweep`, or what that has made of it.
      out: folder of the results; `runs/NAME` by default. results.csv alone is enough to go on from.
      manifest: the data, instead of what the file names: the folder of a manifest, or of folds from
        `prepare folds`, of which each is learned from and tested on by runs of its own.
      dry_run: say what would be run and how long it would take, from measured steps; train nothing.
      say_time: say how long it would take before the first run too.
      retry_failed: run again what is in failures.csv.
      jobs: runs at a time, each in a process with its share of the cores; 1 works in this process. With
        another number of cores a run's figures differ by rounding. A script that asks for several has to call
        this below `if __name__ == "__main__":`, since each process imports it.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives progress messages.

    Returns:
      The folder of the results: `l2s report` and `l2s plan` take it.

    Raises:
      UserError: a faulty file, data that changed since the results were begun, another sweep at work in the
        folder.
      RunsFailed: after everything else has been run, runs that failed.
      Stopped: interrupted; started again, the sweep goes on.
    """
    if jobs < 1:
        raise UserError(f"jobs = {jobs}: expected 1 or more")
    require_main_guard()
    experiment = file if isinstance(file, SweepFile) else read_sweep(file)
    named = manifest or experiment.manifest
    if named is None:
        raise UserError(
            f'{experiment.name} names no manifest: add manifest = "FOLDER" to it, or name one beside it'
        )
    data = read_data(Path(named), experiment.study, allow_outside=allow_outside, say=say)
    planned = _planned(experiment, data)
    folder = Path(out) if out is not None else Path("runs") / experiment.name
    if dry_run:
        finished = check_begun(folder, data)
        for line in describe_plan(experiment, planned, finished) + list_runs(planned, finished):
            say(line)
        say(_estimate(folder, experiment, data, planned, finished, jobs))
        return folder
    with locked(folder), stop_requests() as stop:
        remove_leftovers(folder)
        finished = check_begun(folder, data, say)
        open_sweep(folder, experiment, data, planned)
        _require_same_pictures(folder, data.first, finished)
        for line in describe_plan(experiment, planned, finished):
            say(line)
        if say_time:
            say(_estimate(folder, experiment, data, planned, finished, jobs))
        failed = set() if retry_failed else failed_runs(folder)
        left = [run for run in planned if run.run not in finished | failed]
        with tracked_sweep(folder, experiment, left, (SWEEP, PLAN, RESULTS, FAILURES), say) as told:
            work = partial(run_one, folder, experiment, data, allow_outside, told)
            _run_all(folder, data, work, left, jobs, allow_outside, stop, say)
            _say_failures(folder, planned, say)
    say(f"done: {folder / RESULTS} (next: l2s report {folder})")
    return folder


def _estimate(
    folder: Path,
    experiment: SweepFile,
    data: SweepData,
    planned: Sequence[PlannedRun],
    finished: set[str],
    jobs: int,
) -> str:
    patches = _train_patches(experiment, data.first)
    return estimate(folder / RESULTS, planned, finished, patches, data.first, jobs)


def _train_patches(experiment: SweepFile, contents: Manifest) -> PatchSet:
    memory = experiment.variants[0].config.memory_gib
    return load_patches(contents.of_split("train"), contents.classes, memory)


def _planned(experiment: SweepFile, data: SweepData) -> list[PlannedRun]:
    """The runs on every manifest; the pictures of one at a time are in memory."""
    of_folds = [
        plan_sweep(experiment, _train_patches(experiment, one), one.classes, one.sha256, fold)
        for fold, one in data.folds.items()
    ]
    return in_turn_of_draws(experiment, of_folds)


def _run_all(
    folder: Path,
    data: SweepData,
    work: Callable[[PlannedRun], Any],
    left: Sequence[PlannedRun],
    jobs: int,
    allow_outside: bool,
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    # Once, and not for each run: a sweep of many would read a long file as often as it has runs.
    _forget_groups(folder / PER_GROUP, {run.run for run in left})
    began, n_begun = time.monotonic(), 0

    def begin(run: PlannedRun) -> None:
        nonlocal n_begun
        n_begun += 1
        say(
            f"run {n_begun} of {len(left)}: {run.cells[0]}: {run.n_mask} masks, {run.n_label} labels"
            + (f" ({run.run})" if jobs > 1 else "")
        )

    if jobs == 1:
        outcomes = in_turn(work, left, begin)
    else:
        outcomes = track(at_a_time(work, left, jobs, begin), "runs", len(left), "runs")
    with closing(outcomes):  # where this is left, other processes are asked to stop
        for number, (run, result, error) in enumerate(outcomes, 1):
            _end_if_it_concerns_all(error)
            _require_unchanged(folder, data.folds[run.fold], allow_outside)
            if error is not None:  # whatever it is, the other runs are not to be lost by it
                say(f"failed: {error or type(error).__name__}")
                append_rows(folder / FAILURES, [_failure(run, error)])
                _end_if_asked(stop, number < len(left))
                continue
            row, groups = result
            append_rows(folder / PER_GROUP, groups)
            columns = appendable_columns(folder / RESULTS, list(row))
            append_rows(folder / RESULTS, [{name: row[name] for name in columns}])
            passed = time.monotonic() - began
            rest = passed / number * (len(left) - number)
            which = f"{run.run}: " if jobs > 1 else ""
            classifier = row["classifier_accuracy"]
            of_labels = f", {classifier:.3f} classifier accuracy" if math.isfinite(classifier) else ""
            say(
                f"  {which}{row['macro_f1']:.3f} pooled macro F1 on test{of_labels}; "
                f"about {duration(rest)} left"
            )
            _end_if_asked(stop, number < len(left))


def _end_if_asked(stop: threading.Event, more: bool = True) -> None:
    """Begins nothing more where Ctrl-C or a signal has asked to stop, in whatever moment that came."""
    if stop.is_set() and more:
        raise Stopped()


def _end_if_it_concerns_all(error: Exception | None) -> None:
    """Raises what every other run would meet as well."""
    if isinstance(error, Stopped | Unwritable | MemoryError | OSError):
        raise error


def run_one(
    folder: Path, experiment: SweepFile, data: SweepData, allow_outside: bool, told: bool, run: PlannedRun
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Trains (or resumes, or finds finished) one run and measures it once on the test split.

    `told`: whether its tracker is told of it, where it has one.
    """
    contents = data.folds[run.fold]
    silent = lambda line: None  # noqa: E731
    run_folder, config = folder / RUNS / run.run, run.config
    if (run_folder / CONFIG).exists() and read_run_manifest(run_folder).sha256 != contents.sha256:
        shutil.rmtree(run_folder)  # it learned from a manifest that was changed while the sweep was at work
    begun = (run_folder / CONFIG).exists()
    if begun:
        config = read_run_config(run_folder)  # another cell of the same experiment may have begun it
    else:
        named: dict[str, Any] = {
            source.option: str(_finished_run(folder, source.run)) for source in run.takes_from
        }
        config = dataclasses.replace(config, **named)
    config = dataclasses.replace(config, tracker=run.config.tracker if told else TrainConfig.tracker)
    if not (run_folder / FINISHED).exists():
        train(
            contents.folder,
            run_folder,
            config,
            resume=begun,
            allow_outside=allow_outside,
            part_of=folder,
            say=only_of_tracker,
        )
    with stop_requests() as stop:  # those of the sweep, which can have come while the run's report was drawn
        _end_if_asked(stop)
    # Of a sitting that was cut off before its row; with the data in another place they would be refused.
    shutil.rmtree(run_folder / "evaluation" / "test", ignore_errors=True)
    figures = evaluate(run_folder, contents.folder, allow_outside=allow_outside, say=silent)
    finished = read_finished(run_folder)
    # Runs of before it stood in finished.json have the first sitting's.
    environment = finished["environment"] or (read_sittings(run_folder) or [{}])[-1]
    row = result_row(experiment, run, figures, finished, environment, contents.sha256)
    if told:
        tell_of_test(run_folder, row, run)
    shutil.rmtree(run_folder / LAST, ignore_errors=True)  # Adam's moments are of no more use
    by_group = complete_rows(run_folder / "evaluation" / "test" / "per_group.csv")[0]
    return row, [{"run": run.run, **record} for record in by_group.to_dict("records")]


def _require_same_pictures(folder: Path, contents: Manifest, finished: Collection[str]) -> None:
    """Refuses pictures or masks that were exchanged under the same names since the sweep was begun.

    Those of before any run was finished are of no consequence: they are looked at anew.
    """
    now = fingerprint(contents.patches, contents.folder)
    if (folder / PICTURES).exists() and finished:
        advice = "Put those back, or start a sweep in another --out: figures of both do not compare"
        require_same_pictures(read_fingerprint(folder), now, f"the sweep in {folder}", advice)
    elif not (folder / PICTURES).exists() or read_fingerprint(folder) != now:
        write_text(folder / PICTURES, fingerprint_text(now))


def _require_unchanged(folder: Path, contents: Manifest, allow_outside: bool) -> None:
    """Refuses figures of a manifest, or of pictures in it, that were changed while they were made."""
    advice = "Put those back, and start the same sweep again; the run in hand is left out"
    now = fingerprint(contents.patches, contents.folder)
    require_same_pictures(read_fingerprint(folder), now, f"the sweep in {folder}", advice)
    if read_manifest(contents.folder, allow_outside=allow_outside).sha256 != contents.sha256:
        raise UserError(
            f"{contents.folder} was changed while the sweep was at work. The runs that are in {RESULTS} were "
            "made before; the one in hand is left out. Change it back, or start a sweep in another folder"
        )


def _forget_groups(path: Path, runs: Collection[str]) -> None:
    """Takes out what runs left that were killed between their groups and their row of results.csv."""
    table = complete_rows(path)[0]
    if len(table) and table["run"].isin(runs).any():
        write_text(path, table_text(table[~table["run"].isin(runs)]))


def _finished_run(folder: Path, run: str) -> Path:
    """The folder of a finished run that another takes from."""
    run_folder = folder / RUNS / run
    if not (run_folder / FINISHED).exists():
        raise UserError(f"the run that it takes from has failed, or its folder is gone: {run_folder}")
    return run_folder


def _failure(run: PlannedRun, error: Exception) -> dict[str, Any]:
    cell = run.cells[0]
    return {
        "run": run.run,
        "variant": cell.variant,
        "setting": cell.setting,
        "percent": cell.percent,
        "draw": cell.draw,
        **fold_column(cell.fold),
        "error": " ".join(str(error).split()) or type(error).__name__,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def check_begun(folder: Path, data: SweepData, say: Callable[[str], None] = print) -> set[str]:
    """The runs that are finished in a folder.

    Raises:
      UserError: its results are of another manifest, or its files of no sweep.
    """
    if not (folder / SWEEP).exists() and not (folder / RESULTS).exists():
        own = (folder / name for name in (PLAN, PER_GROUP, FAILURES))
        refuse([f"{path} is there and was not made by a sweep" for path in own if path.exists()])
    columns = result_columns(data.classes.names, data.has_folds)
    known = set(appendable_columns(folder / RESULTS, columns))
    if missing := [name for name in columns if name not in known]:
        say(f"{folder / RESULTS} was begun by an earlier version and goes on without {', '.join(missing)}")
    results, cut = complete_rows(folder / RESULTS)
    if cut:
        say(f"{folder / RESULTS} ends in half a line, which is dropped: that run's figures are made again")
    begun = set(results.get("manifest_sha256", ()))
    if (folder / SWEEP).exists():
        facts = read_json(folder / SWEEP)
        sha256 = facts.get("manifest_sha256") if isinstance(facts, dict) else None
        if not isinstance(sha256, str):
            raise UserError(
                f"{folder / SWEEP} is damaged: it names no manifest. Delete it: it is written again, "
                f"and {RESULTS} knows the manifest too"
            )
        begun.add(sha256)
    if begun - data.known:
        raise UserError(
            f"{data.folder} is not the manifest that the results in {folder} were begun with (it, or its "
            "classes, changed). Results of different data do not belong in one table: choose another folder"
        )
    return set(results.get("run", ()))


def failed_runs(folder: Path) -> set[str]:
    """Runs that failed and have not been finished since."""
    failures, results = complete_rows(folder / FAILURES)[0], complete_rows(folder / RESULTS)[0]
    return set(failures.get("run", ())) - set(results.get("run", ()))


def open_sweep(folder: Path, experiment: SweepFile, data: SweepData, planned: Sequence[PlannedRun]) -> None:
    """Writes sweep.json and plan.csv; cells planned earlier for the same folder are kept in the plan."""
    classes = data.classes
    facts = {
        "name": experiment.name,
        "dataset": experiment.dataset,
        "study": experiment.study,
        "manifest": str(data.folder),
        "manifest_sha256": data.sha256,
        **data.facts(),
        "classes": list(classes.names),
        "background": None if classes.background is None else classes.names[classes.background],
        "ddof": 1,
    }
    write_json(folder / SWEEP, facts)
    plan = plan_table(experiment, planned)
    before = complete_rows(folder / PLAN)[0]
    whole = ("draw", "fold") if data.has_folds else ("draw",)
    keys = [*CELL_KEYS, *whole[1:]]
    if len(before):
        try:
            before = before.astype({"percent": float, **dict.fromkeys(whole, int)})
            before[keys]
        except (KeyError, ValueError, OverflowError) as error:
            raise UserError(f"{folder / PLAN} was changed ({error}). Move it away") from error
        plan = pd.concat([before, plan]).drop_duplicates(keys, keep="last")
    write_text(folder / PLAN, table_text(plan, float_format="%.10g"))


def list_runs(planned: Sequence[PlannedRun], finished: set[str]) -> list[str]:
    """One line a run."""
    return [
        f"  {run.run}  {'finished' if run.run in finished else 'to do':<8}  {run.cells[0]}: "
        f"{run.n_mask} masks, {run.n_label} labels, {run.steps:,} steps of {run.batch}"
        for run in planned
    ]


def _say_failures(folder: Path, planned: Sequence[PlannedRun], say: Callable[[str], None]) -> None:
    failed = failed_runs(folder) & {run.run for run in planned}
    if not failed:
        return
    table = complete_rows(folder / FAILURES)[0].drop_duplicates("run", keep="last")
    for record in table[table["run"].isin(failed)].to_dict("records"):
        cell = f"{record['variant']} {record['setting']} at {record['percent']}%, draw {record['draw']}"
        cell += f", fold {record['fold']}" if "fold" in record else ""
        say(f"failed: {cell}: {record['error']}")
    raise RunsFailed(folder, failed)
