"""Seeds with tasks and batches of their own."""

import numpy as np

from helpers.runs import TINY
from l2s_jax.models.network import L2S
from l2s_jax.train_step.step import Objective, Task, make_optimizer, make_train_step
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL, Batch

N, STEPS, B, SIZE, C = 2, 4, 8, 32, 4
MODEL, OPTIMIZER = L2S(C), make_optimizer(TINY.learning_rate)
STEP = make_train_step(MODEL, OPTIMIZER, TINY)


def task(seed):
    """Class weights and channel statistics of a seed's own subset."""
    rng = np.random.default_rng(seed)
    ones = [np.float32(rng.uniform(0.5, 1, n)) for n in (C, C, 3, 3)]
    return Task(*ones, Objective(*np.float32([1, 0, 0])))


def batch(seed, number, rows=B):
    rng = np.random.default_rng((seed, number))
    has_mask = rng.random(rows) < 0.6
    has_label = ~has_mask | (rng.random(rows) < 0.3)
    mask = rng.integers(0, C, (rows, SIZE, SIZE)).astype(np.uint8)
    mask[~has_mask] = IGNORE_PIXEL
    label = np.where(has_label, rng.integers(0, C, rows), IGNORE_LABEL).astype(np.int32)
    image = rng.integers(0, 256, (rows, SIZE, SIZE, 3)).astype(np.uint8)
    index = rng.permutation(40)[:rows].astype(np.int32)
    epoch = np.full(rows, number // 2, np.int32)
    return Batch(image, mask, label, has_mask, has_label, index, epoch, np.ones((rows, C), bool))
