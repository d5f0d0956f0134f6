"""Self-training: a trained network gives image-level patches masks of their own. Not in the paper.

The network of a run with few masks, the teacher, makes pseudo-masks for the patches that have a label only;
another run learns from them as if they had been drawn by hand (Lee 2013, "Pseudo-Label"). The label narrows
down what the teacher can say: of its classes only the patch's label and the background can occur in the patch
(or what the manifest's column `allowed` says). What is left to decide is where the background is. Where it is
asked to, a teacher says too what the pixels are that a drawn mask leaves unknown (`teacher_fill`).
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np

from l2s_jax.config import TrainConfig, shift_pixels
from l2s_jax.data.manifest import Classes
from l2s_jax.data.patch_set import PatchSet, strata
from l2s_jax.data.subsets import Subset
from l2s_jax.models.forward import Forward, Network, make_forward
from l2s_jax.prediction.tiles import enlarge
from l2s_jax.prediction.views import mean_over_shifts, mean_over_turns
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import atomic_path
from l2s_jax.training.plan import RunPlan, patches_to_teach, segmentation_weights, used_bags
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL, PATCH_MULTIPLE

PSEUDO_MASKS = "pseudo_masks.npz"

BATCH = 20
"""Patches that go through the teacher's network together."""


Taken = TypeVar("Taken")


class PseudoMasks(NamedTuple):
    """Masks that a network has made."""

    rows: np.ndarray  # i64[K], rows of the training split; one with a mask keeps what is known in it
    codes: np.ndarray  # u8[K,h,w], classes of the network's cells, 255 where it is not sure
    doubt: np.ndarray  # f32[K], 0..1, mean probability that a pixel is of another class than its code
    why_likeliest: str = ""  # why they have no shares of background, where these were asked for if fair


def make_pseudo_masks(
    network: Network,
    name: str,
    plan: RunPlan,
    classes: Classes,
    config: TrainConfig,
    say: Callable[[str], None] = print,
) -> PseudoMasks:
    """Pseudo-masks for a plan's patches that have a label and no mask, and with `teacher_fill` for masks.

    Each low-resolution pixel gets one of the classes that can occur in the patch, by the mean probability of
    test-time augmentation: over the patch's eight turns and flips, or over shifted views (`teacher_shift`).
    It is the likeliest, or what `codes_by_share` says (`teacher_background`); 255, which no loss counts,
    where its share of the probability of those classes is below `teacher_confidence`.
    With `share-if-fair` it is said why the likeliest is taken, where it is, and kept with the masks.

    Args:
      network: the teacher's.
      name: what to call the teacher.
      plan: of the run that learns from them.
      classes: the manifest's classes.
      config: that run's options.
      say: receives progress messages.

    Raises:
      UserError: shares are asked for, and there is no background or no mask to tell them.
    """
    taught, is_filled = patches_to_teach(config, plan)
    rows = np.flatnonzero(taught)
    forward = make_forward(network, BATCH)
    side = plan.patches.size[0] // network.model.cell
    probabilities = np.zeros((len(rows), side, side, len(classes)), np.float32)
    shift = shift_pixels(config.teacher_shift, plan.patches.size[0], PATCH_MULTIPLE)
    for start in range(0, len(rows), BATCH):
        batch = slice(start, start + BATCH)
        probabilities[batch] = _probabilities(forward, plan.patches, rows[batch], shift)
    codes = probabilities.argmax(-1)
    if_fair = config.teacher_background == "share-if-fair"
    why_likeliest = why_no_shares(plan, classes) if if_fair else ""
    if why_likeliest:
        say(likeliest_text(why_likeliest))
    elif config.teacher_background != "likeliest":
        whole = whole_masks(plan) if if_fair else None
        shares, background = background_shares(plan, classes, whole)
        # Where no label says that a class is there, it has no share to keep to.
        with_label = np.flatnonzero((plan.patches.label[rows] != IGNORE_LABEL) & ~is_filled[rows])
        label = plan.patches.label[rows[with_label]]
        drawn = probabilities[with_label]
        codes[with_label] = codes_by_share(drawn, label, shares, background, config.teacher_keep)
    # What is left out already, 255, is of no class; which one is looked up for it does not matter.
    of_code = np.take_along_axis(probabilities, np.minimum(codes, len(classes) - 1)[..., None], -1)[..., 0]
    confident = of_code >= config.teacher_confidence
    doubt = 1 - of_code.mean((1, 2), dtype=np.float32)
    kept = np.where(confident, codes, IGNORE_PIXEL).astype(np.uint8)
    masks = PseudoMasks(rows, kept, doubt, why_likeliest)
    parts = count_classes(masks.codes, len(classes)) / max(masks.codes.size, 1)
    filled = int(is_filled.sum())
    named = [*zip(classes.names, parts, strict=True)]
    left_out = config.teacher_confidence > 0 or config.teacher_keep < 1
    named += [("left out", 1 - parts.sum())] if left_out else []
    listed = ", ".join(f"{class_name} {part:.0%}" for class_name, part in named)
    of_masks = f" and {filled} masks with unknown pixels" if filled else ""
    say(f"pseudo-masks for {len(rows) - filled} image-level patches{of_masks} by {name}: {listed}")
    return masks


