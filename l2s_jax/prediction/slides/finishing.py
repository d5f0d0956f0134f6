"""From the sums of logits of finished rows to classes, entropy and probabilities."""

from typing import Any

import numpy as np

from l2s_jax.prediction.joint import Joint, in_bytes, joint
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
    """Turns rows to which no tile will be added any more into their classes.

    Args:
      job: what is predicted.
      columns: [first, last) of the strip.
      row: of the picture, the first of these.
      total: f32[M,h,w,C], of each network, sums of weighted logits.
      weight: f32[h,w], sums of the weights.
      tiles_unread: since the rows before.
    """
    inside = np.ones(weight.shape, bool)
    codes = np.full(weight.shape, job.outside, np.uint8)
    if job.area is not None:
        here = np.ix_(job.area.rows[row : row + len(weight)], job.area.columns[columns[0] : columns[1]])
        inside = job.area.mask[here]
        if job.area.unknown is not None:
            codes[job.area.unknown[here]] = IGNORE_PIXEL
    known = inside & (weight > 0)
    codes[inside] = IGNORE_PIXEL
    unread = int((inside & ~known).sum())
    if job.networks > 1:
        said = _said(job, total, weight, known)
        codes[known] = said.codes
        return _joint_band(job, columns, row, codes, known, said, unread, tiles_unread)
    sums: Any = total[0][known]
    codes[known] = sums.argmax(-1)
    entropy = None
    if job.entropy:
        entropy = np.zeros(weight.shape, np.uint8)
        entropy[known] = scaled_entropy(sums / (job.temperatures[0] * weight[known])[:, None])
    counts = np.bincount(codes[known], minlength=job.classes)
    sample = _sampled(job, columns, row, total[0], weight * known) if job.sampled is not None else None
    band = Band(row, columns[0], codes, entropy, counts, unread, tiles_unread, sample)
    if job.probabilities:
        shares = _shares(_said(job, total, weight, known).probabilities, known)
        band = band._replace(probabilities=shares)
    return band


def _said(job: SlideJob, total: np.ndarray, weight: np.ndarray, known: np.ndarray) -> Joint:
    """What the networks say together of the pixels that are known."""
    # Class by class: ten times quicker than along an axis of a few.
    logits = np.empty((job.networks, job.classes, np.count_nonzero(known)), np.float32)
    every, weights = bool(known.all()), weight[known]
    for own, sums in zip(logits, total, strict=True):
        np.divide((sums.reshape(-1, job.classes) if every else sums[known]).T, weights, out=own)
    return joint(logits, job.temperatures)


def _shares(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """u8[C,h,w], 0..255, of probabilities f32[C,N] of the pixels that are known; 0 elsewhere."""
    shares = np.zeros((len(values), *known.shape), np.uint8)
    for share, one in zip(shares, values, strict=True):
        share[known] = one * 255 + 0.5
    return shares


def _joint_band(
    job: SlideJob,
    columns: tuple[int, int],
    row: int,
    codes: np.ndarray,
    known: np.ndarray,
    said: Joint,
    unread: int,
    tiles_unread: int,
) -> Band:
    """The band of several networks, from what they say of its known pixels."""
    doubt = [np.zeros(known.shape, np.uint8) for _ in range(2)]
    for picture, values in zip(doubt, (said.entropy, said.mutual_information), strict=True):
        picture[known] = in_bytes(values, job.classes)
    own = np.stack([np.bincount(one, minlength=job.classes) for one in said.own_codes])
    shares = _shares(said.probabilities, known)
    sample = None
    if job.sampled is not None:
        (rows, first_row), (cols, first_col) = _places(job, columns, row, known.shape)
        wanted = np.concatenate([shares, doubt[1][None]])[:, rows][:, :, cols]
        sample = Sample(first_row, first_col, np.moveaxis(wanted, 0, -1))
    return Band(
        row,
        columns[0],
        codes,
        doubt[0] if job.entropy else None,
        np.bincount(said.codes, minlength=job.classes),
        unread,
        tiles_unread,
        sample,
        shares if job.probabilities else None,
        doubt[1],
        own,
    )


def _places(
    job: SlideJob, columns: tuple[int, int], row: int, size: tuple[int, ...]
) -> list[tuple[slice | np.ndarray, int]]:
    """For rows and columns of a band: which are sampled, and the number of the first among all sampled."""
    assert job.sampled is not None
    return [
        _chosen(places, start, start + side)
        for places, start, side in zip(job.sampled, (row, columns[0]), size, strict=True)
    ]


def _sampled(
    job: SlideJob, columns: tuple[int, int], row: int, total: np.ndarray, weight: np.ndarray
) -> Sample:
    """Probabilities of the rows' pixels that are to be sampled; `weight` is 0 where nothing is predicted."""
    (rows, first_row), (cols, first_col) = _places(job, columns, row, weight.shape)
    weights = weight[rows][:, cols]
    shares = np.zeros((*weights.shape, job.classes), np.uint8)
    known = weights > 0
    # Each class by itself: ten times quicker than along an axis of a few.
    scale = job.temperatures[0] * weights[known]
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
