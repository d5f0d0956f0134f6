"""What is in the files of pictures and masks, and which of them cannot be used."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from l2s_jax.data.pictures import look_at_image, orientation_of
from l2s_jax.prepare.patches.classes import MaskClasses
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.picture import Picture
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.resources import usable_cores


class Seen(NamedTuple):
    """A picture that can be used."""

    picture: Picture
    size: tuple[int, int]  # (height, width)
    pixels: np.ndarray  # i64[C], of its mask by code; all 0 without one
    turned: bool = False  # by its EXIF orientation


def look_at_all(
    pictures: Sequence[Picture], classes: MaskClasses, options: OwnPatchesOptions
) -> tuple[list[Seen], list[str]]:
    """Reads every picture and mask; those that can be used, and the faults of the others."""

    def look(one: Picture) -> Seen | str:
        try:
            return _seen(one, classes, options)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(usable_cores()) as pool:
        found = list(track(pool.map(look, pictures), "reading", total=len(pictures), unit="pictures"))
    return [one for one in found if isinstance(one, Seen)], [one for one in found if isinstance(one, str)]


def _seen(one: Picture, classes: MaskClasses, options: OwnPatchesOptions) -> Seen:
    look = look_at_image(one.image)
    pixels = np.zeros(len(classes.classes), np.int64)
    if one.mask is not None:
        mask = classes.read(one)
        if mask.shape != look.size:
            raise UserError(f"{one.mask} is {_by(mask.shape)}, its picture {_by(look.size)}")
        if orientation_of(one.mask) != look.orientation:
            raise UserError(
                f"{one.image} and {one.mask} have different EXIF orientations and may not lie on each other. "
                "Save both upright, without the tag"
            )
        pixels = np.bincount(mask.ravel(), minlength=256)[: len(classes.classes)].copy()
        if not pixels.any():
            raise UserError(f"{one.mask}: no pixel is known")
    elif not one.label:
        raise UserError(f"{one.image} has neither a mask nor a label: there is nothing to learn from it")
    cut = options.patch_size is not None and not options.fit and one.split in (None, "train")
    if cut and options.patch_size is not None and min(look.size) < options.patch_size:
        raise UserError(
            f"{one.image} is {_by(look.size)}, smaller than a patch of {options.patch_size}: choose a "
            "smaller --patch-size, or squeeze pictures with --fit"
        )
    return Seen(one, look.size, pixels, look.orientation != 1)


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
