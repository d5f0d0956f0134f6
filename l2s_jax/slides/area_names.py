"""Whether files of areas have what `--within-only` and `--exclude-only` name.

One slide may lack a class that others have. A name that no file has marks nothing anywhere: most often it is
misspelled.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.data.pictures import read_mask_values
from l2s_jax.slides.annotations.class_names import first_name, normalised
from l2s_jax.slides.annotations.kinds import annotation_kind
from l2s_jax.slides.annotations.reading import read_outlines
from l2s_jax.slides.area_folders import AreaFolders
from l2s_jax.slides.areas import find_areas
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed


class Unfound(NamedTuple):
    """Names of an option that none of its files has."""

    text: str  # for people
    values: bool  # of masks alone, of which a small data set may well lack some


def unfound_names(folders: AreaFolders, slides: Sequence[Path]) -> list[Unfound]:
    """Looks through the files of slides until each name is found.

    Files that cannot be read are passed over: that is said when their slide is read.

    Args:
      folders: where they lie, and what is meant in them.
      slides: after which they are named.
    """
    asked = (
        ("--within-only", folders.within, folders.within_only),
        ("--exclude-only", folders.exclude, folders.exclude_only),
    )
    found = (_unfound(*one, slides) for one in asked)
    return [one for one in found if one is not None]


def unfound_warnings(folders: AreaFolders, slides: Sequence[Path]) -> list[str]:
    """What to say of `unfound_names`, where slides may be some of many: none of these may have a class."""
    return [f"warning: {one.text}" for one in unfound_names(folders, slides)]


def require_area_names(folders: AreaFolders, slides: Sequence[Path]) -> list[str]:
    """Refuses classes that no file has, where the slides are all that there are.

    Returns:
      Warnings: values that no mask has.

    Raises:
      UserError: a class in none of the files.
    """
    unfound = unfound_names(folders, slides)
    misnamed = [one.text for one in unfound if not one.values]
    if misnamed:
        raise UserError("\n".join([*misnamed, "Mend the name, or leave it out: it marks nothing"]))
    return [f"warning: {one.text}" for one in unfound]


def _unfound(option: str, folder: Path | None, only: Sequence[str], slides: Sequence[Path]) -> Unfound | None:
    missing = dict.fromkeys(only)
    there: dict[str, None] = {}
    kinds: set[str] = set()
    for slide in slides if folder is not None else ():
        if not missing:
            return None
        with contextlib.suppress(UserError):
            path = find_areas(folder, slide) if folder is not None else None
            if path is not None:
                kind, names = annotation_kind(path), _names_in(path)
                kinds.add(kind)
                there |= dict.fromkeys(names)
                forms = {normalised(name) for name in names}
                missing = {one: None for one in missing if not _forms(one) & forms}
    if not missing or not kinds:
        return None
    has = listed((name or "(no name)" for name in there), 20) or "nothing"
    text = f"{option} {' '.join(missing)}: in no file of {folder} that was read; there are {has}"
    return Unfound(text, kinds == {"mask"})


def _names_in(path: Path) -> list[str]:
    """Classes of outlines, or values of a mask."""
    if annotation_kind(path) == "mask":
        return [str(value) for value in np.unique(read_mask_values(path)).tolist()]
    return list(
        dict.fromkeys(first_name(one.names) for one in read_outlines(path).outlines if not one.negative)
    )


def _forms(name: str) -> set[str]:
    """As names are compared, and as numbers are: 02 is 2."""
    with contextlib.suppress(ValueError):
        return {normalised(name), str(int(name))}
    return {normalised(name)}
