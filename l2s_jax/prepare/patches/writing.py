"""Pictures and masks into a manifest's folder: as they are, cut, or squeezed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from l2s_jax.data.manifest import PatchRow
from l2s_jax.data.pictures import read_image, write_png
from l2s_jax.prepare.patches.classes import MaskClasses
from l2s_jax.prepare.patches.looking import Seen
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.slides.labelled import Label, label_of_part
from l2s_jax.slides.sheets import FILTERS, resized
from l2s_jax.system.files import atomic_path
from l2s_jax.types import IGNORE_LABEL, IGNORE_PIXEL


class Part(NamedTuple):
    """What a row is made of: a part of a picture, or all of it."""

    name: str  # without suffix
    image: np.ndarray | None  # u8[H,W,3]; None: the file as it is
    mask: np.ndarray | None  # u8[H,W], class codes
    known: Label
    mpp: float | None


def write_picture(one: Seen, out: Path, made: MaskClasses, options: OwnPatchesOptions) -> list[PatchRow]:
    """Writes a picture's patches, and gives their rows; lines are numbered later."""
    rows = []
    picture = one.picture
    for part in _parts(one, made, options):
        suffix = picture.image.suffix if part.image is None else ".png"
        image = out / "images" / f"{part.name}{suffix}"
        if part.image is None:
            _copy(picture.image, image)
        else:
            write_png(image, part.image)
        mask = None
        if part.mask is not None:
            mask = out / "masks" / f"{part.name}.png"
            write_png(mask, part.mask)
        known = part.known
        rows.append(
            PatchRow(
                line=0,
                image=image,
                mask=mask,
                label=known.label,
                group=picture.group,
                split=picture.split or "train",
                mpp=part.mpp,
                source=picture.name,
                allowed=known.allowed,
                bag=picture.stem if known.bag_label != IGNORE_LABEL else "",
                bag_label=known.bag_label,
            )
        )
    return rows


def mpp_of(one: Seen, options: OwnPatchesOptions) -> float | None:
    """um/px of a picture's patches; None where it is not known, as of a picture squeezed out of shape."""
    known, size = one.picture.mpp, options.patch_size
    if known is None or size is None or not options.fit:
        return known
    return known * one.size[0] / size if one.size[0] == one.size[1] else None


def is_cut(one: Seen, options: OwnPatchesOptions) -> bool:
    """Whether a picture becomes several patches, or a part of it one."""
    size = options.patch_size
    return size is not None and not options.fit and one.picture.split == "train" and one.size != (size, size)


def names_of(one: Seen, options: OwnPatchesOptions) -> list[str]:
    """Names of a picture's patches without suffix, also of those of which nothing will be known."""
    stem, size = one.picture.stem, options.patch_size
    if size is None or not is_cut(one, options):
        return [stem]
    return [_part_name(stem, *origin) for origin in origins(one.size, size)]


def _part_name(stem: str, row: int, col: int) -> str:
    return f"{stem}_{row}_{col}"


def _parts(one: Seen, made: MaskClasses, options: OwnPatchesOptions) -> Iterator[Part]:
    picture, size = one.picture, options.patch_size
    name = picture.stem
    classes = made.classes
    label = classes.names.index(picture.label) if picture.label else IGNORE_LABEL
    mask = None if picture.mask is None else made.read(picture)
    mpp = mpp_of(one, options)
    if size is None or (not options.fit and not is_cut(one, options)) or one.size == (size, size):
        image = read_image(picture.image) if one.turned else None
        yield Part(name, image, mask, _whole(label, mask, classes.background), mpp)
        return
    image = read_image(picture.image)
    if options.fit:
        image = resized(image, (size, size), FILTERS["antialias"])
        mask = None if mask is None else resized(mask, (size, size), Image.Resampling.NEAREST)
        yield Part(name, image, mask, _whole(label, mask, classes.background), mpp)
        return
    for row, col in origins(one.size, size):
        place = slice(row, row + size), slice(col, col + size)
        if mask is None:
            known = label_of_part(label, classes.background)
            yield Part(_part_name(name, row, col), image[place], None, known, mpp)
        elif (mask[place] != IGNORE_PIXEL).any():
            known = _whole(IGNORE_LABEL, mask[place], classes.background)
            yield Part(_part_name(name, row, col), image[place], mask[place], known, mpp)


def origins(shape: tuple[int, int], size: int) -> list[tuple[int, int]]:
    """(row, col) of the patches that fit side by side into a picture, centred in it."""
    tops, lefts = ([(length % size) // 2 + step * size for step in range(length // size)] for length in shape)
    return [(top, left) for top in tops for left in lefts]


def _whole(label: int, mask: np.ndarray | None, background: int | None) -> Label:
    """What is known of a patch: its own label, or what its mask shows where all of that is known.

    The label is then the one class beside background (that of a patch of background alone is background), and
    `allowed` the classes that are there.
    """
    if mask is None or label != IGNORE_LABEL:
        return Label(label, ())
    held = tuple(int(code) for code in np.unique(mask))
    if IGNORE_PIXEL in held:
        return Label(IGNORE_LABEL, ())
    beside = [code for code in held if code != background] or list(held)
    return Label(beside[0] if len(beside) == 1 else IGNORE_LABEL, held)


def _copy(source: Path, target: Path) -> None:
    """Copies a file, so that the data set stays as it is when the original is worked on."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
