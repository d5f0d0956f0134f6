"""One run before its first step: its options, its plan, what it takes from earlier runs, how far it is."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from l2s_jax.config import TrainConfig
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.patch_set import PatchSet
from l2s_jax.models.network import L2S
from l2s_jax.runs import checkpoints
from l2s_jax.runs.folder import (
    FINISHED,
    LAST,
    NetworkFacts,
    read_finished,
    write_network_facts,
    write_subset,
)
from l2s_jax.system.processes import is_first_process
from l2s_jax.training.lineage import Lineage, lineage_of_begun, lineage_reader, write_lineage
from l2s_jax.training.phases import PhaseName, phase_folder, phases_of
from l2s_jax.training.plan import RunPlan, describe_subset, plan_run
from l2s_jax.training.pseudo_masks import with_pseudo_masks

Stage = Literal["new", "begun", "finished"]
"""`begun`: there is a checkpoint to go on from. `finished`: there is none, and nothing left to do."""


@dataclass(frozen=True)
class RunSetup:
    """All that is known of a run before its first step, and never changes."""

    folder: Path
    config: TrainConfig
    plan: RunPlan  # with its pseudo-masks
    model: L2S
    stage: Stage
    lineage: Lineage
    earlier: dict[PhaseName, Path]  # folders of its earlier phases, which are finished
    label: str  # begins its progress messages where there are several runs or phases: "seed0, teacher: "


def set_up_runs(
    runs: Sequence[tuple[Path, TrainConfig]],
    manifest: Manifest,
    patches: PatchSet,
    resume: bool,
    say: Callable[[str], None],
    labels: Sequence[str] | None = None,
) -> list[RunSetup]:
    """Plans runs and reads what they take from earlier ones. Writes nothing.

    Args:
      runs: folder and options of each.
      manifest: what they learn from.
      patches: all rows of its training split.
      resume: go on from a run's checkpoint, where it has one.
      say: receives progress messages.
      labels: what begins the messages of each; by default its folder's name, where there are several.

    Raises:
      UserError: a run cannot be trained on the patches, or what it takes from earlier runs cannot be read, or
        fits neither the network nor the manifest.
    """
    plans = [plan_run(config, patches, manifest.classes) for _, config in runs]
    lineage_of_new = lineage_reader(manifest, say)
    if labels is None:
        labels = [f"{folder.name}: " if len(runs) > 1 else "" for folder, _ in runs]

    def set_up(folder: Path, config: TrainConfig, plan: RunPlan, label: str) -> RunSetup:
        say(label + describe_subset(plan, config))
        earlier = {name: phase_folder(folder, name) for name in phases_of(config, plan)}
        stage, lineage = stage_of(folder, resume), Lineage()
        if stage == "new":
            lineage = lineage_of_new(folder, config, plan)
        elif stage == "begun":
            lineage = lineage_of_begun(folder, config, plan)
            for phase in earlier.values():
                read_finished(phase)  # what is gone is said before the run goes on, not at its end
        if lineage.pseudo_masks is not None:
            plan = with_pseudo_masks(plan, lineage.pseudo_masks, config)
        model = L2S(len(manifest.classes), config.head, decoder=config.decoder)
        return RunSetup(folder, config, plan, model, stage, lineage, earlier, label)

    return [
        set_up(folder, config, plan, label)
        for (folder, config), plan, label in zip(runs, plans, labels, strict=True)
    ]


def stage_of(folder: Path, resume: bool) -> Stage:
    """How far the run of a folder is, which need not be there."""
    if resume and checkpoints.latest_step(folder / LAST) is not None:
        return "begun"
    return "finished" if (folder / FINISHED).exists() else "new"


def forget_last_state(folder: Path) -> None:
    """Removes the state of a finished run: Adam's moments are of no more use. One process does it for all."""
    if is_first_process() and (folder / FINISHED).exists():
        shutil.rmtree(folder / LAST, ignore_errors=True)


def background_seen(plan: RunPlan, background: int | None) -> bool:
    """Whether a run learns what background looks like: from pixels of its masks, or from patches of it."""
    if background is None:
        return False
    in_masks = plan.patches.pixels[plan.subset.has_mask, background].any()
    return bool(in_masks or (plan.patches.label[plan.subset.has_label] == background).any())


def write_setup(setup: RunSetup, manifest: Manifest) -> None:
    """Writes into a run's folder what is known before the first step."""
    plan, folder = setup.plan, setup.folder
    mpps = {row.mpp for row in plan.patches.rows if row.mpp is not None}
    facts = NetworkFacts(
        plan.patches.size[0],
        setup.config.head,
        tuple(map(float, plan.eval_mean)),
        tuple(map(float, plan.eval_std)),
        mpps.pop() if len(mpps) == 1 else None,
        background_seen(plan, manifest.classes.background),
        setup.config.decoder,
    )
    write_network_facts(folder, facts)
    write_subset(folder, plan.patches, plan.chosen, manifest.folder)
    if setup.stage == "new":
        write_lineage(folder, setup.lineage)
        if setup.lineage.pseudo_masks is not None:
            # Not before it is needed: drawing takes a second to import.
            from l2s_jax.training.pseudo_mask_page import write_page

            write_page(folder, plan, setup.lineage.pseudo_masks, manifest.classes)
