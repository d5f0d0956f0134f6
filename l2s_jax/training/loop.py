"""The loop over steps: all runs through one program, each until its last step or its failure."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import jax

from l2s_jax.models.network import count_parameters
from l2s_jax.runs.events import EVENTS, EventFile, events
from l2s_jax.system.errors import UserError
from l2s_jax.system.processes import agreed
from l2s_jax.system.progress import duration, track
from l2s_jax.system.stopping import Stopped, stop_requests
from l2s_jax.train_step.seeds import Apart, Seeds
from l2s_jax.train_step.step import TrainState
from l2s_jax.training.pace import TIMED_STEPS, seconds_a_step
from l2s_jax.training.phases import Stretch
from l2s_jax.training.program import Devices, Program, StrategyOption, batch_of, choose_program
from l2s_jax.training.run import NotFinite, TrainingRun
from l2s_jax.types import Batch

FETCH_EVERY = 50
"""Steps between two looks at the losses: often enough to stop soon, seldom enough not to wait for each."""


class SomeFailed(UserError):
    """Some of the runs that were trained together could not be finished; the others are.

    Attributes:
      failures: what ended each, with its folder.
    """

    def __init__(self, failures: Sequence[NotFinite], runs: int):
        self.failures = tuple(failures)
        heading = f"{len(failures)} of {runs} runs could not be finished; the others are"
        super().__init__("\n".join([heading, *map(str, failures)]), exit_code=3)


def fit(
    runs: Sequence[TrainingRun],
    strategy: StrategyOption,
    devices: Devices,
    say: Callable[[str], None],
    ahead: Program | None,
    stretch: Stretch,
) -> None:
    """Trains all runs until each has taken its last step or has failed.

    Args:
      runs: those that are not finished.
      strategy: how they share the program; see `choose_program`.
      devices: how many to spread them over.
      say: receives progress messages.
      ahead: the program, where it is known and compiling already.
      stretch: where these steps lie among those of all phases.

    Raises:
      NotFinite: the run's loss is not finite.
      SomeFailed: that of some of several runs is not; the others have finished.
      Stopped: interrupted, after all have saved their state.
    """
    for run in runs:
        if run.resumed:
            say(f"{run.setup.label}resuming after step {run.number} of {run.setup.plan.steps}")
    going = [run for run in runs if run.going]
    if going:
        if not going[0].resumed:
            say(f"{count_parameters(going[0].state.params):,} parameters on {jax.devices()[0].device_kind}")
            if going[0].setup.config.precision == "bfloat16" and jax.default_backend() == "cpu":
                say("note: on a CPU a step takes longer with --precision bfloat16 than without it")
        program = ahead if ahead is not None else _chosen(going, strategy, devices, say)
        if stretch.phases > 1 and jax.process_count() == 1:
            say(_time_to_come(going, program, stretch))
        _take_steps(going, program, stretch, say)
    for run in runs:
        if run.failure is None and (run not in going or jax.process_count() > 1):
            run.finish()
    failures = [run.failure for run in runs if run.failure is not None]
    if failures:
        raise failures[0] if len(runs) == 1 else SomeFailed(failures, len(runs))


def _chosen(
    runs: Sequence[TrainingRun], strategy: StrategyOption, devices: Devices, say: Callable[[str], None]
) -> Program:
    setup, states = runs[0].setup, [run.state for run in runs]

    def batches() -> list[Batch]:
        return [batch_of(run.setup.plan, run.number) for run in runs]

    return choose_program(setup.model, setup.config, states, batches, strategy, devices, say)


def _time_to_come(runs: Sequence[TrainingRun], program: Program, stretch: Stretch) -> str:
    """Says how long this phase and those after it take, from some steps on copies of the states."""
    plans = [run.setup.plan for run in runs]
    batches = Apart(tuple(batch_of(plan, run.number) for plan, run in zip(plans, runs, strict=True)))
    a_step = seconds_a_step(program.step, Apart(tuple(run.state for run in runs)), batches)
    here = stretch.number
    steps = [*stretch.steps[here:]]
    steps[0] -= min(run.number for run in runs)
    # A step of fewer patches is quicker.
    sized = [a_step * size / stretch.batches[here] for size in stretch.batches[here:]]
    seconds = sum(number * one for number, one in zip(steps, sized, strict=True))
    return (
        f"phase {here + 1} of {stretch.phases}: about {duration(seconds)} for {sum(steps):,} steps to the "
        f"end of the last phase, as {TIMED_STEPS} of this one took {a_step:.2g} s each and other phases have "
        "other batches; validation comes on top"
    )


def _take_steps(
    runs: Sequence[TrainingRun], program: Program, stretch: Stretch, say: Callable[[str], None]
) -> None:
    """The loop over steps. Runs that have ended stay in the program, with a batch that counts for nothing."""
    states: Seeds = Apart(tuple(run.give_up_state() for run in runs))
    alone = jax.process_count() == 1
    latest: list[Any] = [None] * len(runs)
    pending: list[Any] = []
    going = list(runs)
    most = max(run.setup.plan.steps - run.number for run in runs)
    with stop_requests() as stop, ExitStack() as stack:
        if alone and stop.is_set():  # asked for while the runs were made ready
            raise _stopped(runs)
        files = [stack.enter_context(events(run.setup.folder / EVENTS, run.number)) for run in runs]
        title, total, done = "training", most, 0
        if stretch.phases > 1:
            title = f"phase {stretch.number + 1} of {stretch.phases}"
            total, done = sum(stretch.steps), stretch.done + min(run.number for run in runs)
        for _ in track(range(most), title, total, "steps", done):
            for i, run in enumerate(runs):
                if run in going:
                    latest[i] = run.next_batch()
            states, metrics = program.step(states, Apart(tuple(latest)))
            pending.append(metrics)
            due = len(pending) == FETCH_EVERY or any(run.epoch_ends for run in going)
            # The clocks and signals of several processes are compared only where all take a look anyway.
            if not due and not (alone and (stop.is_set() or any(run.save_is_due for run in going))):
                continue
            stopping = agreed(stop.is_set())
            fetched, pending = jax.device_get(pending), []
            for i, run in enumerate(runs):
                if run in going:
                    run.collect([step.of(i) for step in fetched])
                    _follow_up(run, partial(program.state_of, states, i), files[i], stopping, say)
            going = [run for run in going if run.going]
            if going and stopping:
                raise _stopped(runs)
            if not going:
                return


def _follow_up(
    run: TrainingRun,
    state: Callable[[], TrainState],
    file: EventFile,
    stopping: bool,
    say: Callable[[str], None],
) -> None:
    """What follows the latest steps of a run: the end of an epoch, a checkpoint, the end of the run."""
    if run.failure is not None:
        run.write_rows()
        say(f"{run.setup.folder} cannot go on: its loss is not finite")
        return
    if run.epoch_ends:
        run.end_epoch(state, file)
    if agreed(run.save_is_due) or (stopping and run.going):
        run.save(state())
    # The report reads the best network in one process, and Orbax counts what it does: were it not left to the
    # end, the next checkpoint would have different names in different processes, which wait for each other.
    if not run.going and jax.process_count() == 1:
        run.finish()


def _stopped(runs: Sequence[TrainingRun]) -> Stopped:
    first = runs[0]
    folder = first.setup.folder if len(runs) == 1 else first.setup.folder.parent
    return Stopped(folder, first.number, first.setup.plan.steps)
