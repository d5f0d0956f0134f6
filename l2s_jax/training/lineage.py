"""What runs build upon: first weights, and the masks that a teacher draws."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from l2s_jax.config import TrainConfig, require_teacher
from l2s_jax.data.manifest import Manifest
from l2s_jax.runs.folder import EarlierRun, write_earlier_runs
from l2s_jax.training.initial_weights import RANDOM, Start, read_start
from l2s_jax.training.plan import RunPlan
from l2s_jax.training.pseudo_masks import DrawnMasks, draw_masks, read_drawn, write_drawn
from l2s_jax.training.teacher import Teacher, read_teacher, taught


class Basis(NamedTuple):
    """What a run builds upon."""

    plan: RunPlan  # with the teacher's masks, where there is one
    start: Start
    teacher: EarlierRun | None = None
    drawn: DrawnMasks | None = None


def read_bases(
    folders: Sequence[Path],
    configs: Sequence[TrainConfig],
    plans: Sequence[RunPlan],
    manifest: Manifest,
    begun: Sequence[bool],
    finished: Sequence[bool],
    say: Callable[[str], None],
) -> list[Basis]:
    """First weights and a teacher's masks, read before a run's folder is made.

    Args:
      folders: of the runs.
      configs: their options.
      plans: their plans, without a teacher's masks.
      manifest: what they learn from.
      begun: which are resumed from a checkpoint: they keep what they began with.
      finished: which have nothing left to do.
      say: receives what a person should read.

    Raises:
      UserError: weights, a run or its masks cannot be read, or fit neither the network nor the manifest; a
        teacher's options are given without one.
    """
    starts: dict[str, Start] = {}
    teachers: dict[str, Teacher] = {}
    bases = []
    for i, (config, plan) in enumerate(zip(configs, plans, strict=True)):
        if finished[i]:
            bases.append(Basis(plan, RANDOM))
            continue
        if begun[i]:
            drawn = read_drawn(folders[i]) if config.teacher else None
            bases.append(Basis(taught(plan, drawn, config) if drawn else plan, RANDOM))
            continue
        require_teacher(config)
        if config.weights not in starts:
            starts[config.weights] = read_start(config, manifest, say=say)
        start = starts[config.weights]
        if not config.teacher:
            bases.append(Basis(plan, start))
            continue
        if config.teacher not in teachers:
            teachers[config.teacher] = read_teacher(config, manifest)
        teacher = teachers[config.teacher]
        drawn = draw_masks(teacher.network, teacher.run.folder, plan, manifest.classes, config, say)
        bases.append(Basis(taught(plan, drawn, config), start, teacher.run, drawn))
    return bases


def keep_basis(folder: Path, basis: Basis) -> None:
    """Writes what a run builds upon into its folder."""
    earlier = [run for run in (basis.start.run, basis.teacher) if run is not None]
    if earlier:
        write_earlier_runs(folder, earlier)
    if basis.drawn is not None:
        write_drawn(folder, basis.drawn)
