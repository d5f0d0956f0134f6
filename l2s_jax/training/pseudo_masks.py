"""Masks that a network draws for patches that have a label only. Not in the paper.

A label narrows down what a network says: of its classes only the patch's label and the background can be
there (or what the manifest's column `allowed` says). What is left to decide is where the background is.
"""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from l2s_jax.config import TrainConfig
from l2s_jax.data.manifest import Classes
from l2s_jax.data.patch_set import PatchSet, strata
from l2s_jax.models.decoder import SCALE
from l2s_jax.models.forward import Forward, Network, make_forward
from l2s_jax.prediction.views import look_moved, look_turned
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path
from l2s_jax.training.plan import RunPlan
from l2s_jax.types import IGNORE_PIXEL

DRAWN_MASKS = "drawn_masks.npz"
AT_ONCE = 20
"""Patches that the network looks at in one go."""


class DrawnMasks(NamedTuple):
    """Masks that a network has drawn."""

    rows: np.ndarray  # i64[K], rows of the training split
    codes: np.ndarray  # u8[K,H/8,W/8], classes at the network's resolution, 255 where it is not sure


def draw_masks(
    network: Network,
    name: str,
    plan: RunPlan,
    classes: Classes,
    config: TrainConfig,
    say: Callable[[str], None] = print,
) -> DrawnMasks:
    """Masks for the patches of a plan that have a label and no mask.

    At each place one of the classes that can be in the patch, by the mean probability over the patch's eight
    turns and flips, or over `look_moved`'s windows (`teacher_shift`): the likeliest, or what `draw_shares`
    says (`teacher_background`); 255, which no loss counts, where its share of the probability of those
    classes is below `teacher_confidence`.

    Args:
      network: draws the masks.
      name: what to call it.
      plan: of the run that learns from them.
      classes: the manifest's classes.
      config: that run's options.
      say: receives what a person should read.

    Raises:
      UserError: shares are asked for, and there is no background or no mask to tell them.
    """
    rows = np.flatnonzero(plan.chosen.has_label & ~plan.chosen.has_mask)
    forward = make_forward(network, AT_ONCE)
    side = plan.patches.size[0] // SCALE
    chances = np.zeros((len(rows), side, side, len(classes)), np.float32)
    for start in range(0, len(rows), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        chances[some] = _look(forward, plan.patches, rows[some], config.teacher_shift)
    codes = chances.argmax(-1)
    if config.teacher_background == "share":
        shares, background = background_shares(plan, classes)
        label = plan.patches.label[rows]
        codes = draw_shares(chances, label, shares, background, config.teacher_keep)
    # What is left out already, 255, is of no class; which one is looked up for it does not matter.
    of_code = np.take_along_axis(chances, np.minimum(codes, len(classes) - 1)[..., None], -1)[..., 0]
    sure = of_code >= config.teacher_confidence
    drawn = DrawnMasks(rows, np.where(sure, codes, IGNORE_PIXEL).astype(np.uint8))
    parts = count_classes(drawn.codes, len(classes)) / max(drawn.codes.size, 1)
    named = [*zip(classes.names, parts, strict=True)]
    left_out = config.teacher_confidence > 0 or config.teacher_keep < 1
    named += [("not sure", 1 - parts.sum())] if left_out else []
    listed = ", ".join(f"{class_name} {part:.0%}" for class_name, part in named)
    say(f"{name} draws masks for {len(rows)} image-level patches: {listed}")
    return drawn


def _look(forward: Forward, patches: PatchSet, rows: np.ndarray, shift: int) -> np.ndarray:
    """Probability f32[K,H/8,W/8,C] of each class that can be there; of the others 0."""
    images, _ = patches.fetch(rows)
    total = look_moved(forward, images, shift) if shift else look_turned(forward, images)
    total = total * patches.allowed[rows][:, None, None]
    return total / np.maximum(total.sum(-1, keepdims=True), np.finfo(np.float32).tiny)


def background_shares(plan: RunPlan, classes: Classes) -> tuple[np.ndarray, int]:
    """How much of the chosen masks of each label is background, f64[C], 0 to 1, and the background's code.

    Of a label without a mask: how much of all chosen masks.

    Raises:
      UserError: there is no background, or no chosen mask with a pixel of any class.
    """
    if classes.background is None:
        raise UserError("teacher_background = 'share' needs a background; classes.toml names none")
    pixels = plan.patches.pixels[plan.chosen.has_mask]
    if not pixels.any():
        raise UserError(
            "teacher_background = 'share' takes the share of background from the run's masks, and it has "
            "none: use --teacher-background likeliest"
        )
    label = strata(plan.patches, classes.background)[plan.chosen.has_mask]
    shares = np.full(len(classes), pixels[:, classes.background].sum() / pixels.sum())
    for code in range(len(classes)):
        own = pixels[label == code]
        if own.any():
            shares[code] = own[:, classes.background].sum() / own.sum()
    return shares, classes.background


def draw_shares(
    chances: np.ndarray, label: np.ndarray, shares: np.ndarray, background: int, keep: float = 1.0
) -> np.ndarray:
    """Classes i64[K,h,w] with a given share of background in all patches of a label together.

    A network that knows few masks may see background, or a class, nearly everywhere; which places are the
    likelier background it tells better than how many are. So each label's places are ranked by the
    probability of background, and as many of the first are drawn so as its share asks. The others get the
    likeliest of the other classes. (Class-balanced self-training, Zou et al. 2018, with shares from masks.)
    The places next to the cut, of which it is least sure, can be left out: of each side, so that the shares
    stay.

    Args:
      chances: f32[K,h,w,C], of the classes that can be in the patch; of the others 0.
      label: i32[K].
      shares: f64[C], of background in the patches of each label, 0 to 1.
      background: its code.
      keep: how much of the background's places, and of the others, is kept; the rest gets 255.
    """
    others = chances.copy()
    others[..., background] = 0
    codes = others.argmax(-1)
    codes[~others.any(-1)] = background
    for code in np.unique(label):
        patches = np.flatnonzero(label == code)
        patches = patches[(chances[patches, ..., background] > 0).any((1, 2))]
        there = codes[patches].reshape(-1)
        ranked = np.argsort(-chances[patches, ..., background].reshape(-1), kind="stable")
        cut = round(shares[code] * len(ranked))
        there[ranked[:cut]] = background
        there[ranked[round(cut * keep) : len(ranked) - round((len(ranked) - cut) * keep)]] = IGNORE_PIXEL
        codes[patches] = there.reshape(len(patches), *codes.shape[1:])
    return codes


def count_classes(codes: np.ndarray, classes: int) -> np.ndarray:
    """Places of each class, i64[C]."""
    return np.bincount(codes[codes != IGNORE_PIXEL], minlength=classes)


def write_drawn(folder: Path, drawn: DrawnMasks) -> None:
    """Keeps drawn masks with the run that learns from them, so that it is resumed with the same."""
    with atomic_path(folder / DRAWN_MASKS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **drawn._asdict())


def read_drawn(folder: Path) -> DrawnMasks:
    """Drawn masks of a run that is resumed. Raises `UserError` where they are gone or damaged."""
    path = folder / DRAWN_MASKS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return DrawnMasks(arrays["rows"], arrays["codes"])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(f"{path}, the masks that the run learns from, cannot be read: {error}") from error
