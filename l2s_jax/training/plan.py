"""A run before it starts: which patches, in which order, for how many steps, with which weights."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.config import TrainConfig, scaling, shift_pixels
from l2s_jax.data.loader import Schedule, balanced_schedule, shuffled_schedule
from l2s_jax.data.manifest import Classes, Manifest
from l2s_jax.data.patch_set import PatchSet, channel_statistics, routed, strata
from l2s_jax.data.subsets import Subset, choose
from l2s_jax.system.errors import UserError
from l2s_jax.train_step import losses
from l2s_jax.train_step.step import Objective, Task
from l2s_jax.types import CLASSIFICATION_SETTINGS, IGNORE_LABEL, PATCH_MULTIPLE, SPLITS

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
HALF = np.array([0.5, 0.5, 0.5], np.float32)


class RunPlan(NamedTuple):
    """What a run learns from and how it goes about it."""

    patches: PatchSet  # as the losses see them, routing applied
    subset: Subset  # as the losses see it, routing applied
    chosen: Subset  # as the setting picked it
    schedule: Schedule
    steps: int
    task: Task
    eval_mean: np.ndarray  # f32[3], at validation and prediction
    eval_std: np.ndarray  # f32[3]


def plan_run(config: TrainConfig, patches: PatchSet, classes: Classes) -> RunPlan:
    """Picks the subset and works out class weights, channel statistics and the order of the patches.

    Args:
      config: the run's options.
      patches: all rows of the training split.
      classes: the manifest's classes.

    Raises:
      UserError: the patches cannot be trained on, or the setting or `labels_from` leaves none to learn from.
    """
    check_shifts(config, patches.size[0])
    stratum = strata(patches, classes.background)
    chosen = choose(
        config.setting,
        config.percent,
        config.draw,
        can_mask=patches.can_mask,
        label=np.where(patches.says_something, np.maximum(patches.label, 0), IGNORE_LABEL),
        stratum=stratum,
        min_per_class=config.min_per_class,
        counts=config.counts,
        stratified=config.stratified,
    )
    if chosen.has_mask.any() and not patches.pixels[chosen.has_mask].any():
        raise UserError(
            f"the {int(chosen.has_mask.sum())} masks that would be learned from have not one known pixel: "
            "all are of the ignore value. Draw something in them, or leave them out"
        )
    seen, subset = routed(patches, chosen, config.routing, config.setting, classes.background)
    mask_rows, label_rows = (np.flatnonzero(flags) for flags in subset)
    if config.composition == "balanced":
        schedule = balanced_schedule(mask_rows, label_rows, config.batch_size, config.mask_share, config.seed)
    else:
        rows = np.union1d(mask_rows, label_rows)
        schedule = shuffled_schedule(rows, config.batch_size, config.seed)
    steps = config.steps or max(config.epochs * schedule.steps_per_epoch, config.least_steps)
    if config.labels_from >= steps and chosen.has_label.any():
        raise UserError(
            f"labels_from = {config.labels_from}: of {steps} steps none would learn from labels. Expected "
            f"fewer than {steps}, or more steps, or the setting S"
        )
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if scaling(config) == "half":
        mean = std = HALF
    elif scaling(config) == "dataset":
        with_mask = np.flatnonzero(chosen.has_mask)
        mean, std = channel_statistics(patches, with_mask if len(with_mask) else label_rows)
    task = Task(
        seg_weights=segmentation_weights(config, patches.pixels[chosen.has_mask]),
        cls_weights=classification_weights(config, patches.label[chosen.has_label], len(classes)),
        mean=mean,
        std=std,
        objective=objective_weights(config),
        labels_from=np.int32(config.labels_from),
        bags=used_bags(seen, subset),
    )
    same = config.norm_eval == "same"
    return RunPlan(
        patches=seen,
        subset=subset,
        chosen=chosen,
        schedule=schedule,
        steps=steps,
        task=task,
        eval_mean=mean if same else IMAGENET_MEAN,
        eval_std=std if same else IMAGENET_STD,
    )


def patches_to_teach(config: TrainConfig, plan: RunPlan) -> tuple[np.ndarray, np.ndarray]:
    """Patches that a teacher is asked about, bool[N], and those of them that have a mask, bool[N].

    The first are those with a label, or allowed classes, and no mask; with `teacher_fill` masks with unknown
    pixels too.
    """
    unknown = plan.patches.pixels.sum(1) < math.prod(plan.patches.size)
    filled = plan.chosen.has_mask & unknown & config.teacher_fill
    return (plan.chosen.has_label & ~plan.chosen.has_mask) | filled, filled


def used_bags(patches: PatchSet, subset: Subset) -> losses.Bags | None:
    """Wholes as parts of which patches are learned from: those that a run sees with what they allow only.

    Args:
      patches: as the losses see them.
      subset: likewise.
    """
    if not (patches.bag >= 0).any():
        return None
    used = subset.has_label & ~subset.has_mask & (patches.label == IGNORE_LABEL)
    return losses.Bags(np.where(used, patches.bag, np.int32(-1)), np.maximum(patches.bag_label, np.int32(0)))


def segmentation_weights(config: TrainConfig, pixels: np.ndarray) -> np.ndarray:
    """Class weights f32[C] of L_seg, from the pixels i64[K,C] of each class in each mask."""
    return losses.class_weights(pixels.sum(0), config.class_weights)


def classification_weights(config: TrainConfig, labels: np.ndarray, classes: int) -> np.ndarray:
    """Class weights f32[C] of L_cls, from labels i32[K]."""
    counts = np.bincount(labels[labels != IGNORE_LABEL], minlength=classes)
    return losses.class_weights(counts, config.class_weights)


def objective_weights(config: TrainConfig) -> Objective:
    """Weights of the label losses beside L_seg."""
    return Objective(
        classification=np.float32(config.cls_weight),
        label_set=np.float32(config.set_weight),
        presence=np.float32(config.presence_weight),
    )


def check_shifts(config: TrainConfig, side: int) -> None:
    """Refuses shifts by more than mirroring at a patch's edge can fill."""
    for name, multiple in (("augment_shift", 1), ("teacher_shift", PATCH_MULTIPLE)):
        pixels = shift_pixels(getattr(config, name), side, multiple)
        if pixels >= side:
            raise UserError(
                f"{name} = {getattr(config, name)} comes to {pixels} pixels: the patches have sides of "
                f"{side}, it must be less"
            )


