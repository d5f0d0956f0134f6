"""How long the rest of a sweep would take."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from l2s_jax.data.loader import make_batch
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.patch_set import PatchSet
from l2s_jax.models.network import L2S
from l2s_jax.sweeps.plan import PlannedRun
from l2s_jax.system.csv_rows import complete_rows
from l2s_jax.system.progress import duration
from l2s_jax.train_step.step import jit_train_step, step_function
from l2s_jax.training.initial_weights import first_state
from l2s_jax.training.plan import plan_run

MEASURED_STEPS = 5


def estimate(
    results: Path,
    planned: Sequence[PlannedRun],
    finished: set[str],
    patches: PatchSet,
    contents: Manifest,
    jobs: int = 1,
) -> str:
    """A sentence on how long the rest would take, from finished runs, or else from a few measured steps.

    A run of few patches has small batches and quick steps, so time is told by the patches of a batch:
    between sizes that are known it is interpolated.

    Args:
      results: results.csv, which need not be there.
      planned: all runs.
      finished: those that are not run again.
      patches: all rows of the training split.
      contents: the manifest.
      jobs: runs at a time.
    """
    left = [run for run in planned if run.run not in finished]
    if not left:
        return "nothing is left to run"
    sizes = {run.run: run.batch for run in planned}
    took = _of_results(complete_rows(results)[0], sizes)
    if took:
        known = sum(name in sizes for name in finished)
        source = f"from {known} finished run{'s' if known > 1 else ''}, validation included"
    else:
        by_size = {run.batch: run for run in left}
        ends = {min(by_size), max(by_size)}
        took = {size: measure_step(by_size[size], patches, contents) for size in ends}
        of = " and ".join(map(str, sorted(ends)))
        source = f"from {MEASURED_STEPS} measured steps with batches of {of}; validation comes on top"
    known_sizes = sorted(took)
    seconds = sum(
        run.steps * np.interp(run.batch, known_sizes, [took[size] for size in known_sizes]) for run in left
    )
    steps = sum(run.steps for run in left)
    at_once = min(jobs, len(left))
    side = f" with {at_once} at a time, if each is as quick as those" if at_once > 1 else ""
    return (
        f"{steps:,} steps to go: about {duration(seconds / at_once)}{side}, {seconds / steps:.3g} s a step "
        f"({source})"
    )


def _of_results(table: pd.DataFrame, sizes: Mapping[str, int]) -> dict[int, float]:
    """Median seconds a step of finished runs, by the places of a batch."""
    if not len(table):
        return {}
    rows = table[table["run"].isin(sizes)]
    took = rows["seconds"].astype(float) / rows["steps"].astype(float)
    return took.groupby(rows["run"].map(sizes)).median().to_dict()


def measure_step(run: PlannedRun, patches: PatchSet, contents: Manifest) -> float:
    """Median seconds of a train step of a run, once compiled."""
    plan = plan_run(run.config, patches, contents.classes)
    model = L2S(len(contents.classes), run.config.head, decoder=run.config.decoder)
    state = first_state(run.config, model, plan.task)
    step = jit_train_step(step_function(model, run.config))
    times = []
    for number in range(MEASURED_STEPS + 1):
        rows, epochs = plan.schedule.rows_of_step(number)
        batch = make_batch(plan.patches, plan.subset, rows, epochs)
        start = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[MEASURED_STEPS // 2]
