"""What several networks say and see of pictures: the scores of each, and how it looks to them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.data.manifest import Manifest
from l2s_jax.models.forward import Forward, make_looks
from l2s_jax.prediction.ensemble import runs_in, together
from l2s_jax.prediction.joint import by_network
from l2s_jax.prediction.predictor import Predictor, load_predictor
from l2s_jax.prediction.split import check_comparable
from l2s_jax.prediction.suggest.choice import unit_rows
from l2s_jax.prediction.suggest.scores import PatchScores, patch_scores
from l2s_jax.prediction.tiles import Answer, Weighting, enlarge, predict_pictures
from l2s_jax.runs.network import load_network
from l2s_jax.system.errors import UserError

Say = Callable[[str], None]


class Look(NamedTuple):
    """A picture as networks see it."""

    scores: PatchScores  # whose arrays are [h,w] of the cells
    features: np.ndarray  # f32[M*256] of length 1: each encoder's mean features, of length 1 / sqrt(M)
    cell: int  # pixels a side of a cell; see `tiles.Answer`

    def of_pixels(self, cells: np.ndarray) -> np.ndarray:
        """One of the scores' arrays as [H,W]."""
        return cells if self.cell == 1 else enlarge(cells, self.cell)


def load_lookers(
    runs: Sequence[Path],
    contents: Manifest,
    stride: int | None,
    weighting: Weighting,
    batch_size: int,
    say: Say,
) -> Predictor:
    """One run or several as one predictor, whose class logits are the features of their encoders.

    Args:
      runs: run folders, or folders that `train --seeds` made.
      contents: the manifest, whose classes must be theirs.
      stride: pixels between tiles of pictures larger than a patch; half a patch by default.
      weighting: how the pixels of overlapping tiles count.
      batch_size: patches a batch.
      say: receives messages.

    Raises:
      UserError: a folder is no run, runs cannot be taken together, or have other classes than the manifest.
    """
    each = []
    for run in (one for path in runs for one in runs_in(path)):
        own = load_predictor(run, stride, weighting, batch_size)
        check_comparable(contents, own.classes, contents.folder, run)
        if own.unfinished:
            say(f"warning: {own.unfinished}")
        each.append(own._replace(forward=make_looks(load_network(run)[0], batch_size)))
    named: dict[Path, str] = {}
    for own in each:
        if (other := named.setdefault(Path(own.run).resolve(), own.run)) is not own.run:
            raise UserError(f"--runs: {other} is named twice. Name it once")
    return each[0] if len(each) == 1 else together(each)


def looks_at(
    predictor: Predictor, forward: Forward, pictures: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Iterator[Look]:
    """What networks say of pictures, in their order.

    Args:
      predictor: from `load_lookers`.
      forward: its own, or the same behind a change of stains.
      pictures: u8[H,W,3] or [H,W,3*looks] in the stains that `forward` expects, each with what it can hold,
        bool[C].
    """
    allowed: list[np.ndarray] = []

    def images() -> Iterator[np.ndarray]:
        for image, own in pictures:
            allowed.append(own)
            yield image

    for answer in predict_pictures(forward, images(), predictor.tiling):
        yield look_of(answer, predictor.temperatures, allowed.pop(0))


def look_of(answer: Answer, temperatures: Sequence[float], allowed: np.ndarray) -> Look:
    """What M networks say of one picture, from their logits and features side by side."""
    networks = len(temperatures)
    logits = by_network(answer.logits, networks)
    scores = patch_scores(logits.reshape(*logits.shape[:2], -1), temperatures, allowed)
    codes, contested = (one.reshape(answer.logits.shape[:2]) for one in (scores.codes, scores.contested))
    features = unit_rows(answer.class_logits.reshape(networks, -1)).ravel() / np.float32(np.sqrt(networks))
    return Look(scores._replace(codes=codes, contested=contested), features, answer.cell)
