"""How far several networks disagree about a window of a slide. Touches no files."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l2s_jax.prediction.joint import picture_joint
from l2s_jax.prediction.tiles import Answer, enlarge


class Disagreement(NamedTuple):
    """What M networks say of a window; what is not tissue counts nowhere."""

    mutual_information: float  # of class and network, mean over the tissue, in nats, 0..min(ln C, ln M)
    chances: np.ndarray  # f64[C], mean probabilities over networks and tissue, with sum 1
    codes: np.ndarray  # u8[H,W], the class that is most likely by the mean of the networks
    where: np.ndarray  # f32[H,W], 0..1, mutual information over the greatest that M networks can have


def disagreement(answer: Answer, temperatures: Sequence[float], tissue: np.ndarray) -> Disagreement:
    """Mutual information as `joint` has it, of probabilities at each network's temperature.

    Args:
      answer: of all networks, logits f32[h,w,M*C] of cells.
      temperatures: M, two or more.
      tissue: bool[H,W] of the window's pixels, of which some are.
    """
    said, side = picture_joint(answer.logits, temperatures), answer.cell
    height, width = said.codes.shape
    weight = tissue.reshape(height, side, width, side).sum((1, 3)) / tissue.sum()
    mean = (said.mutual_information * weight).sum(dtype=np.float64)
    chances = (said.probabilities * weight).sum((1, 2), dtype=np.float64)
    greatest = np.log(min(len(chances), len(temperatures)))
    where = np.clip(said.mutual_information / np.float32(greatest), 0, 1)
    codes, where = (one if side == 1 else enlarge(one, side) for one in (said.codes, where))
    return Disagreement(float(mean), chances, codes, np.where(tissue, where, np.float32(0)))
