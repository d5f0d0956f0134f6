"""What a check finds in the files of single rows, without keeping their pixels."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from l2s_jax.data.manifest import PATCHES, Classes, Manifest, PatchRow
from l2s_jax.data.pictures import ImageLook, is_large, look_at_image, look_at_mask
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.types import IGNORE_LABEL


@dataclass(frozen=True)
class Seen:
    """What was found in the files of one row; `image` is None where it cannot be read."""

    row: PatchRow
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    image: ImageLook | None = None
    pixels: np.ndarray | None = None  # i64[C], mask pixels by class

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the image."""
        return None if self.image is None else self.image.size


def at(row: PatchRow) -> str:
    """Where a row stands, for messages."""
    return f"{PATCHES} line {row.line}"


def size_text(shape: Sequence[int]) -> str:
    """Height and width."""
    return f"{shape[0]} x {shape[1]}"


def look_at_rows(manifest: Manifest) -> list[Seen]:
    """Reads the files of all rows; large pictures one at a time, in a thread of their own."""
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool, ThreadPoolExecutor(1) as alone:

        def look(row: PatchRow) -> Seen:
            if any(is_large(path) for path in (row.image, row.mask) if path):
                return alone.submit(_look, row, manifest.classes).result()
            return _look(row, manifest.classes)

        looks = pool.map(look, manifest.patches)
        return list(track(looks, "checking", total=len(manifest.patches), unit="patches"))


def _look(row: PatchRow, classes: Classes) -> Seen:
    """Reads the files of one row; keeps sizes and counts, not pixels."""
    faults: list[str] = []
    image = mask = None
    try:
        image = look_at_image(row.image)
    except UserError as error:
        faults.append(str(error))
    try:
        mask = None if row.mask is None else look_at_mask(row.mask, classes)
    except UserError as error:
        faults.append(str(error))
    if image is None or mask is None:
        return Seen(row, tuple(faults), (), image, None if mask is None else mask.pixels)
    doubts = []
    if mask.size != image.size:
        faults.append(
            f"{row.mask} is {size_text(mask.size)} but its image {size_text(image.size)} (height x width); "
            "expected the same size. Export the mask again at the image's size"
        )
    if mask.orientation != image.orientation:
        faults.append(
            f"{row.image} and {row.mask} have different EXIF orientations and may not lie on each other. "
            "Save both upright, without the tag"
        )
    if not mask.pixels.any():
        doubts.append(f"{row.mask} has nothing but ignored pixels: it teaches nothing")
    elif (
        row.label != IGNORE_LABEL
        and not mask.pixels[row.label]
        and mask.pixels.sum() > math.prod(mask.size) / 2  # a scribble need not show it
    ):
        doubts.append(f"label {classes.names[row.label]!r} has no pixel in {row.mask}")
    return Seen(row, tuple(faults), tuple(doubts), image, mask.pixels)
