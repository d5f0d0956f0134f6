"""Masks that belong to pictures by their names."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from l2s_jax.prepare.layouts import PICTURE_SUFFIXES
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.pictures import MASK_FOLDERS, PASSED_OVER, Picture, mask_files
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed


def pair_masks(
    pictures: Sequence[Picture], source: Path, out: Path, options: OwnPatchesOptions
) -> list[Picture]:
    """Pictures with their masks, where a table has not named one.

    A mask has its picture's name, or that and `options.mask_ending`, in the same folders (those that say
    images or masks do not count) or, where all names differ, in any. Case does not matter. Without
    `options.masks` it may lie beside its picture, too, with that ending.

    Raises:
      UserError: see `mask_files`; several masks for one picture; masks that are of none.
    """
    root, files = mask_files(source, out, options)
    ending = options.mask_ending
    ends = dict.fromkeys(("", ending.casefold()))
    places: dict[str, list[Path]] = defaultdict(list)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        stem = path.relative_to(root).with_suffix("").as_posix()
        places[_key(stem)].append(path)
        by_name[path.stem.casefold()].append(path)
    names = Counter(PurePosixPath(one.stem).name.casefold() for one in pictures)
    found, several = [], []
    for one in pictures:
        name = PurePosixPath(one.stem).name.casefold()
        masks = [path for end in ends for path in places.get(_key(one.stem) + end, ())]
        if not masks and names[name] == 1:
            masks = [path for end in ends for path in by_name.get(name + end, ())]
        if options.masks is None:
            masks += _beside(one, ending)
        if len(masks) > 1 and one.mask is None:
            several.append(f"{one.name}: {', '.join(map(str, masks))}")
        found.append(replace(one, mask=one.mask or next(iter(masks), None)))
    if several:
        raise UserError(f"several masks for one picture: {listed(several, 5)}. Keep one of them")
    used = {one.mask.resolve() for one in found if one.mask is not None}
    left = [path for path in files if path.resolve() not in used]
    if left:
        raise UserError(
            f"{len(left)} mask(s) in {root} are of no picture: "
            f"{listed((path.relative_to(root) for path in left), 5)}. A mask has its picture's "
            f"name, such as {pictures[0].stem}.png or {pictures[0].stem}{ending}.png" + _hint(left, [*names])
        )
    return found


def _key(stem: str) -> str:
    """A name without the folders that say what is in them: train/images/a and train/masks/a are train/a."""
    *folders, name = stem.casefold().split("/")
    return "/".join([*(one for one in folders if one not in (*PASSED_OVER, *MASK_FOLDERS)), name])


def _beside(one: Picture, ending: str) -> list[Path]:
    stem = one.image.with_suffix("")
    names = [stem.with_name(f"{stem.name}{ending}{suffix}") for suffix in PICTURE_SUFFIXES]
    return [path for path in names if path.is_file()] if ending else []


def _hint(masks: Sequence[Path], names: Sequence[str]) -> str:
    """What all masks' names have behind those of pictures, where that is one thing."""
    ends = set()
    for path in masks:
        stem = path.stem.casefold()
        name = max((name for name in names if stem.startswith(name)), key=len, default=None)
        ends.add(path.stem[len(name) :] if name else "")
    return f". With --mask-ending {next(iter(ends))} they would be" if len(ends) == 1 and ends != {""} else ""
