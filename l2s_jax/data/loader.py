"""Batches through Grain: a pure function of the step number, so any number of threads gives the same."""

from collections.abc import Callable
from typing import NamedTuple

import grain
import numpy as np

from l2s_jax.data.patch_set import PatchSet
from l2s_jax.data.subsets import Subset
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL, PADDING, Batch

Plan = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Step number to row numbers i32[B] (PADDING where empty) and their epochs i32[B]."""


class Schedule(NamedTuple):
    """The order of a run's patches."""

    rows_of_step: Plan
    steps_per_epoch: int
    batch: int  # places in a batch


def shuffled_schedule(rows: np.ndarray, batch_size: int, seed: int) -> Schedule:
    """Every row exactly once an epoch, in a new order each; the last batch of an epoch may be part empty.

    Fewer rows than a batch holds make smaller batches: a handful of masks does not pay for empty places.
    """
    batch_size = min(batch_size, max(len(rows), 1))
    steps_per_epoch = -(-len(rows) // batch_size)

    def rows_of_step(step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, k = divmod(step, steps_per_epoch)
        order = _epoch_order(rows, seed, epoch, 0)[k * batch_size : (k + 1) * batch_size]
        padded = np.full(batch_size, PADDING, np.int32)
        padded[: len(order)] = order
        return padded, np.full(batch_size, epoch, np.int32)

    return Schedule(rows_of_step, steps_per_epoch, batch_size)


def balanced_schedule(
    mask_rows: np.ndarray, label_rows: np.ndarray, batch_size: int, mask_share: float, seed: int
) -> Schedule:
    """A fixed share of mask patches in each batch; each kind goes round at its own pace.

    An epoch is as long as for the shuffled union. With only one kind of patch this is `shuffled_schedule`.
    """
    if not len(mask_rows) or not len(label_rows):
        return shuffled_schedule(np.concatenate([mask_rows, label_rows]), batch_size, seed)
    n_mask = min(max(round(mask_share * batch_size), 1), batch_size - 1)
    steps_per_epoch = -(-len(np.union1d(mask_rows, label_rows)) // batch_size)

    def rows_of_step(step: int) -> tuple[np.ndarray, np.ndarray]:
        masks = _round_robin(mask_rows, seed, step * n_mask, n_mask, 1)
        labels = _round_robin(label_rows, seed, step * (batch_size - n_mask), batch_size - n_mask, 2)
        return tuple(np.concatenate(pair) for pair in zip(masks, labels, strict=True))  # type: ignore

    return Schedule(rows_of_step, steps_per_epoch, batch_size)


def _epoch_order(rows: np.ndarray, seed: int, epoch: int, stream: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch, stream)).permutation(rows)


def _round_robin(
    rows: np.ndarray, seed: int, start: int, count: int, stream: int
) -> tuple[np.ndarray, np.ndarray]:
    """`count` places from `start` of the endless sequence of reshuffled rows, and which round each is in."""
    places = np.arange(start, start + count)
    rounds = places // len(rows)
    orders = {r: _epoch_order(rows, seed, int(r), stream) for r in np.unique(rounds)}
    picked = [orders[r][p % len(rows)] for r, p in zip(rounds, places, strict=True)]
    return np.array(picked, np.int32), rounds.astype(np.int32)


def make_batch(patches: PatchSet, subset: Subset, rows: np.ndarray, epochs: np.ndarray) -> Batch:
    """Gathers one batch of static shape; empty places have neither flag."""
    real = rows != PADDING
    images = np.zeros((len(rows), *patches.size, 3), np.uint8)
    masks = np.full((len(rows), *patches.size), IGNORE_PIXEL, np.uint8)
    images[real], masks[real] = patches.fetch(rows[real])
    index = np.where(real, rows, 0)
    has_mask = real & subset.has_mask[index]
    has_label = real & subset.has_label[index]
    # A mask that this run may not use never reaches the device.
    masks[~has_mask] = IGNORE_PIXEL
    label = np.where(has_label, patches.label[index], IGNORE_LABEL).astype(np.int32)
    allowed = patches.allowed[index] | ~has_label[:, None]
    return Batch(images, masks, label, has_mask, has_label, rows.astype(np.int32), epochs, allowed)


def batches(
    patches: PatchSet, subset: Subset, schedule: Schedule, steps: int, threads: int
) -> grain.DatasetIterator[Batch]:
    """Batches of steps 0..steps-1; the iterator's state is the next step's number and can be checkpointed."""
    dataset = grain.MapDataset.range(steps).map(
        lambda step: make_batch(patches, subset, *schedule.rows_of_step(int(step)))
    )
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * threads, 4))
    return iter(dataset.to_iter_dataset(options))
