"""Self-training: a trained network gives image-level patches masks of their own. Not in the paper.

A label narrows down what a network says: of its classes only the patch's label and the background can be
there (or what the manifest's column `allowed` says). The network of a run with few masks, asked so, draws
masks for the other patches, from which another run learns as if they had been drawn by hand.
"""

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from l2s_jax import run_folder
from l2s_jax.config import TrainConfig
from l2s_jax.data.manifest import Manifest
from l2s_jax.data.patch_set import PatchSet
from l2s_jax.data.subsets import Subset
from l2s_jax.errors import UserError
from l2s_jax.files import atomic_path
from l2s_jax.inference import Forward, Network, enlarge, make_forward
from l2s_jax.models.decoder import SCALE
from l2s_jax.networks import load_network
from l2s_jax.run_folder import EarlierRun
from l2s_jax.run_plan import RunPlan, segmentation_weights
from l2s_jax.starts import require_held_out
from l2s_jax.types import IGNORE_PIXEL

DRAWN_MASKS = "drawn_masks.npz"
AT_ONCE = 20
"""Patches that the teacher looks at in one go."""


class Teacher(NamedTuple):
    """The network that draws, and the run that it comes from."""

    network: Network
    run: EarlierRun


class DrawnMasks(NamedTuple):
    """Masks that a network has drawn."""

    rows: np.ndarray  # i64[K], rows of the training split
    codes: np.ndarray  # u8[K,H/8,W/8], classes at the network's resolution, 255 where the teacher is not sure


def read_teacher(config: TrainConfig, manifest: Manifest) -> Teacher:
    """Reads the network of the run `config.teacher`.

    Raises:
      UserError: there is no such run, it has other classes, or it has learned from patients or slides of this
        manifest's validation or test split.
    """
    folder = Path(config.teacher).expanduser()
    network, _ = load_network(folder)
    names = run_folder.read_run_classes(folder).names
    if names != manifest.classes.names:
        raise UserError(
            f"--teacher {folder} knows the classes {', '.join(names)}; this manifest has "
            f"{', '.join(manifest.classes.names)}"
        )
    groups = require_held_out(folder, manifest, "--teacher")
    return Teacher(network, EarlierRun("teacher", str(folder), "the whole network", groups))


def draw_masks(
    teacher: Teacher,
    plan: RunPlan,
    classes: tuple[str, ...],
    confidence: float = 0.0,
    say: Callable[[str], None] = print,
) -> DrawnMasks:
    """Masks for the patches of a plan that have a label and no mask.

    At each place the likeliest of the classes that can be in the patch, by the mean probability over the
    patch's eight turns and flips; 255, which no loss counts, where its share of the probability of those
    classes is below `confidence`.
    """
    rows = np.flatnonzero(plan.chosen.has_label & ~plan.chosen.has_mask)
    forward = make_forward(teacher.network, AT_ONCE)
    parts = [
        _draw(forward, plan.patches, rows[start : start + AT_ONCE], confidence)
        for start in range(0, len(rows), AT_ONCE)
    ]
    side = plan.patches.size[0] // SCALE
    drawn = DrawnMasks(rows, np.concatenate([np.zeros((0, side, side), np.uint8), *parts]))
    shares = _count(drawn.codes, len(classes)) / max(drawn.codes.size, 1)
    named = [*zip(classes, shares, strict=True)]
    named += [("not sure", 1 - shares.sum())] if confidence else []
    listed = ", ".join(f"{name} {share:.0%}" for name, share in named)
    say(f"{teacher.run.folder} draws masks for {len(rows)} image-level patches: {listed}")
    return drawn


def _count(codes: np.ndarray, classes: int) -> np.ndarray:
    """Places of each class, i64[C]."""
    return np.bincount(codes[codes != IGNORE_PIXEL], minlength=classes)


def _draw(forward: Forward, patches: PatchSet, rows: np.ndarray, confidence: float) -> np.ndarray:
    images, _ = patches.fetch(rows)
    total = np.zeros(0)
    for turns in range(4):
        for flip in (1, -1):
            turned = np.ascontiguousarray(np.rot90(images, turns, (1, 2))[:, :, ::flip])
            logits, _ = forward(turned)
            odds = np.exp(logits - logits.max(-1, keepdims=True))
            back = np.rot90((odds / odds.sum(-1, keepdims=True))[:, :, ::flip], -turns, (1, 2))
            total = total + back if total.size else back
    total = total * patches.allowed[rows][:, None, None]
    sure = total.max(-1) >= confidence * total.sum(-1)
    return np.where(sure, total.argmax(-1), IGNORE_PIXEL).astype(np.uint8)


def taught(plan: RunPlan, drawn: DrawnMasks, config: TrainConfig) -> RunPlan:
    """The plan with drawn masks beside those that it has; class weights count the pixels of both."""
    place = np.full(len(plan.patches), -1)
    place[drawn.rows] = np.arange(len(drawn.rows))
    fetch = plan.patches.fetch

    def fetch_drawn(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, masks = fetch(rows)
        masks = masks.copy()
        for k in np.flatnonzero(place[rows] >= 0):
            masks[k] = enlarge(drawn.codes[place[rows[k]]])
        return images, masks

    pixels = plan.patches.pixels.copy()
    for row, codes in zip(drawn.rows, drawn.codes, strict=True):
        pixels[row] = _count(codes, pixels.shape[1]) * SCALE**2
    has_mask = plan.subset.has_mask | (place >= 0)
    weights = segmentation_weights(config, pixels[has_mask])
    return plan._replace(
        patches=replace(plan.patches, fetch=fetch_drawn),
        subset=Subset(has_mask, plan.subset.has_label),
        task=plan.task._replace(seg_weights=weights),
    )


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
