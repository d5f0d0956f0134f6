"""Whether probabilities mean what they say: sums over pixels, picture by picture, and the figures of them.

Only pixels of known class count. Memory does not grow with their number: pixels are sorted into bins by how
sure the network is, and of each bin only sums are kept, in float64 and whole numbers.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.prediction.metrics import per_class, summary
from l2s_jax.prediction.tiles import Answer

BINS = 15
"""Of confidence, equally wide in 0..1, as in Guo et al. (2017), https://arxiv.org/abs/1706.04599."""

GROUPING = f"confidence in {BINS} equally wide bins of 0..1, pooled over all scored pixels"

FINE_BINS, SUREST = 1024, 30.0
"""Of the log odds of the most probable class, up to this much: sure pixels all have a probability near 1,
where equally wide bins of it would not tell them apart."""

LEFT_OUT = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Shares of the pixels, the least sure ones, that are left out of a score."""

PART = 2**18
"""Cells that are worked on at once."""


class Cells(NamedTuple):
    """Places that have one set of logits each, and the pixels of known class in them."""

    logits: np.ndarray  # f32[N,C]
    truth: np.ndarray  # i64[N,C], pixels of each true class; at least one in all


class Bins(NamedTuple):
    """Sums over the pixels of each bin of a probability; the last axis is that of the bins."""

    pixels: np.ndarray  # i64[...,B]
    confidence: np.ndarray  # f64[...,B], sum of the probabilities
    hits: np.ndarray  # i64[...,B], pixels that are of the class that the probability is of


class Tally(NamedTuple):
    """Sums over all pixels so far, with probabilities at one temperature."""

    top: Bins  # [B], of the most probable class
    by_class: Bins  # [C,B], of each class, against all others
    squares: np.ndarray  # f64[C], squared errors of the class's probability
    surprise: np.ndarray  # f64[], minus the log of the true class's probability
    sure: np.ndarray  # i64[F,C,C], confusion matrix (truth in rows) of each fine bin, the surest last


def cells_of(answer: Answer, mask: np.ndarray) -> Iterator[Cells]:
    """The cells of a picture in which something is known, some rows at a time.

    Args:
      answer: what the network says of it.
      mask: class codes u8[H,W]; what is none of them (IGNORE_PIXEL) is not known.
    """
    cell, (height, width, classes) = answer.cell, answer.logits.shape
    rows = max(1, PART // width)
    for start in range(0, height, rows):
        logits = answer.logits[start : start + rows]
        truth = mask[start * cell : (start + rows) * cell].reshape(len(logits), cell, width, cell)
        counts = np.stack([(truth == code).sum((1, 3)) for code in range(classes)], -1)
        known = counts.any(-1)
        yield Cells(logits[known], counts[known])


def empty_tally(classes: int) -> Tally:
    """Of no pixel."""

    def bins(*shape: int) -> Bins:
        return Bins(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.int64))

    fine = np.zeros((FINE_BINS, classes, classes), np.int64)
    return Tally(bins(BINS), bins(classes, BINS), np.zeros(classes), np.zeros(()), fine)


def added(tally: Tally, cells: Cells, temperature: float = 1.0) -> Tally:
    """A tally with more cells, whose logits are divided by the temperature."""
    logits, truth = cells
    classes = logits.shape[1]
    shifted = logits.astype(np.float64) / temperature
    shifted -= shifted.max(-1, keepdims=True)
    odds = np.exp(shifted)
    total = odds.sum(-1, keepdims=True)
    probabilities = odds / total
    predicted, here = logits.argmax(-1), np.arange(len(logits))
    pixels = truth.sum(-1)
    of_class = [_binned(probabilities[:, code], pixels, truth[:, code]) for code in range(classes)]
    squares = pixels[:, None] * probabilities**2 - 2 * truth * probabilities + truth
    odds[here, predicted] = 0
    fine = _fine_bin(odds.sum(-1), classes)
    pair = (fine[:, None] * classes + np.arange(classes)) * classes + predicted[:, None]
    sure = np.bincount(pair.ravel(), truth.ravel(), FINE_BINS * classes**2)
    more = Tally(
        _binned(probabilities[here, predicted], pixels, truth[here, predicted]),
        Bins(*(np.stack(parts) for parts in zip(*of_class, strict=True))),
        squares.sum(0),
        (truth * (np.log(total) - shifted)).sum(),
        sure.astype(np.int64).reshape(tally.sure.shape),
    )
    return Tally(
        Bins(*map(np.add, tally.top, more.top)),
        Bins(*map(np.add, tally.by_class, more.by_class)),
        *map(np.add, tally[2:], more[2:]),
    )


def _binned(probability: np.ndarray, pixels: np.ndarray, hits: np.ndarray) -> Bins:
    """Cells sorted into bins that hold their upper edge, as those of Guo et al. and scikit-learn."""
    number = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probability)
    counts, found = (np.bincount(number, weights, BINS).astype(np.int64) for weights in (pixels, hits))
    return Bins(counts, np.bincount(number, probability * pixels, BINS), found)


def _fine_bin(others: np.ndarray, classes: int) -> np.ndarray:
    """The fine bins of cells, by the odds of all classes but the most probable one against that."""
    log_odds = -np.log(np.maximum(others, np.exp(-SUREST)))
    return np.searchsorted(_fine_edges(classes)[1:-1], log_odds)


def _fine_edges(classes: int) -> np.ndarray:
    """f64[F+1], log odds; at the least sure all classes are equally likely."""
    return np.linspace(-np.log(max(classes - 1, 1)), SUREST, FINE_BINS + 1)


def calibration_figures(tally: Tally, names: Sequence[str], temperature: float) -> dict[str, Any]:
    """All figures of a tally, ready for JSON; NaN where there is no pixel.

    `ece` is the expected calibration error of Guo et al. (2017), of the most probable class: the mean over
    pixels of |share that is right - mean confidence| of their bin; 0..1. `brier` is the mean squared distance
    of the probabilities from the truth, summed over classes, 0..2 (Brier 1950). `nll` is the mean of minus
    the natural log of the true class's probability. In `per_class`, a class's probability stands against all
    others: `ece` over bins of that probability, `brier` 0..1. `reliability` has for each bin its pixels, the
    mean probability and the share of pixels that are of the class.

    Args:
      tally: of all pixels.
      names: of the classes.
      temperature: by which the logits were divided.
    """
    n = int(tally.top.pixels.sum())
    return {
        "temperature": temperature,
        "calibrated": temperature != 1,
        "n_pixels": n,
        "bins": BINS,
        "grouping": GROUPING,
        **overall(tally),
        "per_class": {
            "ece": _errors(tally.by_class).tolist(),
            "brier": _share(tally.squares, n).tolist(),
        },
        "reliability": {
            "most probable class": _reliability(tally.top),
            **{
                name: _reliability(Bins(*(part[code] for part in tally.by_class)))
                for code, name in enumerate(names)
            },
        },
    }


def overall(tally: Tally) -> dict[str, float]:
    """`ece`, `brier` and `nll`, see `calibration_figures`."""
    n = tally.top.pixels.sum()
    return {
        "ece": float(_errors(tally.top)),
        "brier": float(_share(tally.squares.sum(), n)),
        "nll": float(_share(tally.surprise, n)),
    }


def _share(part: Any, whole: Any) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _errors(bins: Bins) -> np.ndarray:
    return _share(np.abs(bins.hits - bins.confidence).sum(-1), bins.pixels.sum(-1))


def _reliability(bins: Bins) -> dict[str, list[float]]:
    return {
        "pixels": bins.pixels.tolist(),
        "confidence": _share(bins.confidence, bins.pixels).tolist(),
        "share": _share(bins.hits, bins.pixels).tolist(),
    }


def retained_figures(tally: Tally, names: Sequence[str]) -> list[dict[str, Any]]:
    """Scores when the least sure pixels are left out, a record for each share of `LEFT_OUT`.

    How sure a pixel is, is the probability of its most probable class. Pixels are left out by fine bins; of
    the bin in which the border falls, all its pixels count with the same part, since they are equally sure
    but for the bin's width (0.03 of the log odds).

    Returns:
      `left_out` and the pixels kept, the `confidence` at the border, the figures of `metrics.summary`, and by
      class the F1 and the share of its true pixels that are `kept`; NaN where there is none.
    """
    counts = tally.sure.sum((1, 2))
    total, edges = counts.sum(), _fine_edges(tally.sure.shape[1])
    truth = tally.sure.sum((0, 2))
    records = []
    for left_out in LEFT_OUT:
        keep = (1 - left_out) * total
        above = counts[::-1].cumsum()[::-1] - counts  # pixels of the surer bins
        part = np.clip(_share(keep - above, counts), 0, 1)
        matrix = np.tensordot(np.nan_to_num(part), tally.sure, 1)
        border = int(np.nonzero(np.nan_to_num(part))[0].min(initial=FINE_BINS))
        scores = per_class(matrix)
        records.append(
            {
                "left_out": left_out,
                "pixels": float(matrix.sum()),
                "confidence": float(1 / (1 + np.exp(-edges[border]))),
                **summary(matrix),
                "f1": dict(zip(names, np.where(matrix.any(1), scores["f1"], np.nan).tolist(), strict=True)),
                "kept": dict(zip(names, _share(matrix.sum(1), truth).tolist(), strict=True)),
            }
        )
    return records
