"""Several runs on masks: what each reaches alone, and whether they disagree where they are wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from l2s_jax.prediction.joint import Joint
from l2s_jax.prediction.judging import Judged, Picture
from l2s_jax.prediction.metrics import spread, spread_text, summary
from l2s_jax.prediction.tiles import Answer

ALONE = ("macro_f1", "accuracy", "weighted_f1", "mean_iou")
"""Figures of each run by itself, from its confusion matrix over all pixels."""

DOUBT = ("mutual_information", "predictive_entropy")


class MemberTally:
    """Sums over the pixels of known class so far."""

    def __init__(self, runs: int, classes: int) -> None:
        """Of no pixel."""
        self.matrices = np.zeros((runs, classes, classes), np.int64)
        self.doubt = np.zeros((2, 2))  # of `DOUBT`, in nats; over pixels that are wrong, right
        self.pixels = np.zeros(2, np.int64)  # wrong, right

    def add(self, picture: Picture, answer: Answer, said: Joint, alone: Sequence[Judged]) -> None:
        """Adds a picture.

        Args:
          picture: with or without a mask.
          answer: what all say together.
          said: the same, with their doubt; its cells are the answer's.
          alone: each run's own.
        """
        if picture.mask is None:
            return
        for matrix, one in zip(self.matrices, alone, strict=True):
            assert one.matrix is not None
            matrix += one.matrix
        known, right = picture.mask < self.matrices.shape[1], answer.codes() == picture.mask
        for which, pixels in enumerate((known & ~right, known & right)):
            cells = pixels.reshape(said.codes.shape[0], answer.cell, said.codes.shape[1], answer.cell)
            counts = cells.sum((1, 3))
            self.pixels[which] += counts.sum()
            for kind, values in enumerate((said.mutual_information, said.entropy)):
                self.doubt[kind, which] += (values * counts).sum(dtype=np.float64)


def member_figures(tally: MemberTally, runs: Sequence[str]) -> dict[str, Any]:
    """Figures of each run alone, their mean, standard deviation, ddof and n; and the doubt, in nats.

    `doubt` has the mean mutual information and predictive entropy over the pixels on which all runs together
    are wrong, and over those on which they are right; NaN where there is none.
    """
    each = [summary(matrix) for matrix in tally.matrices]
    with np.errstate(invalid="ignore"):
        means = tally.doubt / np.where(tally.pixels, tally.pixels, np.nan)
    doubt = {
        name: {"wrong": float(mean[0]), "right": float(mean[1])}
        for name, mean in zip(DOUBT, means, strict=True)
    }
    return {
        "runs": [
            {"run": run} | {name: one[name] for name in ALONE} for run, one in zip(runs, each, strict=True)
        ],
        "spread": {name: spread([one[name] for one in each]) for name in ALONE},
        "doubt": doubt
        | {"unit": "nats", "greatest": float(np.log(tally.matrices.shape[1]))}
        | {"pixels_wrong": int(tally.pixels[0]), "pixels_right": int(tally.pixels[1])},
    }


def member_lines(found: dict[str, Any]) -> list[str]:
    """What each run reaches alone, and the doubt, in a few lines."""
    mutual, entropy = (found["doubt"][name] for name in DOUBT)
    return [
        f"macro F1 of each run alone: {spread_text(found['spread']['macro_f1'], 'runs')}",
        f"mutual information, nats: {mutual['wrong']:.4f} on wrong pixels, {mutual['right']:.4f} on right "
        f"ones; predictive entropy {entropy['wrong']:.4f} and {entropy['right']:.4f} "
        f"(at most {found['doubt']['greatest']:.4f})",
    ]
