"""Masks that belong to pictures by their names."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from l2s_jax.prepare.layouts import PICTURE_SUFFIXES
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.pictures import Picture
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed


def pair_masks(pictures: Sequence[Picture], options: OwnPatchesOptions) -> list[Picture]:
    """Pictures with their masks, where a table has not named one.

    In `options.masks` a mask has its picture's name, or that and `options.mask_ending`, in the same folders
    or, where all names differ, in any. Case does not matter. Without it a mask lies beside its picture.

    Raises:
      UserError: no such folder; several masks for one picture; masks that are of none.
    """
    ending = options.mask_ending
    if options.masks is None:
        return [replace(one, mask=one.mask or _beside(one, ending)) for one in pictures]
    if not options.masks.is_dir():
        raise UserError(f"--masks {options.masks} is no folder")
    places: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(options.masks.rglob("*")):
        if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "." and path.is_file():
            stem = path.relative_to(options.masks).with_suffix("").as_posix().casefold()
            places[stem].append(path)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for stem, paths in places.items():
        by_name[PurePosixPath(stem).name] += paths
    names = defaultdict[str, int](int)
    for one in pictures:
        names[PurePosixPath(one.stem).name.casefold()] += 1
    found, several = [], []
    for one in pictures:
        stem = one.stem.casefold()
        name = PurePosixPath(stem).name
        masks = [
            path for end in dict.fromkeys(("", ending.casefold())) for path in places.get(stem + end, ())
        ]
        if not masks and names[name] == 1:
            masks = [
                path for end in dict.fromkeys(("", ending.casefold())) for path in by_name.get(name + end, ())
            ]
        if len(masks) > 1 and one.mask is None:
            several.append(f"{one.name}: {', '.join(path.name for path in masks)}")
        found.append(replace(one, mask=one.mask or next(iter(masks), None)))
    if several:
        raise UserError(f"several masks for one picture: {listed(several, 5)}. Keep one of them")
    used = {one.mask.resolve() for one in found if one.mask is not None}
    left = [path for paths in places.values() for path in paths if path.resolve() not in used]
    if left:
        raise UserError(
            f"{len(left)} mask(s) in {options.masks} are of no picture: "
            f"{listed((path.relative_to(options.masks) for path in left), 5)}. A mask has its picture's "
            f"name, such as {pictures[0].stem}.png or {pictures[0].stem}{ending}.png"
            + _hint(left, {PurePosixPath(one.stem).name.casefold() for one in pictures})
        )
    return found


def _beside(one: Picture, ending: str) -> Path | None:
    stem = one.image.with_suffix("")
    names = [stem.with_name(f"{stem.name}{ending}{suffix}") for suffix in PICTURE_SUFFIXES]
    there = [path for path in names if path.is_file() and path != one.image]
    if len(there) > 1:
        raise UserError(f"several masks for one picture: {', '.join(map(str, there))}. Keep one of them")
    return next(iter(there), None)


def _hint(masks: Sequence[Path], names: set[str]) -> str:
    """What all masks' names have behind those of pictures, where that is one thing."""
    ends = set()
    for path in masks:
        stem = path.stem.casefold()
        name = max((name for name in names if stem.startswith(name)), key=len, default=None)
        ends.add(path.stem[len(name) :] if name else "")
    return f". With --mask-ending {next(iter(ends))} they would be" if len(ends) == 1 and ends != {""} else ""
