"""The state at step 0: random weights, in whole or in part replaced by given ones."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2s_jax.config import TrainConfig
from l2s_jax.models.network import L2S, init_variables
from l2s_jax.models.state_dict import load_encoder
from l2s_jax.train_step.step import Task, TrainState, init_state, make_optimizer

RUN_ONCE = {"xla_backend_optimization_level": "1"}
"""XLA's options for a program that takes longer to compile than to run; the bits are the same."""


class InitialWeights(NamedTuple):
    """Weights that replace random ones; without any, all stay random."""

    encoder: dict[str, np.ndarray] | None = None  # a ResNet-18, by torchvision's names
    variables: dict[str, Any] | None = None  # params and batch_stats of an earlier run, or a part of them


RANDOM = InitialWeights()


@partial(jax.jit, static_argnums=(0, 1), compiler_options=RUN_ONCE)
def _random(model: L2S, learning_rate: float, task: Task, key: jax.Array) -> TrainState:
    return init_state(model, make_optimizer(learning_rate), task, key)


def state_shapes(config: TrainConfig, model: L2S, task: Task) -> TrainState:
    """Shapes and dtypes of a run's state."""
    return _random.eval_shape(model, config.learning_rate, task, jax.random.key(config.seed))


def require_encoder(state_dict: dict[str, np.ndarray], source: str) -> None:
    """Raises `UserError` where weights are not those of a ResNet-18: before anything is begun with them."""
    model = L2S(classes=2)
    shapes = jax.eval_shape(lambda: init_variables(model, jax.random.key(0)))
    load_encoder(shapes, state_dict, source)


def first_state(config: TrainConfig, model: L2S, task: Task, weights: InitialWeights = RANDOM) -> TrainState:
    """The state at step 0.

    Args:
      config: the run's options.
      model: of the run.
      task: what the run is told about its data.
      weights: replace random ones.

    Raises:
      UserError: the encoder's weights are not those of a ResNet-18.
    """
    state = _random(model, config.learning_rate, task, jax.random.key(config.seed))
    variables: dict[str, Any] = {"params": state.params, "batch_stats": state.batch_stats}
    if weights.encoder is not None:
        variables, _ = load_encoder(variables, weights.encoder, config.weights)
    if weights.variables is not None:
        # Copies: the train step gives up (donates) what it is given, and several runs can start from these.
        taken = jax.tree.map(jnp.array, weights.variables)
        variables = {kind: {**variables[kind], **taken[kind]} for kind in variables}
    return state._replace(params=variables["params"], batch_stats=variables["batch_stats"])
