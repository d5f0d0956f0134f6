"""A sweep in MLflow: one run above those of its runs, and their figures on test."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from l2s_jax import __version__
from l2s_jax.runs.mlflow_run import RECORD, WARNING, Description, MlflowRun, Status, require_mlflow
from l2s_jax.sweeps.plan import PlannedRun
from l2s_jax.sweeps.results_row import POOLED
from l2s_jax.sweeps.sweep_file import SweepFile
from l2s_jax.system.stopping import Stopped

OF_TEST = (*POOLED, "bach_score", "classifier_accuracy", "classifier_macro_f1")
"""Columns of results.csv that MLflow is told of, as `test_` and their name."""


@contextmanager
def tracked_sweep(
    folder: Path,
    experiment: SweepFile,
    left: Sequence[PlannedRun],
    files: Sequence[str],
    say: Callable[[str], None],
) -> Iterator[bool]:
    """Tells MLflow of a sweep while its runs are trained within.

    Args:
      folder: of the results.
      experiment: the sweep.
      left: runs that are still to be trained.
      files: names of the results in the folder that MLflow gets in the end.
      say: receives one warning where MLflow fails.

    Gives:
      Whether its runs are to be told of: False where none asks for it, or MLflow did not answer.

    Raises:
      UserError: MLflow is asked for and not installed.
    """
    if all(run.config.tracker != "mlflow" for run in left):
        yield False
        return
    require_mlflow()
    tracker = MlflowRun(folder, describe(experiment, left), None, say)
    status: Status = "FAILED"
    try:
        yield tracker.begun()
        status = "FINISHED"
    except (Stopped, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        tracker.add_files([(folder / name, "") for name in files])
        tracker.end(status)


def describe(experiment: SweepFile, left: Sequence[PlannedRun]) -> Description:
    """What MLflow is told of a sweep when it begins."""
    params = {
        "dataset": experiment.dataset,
        "study": experiment.study,
        "draws": " ".join(map(str, experiment.draws)),
        "variants": " ".join(variant.name for variant in experiment.variants),
        "n_runs": len(left),
    }
    return Description(experiment.name, params, {"l2s_jax.version": __version__})


def tell_of_test(run_folder: Path, row: Mapping[str, Any], about: PlannedRun) -> None:
    """Adds a run's figures on test to its MLflow run, where it has one."""
    if not (run_folder / RECORD).is_file():
        return
    tracker = MlflowRun(run_folder, Description(run_folder.name, {}, {}), None, only_of_tracker)
    cell = about.cells[0]
    tags = {"l2s_jax.variant": cell.variant, "l2s_jax.cell": "; ".join(map(str, about.cells))}
    tracker.set({f"test_{name}": row[name] for name in OF_TEST}, tags)
    tracker.end("FINISHED")


def only_of_tracker(line: str) -> None:
    """Prints what MLflow's failing says, and nothing else: a sweep's runs are silent."""
    if line.startswith(WARNING):
        print(line)
