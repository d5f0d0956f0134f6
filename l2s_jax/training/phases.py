"""A run in phases: S on its masks, a teacher, and then the network that learns from both. Not in the paper.

Each earlier phase is a run of its own in the run's folder, so that each is resumed, judged and drawn like any
other, and the last is to the same bits what it would be with a teacher that was trained by hand.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from l2s_jax.config import (
    OF_OWN_TEACHER,
    OWN_TEACHER,
    PRESETS,
    TEACHING,
    TrainConfig,
    asks_for_phases,
)
from l2s_jax.data.manifest import Classes
from l2s_jax.data.patch_set import PatchSet
from l2s_jax.runs.folder import PHASES
from l2s_jax.training.plan import RunPlan, patches_to_teach, plan_run
from l2s_jax.types import IGNORE_LABEL

PhaseName = Literal["masks_only", "teacher"]
EARLIER: tuple[PhaseName, ...] = ("masks_only", "teacher")
"""`EARLIER_PHASES` of a run's folder."""
WORDS: dict[PhaseName, str] = {
    "masks_only": "S on the masks alone",
    "teacher": "a teacher on masks and labels",
}
LAST_PHASE = "the network that learns from masks and pseudo-masks"


class PhaseRuns(NamedTuple):
    """The runs of one phase: of each run that has such a phase, one."""

    name: PhaseName
    runs: tuple[tuple[Path, TrainConfig], ...]  # folder and options
    labels: tuple[str, ...]  # what begins their messages
    plans: tuple[RunPlan, ...]

    def without(self, failures: Sequence["Failure"]) -> "PhaseRuns":
        """The phase of those runs alone that have not failed in one before."""
        each = zip(self.runs, self.labels, self.plans, strict=True)
        kept = [one for one in each if not failed_in_a_phase(one[0][0].parents[1], failures)]
        runs, labels, plans = zip(*kept, strict=True) if kept else ((), (), ())
        return PhaseRuns(self.name, runs, labels, plans)


class Failure(Protocol):
    """Why a run, or a phase of one, cannot go on."""

    folder: Path


def failed_in_a_phase(folder: Path, failures: Sequence[Failure]) -> bool:
    """Whether a phase of the run in `folder` is among the failures."""
    return any(failure.folder == phase_folder(folder, name) for failure in failures for name in EARLIER)


def phases_of(config: TrainConfig, plan: RunPlan) -> dict[PhaseName, TrainConfig]:
    """The options of the phases that come before a run's own; none where they could change nothing.

    Args:
      config: the run's options.
      plan: the run's, without pseudo-masks.
    """
    if not patches_to_teach(config, plan)[0].any():
        return {}
    alone = {name: getattr(TrainConfig, name) for name in TEACHING}
    single = replace(config, teacher="", masks_only_phase=False, tracker="tensorboard", **alone)
    phases: dict[PhaseName, TrainConfig] = {}
    if config.masks_only_phase and plan.chosen.has_mask.any():
        phases["masks_only"] = replace(single, setting="S")
    if config.teacher == OWN_TEACHER:
        losses = {name: getattr(PRESETS[OWN_TEACHER], name) for name in OF_OWN_TEACHER}
        phases["teacher"] = replace(single, **losses)
    return phases


def phase_folder(folder: Path, name: PhaseName) -> Path:
    """The run folder of a phase in that of its run."""
    return folder / PHASES / name


def earlier_phases(
    runs: Sequence[tuple[Path, TrainConfig]], patches: PatchSet, classes: Classes
) -> list[PhaseRuns]:
    """The phases that come before those of runs which are trained together.

    Args:
      runs: folder and options of each.
      patches: all rows of the training split.
      classes: the manifest's classes.

    Raises:
      UserError: a run cannot be trained on the patches.
    """
    of_run = [
        (folder, phases_of(config, plan_run(config, patches, classes)))
        for folder, config in runs
        if asks_for_phases(config)
    ]
    found = []
    for name in EARLIER:
        those = [(folder, phases[name]) for folder, phases in of_run if name in phases]
        if not those:
            continue
        labels = [f"{folder.name}, {name}: " if len(runs) > 1 else f"{name}: " for folder, _ in those]
        plans = tuple(plan_run(config, patches, classes) for _, config in those)
        each = tuple((phase_folder(folder, name), config) for folder, config in those)
        found.append(PhaseRuns(name, each, tuple(labels), plans))
    return found


def why_one_phase(config: TrainConfig, plan: RunPlan) -> str:
    """Why a run that asks for phases is trained in one, in words; "" for every other run."""
    if not asks_for_phases(config) or phases_of(config, plan):
        return ""
    if patches_to_teach(config, plan)[0].any():  # by a run of before, and S would have no mask
        return "no mask is learned from, so there is no phase of S: one phase"
    return (
        "no patch is learned from by its label alone, so there is nothing to teach: one phase, on the masks"
    )


def describe_phases(phases: Sequence[PhaseRuns]) -> str:
    """One line that says in which phases runs are trained."""
    listed = [*(WORDS[one.name] for one in phases), LAST_PHASE]
    return f"{len(listed)} phases: {', '.join(listed)}"


def warning_of_one_label(plan: RunPlan, classes: Classes) -> str:
    """Says where the labels of a run are all of one class, of several that its masks show; else ""."""
    labels = plan.patches.label[plan.chosen.has_label & ~plan.chosen.has_mask]
    found = np.unique(labels[labels != IGNORE_LABEL])
    others = np.flatnonzero(plan.patches.pixels[plan.chosen.has_mask].any(0))
    others = np.setdiff1d(others, [*found, -1 if classes.background is None else classes.background])
    if len(found) != 1 or not len(others):
        return ""
    one, missing = classes.names[found[0]], ", ".join(classes.names[code] for code in others)
    return (
        f"all {len(labels)} image-level patches that are learned from are labelled {one}, so pseudo-masks "
        f"cannot show {missing}: the network may see {one} in too many places. Patches with other labels help"
    )


class Stretch(NamedTuple):
    """Where the steps of a phase lie among those of all phases."""

    number: int  # of the phase, from 0
    steps: tuple[int, ...]  # of each phase, its longest run's
    batches: tuple[int, ...]  # patches a step, of each phase

    @property
    def phases(self) -> int:
        """How many there are."""
        return len(self.steps)

    @property
    def done(self) -> int:
        """Steps of the phases before this one."""
        return sum(self.steps[: self.number])


def stretches_of(
    earlier: Sequence[PhaseRuns],
    runs: Sequence[tuple[Path, TrainConfig]],
    patches: PatchSet,
    classes: Classes,
) -> list[Stretch]:
    """One a phase, the runs' own included; runs of one phase have no use for its numbers."""
    if not earlier:
        return [Stretch(0, (0,), (0,))]
    plans = [phase.plans for phase in earlier]
    plans.append(tuple(plan_run(config, patches, classes) for _, config in runs))
    steps = tuple(max(plan.steps for plan in those) for those in plans)
    batches = tuple(max(plan.schedule.batch for plan in those) for those in plans)
    return [Stretch(number, steps, batches) for number in range(len(plans))]
