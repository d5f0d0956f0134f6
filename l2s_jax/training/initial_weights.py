"""What a run starts from: random weights, an encoder's, or the network of another run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2s_jax.config import TrainConfig
from l2s_jax.data.manifest import Manifest
from l2s_jax.models.network import L2S
from l2s_jax.models.port import load_encoder
from l2s_jax.runs.folder import EarlierRun, read_run_classes, require_held_out
from l2s_jax.runs.network import load_network
from l2s_jax.runs.pretrained import encoder_weights
from l2s_jax.step.train_step import Task, TrainState, init_state, make_optimizer

RUN_ONCE = {"xla_backend_optimization_level": "1"}
"""XLA's options for a program that takes longer to compile than to run; the bits are the same."""


class Start(NamedTuple):
    """Weights that replace random ones; without any, all stay random."""

    encoder: dict[str, np.ndarray] | None = None  # a ResNet-18, by torchvision's names
    variables: dict[str, Any] | None = None  # params and batch_stats of another run, or a part of them
    run: EarlierRun | None = None  # that run


RANDOM = Start()


def read_start(config: TrainConfig, manifest: Manifest, *, say: Callable[[str], None] = print) -> Start:
    """Reads what `config.weights` names.

    A folder is taken for a run: its best network as a whole where its classes and head are the new run's,
    else the encoder alone.

    Args:
      config: the new run's options.
      manifest: what the new run is going to learn from.
      say: receives what a person should read.

    Raises:
      UserError: there are no such weights, or that run has learned from patients or slides of this manifest's
        validation or test split.
    """
    folder = Path(config.weights).expanduser()
    if config.weights in ("auto", "random") or not folder.is_dir():
        return Start(encoder=encoder_weights(config.weights, say=say))
    network, facts = load_network(folder)
    groups = require_held_out(folder, manifest, "--weights")
    classes, head = read_run_classes(folder).names, facts.head
    whole = (classes, head) == (manifest.classes.names, config.head)
    part = "the whole network" if whole else "the encoder"
    why = "" if whole else f", since its classes or head are others ({', '.join(classes)}; {head})"
    say(f"starting from {part} of the run {folder}{why}")
    variables = {
        kind: dict(tree) if whole else {"encoder": tree["encoder"]}
        for kind, tree in network.variables.items()
    }
    return Start(variables=variables, run=EarlierRun("weights", str(folder), part, groups))


@partial(jax.jit, static_argnums=(0, 1), compiler_options=RUN_ONCE)
def _random(model: L2S, learning_rate: float, task: Task, key: jax.Array) -> TrainState:
    return init_state(model, make_optimizer(learning_rate), task, key)


def state_shapes(config: TrainConfig, model: L2S, task: Task) -> TrainState:
    """Shapes and dtypes of a run's state."""
    return _random.eval_shape(model, config.learning_rate, task, jax.random.key(config.seed))


def first_state(config: TrainConfig, model: L2S, task: Task, start: Start = RANDOM) -> TrainState:
    """The state at step 0."""
    state = _random(model, config.learning_rate, task, jax.random.key(config.seed))
    variables: dict[str, Any] = {"params": state.params, "batch_stats": state.batch_stats}
    if start.encoder is not None:
        variables, _ = load_encoder(variables, start.encoder, config.weights)
    if start.variables is not None:
        # Copies: the train step gives up (donates) what it is given, and several runs can start from these.
        taken = jax.tree.map(jnp.array, start.variables)
        variables = {kind: {**variables[kind], **taken[kind]} for kind in variables}
    return state._replace(params=variables["params"], batch_stats=variables["batch_stats"])
