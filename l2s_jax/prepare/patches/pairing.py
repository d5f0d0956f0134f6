"""Masks that belong to pictures by their names."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from l2s_jax.prepare.patches.files import MASK_FOLDERS, SUFFIXES, mask_files
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.picture import PASSED_OVER, Picture
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed


def pair_masks(
    pictures: Sequence[Picture], source: Path, out: Path, options: OwnPatchesOptions
) -> list[Picture]:
    """Pictures with their masks, where a table has not named one.

    A mask has its picture's name, or that and `options.mask_ending`, in the same folders (those that say
    images or masks do not count) or, where only one picture has the name, in none. Case does not matter.
    Without `options.masks` it may lie beside its picture, too, with that ending.

    Raises:
      UserError: see `mask_files`; several masks for one picture; masks that are of none, or of several.
    """
    root, files = mask_files(source, out, options)
    ending = options.mask_ending
    ends = dict.fromkeys(("", ending.casefold()))
    places: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        places[_key(path.relative_to(root).with_suffix("").as_posix())].append(path)
    names = Counter(PurePosixPath(one.stem).name.casefold() for one in pictures)
    beside = _Beside(ending) if options.masks is None else None
    found, several = [], []
    for one in pictures:
        name = PurePosixPath(one.stem).name.casefold()
        masks = [path for end in ends for path in places.get(_key(one.stem) + end, ())]
        if not masks and names[name] == 1:  # in no folder
            masks = [path for end in ends for path in places.get(name + end, ())]
        masks += beside.of(one) if beside else []
        if len(masks) > 1 and one.mask is None:
            several.append(f"{one.name}: {', '.join(map(str, masks))}")
        found.append(replace(one, mask=one.mask or next(iter(masks), None)))
    if several:
        raise UserError(f"several masks for one picture: {listed(several, 5)}. Keep one of them")
    owners = Counter(one.mask.resolve() for one in found if one.mask is not None)
    if shared := [path for path, count in owners.items() if count > 1]:
        raise UserError(
            f"{len(shared)} mask(s) are of several pictures: {listed(shared, 3)}. A mask is of one: name "
            "pictures or folders otherwise, or say in a CSV file with the columns image,mask which is of "
            "which"
        )
    left = [path for path in files if path.resolve() not in owners]
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


class _Beside:
    """Masks that lie beside pictures; each folder is read once."""

    def __init__(self, ending: str) -> None:
        self.ending = ending.casefold()
        self.folders: dict[Path, dict[str, list[Path]]] = {}

    def of(self, one: Picture) -> list[Path]:
        """The masks of a picture: its name with the ending."""
        folder = one.image.parent
        if folder not in self.folders:
            stems: dict[str, list[Path]] = defaultdict(list)
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in SUFFIXES and path.name[0] != ".":
                    stems[path.stem.casefold()].append(path)
            self.folders[folder] = stems
        return self.folders[folder].get(one.image.stem.casefold() + self.ending, []) if self.ending else []


def _hint(masks: Sequence[Path], names: Sequence[str]) -> str:
    """What all masks' names have behind those of pictures, where that is one thing."""
    ends = set()
    for path in masks:
        stem = path.stem.casefold()
        name = max((name for name in names if stem.startswith(name)), key=len, default=None)
        ends.add(path.stem[len(name) :] if name else "")
    return f". With --mask-ending {next(iter(ends))} they would be" if len(ends) == 1 and ends != {""} else ""
