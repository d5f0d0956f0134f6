"""The training rows in memory (or on disk, where they do not fit), with the flags of a run."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from l2s_jax.data.manifest import Classes, PatchRow
from l2s_jax.data.pictures import LARGE, picture_size, read_image, read_mask
from l2s_jax.data.subsets import Subset
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.resources import available_memory
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL

DECODE_THREADS = 4

Fetch = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Row numbers [K] to images u8[K,H,W,3] and masks u8[K,H,W]."""


@dataclass(frozen=True)
class PatchSet:
    """N patches of one size. Rows without a mask have IGNORE_PIXEL throughout theirs."""

    rows: tuple[PatchRow, ...]
    size: tuple[int, int]  # height, width in pixels
    fetch: Fetch
    in_memory: bool
    label: np.ndarray  # i32[N]
    can_mask: np.ndarray  # bool[N]
    pixels: np.ndarray  # i64[N,C], pixels of each class in the row's mask
    allowed: np.ndarray  # bool[N,C], classes that can occur in the patch

    @property
    def says_something(self) -> np.ndarray:
        """bool[N]: there is a label, or fewer classes than all can occur."""
        return (self.label != IGNORE_LABEL) | ~self.allowed.all(1)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def bag(self) -> np.ndarray:
        """i32[N]: the number of the whole that each patch is a part of; -1 for none."""
        numbers: dict[str, int] = {}
        return np.array(
            [numbers.setdefault(row.bag, len(numbers)) if row.bag else -1 for row in self.rows], np.int32
        )

    @cached_property
    def bag_label(self) -> np.ndarray:
        """i32[N]: the class that is somewhere in that whole; `IGNORE_LABEL` without one."""
        return np.array([row.bag_label for row in self.rows], np.int32)


def load_patches(rows: Sequence[PatchRow], classes: Classes, memory_gib: float) -> PatchSet:
    """Decodes every patch once, and keeps them where they fit.

    Args:
      rows: rows of a manifest, at least one.
      classes: the manifest's classes.
      memory_gib: keep decoded pictures up to this many GiB; beyond, they are decoded again at each use.

    Raises:
      UserError: a picture cannot be read, or they are not all of one size.
    """
    if not rows:
        raise UserError("no patches to load")
    size = picture_size(rows[0].image)
    room = min(memory_gib * 2**30, available_memory() / 2)  # a container may have less than was asked for
    fits = len(rows) * size[0] * size[1] * 4 <= room
    pixels = np.zeros((len(rows), len(classes)), np.int64)
    images = np.empty((len(rows), *size, 3), np.uint8) if fits else None
    masks = np.empty((len(rows), *size), np.uint8) if fits else None

    def decode(i: int) -> None:
        image, mask = read_patch(rows[i], classes, size)
        pixels[i] = np.bincount(mask.reshape(-1), minlength=256)[: len(classes)]
        if images is not None and masks is not None:
            images[i], masks[i] = image, mask

    with ThreadPoolExecutor(DECODE_THREADS if size[0] * size[1] <= LARGE else 1) as pool:
        for _ in track(pool.map(decode, range(len(rows))), "decoding", len(rows), "patches"):
            pass

    def gather(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if images is not None and masks is not None:
            return images[indices], masks[indices]
        pairs = [read_patch(rows[i], classes, size) for i in indices]
        return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])

    return PatchSet(
        tuple(rows),
        size,
        gather,
        fits,
        np.array([row.label for row in rows], np.int32),
        np.array([row.mask is not None for row in rows], bool),
        pixels,
        allowed_classes(rows, classes),
    )


def allowed_classes(rows: Sequence[PatchRow], classes: Classes) -> np.ndarray:
    """Which classes can occur in each patch, bool[N,C].

    What the manifest's column `allowed` says; without it, the label and the background, as the paper asks of
    image-level patches (section 3.3); every class where there is no label either.
    """
    allowed = np.zeros((len(rows), len(classes)), bool)
    for flags, row in zip(allowed, rows, strict=True):
        if row.allowed:
            flags[list(row.allowed)] = True
        elif row.label == IGNORE_LABEL:
            flags[:] = True
        else:
            flags[row.label] = True
            if classes.background is not None:
                flags[classes.background] = True
    return allowed


def read_patch(row: PatchRow, classes: Classes, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One patch's image u8[H,W,3] and mask u8[H,W], checked against the size that all must have."""
    image = read_image(row.image)
    if image.shape[:2] != size:
        raise UserError(
            f"{row.image} is {image.shape[0]}x{image.shape[1]} pixels, the first patch {size[0]}x{size[1]}: "
            "the patches of a split must be of one size"
        )
    if row.mask is None:
        return image, np.full(size, IGNORE_PIXEL, np.uint8)
    mask = read_mask(row.mask, classes)
    if mask.shape != size:
        raise UserError(
            f"{row.mask} is {mask.shape[0]}x{mask.shape[1]} pixels, its image {size[0]}x{size[1]}"
        )
    return image, mask


def strata(patches: PatchSet, background: int | None) -> np.ndarray:
    """Class i32[N] that each row counts for: its label, its mask's dominant class, or what can occur."""
    counts = patches.pixels.copy()
    if background is not None:
        others = counts.sum(1) > counts[:, background]
        counts[others, background] = 0
    can_occur = patches.allowed.copy()
    if background is not None:
        can_occur[:, background] = False
    is_set = ~patches.allowed.all(1) & (can_occur.sum(1) == 1)
    possible = np.where(is_set, can_occur.argmax(1), IGNORE_LABEL)
    dominant = np.where(counts.any(1), counts.argmax(1), possible)
    return np.where(patches.label != IGNORE_LABEL, patches.label, dominant).astype(np.int32)


def routed(
    patches: PatchSet, subset: Subset, routing: str, setting: str, background: int | None
) -> tuple[PatchSet, Subset]:
    """The patches and flags that the losses see under a routing.

    `split` leaves all as it is. `all` (the release) fills the masks of image-level patches with their label
    and, in S+C and S+C*, labels mask patches by the dominant class of their mask, so that both losses see
    every patch.
    """
    if routing == "split":
        return patches, subset
    filled = subset.has_label & ~subset.has_mask & (patches.label != IGNORE_LABEL)
    label = patches.label.copy()
    label[subset.has_mask] = strata(patches, background)[subset.has_mask]
    has_label = subset.has_label if setting == "S" else (subset.has_label | subset.has_mask)
    fetch = patches.fetch

    def fetch_filled(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, masks = fetch(indices)
        masks = masks.copy()
        for k in np.flatnonzero(filled[indices]):
            masks[k] = label[indices[k]]
        return images, masks

    routed_set = replace(patches, fetch=fetch_filled, label=label)
    return routed_set, Subset(subset.has_mask | filled, has_label)


def channel_statistics(patches: PatchSet, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation f32[3] by channel, RGB in 0..1, over the pixels of some rows."""
    total, squares, n = np.zeros(3), np.zeros(3), 0
    for start in range(0, len(rows), 256):
        images, _ = patches.fetch(rows[start : start + 256])
        scaled = images.reshape(-1, 3).astype(np.float64) / 255
        total, squares, n = total + scaled.sum(0), squares + (scaled**2).sum(0), n + len(scaled)
    mean = total / n
    std = np.sqrt(np.maximum(squares / n - mean**2, 1e-6))
    return mean.astype(np.float32), std.astype(np.float32)
