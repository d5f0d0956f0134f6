"""How long a step takes, before the first that counts."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

TIMED_STEPS = 3


def seconds_a_step(step: Callable[[Any, Any], tuple[Any, Any]], state: Any, batch: Any) -> float:
    """Median seconds of `TIMED_STEPS` steps on a copy of the state, which stays as it is.

    Args:
      step: `(state, batch) -> (state, metrics)`; may take over the memory of the state that it is given.
      state: that the steps begin from.
      batch: of each of them.
    """
    state, times = jax.tree.map(jnp.copy, state), []
    for _ in range(TIMED_STEPS + 1):  # the first waits for the compiler
        start = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[TIMED_STEPS // 2]
