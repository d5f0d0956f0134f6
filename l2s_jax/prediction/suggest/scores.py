"""How much several networks have to learn of a patch, as far as its label leaves that open. Touches no files.

What a label forbids is no question any more: a patch that is called normal and can hold nothing but normal
tissue teaches nothing by its mask, however far networks disagree. So networks are asked about the classes
that the patch can have, and about no others.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from l2s_jax.prediction.joint import joint, most_likely
from l2s_jax.types import IGNORE_LABEL

FORBIDDEN = np.float32(-1e9)
"""The logit of a class that a patch cannot have: its probability is exactly 0."""


class PatchScores(NamedTuple):
    """What M networks say of the N places of a patch."""

    disagreement: float  # mutual information of class and network, mean over places, as a share of ln C
    change: float  # mean of `contested` over places
    codes: np.ndarray  # u8[N], the pseudo-label: of the classes that can be there the likeliest by the mean
    contested: np.ndarray  # f64[N], share of the networks that take another class, of all, for likeliest


def patch_scores(logits: np.ndarray, temperatures: Sequence[float], allowed: np.ndarray) -> PatchScores:
    """Disagreement and expected change of pseudo-labels.

    The *disagreement* is the mutual information of class and network (Depeweg et al. 2018, see `joint`) of
    the probabilities that are left when those of classes that cannot be there are taken away and the rest is
    scaled to sum to 1; the mean over places, as a share of ln C. It is 0 for one network, and where one class
    is left.

    The *change* is the share of places, on average over networks, at which the class that a network takes for
    likeliest, of all classes, is not the pseudo-label: that which all of them together, told what the label
    allows, would draw there. So a place counts where networks are of different opinions, and where they are
    at odds with the label.

    Args:
      logits: f32[M,C,N] of each network.
      temperatures: M, by which they are divided before they become probabilities.
      allowed: bool[C], classes that can be there; at least one.
    """
    said = joint(np.where(allowed[:, None], logits, FORBIDDEN), temperatures)
    share = said.mutual_information.mean(dtype=np.float64) / np.log(logits.shape[1])
    contested = (most_likely(logits) != said.codes).mean(0)
    return PatchScores(float(share), float(contested.mean()), said.codes, contested)


def allowed_classes(label: int, allowed: Iterable[int], background: int | None, classes: int) -> np.ndarray:
    """bool[C]: which classes a patch can have, by the manifest.

    Args:
      label: its class, or `IGNORE_LABEL`.
      allowed: its column `allowed`, as codes; without any it is the label and the background.
      background: its code, where there is one.
      classes: C.

    Returns:
      All of them where nothing is known.
    """
    codes = set(allowed) or {code for code in (label, background) if code not in (IGNORE_LABEL, None)}
    if label == IGNORE_LABEL and not allowed:
        return np.ones(classes, bool)
    return np.isin(np.arange(classes), sorted(codes))