def _probabilities(forward: Forward, patches: PatchSet, rows: np.ndarray, shift: int) -> np.ndarray:
    """Probability f32[K,h,w,C] of each class that can occur in the patch; of the others 0."""
    images, _ = patches.fetch(rows)
    total = mean_over_shifts(forward, images, shift) if shift else mean_over_turns(forward, images)
    total = total * patches.allowed[rows][:, None, None]
    return total / np.maximum(total.sum(-1, keepdims=True), np.finfo(np.float32).tiny)


KNOWN_WHOLE = 0.95
"""A mask is a whole one where at least this share of its pixels is known."""
FAIR = 0.5
"""Masks are a fair sample of their patches where at least this share of them is whole."""


def likeliest_text(why: str) -> str:
    """What the reason of `PseudoMasks.why_likeliest` comes to, in words."""
    return f"pseudo-masks take each pixel's likeliest class, since {why}"


def whole_masks(plan: RunPlan) -> np.ndarray:
    """Chosen masks of which (nearly) every pixel is known, bool[N]: others say nothing of shares."""
    known = plan.patches.pixels.sum(1) / np.prod(plan.patches.size)
    return plan.chosen.has_mask & (known >= KNOWN_WHOLE)


def why_no_shares(plan: RunPlan, classes: Classes) -> str:
    """Why a run's masks do not tell how much of a patch is background; "" where they do.

    Regions that were drawn each for itself tell nothing: what lies in a patch beside them is unknown, and a
    patch inside of one is of one class throughout, background or not.
    """
    if classes.background is None:
        return "classes.toml names no background"
    whole = whole_masks(plan)
    drawn = int(plan.chosen.has_mask.sum())
    if not drawn:
        return "no mask is learned from"
    if whole.sum() < FAIR * drawn:
        return (
            f"the masks are no fair sample of their patches ({int(whole.sum())} of {drawn} have at least "
            f"{KNOWN_WHOLE:.0%} of their pixels drawn)"
        )
    pixels = plan.patches.pixels[whole]
    mixed = (pixels[:, classes.background] > 0) & (pixels.sum(1) > pixels[:, classes.background])
    return "" if mixed.any() else "no mask has background beside another class"


def background_shares(
    plan: RunPlan, classes: Classes, among: np.ndarray | None = None
) -> tuple[np.ndarray, int]:
    """How much of the chosen masks of each label is background, f64[C], 0 to 1, and the background's code.

    Of a label without a mask: how much of all chosen masks.

    Args:
      plan: of the run.
      classes: the manifest's classes.
      among: bool[N], which of the chosen masks; all by default.

    Raises:
      UserError: there is no background, or no chosen mask with a pixel of any class.
    """
    has_mask = plan.chosen.has_mask if among is None else among
    if classes.background is None:
        raise UserError("teacher_background = 'share' needs a background; classes.toml names none")
    pixels = plan.patches.pixels[has_mask]
    if not pixels.any():
        raise UserError(
            "teacher_background = 'share' takes the share of background from the run's masks, and it has "
            "none: use teacher_background = 'likeliest'"
        )
    label = strata(plan.patches, classes.background)[has_mask]
    shares = np.full(len(classes), pixels[:, classes.background].sum() / pixels.sum())
    for code in range(len(classes)):
        of_label = pixels[label == code]
        if of_label.any():
            shares[code] = of_label[:, classes.background].sum() / of_label.sum()
    return shares, classes.background


