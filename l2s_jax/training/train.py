"""Training from a manifest to run folders: one run, several as one program, one for each of many seeds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from l2s_jax.config import OWN_TEACHER, TrainConfig, require_teacher, selection_split, validate
from l2s_jax.data.check import check_manifest, require_valid
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.patch_set import PatchSet, load_patches
from l2s_jax.runs.folder import CONFIG, open_run, require_same_run
from l2s_jax.runs.mlflow_run import require_mlflow
from l2s_jax.runs.sittings import begin_sitting
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import locked
from l2s_jax.system.processes import agreed, is_first_process
from l2s_jax.system.stopping import Stopped
from l2s_jax.train_step.device_mesh import make_mesh
from l2s_jax.training.lineage import read_teacher
from l2s_jax.training.loop import SomeFailed, fit
from l2s_jax.training.phases import (
    PhaseRuns,
    Stretch,
    describe_phases,
    earlier_phases,
    failed_in_a_phase,
    stretches_of,
    warning_of_one_label,
    why_one_phase,
)
from l2s_jax.training.plan import describe_splits, plan_run, warnings_of_plan
from l2s_jax.training.program import Devices, StrategyOption, compile_ahead
from l2s_jax.training.run import NotFinite, TrainingRun
from l2s_jax.training.scaling import with_scaling
from l2s_jax.training.setup import RunSetup, forget_last_state, set_up_runs, stage_of, write_setup
from l2s_jax.training.tracking import tracked
from l2s_jax.training.validation import Validation, read_validation

IN_THE_PROGRAM = (
    "head", "step", "augment", "augment_shift", "colour_jitter", "presence_share", "learning_rate",
    "precision",
)  # fmt: skip
"""Options that are compiled into the step: equal in all runs that are trained together."""


def train(
    manifest: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    devices: Devices = 1,
    resume: bool = False,
    allow_outside: bool = False,
    part_of: Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains a network on a manifest and leaves everything in a run folder.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      out: run folder, new or empty; with `resume`, one that was begun with the same options and data.
      config: options; the preset `paper` by default.
      devices: how many to spread each batch over, or all of them; see docs/scale_out.md.
      resume: go on from the last checkpoint. On CPU the result is bit for bit that of an unbroken run.
      allow_outside: accept paths in the manifest that lead out of its folder.
      part_of: with the tracker mlflow, folder of a sweep whose MLflow run is to have this one below it.
      say: receives progress messages.

    Returns:
      The run folder: `l2s evaluate` and `l2s predict` take it.

    Raises:
      UserError: faulty data, options or folder; a loss that is not finite.
      Stopped: interrupted; the run can be resumed.
    """
    runs = [(out, config or TrainConfig())]
    return train_together(
        manifest,
        runs,
        devices=devices,
        resume=resume,
        allow_outside=allow_outside,
        part_of=part_of,
        say=say,
    )[0]


