"""Many seeds in one program: the train step under `vmap`, `unroll` or `map`, and which to take.

Seeds share shapes and a compiled program, and nothing else: each has its own patches, order, keys and task.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from l2s_jax.system.devices import put_on_device
from l2s_jax.train_step.step import StepFunction
from l2s_jax.types import of_one_size

Strategy = Literal["vmap", "unroll", "map"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


class Apart(NamedTuple):
    """Trees of several seeds, one for each: how `unroll` keeps them."""

    trees: tuple[Any, ...]

    def of(self, seed: int) -> Any:
        """The tree of one seed, counted from 0."""
        return self.trees[seed]


class Stacked(NamedTuple):
    """Trees of several seeds as one whose leaves have a leading axis: how `vmap` and `map` keep them."""

    tree: Any

    def of(self, seed: Any) -> Any:
        """The tree of one seed, counted from 0."""
        return jax.tree.map(lambda leaf: leaf[seed], self.tree)


Seeds = Apart | Stacked
"""States, batches or metrics of several seeds."""

ManyStep = Callable[[Seeds, Seeds], tuple[Seeds, Seeds]]
"""States and batches of n seeds to states and metrics of n seeds, in the strategy's form (`as_form`)."""

MEASURED_STEPS, MEASURED_S = 3, 0.3
"""Steps that are measured at least, and seconds: GPUs take some quick steps to find their pace."""

PROMISE: dict[str, dict[Strategy, float]] = {
    "cpu": {"unroll": 1.0, "vmap": 10.0, "map": 100.0},
    "other": {"map": 1.0, "vmap": 2.0, "unroll": 2.0},
}
"""Strategies by platform, the most promising first, with the largest time relative to that one which is
feared of each. On CPUs convolutions of several kernels at once, which `vmap` asks for, take a slow path, and
those inside a loop, which is `map`, a ruinous one; on a GPU the three are close (benchmarks/README.md)."""


def stacked(seeds: Seeds) -> Stacked:
    """Seeds as one tree with a leading axis, of NumPy arrays where all leaves are."""
    if isinstance(seeds, Stacked):
        return seeds

    def together(*leaves: Any) -> Any:
        return (np if all(isinstance(leaf, np.ndarray) for leaf in leaves) else jnp).stack(leaves)

    return Stacked(jax.tree.map(together, *seeds.trees))


def apart(seeds: Seeds, n: int) -> Apart:
    """Seeds as a tree for each of n."""
    return seeds if isinstance(seeds, Apart) else Apart(tuple(seeds.of(i) for i in range(n)))


def as_form(seeds: Seeds, n: int, strategy: Strategy) -> Seeds:
    """Seeds as a strategy keeps them: `unroll` apart, `vmap` and `map` stacked.

    A stacked state would have to be cut and put together again in each unrolled step. That costs time and
    fuses with the arithmetic, which moves last bits, and XLA would not see that the n bodies are equal: it
    compiles n equal bodies in little more time than one.

    Args:
      seeds: in either form.
      n: number of seeds.
      strategy: as given to `many_step`.
    """
    return apart(seeds, n) if strategy == "unroll" else stacked(seeds)


def many_step(step: StepFunction, strategy: Strategy) -> ManyStep:
    """The step for several seeds; pure, not yet jitted, and strict about the strategy's form.

    Args:
      step: from `make_train_step`.
      strategy: `vmap`, one batched computation; `unroll`, a loop that is unrolled, whose seeds come out on a
        CPU with the very bits of `jit_train_step`; `map`, a loop that is not.
    """
    body = jax.jit(step)  # traced once

    def unrolled(states: Any, batches: Any) -> tuple[Seeds, Seeds]:
        done = [body(state, batch) for state, batch in zip(states.trees, batches.trees, strict=True)]
        return Apart(tuple(state for state, _ in done)), Apart(tuple(metrics for _, metrics in done))

    def batched(states: Any, batches: Any) -> tuple[Seeds, Seeds]:
        after, metrics = jax.vmap(step)(states.tree, batches.tree)
        return Stacked(after), Stacked(metrics)

    def looped(states: Any, batches: Any) -> tuple[Seeds, Seeds]:
        after, metrics = jax.lax.map(lambda pair: step(*pair), (states.tree, batches.tree))
        return Stacked(after), Stacked(metrics)

    return {"unroll": unrolled, "vmap": batched, "map": looped}[strategy]