def describe_splits(manifest: Manifest) -> list[str]:
    """Lines that say what is in each split of a checked manifest, in which no group straddles splits."""
    lines = [_describe_split(split, manifest.of_split(split)) for split in SPLITS]
    return [*lines, "no group is in two splits"]


def _describe_split(split: str, rows: Sequence[Any]) -> str:
    masks = sum(row.mask is not None for row in rows)
    labels = sum(row.label != IGNORE_LABEL for row in rows)
    groups = len({row.group for row in rows})
    return f"{split}: {len(rows)} patches ({masks} with masks, {labels} with labels) of {groups} groups"


def trains_classifier(config: TrainConfig, plan: RunPlan) -> bool:
    """Whether what the classifier says comes of what the run learns from, or is what its study asks for."""
    if config.head == "max" or config.setting in CLASSIFICATION_SETTINGS:
        return True
    return config.cls_weight > 0 and bool(plan.subset.has_label.any())


def warnings_of_plan(config: TrainConfig, plan: RunPlan, classes: Classes, judged_masks: int) -> list[str]:
    """What a run lacks to learn a segmentation, or to choose among its epochs, a line each.

    Args:
      config: the run's options.
      plan: the run's, without pseudo-masks.
      classes: the manifest's classes.
      judged_masks: masks in the split on which epochs are judged.
    """
    lines: list[str] = []
    if config.setting in CLASSIFICATION_SETTINGS:
        return lines
    masks, there = int(plan.chosen.has_mask.sum()), int(plan.patches.can_mask.sum())
    if not masks:
        few = f"{config.percent:g}% of the {there} masks is none: a larger --percent takes some"
        why = few if there else "the training split has none"
        lines.append(
            f"no mask is learned from ({why}). A segmentation learned from labels alone has no defined "
            "classes, and what follows can be of no use"
        )
    else:
        shown = plan.patches.pixels[plan.chosen.has_mask].any(0)
        missing = [name for name, seen in zip(classes.names, shown, strict=True) if not seen]
        if missing:
            lines.append(
                f"none of the {masks} masks that are learned from shows {', '.join(missing)}: nothing but "
                "labels, where there are any, says what that looks like. Draw some of it"
            )
    if not judged_masks and not trains_classifier(config, plan):
        lines.append(
            "no patch on which epochs are judged has a mask, and this run trains no classifier that labels "
            "could judge: the last epoch is kept"
        )
    return lines


def describe_subset(plan: RunPlan, config: TrainConfig) -> str:
    """One line that says what the run learns from."""
    both = int((plan.chosen.has_mask & plan.chosen.has_label).sum())
    return (
        f"setting {config.setting} at {config.percent:g}%, draw {config.draw}: "
        f"{int(plan.chosen.has_mask.sum())} masks, {int(plan.chosen.has_label.sum())} labels"
        + (f" ({both} patches give both)" if both else "")
        + f"; {plan.steps} steps of {config.batch_size}, {plan.schedule.steps_per_epoch} an epoch"
    )