def codes_by_share(
    probabilities: np.ndarray, label: np.ndarray, shares: np.ndarray, background: int, keep: float = 1.0
) -> np.ndarray:
    """Classes i64[K,h,w] with a given share of background in all patches of a label together.

    A network that knows few masks may see background, or a class, nearly everywhere; which pixels are the
    likelier background it tells better than how many are. So the pixels of all patches of a label are ranked
    by the probability of background, and as many of the first become background as its share asks. The others
    get the likeliest of the other classes. (Class-balanced self-training, Zou et al. 2018, with shares from
    masks.) The pixels next to the cut, of which the network is least sure, can be left out: of each side, so
    that the shares stay.

    Args:
      probabilities: f32[K,h,w,C], of the classes that can occur in the patch; of the others 0.
      label: i32[K].
      shares: f64[C], of background in the patches of each label, 0 to 1.
      background: its code.
      keep: how much of the background's pixels, and of the others, is kept; the rest gets 255.
    """
    others = probabilities.copy()
    others[..., background] = 0
    codes = others.argmax(-1)
    codes[~others.any(-1)] = background
    for code in np.unique(label):
        patches = np.flatnonzero(label == code)
        patches = patches[(probabilities[patches, ..., background] > 0).any((1, 2))]
        pixels = codes[patches].reshape(-1)
        ranked = np.argsort(-probabilities[patches, ..., background].reshape(-1), kind="stable")
        cut = round(shares[code] * len(ranked))
        pixels[ranked[:cut]] = background
        pixels[ranked[round(cut * keep) : len(ranked) - round((len(ranked) - cut) * keep)]] = IGNORE_PIXEL
        codes[patches] = pixels.reshape(len(patches), *codes.shape[1:])
    return codes


def count_classes(codes: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of each class, i64[C]; ignored ones are left out."""
    return np.bincount(codes[codes != IGNORE_PIXEL], minlength=classes)


def with_pseudo_masks(plan: RunPlan, masks: PseudoMasks, config: TrainConfig) -> RunPlan:
    """The plan with pseudo-masks beside the masks that it has, and in what these leave unknown.

    Class weights count the pixels of both. What was drawn on the teacher's cells becomes pixels, as masks
    have them: the network that learns from them may have other cells.
    """
    cell = plan.patches.size[0] // masks.codes.shape[1]
    number = np.full(len(plan.patches), -1)  # of each row's pseudo-mask
    number[masks.rows] = np.arange(len(masks.rows))
    fetch = plan.patches.fetch

    def fetch_both(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, drawn = fetch(rows)
        drawn = drawn.copy()
        for k in np.flatnonzero(number[rows] >= 0):
            made = enlarge(masks.codes[number[rows[k]]], cell)
            replaced = (drawn[k] == IGNORE_PIXEL) | ~plan.subset.has_mask[rows[k]]
            drawn[k] = np.where(replaced, made, drawn[k])
        return images, drawn

    pixels = plan.patches.pixels.copy()
    for row, codes in zip(masks.rows, masks.codes, strict=True):
        if plan.subset.has_mask[row]:
            _, (mask,) = fetch_both(np.array([row]))
            pixels[row] = count_classes(mask, pixels.shape[1])
        else:
            pixels[row] = count_classes(codes, pixels.shape[1]) * cell**2
    has_mask = plan.subset.has_mask | (number >= 0)
    weights, subset = segmentation_weights(config, pixels[has_mask]), Subset(has_mask, plan.subset.has_label)
    return plan._replace(
        patches=replace(plan.patches, fetch=fetch_both),
        subset=subset,
        task=plan.task._replace(seg_weights=weights, bags=used_bags(plan.patches, subset)),
    )


def write_pseudo_masks(folder: Path, masks: PseudoMasks) -> None:
    """Keeps pseudo-masks with the run that learns from them, so that it is resumed with the same."""
    with atomic_path(folder / PSEUDO_MASKS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **masks._asdict())


def read_why_likeliest(folder: Path) -> str:
    """What `PseudoMasks.why_likeliest` says of a run, whose masks are not unpacked; "" where it has none."""
    if not (folder / PSEUDO_MASKS).is_file():
        return ""
    return _read(folder, _why_likeliest)


def read_pseudo_masks(folder: Path) -> PseudoMasks:
    """Pseudo-masks of a run that is resumed. Raises `UserError` where they are gone or damaged."""

    def all_of(arrays: Mapping[str, np.ndarray]) -> PseudoMasks:
        return PseudoMasks(arrays["rows"], arrays["codes"], arrays["doubt"], _why_likeliest(arrays))

    return _read(folder, all_of)


def _read(folder: Path, take: Callable[[Mapping[str, np.ndarray]], Taken]) -> Taken:
    """What `take` reads of the file; of an archive only what is asked for is unpacked."""
    path = folder / PSEUDO_MASKS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return take(arrays)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path}, the pseudo-masks that the run learns from, cannot be read: {error}"
        ) from error


def _why_likeliest(arrays: Mapping[str, np.ndarray]) -> str:
    return str(arrays["why_likeliest"]) if "why_likeliest" in arrays else ""  # runs of before have none
