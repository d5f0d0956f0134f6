"""What several networks say together: mean probabilities, and how far they disagree. Touches no files.

Names as in Depeweg et al. 2018 (https://arxiv.org/abs/1710.07283) and Gal et al. 2017
(https://arxiv.org/abs/1703.02910). The *predictive entropy* is that of the mean probabilities: all doubt. The
*mutual information* between the class and the network is what of it comes from disagreement: the predictive
entropy less the mean entropy of the networks, each by itself. It is 0 where all say the same, however unsure.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from l2s_jax.prediction.tiles import Answer


class Joint(NamedTuple):
    """What M networks say together of N places."""

    probabilities: np.ndarray  # f32[C,N], the mean of theirs
    entropy: np.ndarray  # f32[N], predictive entropy in nats, 0..ln C
    mutual_information: np.ndarray  # f32[N] in nats, 0..min(ln C, ln M)
    codes: np.ndarray  # u8[N], the class that is most likely by the mean
    own_codes: np.ndarray  # u8[M,N], by each network alone


def joint(logits: np.ndarray, temperatures: Sequence[float]) -> Joint:
    """The mean of probabilities, not of logits: a network that is sure counts no more than another.

    Args:
      logits: f32[M,C,N], of each network, averaged over tiles.
      temperatures: M, by which they are divided.
    """
    own_codes = most_likely(logits)
    probabilities, own_entropy = np.zeros(logits.shape[1:], np.float32), np.zeros(logits.shape[2], np.float32)
    for own, temperature in zip(logits, temperatures, strict=True):
        scaled = own / np.float32(temperature)
        scaled -= scaled.max(0)
        odds = np.exp(scaled)
        total = odds.sum(0)
        scaled *= odds
        own_entropy += np.log(total) - scaled.sum(0) / total
        odds /= total
        probabilities += odds
    probabilities /= len(logits)
    entropy = -(probabilities * np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))).sum(0)
    shared = np.maximum(entropy - own_entropy / len(logits), 0)
    return Joint(probabilities, entropy, shared, most_likely(probabilities), own_codes)


def most_likely(values: np.ndarray) -> np.ndarray:
    """u8[...,N]: the first of the greatest of [...,C,N]; an argmax, many times quicker along a short axis."""
    greatest = values[..., 0, :].copy()
    codes = np.zeros(greatest.shape, np.uint8)
    for code in range(1, values.shape[-2]):
        here = values[..., code, :]
        np.copyto(codes, code, where=here > greatest)
        np.maximum(greatest, here, out=greatest)
    return codes


def by_network(values: np.ndarray, networks: int) -> np.ndarray:
    """[M,C,...] of [...,M*C], in which the classes of one network stand side by side."""
    return np.moveaxis(values.reshape(*values.shape[:-1], networks, -1), (-2, -1), (0, 1))


def picture_joint(logits: np.ndarray, temperatures: Sequence[float]) -> Joint:
    """`joint` of a picture's logits f32[H,W,M*C]; its fields end with the axes [H,W]."""
    apart = by_network(logits, len(temperatures))
    said = joint(apart.reshape(*apart.shape[:2], -1), temperatures)
    return Joint(*(field.reshape(*field.shape[:-1], *logits.shape[:2]) for field in said))


def mean_label(class_logits: np.ndarray, networks: int) -> np.ndarray:
    """f32[C]: the mean of the probabilities that M classifiers give a patch, from their logits f32[M*C]."""
    return joint(by_network(class_logits, networks)[..., None], (1.0,) * networks).probabilities[:, 0]


def joint_answer(answer: Answer, temperatures: Sequence[float]) -> tuple[Answer, Joint]:
    """What networks say together of a picture, as an answer whose logits are the log of the probabilities.

    Args:
      answer: of all of them, logits f32[h,w,M*C] and f32[M*C].
      temperatures: M.
    """
    said, tiny = picture_joint(answer.logits, temperatures), np.finfo(np.float32).tiny
    labels = mean_label(answer.class_logits, len(temperatures))
    logs = [np.log(np.maximum(one, tiny)) for one in (np.moveaxis(said.probabilities, 0, -1), labels)]
    return Answer(logs[0], logs[1], answer.cell), said


def own_answers(answer: Answer, networks: int) -> list[Answer]:
    """What each network says alone."""
    parts = (np.split(one, networks, -1) for one in (answer.logits, answer.class_logits))
    return [Answer(logits, labels, answer.cell) for logits, labels in zip(*parts, strict=True)]


def in_bytes(values: np.ndarray, classes: int) -> np.ndarray:
    """u8: an entropy or mutual information in nats as a share of the greatest entropy, 0..255 for 0..ln C."""
    return np.clip(np.rint(values * (255 / np.log(classes))), 0, 255).astype(np.uint8)
