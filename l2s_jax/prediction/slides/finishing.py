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
        entropy[known] = scaled_entropy(sums / weight[known][:, None])
    counts = np.bincount(codes[known], minlength=job.classes)
    sample = _sampled(job, columns, row, total, weight * known) if job.sampled is not None else None
    unread = int((inside & ~known).sum())
    return Band(row, columns[0], codes, entropy, counts, unread, tiles_unread, sample)


def _sampled(
    job: SlideJob, columns: tuple[int, int], row: int, total: np.ndarray, weight: np.ndarray
) -> Sample:
    """Probabilities of the rows' pixels that are to be sampled; `weight` is 0 where nothing is predicted."""
    assert job.sampled is not None
    ends = ((row, row + len(weight)), columns)
    first, last = zip(*(np.searchsorted(*one) for one in zip(job.sampled, ends, strict=True)), strict=True)
    chosen = (
        places[low:high] - end[0]
        for places, low, high, end in zip(job.sampled, first, last, ends, strict=True)
    )
    here = np.ix_(*chosen)
    weights = weight[here][..., None]
    logits = total[here] / np.where(weights > 0, weights, 1)
    exponents = np.exp(logits - logits.max(-1, keepdims=True)) * (weights > 0)
    shares = exponents / np.maximum(exponents.sum(-1, keepdims=True), 1e-30)
    return Sample(int(first[0]), int(first[1]), np.rint(255 * shares).astype(np.uint8))


def scaled_entropy(logits: np.ndarray) -> np.ndarray:
    """u8[N]: entropy of the softmax of f32[N,C] logits, 0..255 for 0..ln C."""
    shifted = logits - logits.max(-1, keepdims=True)
    exponents = np.exp(shifted)
    sums = exponents.sum(-1)
    entropy = np.log(sums) - (exponents * shifted).sum(-1) / sums
    return np.clip(np.rint(entropy * (255 / np.log(logits.shape[-1]))), 0, 255).astype(np.uint8)
