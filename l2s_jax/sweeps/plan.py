"""From a sweep's file to the runs that it needs: experiments that are the same by definition are one run."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from l2s_jax.config import TEACHING, TrainConfig, shift_pixels
from l2s_jax.data.classes import Classes
from l2s_jax.data.patch_set import PatchSet
from l2s_jax.sweeps.sweep_file import SweepFile, Variant, config_of
from l2s_jax.system.errors import UserError
from l2s_jax.training.phases import phases_of
from l2s_jax.training.plan import RunPlan, patches_to_teach, plan_run
from l2s_jax.types import PATCH_MULTIPLE, Setting

NO_MATTER = (
    "setting",
    "percent",
    "draw",
    "min_per_class",
    "counts",
    "stratified",
    "loader_threads",
    "memory_gib",
    "checkpoint_minutes",
    "tracker",
)
"""Options that change nothing once the patches are picked."""

OF_LABELS = (
    "cls_weight",
    "set_weight",
    "presence_weight",
    "presence_share",
    "labels_from",
    "composition",
    "mask_share",
    "teacher",
    "masks_only_phase",
    *TEACHING,
)
"""Options that change nothing where no label is used and no mask is filled."""


NO_FOLD = 0
"""The fold of a manifest that is none."""


@dataclass(frozen=True)
class Cell:
    """One cell of the tables: a method at a percentage, and a draw (and a fold, where there are folds)."""

    variant: str
    setting: Setting
    percent: float
    draw: int
    fold: int = NO_FOLD

    def __str__(self) -> str:
        of = f", fold {self.fold}" if self.fold != NO_FOLD else ""
        return f"{self.variant} {self.setting} at {self.percent:g}%, draw {self.draw}{of}"


class TakesFrom(NamedTuple):
    """A run of this sweep that another takes from."""

    option: str  # that names it: `weights` or `teacher`
    run: str


@dataclass(frozen=True)
class PlannedRun:
    """One training run, and every cell that it fills."""

    run: str  # 12 hexadecimal digits
    preset: str
    config: TrainConfig
    steps: int  # of all its phases
    batch: int  # patches a step: fewer than `batch_size` where there are fewer to learn from
    n_mask: int
    n_label: int
    cells: tuple[Cell, ...]
    takes_from: tuple[TakesFrom, ...] = ()

    @property
    def fold(self) -> int:
        """Of the manifest that it learns from; `NO_FOLD` where that is none of several."""
        return self.cells[0].fold

    @property
    def waits_for(self) -> set[str]:
        """Names of the runs that have to be finished before it."""
        return {source.run for source in self.takes_from}


def plan_sweep(
    sweep: SweepFile, patches: PatchSet, classes: Classes, manifest_sha256: str, fold: int = NO_FOLD
) -> list[PlannedRun]:
    """The runs of a sweep on one manifest, draws outermost, so that a part of them is a whole comparison.

    Args:
      sweep: what to run.
      patches: all rows of the training split.
      classes: the manifest's classes.
      manifest_sha256: the manifest's hash, part of every run's name.
      fold: of the manifest.

    Raises:
      UserError: naming every cell that has no patches to learn from.
    """
    runs: dict[str, PlannedRun] = {}
    of_cell: dict[Cell, str] = {}
    faults = []
    for cell, variant in cells_of(sweep, fold):
        config = config_of(variant, cell.setting, cell.percent, cell.draw)
        takes_from = tuple(
            TakesFrom(option, of_cell.get(Cell(name, setting, cell.percent, cell.draw, fold), ""))
            for option, name, setting in variant.takes_from
        )
        named: dict[str, Any] = {option: f"run {run}" for option, run in takes_from}
        config = replace(config, **named)
        try:
            plan = plan_run(config, patches, classes)
        except UserError as error:
            if cell.draw == sweep.draws[0]:
                faults.append(f"{cell}: {error}")
            continue
        name = of_cell[cell] = run_name(config, plan, manifest_sha256)
        if name in runs:
            runs[name] = replace(runs[name], cells=(*runs[name].cells, cell))
        else:
            runs[name] = PlannedRun(
                run=name,
                preset=variant.preset,
                config=config,
                steps=plan.steps + _steps_before(config, plan, patches, classes),
                batch=plan.schedule.batch,
                n_mask=int(plan.chosen.has_mask.sum()),
                n_label=int(plan.chosen.has_label.sum()),
                cells=(cell,),
                takes_from=takes_from,
            )
    if faults:
        listed = "\n".join(faults[:10])
        raise UserError(f"{len(faults)} cell(s) of the sweep cannot be run; leave them out:\n{listed}")
    return list(runs.values())


def _steps_before(config: TrainConfig, plan: RunPlan, patches: PatchSet, classes: Classes) -> int:
    """Steps of a run's earlier phases."""
    return sum(plan_run(phase, patches, classes).steps for phase in phases_of(config, plan).values())


