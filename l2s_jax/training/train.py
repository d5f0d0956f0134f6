"""Training from a manifest to run folders: loop, validate, keep the best, survive being killed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax

from l2s_jax.config import TrainConfig, selection_split, validate
from l2s_jax.data.check import check_manifest, require_valid
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.patch_set import load_patches
from l2s_jax.models.network import L2S, count_parameters
from l2s_jax.prediction.judging import Picture, read_pictures
from l2s_jax.prediction.tiles import Tiling
from l2s_jax.runs import checkpoints
from l2s_jax.runs.events import EVENTS, EventFile, events
from l2s_jax.runs.folder import (
    ENVIRONMENT,
    FINISHED,
    LAST,
    NetworkFacts,
    environment,
    open_run,
    write_network_facts,
    write_subset,
)
from l2s_jax.step.mesh import make_mesh
from l2s_jax.step.seeds import unstack
from l2s_jax.step.train_step import TrainState
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import locked, write_json
from l2s_jax.system.processes import agreed, is_first_process
from l2s_jax.system.progress import track
from l2s_jax.system.stopping import Stopped, stop_requests
from l2s_jax.training.lineage import keep_basis, read_bases
from l2s_jax.training.plan import RunPlan, describe_splits, describe_subset, plan_run
from l2s_jax.training.program import Devices, Program, Wanted, batch_of, choose_program, compile_ahead
from l2s_jax.training.run import RunLoop, Setup
from l2s_jax.types import Batch

FETCH_EVERY = 50
"""Steps between two looks at the losses: often enough to stop soon, seldom enough not to wait for each."""

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
      say: receives what a person should read.

    Returns:
      The run folder: `l2s evaluate` and `l2s predict` take it.

    Raises:
      UserError: faulty data, options or folder; a loss that is not finite.
      Stopped: interrupted; the run can be resumed.
    """
    runs = [(out, config or TrainConfig())]
    return train_together(
        manifest, runs, devices=devices, resume=resume, allow_outside=allow_outside, say=say
    )[0]