class JittedStep:
    """The compiled step of n seeds: what `jit_many_step` makes."""

    def __init__(self, step: StepFunction, n: int, strategy: Strategy):
        self._n, self._strategy = n, strategy
        self._program = jax.jit(many_step(step, strategy), donate_argnums=0)
        self._compiling: Future[Any] | None = None

    def compile_ahead(self, states: Seeds, batches: Seeds) -> None:
        """Begins to compile in another thread, while this one prepares what the first step needs.

        The first step waits for it, and raises what went wrong.

        Args:
          states: shapes and dtypes of the states, or states, in either form of `as_form`.
          batches: batches like all that come, likewise.
        """
        shapes = jax.eval_shape(lambda *seeds: tuple(map(self._formed, seeds)), states, self._filled(batches))
        pool = ThreadPoolExecutor(1, thread_name_prefix="compile")
        self._compiling = pool.submit(lambda: self._program.lower(*shapes).compile())
        pool.shutdown(wait=False)

    def __call__(self, states: Seeds, batches: Seeds) -> tuple[Seeds, Seeds]:
        """One step of every seed."""
        on_device = put_on_device(self._formed(self._filled(batches)))
        if self._compiling is not None:
            self._compiling.result()
            self._compiling = None
        return self._program(self._formed(states), on_device)

    def _filled(self, batches: Seeds) -> Seeds:
        if self._strategy != "unroll" and isinstance(batches, Apart):
            return Apart(tuple(of_one_size(batches.trees)))
        return batches

    def _formed(self, seeds: Seeds) -> Seeds:
        return as_form(seeds, self._n, self._strategy)


def jit_many_step(step: StepFunction, n: int, strategy: Strategy) -> JittedStep:
    """Compiles the step of n seeds; the states that go in are given up (donated).

    Args:
      step: from `make_train_step`.
      n: number of seeds.
      strategy: see `many_step`.

    Returns:
      A function that takes states and batches in either form of `as_form` and gives states and metrics in
      the strategy's own. Batches that are apart can differ in size: `unroll` takes them as they are, the
      others with padding rows, which change nothing but rounding.
    """
    return JittedStep(step, n, strategy)


def _feared() -> dict[Strategy, float]:
    return PROMISE.get(jax.default_backend(), PROMISE["other"])


Compiler = Callable[[StepFunction, int, Strategy], ManyStep]
"""What `jit_many_step` is; `device_mesh.jit_mesh_step` on several devices."""


class Measured(NamedTuple):
    """A strategy that was tried."""

    program: ManyStep
    ms: float  # a step of all seeds, the fastest of a few
    first_s: float  # the first step, compilation included


def measure_strategies(
    step: StepFunction,
    states: Seeds,
    batches: Seeds,
    n: int,
    *,
    strategies: Sequence[Strategy] | None = None,
    limit_s: float = 60.0,
    compiler: Compiler | None = None,
) -> tuple[dict[Strategy, Measured], dict[Strategy, str]]:
    """Tries strategies on real states and batches, the most promising first, within a limit of time.

    The first is always tried. Another is left out where the time that is feared of it (`PROMISE`, times the
    best so far) is more than what is left, and is not repeated where its second step, the first one being
    compiled, shows it slower. One that fails, for want of memory say, costs the others nothing.

    Args:
      step: from `make_train_step`.
      states: of n seeds, in either form; they stay valid.
      batches: likewise.
      n: number of seeds.
      strategies: those to try, all by default.
      limit_s: seconds for all together, compilation included. Overrun by one compilation at most, or by a
        step that is slower than feared.
      compiler: `jit_many_step`, or another like it.

    Returns:
      What was measured, and why the others were not, in words.

    Raises:
      jax.errors.JaxRuntimeError: none of them ran.
    """
    feared = _feared()
    measured: dict[Strategy, Measured] = {}
    left_out: dict[Strategy, str] = {}
    failure: Exception | None = None
    began = time.perf_counter()
    for strategy in sorted(strategies or STRATEGIES, key=lambda name: feared[name]):
        best = min((tried.ms for tried in measured.values()), default=0.0)
        fear = feared[strategy] * best / 1e3
        left = limit_s - (time.perf_counter() - began)
        if measured and fear >= left:
            left_out[strategy] = f"a step may take {fear:.3g} s, with {max(left, 0):.3g} s left to try it"
            continue
        program = (compiler or jit_many_step)(step, n, strategy)
        try:
            measured[strategy] = _measure(program, states, batches, best)
        except jax.errors.JaxRuntimeError as error:  # out of memory above all
            failure = error
            left_out[strategy] = f"it failed: {str(error).splitlines()[0]}"
    if failure is not None and not measured:
        raise failure
    return measured, left_out


def _measure(program: ManyStep, states: Seeds, batches: Seeds, best_ms: float) -> Measured:
    states = jax.tree.map(jnp.copy, states)  # the program takes what it is given
    times: list[float] = []
    while len(times) <= MEASURED_STEPS or sum(times[1:]) < MEASURED_S:
        start = time.perf_counter()
        states, metrics = program(states, batches)
        jax.block_until_ready((states, metrics))
        times.append(time.perf_counter() - start)
        if best_ms and min(times[1:], default=0.0) * 1e3 > 1.5 * best_ms:
            break
    return Measured(program, min(times[1:]) * 1e3, times[0])


def fastest(measured: Mapping[Strategy, Measured]) -> Strategy:
    """The strategy that took least."""
    return min(measured, key=lambda name: measured[name].ms)