def in_turn_of_draws(sweep: SweepFile, of_folds: Sequence[Sequence[PlannedRun]]) -> list[PlannedRun]:
    """The runs of all folds: those of the first draw before the next draw's, so that a part is a whole."""
    runs = [run for of_fold in of_folds for run in of_fold]
    place = {draw: number for number, draw in enumerate(sweep.draws)}
    return sorted(runs, key=lambda run: place[run.cells[0].draw])


def cells_of(sweep: SweepFile, fold: int = NO_FOLD) -> Iterator[tuple[Cell, Variant]]:
    """Every cell of a manifest in the order in which it is run: draws, percents, then variants and settings.

    S at 0% is left out: there is nothing to learn from. What the paper prints there is an untrained network.
    """
    percents = sorted({percent for variant in sweep.variants for percent in variant.percents})
    for draw in sweep.draws:
        for percent in percents:
            for variant in sweep.variants:
                for setting in variant.settings if percent in variant.percents else ():
                    if (setting, percent) != ("S", 0):
                        yield Cell(variant.name, setting, percent, draw, fold), variant


def run_name(config: TrainConfig, plan: RunPlan, manifest_sha256: str) -> str:
    """Twelve hexadecimal digits that two experiments share if, and only if, they are the same by definition.

    Of the options those count that differ from their default and can matter, of the subset the patches and as
    what they are seen. So S and S+C at 100% are one run where S+C has no label left to use.
    """
    # A teacher can fill masks where no label is used.
    of_labels = plan.subset.has_label.any() or patches_to_teach(config, plan)[0].any()
    ignored = NO_MATTER if of_labels else NO_MATTER + OF_LABELS
    options = {
        field.name: getattr(config, field.name)
        for field in fields(config)
        if field.name not in ignored and getattr(config, field.name) != field.default
    }
    # In pixels, as they were given before they were shares: committed results keep their runs' names.
    side = plan.patches.size[0]
    for name, multiple in (("augment_shift", 1), ("teacher_shift", PATCH_MULTIPLE)):
        if name in options:
            options[name] = shift_pixels(options[name], side, multiple)
    seen = np.packbits(np.stack([*plan.subset, *plan.chosen])).tobytes()
    weights = b"".join(
        np.asarray(part, np.float32).tobytes() for part in (plan.task.seg_weights, plan.task.cls_weights)
    )
    text = repr((sorted(options.items()), manifest_sha256, plan.steps)).encode()
    return hashlib.sha256(b"\0".join((text, seen, weights))).hexdigest()[:12]


def plan_table(sweep: SweepFile, runs: Sequence[PlannedRun]) -> pd.DataFrame:
    """One row a cell, with the run that fills it: dataset, study, variant, setting, percent, draw, run.

    A column `fold` stands before `run` where there are folds.
    """
    rows: list[dict[str, Any]] = [
        {
            "dataset": sweep.dataset,
            "study": sweep.study,
            "variant": cell.variant,
            "setting": cell.setting,
            "percent": cell.percent,
            "draw": cell.draw,
            **fold_column(cell.fold),
            "run": run.run,
        }
        for run in runs
        for cell in run.cells
    ]
    return pd.DataFrame(rows)


def fold_column(fold: int) -> dict[str, int]:
    """The field `fold` of a row, where there are folds."""
    return {} if fold == NO_FOLD else {"fold": fold}


def describe_plan(sweep: SweepFile, runs: Sequence[PlannedRun], done: set[str]) -> list[str]:
    """Lines that say what will be run, what is shared and what is finished."""
    n_cells = sum(len(run.cells) for run in runs)
    left = [run for run in runs if run.run not in done]
    folds = {run.fold for run in runs}
    over = f" over {len(folds)} folds" if len(folds) > 1 else ""
    lines = [
        f"{sweep.name}: {n_cells} cells of the tables{over}, {len(runs)} runs "
        f"({len(runs) - len(left)} finished), {sum(run.steps for run in left):,} steps to go"
    ]
    if any(variant.percents[0] == 0 and "S" in variant.settings for variant in sweep.variants):
        lines.append("S at 0% is left out: it has nothing to learn from")
    for run in runs:
        if len(run.cells) > 1 and (run.cells[0].draw, run.fold) == (sweep.draws[0], min(folds)):
            first, *others = map(str, run.cells)
            lines.append(f"the same by definition, run once: {first} = {' = '.join(others)}")
    return lines