def train_together(
    manifest: str | Path,
    runs: Sequence[tuple[str | Path, TrainConfig]],
    *,
    strategy: Wanted = "auto",
    devices: Devices = 1,
    resume: bool = False,
    allow_outside: bool = False,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Trains several networks on one manifest as one program, each into a run folder of its own.

    Each comes out as `train` alone would leave it: with the strategy `unroll` on a CPU to the same bits, else
    but for rounding. They can differ in all options but those of `IN_THE_PROGRAM`. One that has fewer steps
    to take waits for the others with its place in the program taken: give `steps` where epochs differ much.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      runs: run folder and options of each; folders as in `train`.
      strategy: how the runs share the program (`seeds.many_step`); `auto` measures and takes the fastest.
      devices: how many to spread the runs and their batches over, or all of them; see docs/scale_out.md.
      resume: go on from each run's last checkpoint; runs that are finished are left alone.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives what a person should read.

    Returns:
      The run folders, in the order of `runs`.

    Raises:
      UserError: faulty data, options or folders; after all others have finished, runs whose loss is not
        finite.
      Stopped: interrupted; the runs can be resumed.
    """
    folders, configs = [Path(folder) for folder, _ in runs], [config for _, config in runs]
    for config in configs:
        validate(config)
    _require_one_program(folders, configs)
    first = is_first_process()
    say = say if first else _silent
    contents = _read_manifest(manifest, allow_outside, say)
    patches = load_patches(contents.of_split("train"), contents.classes, configs[0].memory_gib)
    plans = [plan_run(config, patches, contents.classes) for config in configs]
    for folder, plan, config in zip(folders, plans, configs, strict=True):
        name = f"{folder.name}: " if len(runs) > 1 else ""
        say(name + describe_subset(plan, config))
    begun = [resume and checkpoints.latest_step(folder / LAST) is not None for folder in folders]
    finished = [(folder / FINISHED).exists() and not old for folder, old in zip(folders, begun, strict=True)]
    # Read before a folder is made: a missing file must not leave a half-begun run behind.
    bases = read_bases(folders, configs, plans, contents, begun, finished, say)
    plans = [basis.plan for basis in bases]
    make_mesh(len(runs), devices)  # refuses devices that there are not, before a folder is made
    with ExitStack() as locks:
        if first:
            with _told_to_others():
                for folder, config in zip(folders, configs, strict=True):
                    locks.enter_context(locked(folder))
                    open_run(folder, config, contents, resume=resume)
        else:
            _wait_for_first()
        loops = []
        fresh = not any(begun + finished)
        ahead = compile_ahead(configs, plans, len(contents.classes), strategy, devices) if fresh else None
        pictures = _pictures(configs[0], contents, say)
        for i, (folder, config, basis) in enumerate(zip(folders, configs, bases, strict=True)):
            if finished[i]:
                say(f"{folder} is finished")
                continue
            setup = _set_up(config, folder, basis.plan, contents, pictures, say)
            if first:
                _describe_run(setup, contents)
                if not begun[i]:
                    keep_basis(folder, basis)
            loops.append(RunLoop(setup, basis.start, 1 / len(runs), first, agreed))
        _fit(loops, strategy, devices, say, ahead)
    failures = [(loop.setup.folder, loop.failure) for loop in loops if loop.failure is not None]
    if failures:
        raise _failed(failures, len(runs))
    for folder in folders:
        say(f"done: {folder} (open {folder / 'report.html'})")
    return folders


def _silent(line: str) -> None:
    """What a person should read is read once, from the first process."""


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


def _require_one_program(folders: Sequence[Path], configs: Sequence[TrainConfig]) -> None:
    if not configs:
        raise UserError("no runs to train")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("two runs have the same folder: " + ", ".join(map(str, folders)))
    for name in (*IN_THE_PROGRAM, "select"):
        values = sorted({str(getattr(config, name)) for config in configs})
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


def _pictures(config: TrainConfig, manifest: Manifest, say: Callable[[str], None]) -> tuple[Picture, ...]:
    """The split on which epochs are judged."""
    split = selection_split(config)
    pictures = tuple(read_pictures(manifest.of_split(split), manifest.classes))
    if split == "test":
        if not pictures:
            raise UserError("select = 'test-maximum' needs a split test, and the manifest has none")
        say("warning: epochs are chosen on the test split itself, as in the release: its figures flatter")
    return pictures


def _set_up(
    config: TrainConfig,
    folder: Path,
    plan: RunPlan,
    manifest: Manifest,
    pictures: tuple[Picture, ...],
    say: Callable[[str], None],
) -> Setup:
    tile = plan.patches.size[0]
    model = L2S(len(manifest.classes), config.head)
    tiling = Tiling(tile, max(tile // 2, 1), batch_size=config.batch_size)
    return Setup(config, folder, plan, model, pictures, tiling, say)


def _describe_run(setup: Setup, manifest: Manifest) -> None:
    """Writes what is known before the first step."""
    plan, folder = setup.plan, setup.folder
    mpps = {row.mpp for row in plan.patches.rows if row.mpp is not None}
    facts = NetworkFacts(
        plan.patches.size[0],
        setup.config.head,
        tuple(map(float, plan.eval_mean)),
        tuple(map(float, plan.eval_std)),
        mpps.pop() if len(mpps) == 1 else None,
    )
    write_network_facts(folder, facts)
    if not (folder / ENVIRONMENT).exists():
        write_json(folder / ENVIRONMENT, environment())
    write_subset(folder, plan.patches, plan.chosen, manifest.folder)


def _fit(
    loops: Sequence[RunLoop],
    strategy: Wanted,
    devices: Devices,
    say: Callable[[str], None],
    ahead: Program | None,
) -> None:
    """Trains all runs until each has taken its last step or has failed."""
    for loop in loops:
        if loop.resumed:
            name = f"{loop.setup.folder.name}: " if len(loops) > 1 else ""
            say(f"{name}resuming after step {loop.number} of {loop.setup.plan.steps}")
    going = [loop for loop in loops if loop.going]
    if going:
        if not going[0].resumed:
            say(f"{count_parameters(going[0].first.params):,} parameters on {jax.devices()[0].device_kind}")
        program = ahead if ahead is not None else _chosen(going, strategy, devices, say)
        _take_steps(going, program)
    for loop in loops:
        if loop.failure is None and (loop not in going or jax.process_count() > 1):
            loop.finish()


def _chosen(
    loops: Sequence[RunLoop], strategy: Wanted, devices: Devices, say: Callable[[str], None]
) -> Program:
    setup, states = loops[0].setup, [loop.first for loop in loops]

    def batches() -> list[Batch]:
        return [batch_of(loop.setup.plan, loop.number) for loop in loops]

    return choose_program(setup.model, setup.config, states, batches, strategy, devices, say)


def _take_steps(loops: Sequence[RunLoop], program: Program) -> None:
    """The loop over steps. Runs that have ended keep their place, with a batch that is of no consequence."""
    states: Any = tuple(loop.first for loop in loops)
    n = len(loops)
    for loop in loops:
        del loop.first  # the program gives it up (donates it) in its first step
    alone = jax.process_count() == 1
    latest: list[Any] = [None] * n
    pending: list[Any] = []
    going = list(loops)
    most = max(loop.setup.plan.steps - loop.number for loop in loops)
    with stop_requests() as stop, ExitStack() as stack:
        files = [stack.enter_context(events(loop.setup.folder / EVENTS, loop.number)) for loop in loops]
        for _ in track(range(most), "training", most, "steps"):
            for i, loop in enumerate(loops):
                if loop in going:
                    latest[i] = loop.next_batch()
            states, metrics = program.step(states, latest)
            pending.append(metrics)
            due = len(pending) == FETCH_EVERY or any(loop.epoch_ends for loop in going)
            # The clocks and signals of several processes are compared only where all take a look anyway.
            if not due and not (alone and (stop.is_set() or any(loop.save_is_due for loop in going))):
                continue
            stopping = agreed(stop.is_set())
            fetched, pending = [unstack(step, n) for step in jax.device_get(pending)], []
            for i, loop in enumerate(loops):
                if loop in going:
                    loop.collect([step[i] for step in fetched])
                    _look(loop, partial(program.state_of, states, i), files[i], stopping)
            going = [loop for loop in going if loop.going]
            if going and stopping:
                raise _stopped(loops)
            if not going:
                return


def _look(loop: RunLoop, state: Callable[[], TrainState], file: EventFile, stopping: bool) -> None:
    """What follows the latest steps of a run: the end of an epoch, a checkpoint, the end of the run."""
    if loop.failure is not None:
        loop.write_rows()
        loop.setup.say(f"{loop.setup.folder} cannot go on: its loss is not finite")
        return
    if loop.epoch_ends:
        loop.end_epoch(state, file)
    if agreed(loop.save_is_due) or (stopping and loop.going):
        loop.save(state())
    # The report reads the best network in one process, and Orbax counts what it does: were it not left to the
    # end, the next checkpoint would have different names in different processes, which wait for each other.
    if not loop.going and jax.process_count() == 1:
        loop.finish()


def _stopped(loops: Sequence[RunLoop]) -> Stopped:
    first = loops[0]
    folder = first.setup.folder if len(loops) == 1 else first.setup.folder.parent
    return Stopped(
        f"stopped after step {first.number} of {first.setup.plan.steps}; go on with --resume --out {folder}"
    )


def _failed(failures: Sequence[tuple[Path, UserError]], runs: int) -> UserError:
    if runs == 1:
        return failures[0][1]
    lines = [f"{folder}: {error}" for folder, error in failures]
    heading = f"{len(failures)} of {runs} runs could not be finished; the others are"
    return UserError("\n".join([heading, *lines]), exit_code=3)
