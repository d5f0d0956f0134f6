"""Files of pictures and of masks in folders."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from l2s_jax.prepare.folders import RECIPE
from l2s_jax.prepare.layouts import PICTURE_SUFFIXES
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed

SUFFIXES = (*PICTURE_SUFFIXES, ".webp")
"""Of what is taken for a picture."""

MASK_FOLDERS = (
    "mask", "masks", "label", "labels", "gt", "groundtruth", "ground_truth", "annotation", "annotations",
)  # fmt: skip
"""Folders in which masks lie, which are no pictures."""


def mask_files(source: Path, out: Path, options: OwnPatchesOptions) -> tuple[Path, list[Path]]:
    """Files that may be masks, and the folder from which their names count.

    They are those of `options.masks`; without it those in folders of `source` that are called so.

    Raises:
      UserError: `options.masks` is no folder, or holds no picture.
    """
    if options.masks is None:
        found = walked(source, (out,)) if source.is_dir() else []
        return source, [path for path in found if named_for_masks(path, source)]
    if not options.masks.is_dir():
        raise UserError(f"--masks {options.masks} is no folder")
    found = walked(options.masks, (out,))
    if not found:
        raise UserError(f"--masks {options.masks} holds no picture ({', '.join(SUFFIXES)})")
    return options.masks, found


def walked(folder: Path, without: Sequence[Path]) -> list[Path]:
    """Files with a picture's suffix in a folder and in those in it, by name; see `_files`."""
    return [path for path in _files(folder, without) if path.suffix.lower() in SUFFIXES]


def passed_over(source: Path, out: Path) -> list[str]:
    """A line on files that are no pictures by their suffix."""
    files = _files(source, (out,)) if source.is_dir() else ()
    others = Counter(
        path.suffix.lower() or path.name for path in files if path.suffix.lower() not in SUFFIXES
    )
    left = [f"{count} {suffix}" for suffix, count in others.most_common()]
    return [f"passed over: {listed(left, 5)} (no {', '.join(SUFFIXES)})"] if left else []


def _files(folder: Path, without: Sequence[Path]) -> Iterator[Path]:
    """Files in a folder and in those in it, links followed once; nothing hidden, no data set of `prepare`."""
    not_in = [path.resolve() for path in without]
    visited: set[Path] = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        here = Path(place)
        if here.resolve() in visited or (here != folder and RECIPE in names):
            inner.clear()
            continue
        visited.add(here.resolve())
        inner[:] = sorted(name for name in inner if name[0] != "." and (here / name).resolve() not in not_in)
        yield from (here / name for name in sorted(names) if name[0] != ".")


def named_for_masks(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder that is called as those of masks are."""
    return any(part.casefold() in MASK_FOLDERS for part in path.relative_to(folder).parent.parts)
