"""The step of one or several runs as one program: by which strategy, on which devices, compiled when."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax

from l2s_jax.config import TrainConfig
from l2s_jax.data.loader import make_batch
from l2s_jax.models.network import L2S
from l2s_jax.train_step.device_mesh import describe_mesh, jit_mesh_step, make_mesh, state_on_mesh
from l2s_jax.train_step.seeds import (
    Apart,
    Compiler,
    ManyStep,
    Seeds,
    Strategy,
    fastest,
    jit_many_step,
    measure_strategies,
)
from l2s_jax.train_step.step import TrainState, step_function
from l2s_jax.training.initial_weights import state_shapes
from l2s_jax.training.plan import RunPlan
from l2s_jax.training.setup import RunSetup
from l2s_jax.types import Batch

ALONE: Strategy = "unroll"
"""Strategy of a run that is trained alone: the step as it is."""

StrategyOption = Strategy | Literal["auto"]
"""The option `strategy`: one of them, or the fastest that is measured."""

Devices = int | Literal["all"]


class Program(NamedTuple):
    """The device's side of the loop."""

    step: ManyStep
    state_of: Callable[[Any, int], TrainState]  # the state of one run among those of all


def batch_of(plan: RunPlan, step: int) -> Batch:
    """The batch of a step, made in the thread that asks for it."""
    return make_batch(plan.patches, plan.subset, *plan.schedule.rows_of_step(step))


def compile_ahead(setups: Sequence[RunSetup], strategy: StrategyOption, devices: Devices) -> Program | None:
    """Begins to compile the step while runs are made ready, where it is known which program to take.

    Args:
      setups: of each run; what is compiled into the step is the same in all.
      strategy: see `seeds.many_step`; with "auto" and several runs nothing is known before it is measured.
      devices: see `device_mesh.make_mesh`.

    Returns:
      The program, whose first step waits for it; None where it has to be chosen when the runs are ready.
    """
    n, known = len(setups), _known(strategy, len(setups))
    if known is None or jax.process_count() > 1 or make_mesh(n, devices) is not None:
        return None
    program = jit_many_step(step_function(setups[0].model, setups[0].config), n, known)
    states = tuple(state_shapes(setup.config, setup.model, setup.plan.task) for setup in setups)
    batches = tuple(batch_of(setup.plan, 0) for setup in setups)
    program.compile_ahead(Apart(states), Apart(batches))
    return Program(program, _state_of)


def choose_program(
    model: L2S,
    config: TrainConfig,
    states: Sequence[TrainState],
    batches: Callable[[], list[Batch]],
    strategy: StrategyOption,
    devices: Devices,
    say: Callable[[str], None],
) -> Program:
    """The step of all runs, by the strategy that is asked for or measures fastest.

    Args:
      model: of all runs.
      config: of one run; what is compiled into the step is the same in all.
      states: of each run; they stay valid.
      batches: gives a batch of each run, to measure with.
      strategy: see `seeds.many_step`; "auto" measures.
      devices: how many to spread the runs over; see `device_mesh.make_mesh`.
      say: receives what was picked, and why.
    """
    n, mesh = len(states), make_mesh(len(states), devices)
    step = step_function(model, config)
    compiler: Compiler
    if mesh is None:
        compiler, state_of = jit_many_step, _state_of
    else:
        say(describe_mesh(mesh))
        compiler, state_of = partial(jit_mesh_step, mesh=mesh), partial(state_on_mesh, mesh=mesh)
    known = _known(strategy, n)
    if known is not None:
        return Program(compiler(step, n, known), state_of)
    measured, left_out = measure_strategies(
        step, Apart(tuple(states)), Apart(tuple(batches())), n, compiler=compiler
    )
    chosen = fastest(measured)
    times = [f"{name} {tried.ms:.0f} ms" for name, tried in measured.items()]
    times += [f"{name} not tried ({why})" for name, why in left_out.items()]
    say(f"strategy {chosen} for {n} runs at once. Time of a step of all: " + "; ".join(times))
    return Program(measured[chosen].program, state_of)


def _state_of(states: Seeds, i: int) -> TrainState:
    return states.of(i)


def _known(strategy: StrategyOption, n: int) -> Strategy | None:
    """The strategy, unless it has to be measured first."""
    if strategy != "auto":
        return strategy
    if n == 1 or jax.process_count() > 1:  # the clocks of several processes could choose differently
        return ALONE
    return None
