"""What a tracker is told of runs in training, beside TensorBoard's events: MLflow, where one asks for it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from l2s_jax import __version__
from l2s_jax.config import OUTSIDE, to_dict
from l2s_jax.data.manifest import CLASSES, STAIN
from l2s_jax.runs.checksums import SUMS
from l2s_jax.runs.folder import (
    BEST,
    CONFIG,
    EARLIER_RUNS,
    FINISHED,
    MANIFEST,
    METRICS,
    NETWORK,
    SUBSET,
    read_finished,
    read_run_manifest,
)
from l2s_jax.runs.mlflow_run import PATIENCE_S, Description, MlflowRun, Status
from l2s_jax.runs.sittings import ENVIRONMENT
from l2s_jax.system.stopping import Stopped
from l2s_jax.training.run import TrainingRun
from l2s_jax.training.setup import RunSetup

PATIENCE_WHEN_STOPPED_S = 10.0

FIGURES = ("curves.png", "confusion.png", "samples.png")
OF_NETWORK = (
    CONFIG, CLASSES, STAIN, NETWORK, MANIFEST, SUBSET, EARLIER_RUNS, METRICS, ENVIRONMENT, FINISHED, SUMS,
)  # fmt: skip
"""Files that make a run folder of the best network: `predict`, `evaluate` and `export` take it."""


@contextmanager
def tracked(runs: Sequence[TrainingRun], part_of: Path | None, say: Callable[[str], None]) -> Iterator[None]:
    """Tells MLflow of runs while they are trained within, and in the end how each of them ended.

    Args:
      runs: those whose option `tracker` is `mlflow` are told of, by the process that writes.
      part_of: a folder with an MLflow run that these are parts of, if any.
      say: receives one warning a run where MLflow fails.
    """
    told = [run for run in runs if run.setup.config.tracker == "mlflow" and run.writes]
    for run in told:
        run.tracker = MlflowRun(run.setup.folder, describe(run.setup), part_of, say)
        run.tracker.add(*run.rows)
    status: Status = "FAILED"
    try:
        yield
    except (Stopped, KeyboardInterrupt):
        status = "KILLED"
        raise
    finally:
        end = time.monotonic() + (PATIENCE_WHEN_STOPPED_S if status == "KILLED" else PATIENCE_S)
        for run in told:
            _end(run, status, end - time.monotonic())


def describe(setup: RunSetup) -> Description:
    """What MLflow is told of a run before its first step."""
    options = {name: value for name, value in to_dict(setup.config).items() if name not in OUTSIDE}
    chosen = setup.plan.chosen
    numbers = {
        "n_mask": int(chosen.has_mask.sum()),
        "n_label": int(chosen.has_label.sum()),
        "planned_steps": setup.plan.steps,
        "patch_size": setup.plan.patches.size[0],
    }
    manifest = read_run_manifest(setup.folder)
    tags = {
        "l2s_jax.version": __version__,
        "l2s_jax.run": str(setup.folder.resolve()),
        "l2s_jax.manifest": manifest.path,
        "l2s_jax.manifest_sha256": manifest.sha256,
    }
    return Description(setup.folder.name, {**options, **numbers}, tags)


def _end(run: TrainingRun, status: Status, patience: float) -> None:
    tracker, folder = run.tracker, run.setup.folder
    assert tracker is not None
    if (folder / FINISHED).is_file():
        best = read_finished(folder)["best"]
        known = {f"best_{name}": value for name, value in best.items() if value is not None}
        tracker.set(known, {})
        tracker.add_files(outcome_files(folder))
        status = "FINISHED"
    tracker.end(status, max(patience, 0.0))


def outcome_files(folder: Path) -> list[tuple[Path, str]]:
    """Files of a finished run for its tracker, each with the folder that it goes into there."""
    best = [path for path in sorted((folder / BEST).rglob("*")) if path.is_file()]
    return [
        (folder / "report.html", ""),
        *((folder / name, "figures") for name in FIGURES),
        *((folder / name, "network") for name in OF_NETWORK),
        *((path, f"network/{path.parent.relative_to(folder).as_posix()}") for path in best),
    ]
