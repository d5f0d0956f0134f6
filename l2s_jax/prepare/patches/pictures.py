"""Which pictures there are, and what is said of each: by a table, or by folders and names."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from l2s_jax.prepare.patches.files import SUFFIXES, named_for_masks, walked
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.patches.picture import PASSED_OVER, SPLIT_NAMES, Picture
from l2s_jax.prepare.patches.table import read_picture_table
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import control_fault, listed


def find_pictures(source: Path, out: Path, options: OwnPatchesOptions) -> list[Picture]:
    """The pictures of a folder (in folders of it too) or of a table, by name.

    Masks are none: see `mask_files`, and what lies beside a picture and has its name and
    `options.mask_ending`.

    Args:
      source: a folder, or a CSV file with the column `image` and any of `mask`, `label`, `group`, `split`,
        `mpp`; its paths count from its folder.
      out: folder that is made, which is not looked into.
      options: where labels and splits are said.

    Raises:
      UserError: nothing there; faulty rows; a folder that says no split; two pictures of one name.
    """
    if source.is_file() and source.suffix.lower() in SUFFIXES:
        raise UserError(f"{source} is a picture: name the folder that it lies in, or a CSV file of pictures")
    if source.is_file():
        pictures = read_picture_table(source)
    elif source.is_dir():
        pictures = _of_folder(source, out, options)
    else:
        raise UserError(f"{source} not found: name a folder of pictures, or a CSV file with the column image")
    if not pictures:
        raise UserError(f"{source} holds no picture ({', '.join(SUFFIXES)})")
    twice = [stem for stem, n in Counter(one.stem.casefold() for one in pictures).items() if n > 1]
    if twice:
        raise UserError(f"several pictures have one name but for the suffix: {listed(twice)}. Rename them")
    if faults := dict.fromkeys(fault for one in pictures if (fault := control_fault(one.name))):
        raise UserError("\n".join(["names of pictures:", *faults]))
    if options.label_from is not None:
        how = options.label_from
        pictures = [replace(one, label=one.label or told_by(one, how, "--label-from")) for one in pictures]
        if not any(one.label for one in pictures):
            names = listed((one.name for one in pictures), 3)
            raise UserError(f"--label-from {how}: no picture's path says a label; found {names}")
    return pictures if options.split_from is None else _with_splits(pictures)


def told_by(one: Picture, how: str, option: str) -> str:
    """What a picture's folder or name says: `folder`, or a regular expression; "" for nothing.

    The folder is the nearest one whose name says neither what is in it nor a split. An expression is looked
    for in the name, and in the path where it has a /; what counts is its first group, or all of it.

    Raises:
      UserError: no regular expression.
    """
    if how == "folder":
        folders = PurePosixPath(one.name).parent.parts
        passed = {*PASSED_OVER, *SPLIT_NAMES}
        return next((name for name in folders[::-1] if name.casefold() not in passed), "")
    try:
        match = re.search(how, one.stem if "/" in how else PurePosixPath(one.stem).name)
    except re.error as error:
        raise UserError(
            f"{option} {how!r} is neither a word that it knows nor a regular expression: {error}"
        ) from error
    return "" if match is None else (match[1] if match.re.groups else match[0]) or ""


def _with_splits(pictures: Sequence[Picture]) -> list[Picture]:
    found: list[Picture] = []
    without: list[str] = []
    for one in pictures:
        names = [SPLIT_NAMES.get(part.casefold()) for part in PurePosixPath(one.name).parent.parts]
        splits = {split for split in names if split is not None}
        if one.split is None and len(splits) != 1:
            without.append(one.name)
        found.append(replace(one, split=one.split or next(iter(splits), None)))
    if without:
        raise UserError(
            f"--split-from folder: {len(without)} picture(s) lie in no folder called "
            f"{', '.join(SPLIT_NAMES)}, or in several: {listed(without, 5)}"
        )
    return found


def _of_folder(folder: Path, out: Path, options: OwnPatchesOptions) -> list[Picture]:
    ending = options.mask_ending.casefold()
    paths = walked(folder, [path for path in (options.masks, out) if path is not None])
    if options.masks is None:
        paths = [path for path in paths if not named_for_masks(path, folder)]
    elif strange := next((path for path in paths if named_for_masks(path, folder)), None):
        raise UserError(
            f"{strange} lies in a folder that is called as those of masks are, beside --masks: name the "
            "folder of the pictures alone, or rename it"
        )
    stems = {str(path.with_suffix("")).casefold() for path in paths}

    def is_mask(path: Path) -> bool:
        stem = str(path.with_suffix("")).casefold()
        return bool(ending) and stem.endswith(ending) and stem.removesuffix(ending) in stems

    masks = [path for path in paths if is_mask(path)]
    if masks and options.masks is not None:
        raise UserError(
            f"{masks[0]} is called as the mask of the picture beside it, and --masks names another place: "
            "leave out --masks, or take such files away"
        )
    return [Picture(path.relative_to(folder).as_posix(), path) for path in paths if path not in {*masks}]