def train_together(
    manifest: str | Path,
    runs: Sequence[tuple[str | Path, TrainConfig]],
    *,
    strategy: StrategyOption = "auto",
    devices: Devices = 1,
    resume: bool = False,
    allow_outside: bool = False,
    part_of: Path | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Trains several networks on one manifest as one program, each into a run folder of its own.

    Each comes out as `train` alone would leave it: with the strategy `unroll` on a CPU to the same bits, else
    but for rounding. They can differ in all options but those of `IN_THE_PROGRAM`. One that has fewer steps
    to take waits for the others and costs its share of the time: give `steps` where epochs differ much.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      runs: run folder and options of each; folders as in `train`.
      strategy: how the runs share the program (`seeds.many_step`); `auto` measures and takes the fastest.
      devices: how many to spread the runs and their batches over, or all of them; see docs/scale_out.md.
      resume: go on from each run's last checkpoint; runs that are finished are left alone.
      allow_outside: accept paths in the manifest that lead out of its folder.
      part_of: see `train`.
      say: receives progress messages.

    Returns:
      The run folders, in the order of `runs`.

    Raises:
      UserError: faulty data, options or folders; after all others have finished, runs whose loss is not
        finite.
      Stopped: interrupted; the runs can be resumed.
    """
    named = [(Path(folder), config) for folder, config in runs]
    _require_one_program(named)
    writes = is_first_process()
    say = say if writes else _silent
    named = [(folder, with_scaling(config, folder, say)) for folder, config in named]
    contents = _read_manifest(manifest, allow_outside, say)
    for folder, each in named:
        if resume and (folder / CONFIG).exists():
            require_same_run(folder, each, contents)  # before what it has kept is read, which may not fit
    config = named[0][1]
    patches = load_patches(contents.of_split("train"), contents.classes, config.memory_gib)
    validation = cache(lambda: read_validation(config, contents, patches.size[0], say))
    # What a run that is begun takes from its earlier phases is in its folder.
    new = [(folder, each) for folder, each in named if stage_of(folder, resume) == "new"]
    earlier = earlier_phases(new, patches, contents.classes)
    for line in _what_is_said_first(new, earlier, patches, contents):
        say(line)
    make_mesh(len(named), devices)  # refuses devices that there are not, before a folder is made
    if earlier:
        warning = warning_of_one_label(earlier[-1].plans[0], contents.classes)
        if warning:
            say(f"warning: {warning}")
        for teacher in {each.teacher for _, each in new} - {"", OWN_TEACHER}:
            read_teacher(teacher, contents, _silent)  # refuses what would be refused after the first phase
    stretches = stretches_of(earlier, named, patches, contents.classes)
    failures: list[NotFinite] = []
    with ExitStack() as folders:
        for number, (phase, stretch) in enumerate(zip(earlier, stretches, strict=False)):
            phase = phase.without(failures)
            if not phase.runs:
                continue
            setups = set_up_runs(phase.runs, contents, patches, resume, say, phase.labels)
            if number == 0:
                folders.enter_context(_open_folders(named, contents, resume))
            with (
                _open_folders(phase.runs, contents, resume),
                _stopped_as_a_whole(named, stretch),
                _others_go_on(failures, len(named)),
            ):
                _train(setups, contents, validation, strategy, devices, None, stretch, say)
            for setup in setups:
                forget_last_state(setup.folder)
        left = [(folder, config) for folder, config in named if not failed_in_a_phase(folder, failures)]
        setups = set_up_runs(left, contents, patches, resume, say)
        if not earlier:
            folders.enter_context(_open_folders(named, contents, resume))
        with _stopped_as_a_whole(named, stretches[-1]), _others_go_on(failures, len(named)):
            _train(setups, contents, validation, strategy, devices, part_of, stretches[-1], say)
    failed = {failure.folder for failure in failures}
    for setup in setups:
        if setup.folder not in failed:
            say(f"done: {setup.folder} (open {setup.folder / 'report.html'})")
    if failures:
        raise SomeFailed(failures, len(named))
    return [folder for folder, _ in named]


def _what_is_said_first(
    new: Sequence[tuple[Path, TrainConfig]],
    earlier: Sequence[PhaseRuns],
    patches: PatchSet,
    contents: Manifest,
) -> list[str]:
    """What runs that begin lack, and their phases; once what is so of several."""
    lines: list[str] = []
    for _, config in new:
        plan = plan_run(config, patches, contents.classes)
        judged_masks = sum(row.mask is not None for row in contents.of_split(selection_split(config)))
        warnings = warnings_of_plan(config, plan, contents.classes, judged_masks)
        lines += [f"warning: {line}" for line in warnings]
        lines += filter(None, [why_one_phase(config, plan)])
    return list(dict.fromkeys(lines)) + ([describe_phases(earlier)] if earlier else [])


def _train(
    setups: Sequence[RunSetup],
    contents: Manifest,
    validation: Callable[[], Validation],
    strategy: StrategyOption,
    devices: Devices,
    part_of: Path | None,
    stretch: Stretch,
    say: Callable[[str], None],
) -> None:
    """Trains runs whose folders are open, or goes on with them."""
    writes = is_first_process()
    all_new = all(setup.stage == "new" for setup in setups)
    ahead = compile_ahead(setups, strategy, devices) if all_new else None
    training_runs = []
    for setup in setups:
        if setup.stage == "finished":
            say(f"{setup.folder} is finished")
            continue
        if writes:
            write_setup(setup, contents)
        run = TrainingRun(setup, validation(), 1 / len(setups), writes, agreed)
        if writes and run.going:
            begin_sitting(setup.folder, run.number, say)
        training_runs.append(run)
    with tracked(training_runs, part_of, say):
        fit(training_runs, strategy, devices, say, ahead, stretch)


def train_many(
    manifest: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    *,
    own_draws: bool = False,
    strategy: StrategyOption = "auto",
    devices: Devices = 1,
    resume: bool = False,
    allow_outside: bool = False,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Trains one network a seed, all at once, each into its own run folder.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      out: folder of the run folders, which are named `seed0` and so on.
      config: options of all; the preset `paper` by default. Its own seed is not used.
      seeds: of initialisation, order of the patches and augmentation; all different.
      own_draws: take the seed for the draw too, so that each learns from a subset of its own.
      strategy: how the seeds share the program; see `train_together`, as for the rest.
      devices: how many to spread the seeds and their batches over, or all of them; see docs/scale_out.md.
      resume: go on from each seed's last checkpoint.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives progress messages.

    Returns:
      The run folders in the order of `seeds`, each as `train` leaves it.

    Raises:
      UserError, Stopped: see `train_together`.
    """
    config = config or TrainConfig()
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds = {list(seeds)} must be at least one, and all different")
    configs = [replace(config, seed=seed, draw=seed if own_draws else config.draw) for seed in seeds]
    return train_together(
        manifest,
        [(Path(out) / f"seed{each.seed}", each) for each in configs],
        strategy=strategy,
        devices=devices,
        resume=resume,
        allow_outside=allow_outside,
        say=say,
    )


@contextmanager
def _stopped_as_a_whole(runs: Sequence[tuple[Path, TrainConfig]], stretch: Stretch) -> Iterator[None]:
    """What stops in one of several phases has stopped among the steps of all, and in the runs' own folder."""
    try:
        yield
    except Stopped as stopped:
        first, total = runs[0][0], sum(stretch.steps)
        # Without a step it came when the last was taken.
        step = stretch.steps[stretch.number] if stopped.step is None else stopped.step
        if stretch.phases == 1 or stretch.done + step == total:
            raise
        folder = first if len(runs) == 1 else first.parent
        raise Stopped(folder, stretch.done + step, total) from None


@contextmanager
def _others_go_on(failures: list[NotFinite], runs: int) -> Iterator[None]:
    """Puts off that some of several runs cannot go on until the others have finished.

    Raises:
      NotFinite: the only run cannot go on.
      SomeFailed: none of several can.
    """
    try:
        yield
    except NotFinite as failure:
        if runs == 1:
            raise
        failures.append(failure)
    except SomeFailed as some:
        failures += some.failures
    if failures and len(failures) == runs:
        raise SomeFailed(failures, runs)


def _silent(line: str) -> None:
    """Progress messages are said once, by the first process."""


@contextmanager
def _open_folders(
    runs: Sequence[tuple[Path, TrainConfig]], manifest: Manifest, resume: bool
) -> Iterator[None]:
    """Makes or checks the run folders and keeps other processes out of them; one process does it for all."""
    with ExitStack() as locks:
        if is_first_process():
            with _told_to_others():
                for folder, config in runs:
                    locks.enter_context(locked(folder))
                    open_run(folder, config, manifest, resume=resume)
        else:
            _wait_for_first()
        yield


@contextmanager
def _told_to_others() -> Iterator[None]:
    """Lets the other processes go on, or end where this one cannot."""
    try:
        yield
    except UserError:
        agreed(False)
        raise
    agreed(True)


def _wait_for_first() -> None:
    if not agreed(True):
        raise UserError("the first process could not begin; its message says why")


def _require_one_program(runs: Sequence[tuple[Path, TrainConfig]]) -> None:
    """Refuses options that make no sense, and runs that cannot be trained as one program."""
    if not runs:
        raise UserError("no runs to train")
    for _, config in runs:
        validate(config)
        require_teacher(config)
        if config.tracker == "mlflow":
            require_mlflow()
    if len({folder.resolve() for folder, _ in runs}) < len(runs):
        raise UserError("two runs have the same folder: " + ", ".join(str(folder) for folder, _ in runs))
    for name in (*IN_THE_PROGRAM, "select"):
        values = sorted({str(getattr(config, name)) for _, config in runs})
        if len(values) > 1:
            raise UserError(
                f"runs that are trained together share one program, so {name} must be the same in all, and "
                f"is {', '.join(values)}: train them one after the other"
            )


def _read_manifest(manifest: str | Path, allow_outside: bool, say: Callable[[str], None]) -> Manifest:
    report = check_manifest(manifest, allow_outside=allow_outside)
    require_valid(report)
    for warning in report.warnings:
        say(f"warning: {warning}")
    contents = report.manifest
    for line in describe_splits(contents):
        say(line)
    if not contents.of_split("train"):
        raise UserError(f"{manifest} has no patches in the split train")
    return contents
