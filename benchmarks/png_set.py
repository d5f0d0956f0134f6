"""A data set of as many real PNG files as wanted: drawn phantom patches, copied under other names.

Drawing a patch takes 20 times as long as decoding it, so a few are drawn and copied. A copy is a file of its
own that is opened and decoded like any other.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from l2s_jax.data.manifest import PatchRow, write_classes, write_patches
from l2s_jax.phantom.patches import CLASSES, prepare_phantom


def draw_patches(folder: Path, count: int = 100, side: int = 128) -> Sequence[PatchRow]:
    """Draws phantom patches of `side` x `side` pixels, all with mask and label."""
    return prepare_phantom(folder, patches=count, patch_size=side).patches


def write_png_set(out: Path, drawn: Sequence[PatchRow], count: int) -> Path:
    """Makes a manifest of `count` training patches, copies of the drawn ones, and returns its folder."""
    copies = []
    for place in ("images", "masks"):
        (out / place).mkdir(parents=True)
    for number in range(count):
        row = drawn[number % len(drawn)]
        assert row.mask is not None
        image, mask = (out / place / f"{number:05d}.png" for place in ("images", "masks"))
        shutil.copyfile(row.image, image)
        shutil.copyfile(row.mask, mask)
        group = f"{row.group}-{number // len(drawn)}"
        copies.append(replace(row, image=image, mask=mask, group=group, split="train"))
    write_classes(out, CLASSES)
    write_patches(out, CLASSES, copies)
    return out
