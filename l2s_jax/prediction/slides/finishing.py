"""From the sums of logits of finished rows to classes, entropy and probabilities."""

from typing import Any

import numpy as np

from l2s_jax.prediction.slides.job import Band, Sample, SlideJob
from l2s_jax.types import IGNORE_PIXEL


def finish(
    job: SlideJob,
    columns: tuple[int, int],
    row: int,
    total: np.ndarray,
    weight: np.ndarray,
    tiles_unread: int,
) -> Band:
    """Turns rows to which no tile will be added any more into their classes."""
    inside = np.ones(weight.shape, bool)
    codes = np.full(weight.shape, job.outside, np.uint8)
    if job.area is not None:
        here = np.ix_(job.area.rows[row : row + len(weight)], job.area.columns[columns[0] : columns[1]])
        inside = job.area.mask[here]
        if job.area.unknown is not None:
            codes[job.area.unknown[here]] = IGNORE_PIXEL
    known = inside & (weight > 0)
    codes[inside] = IGNORE_PIXEL
    sums: Any = total[known]
    codes[known] = sums.argmax(-1)
    entropy = None
    if job.entropy:
        entropy = np.zeros(weight.shape, np.uint8)
        entropy[known] = scaled_entropy(sums / (job.temperature * weight[known])[:, None])
    counts = np.bincount(codes[known], minlength=job.classes)
    sample = _sampled(job, columns, row, total, weight * known) if job.sampled is not None else None
    unread = int((inside & ~known).sum())
    return Band(row, columns[0], codes, entropy, counts, unread, tiles_unread, sample)


def _sampled(
    job: SlideJob, columns: tuple[int, int], row: int, total: np.ndarray, weight: np.ndarray
) -> Sample:
    """Probabilities of the rows' pixels that are to be sampled; `weight` is 0 where nothing is predicted."""
    assert job.sampled is not None
    (rows, first_row), (cols, first_col) = (
        _chosen(places, start, start + side)
        for places, start, side in zip(job.sampled, (row, columns[0]), weight.shape, strict=True)
    )
    weights = weight[rows][:, cols]
    shares = np.zeros((*weights.shape, job.classes), np.uint8)
    known = weights > 0
    # Each class by itself: ten times quicker than along an axis of a few.
    scale = job.temperature * weights[known]
    logits = [total[rows][:, cols, code][known] / scale for code in range(job.classes)]
    greatest = np.maximum.reduce(logits)
    exponents = [np.exp(one - greatest) for one in logits]
    levels = 255 / np.add.reduce(exponents)
    for code, one in enumerate(exponents):
        shares[..., code][known] = one * levels + 0.5
    return Sample(first_row, first_col, shares)


def _chosen(places: np.ndarray, start: int, stop: int) -> tuple[slice | np.ndarray, int]:
    """Which of the positions [start, stop) are sampled, counted from `start`, and the number of the first."""
    first, last = np.searchsorted(places, (start, stop))
    every = last - first == stop - start
    return (slice(None) if every else places[first:last] - start), int(first)


def scaled_entropy(logits: np.ndarray) -> np.ndarray:
    """u8[N]: entropy of the softmax of f32[N,C] logits, 0..255 for 0..ln C."""
    shifted = logits - logits.max(-1, keepdims=True)
    exponents = np.exp(shifted)
    sums = exponents.sum(-1)
    entropy = np.log(sums) - (exponents * shifted).sum(-1) / sums
    return np.clip(np.rint(entropy * (255 / np.log(logits.shape[-1]))), 0, 255).astype(np.uint8)
