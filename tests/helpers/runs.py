"""Small runs, and what is left of them."""

import jax
import numpy as np

from l2s_jax.config import TrainConfig
from l2s_jax.models.network import L2S
from l2s_jax.runs import checkpoints
from l2s_jax.runs.checksums import SUMS
from l2s_jax.runs.folder import LAST, SUBSET
from l2s_jax.runs.records import keep_text
from l2s_jax.train_step.step import Objective, Task
from l2s_jax.training.initial_weights import first_state

TINY = TrainConfig(weights="random", batch_size=8, epochs=3, learning_rate=1e-3, draw=1)
"""Few steps of few small patches; every test that trains shares its shapes, so that it compiles once."""


def quiet(line):
    pass


def blank_task(classes=4):
    """What a run is told about its data, of the right shapes and all zero."""
    weights, channels = np.zeros(classes, np.float32), np.zeros(3, np.float32)
    return Task(weights, weights, channels, channels, Objective(*np.zeros(3, np.float32)))


def last_state(run, config, classes=4):
    """The last checkpoint's state as arrays."""
    like = first_state(config, L2S(classes, config.head, decoder=config.decoder), blank_task(classes))
    items, _, step = checkpoints.load(run / LAST, {"state": like})
    state = items["state"]._replace(key=jax.random.key_data(items["state"].key))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)], step


def with_slide(run, slide):
    """Has a run say that its first patch was cut from a slide."""
    head, *rows = (run / SUBSET).read_text().splitlines()
    lines = [f"{head.removesuffix(',slide')},slide"]
    lines += [f"{','.join(row.split(',')[:5])},{'' if number else slide}" for number, row in enumerate(rows)]
    keep_text(run, SUBSET, "".join(f"{line}\n" for line in lines))


def take_out_sum(run, name):
    """What the message asks of whoever changed a file of a run on purpose: its line leaves the checksums."""
    sums = run / SUMS
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if name not in line))
