"""The classification study's test set (section 3.3): half of the image-level patches; the rest is trained on.

The paper's data sets have labels among their training patches only: their test pictures are masks. Here half
of the image-level training patches become test rows, stratified by class. Whole groups move, so that no
patient or slide is on both sides; a group's mask patches move with it.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from l2s_jax.data.manifest import Manifest, PatchRow, read_manifest
from l2s_jax.prepare.linking import write_linked
from l2s_jax.prepare.splits import split_groups
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL

HALVES = (0.5, 0.0, 0.5)


def prepare_halves(
    manifest: str | Path, out: str | Path, *, seed: int = 0, overwrite: bool = False
) -> tuple[Manifest, list[str]]:
    """Makes a manifest of which half of the image-level training patches are test patches.

    Args:
      manifest: folder with `patches.csv` and `classes.toml`.
      out: folder for the other; its pictures are hard links to the same files, or copies.
      seed: which of the many equally good halves.
      overwrite: use a folder that holds something else.

    Returns:
      The manifest, and lines on what moved.

    Raises:
      UserError: a faulty manifest, one whose test split has labels already, too few image-level patches, or a
        folder that cannot be used.
    """
    found = read_manifest(manifest)
    rows = _moved(found, seed)
    out = Path(out)
    recipe = {"what": "halves", "manifest_sha256": found.sha256, "seed": seed}
    write_linked(found, rows, out, recipe, overwrite=overwrite)
    return read_manifest(out), _said(found.patches, rows)


def _moved(manifest: Manifest, seed: int) -> tuple[PatchRow, ...]:
    if any(row.label != IGNORE_LABEL for row in manifest.of_split("test")):
        raise UserError(
            f"{manifest.folder} has labels in its split test already: it is fit for a classification study"
        )
    images = [row for row in manifest.of_split("train") if row.mask is None and row.label != IGNORE_LABEL]
    groups = {row.group for row in images}
    if len(groups) < 2:
        raise UserError(
            f"{manifest.folder} has image-level training patches of {len(groups)} group(s): expected two at "
            "least, one for each half"
        )
    halves = split_groups([row.group for row in images], [row.label for row in images], HALVES, seed)
    test = {row.group for row, half in zip(images, halves, strict=True) if half == "test"}
    return tuple(
        replace(row, split="test") if row.split == "train" and row.group in test else row
        for row in manifest.patches
    )


def _said(before: tuple[PatchRow, ...], after: tuple[PatchRow, ...]) -> list[str]:
    moved = np.array([old.split != new.split for old, new in zip(before, after, strict=True)])
    masks = np.array([row.mask is not None for row in before])
    images = np.array([row.split == "train" and row.mask is None for row in before])
    lines = [f"{(moved & images).sum()} of {images.sum()} image-level training patches are test patches now"]
    if (moved & masks).any():
        lines.append(
            f"{(moved & masks).sum()} mask patches of the same patients or slides moved with them, and are "
            "trained on no longer"
        )
    return lines
