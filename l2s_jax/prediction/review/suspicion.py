"""How unlikely a patch's label and mask are to a network, from its probabilities. Touches no files.

A label says that its class is somewhere in the patch, and beside it nothing but background, or the classes
that the manifest allows there. So what speaks for a label is how surely anything is there that needs one, and
which part of that is of the label's class.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from l2s_jax.types import IGNORE_PIXEL

PRESENCE_SHARE = 0.1
"""Share of a patch in which its class is looked for, as by `presence_share` in training."""


class LabelDoubt(NamedTuple):
    """What a network says of a patch's label."""

    suspicion: float  # 1 - probability
    probability: float  # of the given label, 0..1
    likeliest: int  # code of the likeliest class
    likeliest_probability: float  # of that, 0..1
    chances: np.ndarray  # f64[C], of each class to be the patch's, with sum 1


class MaskDoubt(NamedTuple):
    """What a network says of a patch's mask; unknown pixels count nowhere."""

    suspicion: float  # mean of `contradicted` over the classes that the mask shows, 0..1
    probability: float  # mean over known pixels of that of their class, 0..1
    likeliest: int | None  # the class that is likeliest where the mask is contradicted; None where nowhere
    likeliest_probability: float | None  # mean of its probability there
    known: np.ndarray  # i64[C], known pixels of each class
    contradicted: np.ndarray  # f64[C], share of them whose class is unlikely; NaN without any
    where: np.ndarray  # bool[H,W], those pixels


def probabilities_of(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax f32[...,C] of logits that are divided by a temperature."""
    shifted = logits / np.float32(temperature)
    odds = np.exp(shifted - shifted.max(-1, keepdims=True))
    chances: np.ndarray = odds / odds.sum(-1, keepdims=True)
    return chances.astype(np.float32, copy=False)


def class_chances(probabilities: np.ndarray, innocent: np.ndarray) -> np.ndarray:
    """How likely each class is to be what a patch is called after.

    That there is anything but innocent classes in the patch is as likely as in the tenth of it where that is
    likeliest; each other class has the part of this that its area has. The rest is shared out among the
    innocent classes by area.

    Args:
      probabilities: f32[h,w,C] of the cells or pixels.
      innocent: bool[C], classes that can be in the patch whatever it is called: its background above all.

    Returns:
      f64[C] with sum 1. Without innocent classes it is their areas.
    """
    area = probabilities.mean((0, 1), dtype=np.float64)
    if innocent.all() or not innocent.any():
        return area / area.sum()
    others = probabilities[..., ~innocent].sum(-1, dtype=np.float64).ravel()
    count = max(1, round(PRESENCE_SHARE * others.size))
    present = np.clip(np.partition(others, others.size - count)[-count:].mean(), 0, 1)
    part = np.where(innocent, 1 - present, present)
    within = np.where(innocent, area[innocent].sum(), area[~innocent].sum())
    return part * np.divide(area, within, out=np.zeros_like(area), where=within > 0)


def label_doubt(
    probabilities: np.ndarray, label: int, allowed: Iterable[int], background: int | None
) -> LabelDoubt:
    """How unlikely a patch's label is.

    Args:
      probabilities: f32[h,w,C] of the patch's cells or pixels.
      label: the given class.
      allowed: classes that can be in the patch beside it, as in the manifest.
      background: its code, where there is one; it can always be in the patch.
    """
    innocent = np.zeros(probabilities.shape[-1], bool)
    innocent[[*allowed, *(() if background is None else (background,))]] = True
    # A label of background says that nothing else is there; any other class has to be seen.
    innocent[label] = label == background
    chances = class_chances(probabilities, innocent)
    given = float(chances[innocent].sum() if innocent[label] else chances[label])
    given = min(max(given, 0.0), 1.0)
    likeliest = int(chances.argmax())
    return LabelDoubt(1 - given, given, likeliest, float(chances[likeliest]), chances)


def mask_doubt(probabilities: np.ndarray, mask: np.ndarray, unlikely: float) -> MaskDoubt | None:
    """Where a patch's mask is contradicted; None where nothing of it is known.

    Args:
      probabilities: f32[H,W,C] of the pixels.
      mask: class codes u8[H,W], `IGNORE_PIXEL` where unknown.
      unlikely: a pixel whose class has less probability than this is contradicted.
    """
    classes = probabilities.shape[-1]
    is_known = mask != IGNORE_PIXEL
    if not is_known.any():
        return None
    codes = np.where(is_known, mask, 0)
    given = np.take_along_axis(probabilities, codes[..., None].astype(np.intp), -1)[..., 0]
    where = is_known & (given < unlikely)
    known = np.bincount(mask[is_known], minlength=classes)
    shares = np.full(classes, np.nan)
    np.divide(np.bincount(mask[where], minlength=classes), known, out=shares, where=known > 0)
    instead = probabilities[where].mean(0, dtype=np.float64) if where.any() else None
    return MaskDoubt(
        float(np.nanmean(shares)),
        float(given[is_known].mean(dtype=np.float64)),
        None if instead is None else int(instead.argmax()),
        None if instead is None else float(instead.max()),
        known,
        shares,
        where,
    )
