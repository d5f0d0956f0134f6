"""Which pictures there are, and what is said of each: by a table, or by folders and names."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from l2s_jax.prepare.folders import RECIPE
from l2s_jax.prepare.layouts import PICTURE_SUFFIXES
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.prepare.slides.table import table_records
from l2s_jax.slides.mpp import IMPOSSIBLE, possible
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import control_fault, listed, shown
from l2s_jax.types import SPLITS, Split

SUFFIXES = (*PICTURE_SUFFIXES, ".webp")
COLUMNS = ("image", "mask", "label", "group", "split", "mpp")
PASSED_OVER = ("image", "images", "img", "imgs", "picture", "pictures", "patch", "patches", "tiles")
"""Folders whose names say what is in them, and not of which class or patient it is."""

MASK_FOLDERS = (
    "mask",
    "masks",
    "label",
    "labels",
    "gt",
    "groundtruth",
    "ground_truth",
    "annotation",
    "annotations",
)
"""Folders in which masks lie, which are no pictures."""

SPLIT_NAMES: Mapping[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True)
class Picture:
    """A picture, and what is said of it outside its file."""

    name: str  # its path from the folder that holds all of them, with / and suffix; unique
    image: Path
    mask: Path | None = None
    label: str = ""  # name of a class
    group: str = ""
    split: Split | None = None
    mpp: float | None = None

    @property
    def stem(self) -> str:
        """The name without suffix."""
        return PurePosixPath(self.name).with_suffix("").as_posix()


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
        pictures = _of_table(source)
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
            raise UserError(
                f"--label-from {how}: no picture's path says a label; found {listed(_paths(pictures), 3)}"
            )
    return pictures if options.split_from is None else _with_splits(pictures)


def _paths(pictures: Sequence[Picture]) -> list[str]:
    return [one.name for one in pictures]


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


def mask_files(source: Path, out: Path, options: OwnPatchesOptions) -> tuple[Path, list[Path]]:
    """Files that may be masks, and the folder from which their names count.

    They are those of `options.masks`; without it those in folders of `source` that are called so.

    Raises:
      UserError: `options.masks` is no folder, or holds no picture.
    """
    if options.masks is None:
        found = walked(source, (out,)) if source.is_dir() else []
        return source, [path for path in found if _named_for_masks(path, source)]
    if not options.masks.is_dir():
        raise UserError(f"--masks {options.masks} is no folder")
    found = walked(options.masks, (out,))
    if not found:
        raise UserError(f"--masks {options.masks} holds no picture ({', '.join(SUFFIXES)})")
    return options.masks, found


def walked(folder: Path, without: Sequence[Path]) -> list[Path]:
    """Files with a picture's suffix in a folder and in those in it, links followed once, by name."""
    not_in = [path.resolve() for path in without]
    paths: list[Path] = []
    visited: set[Path] = set()
    for place, inner, names in os.walk(folder, followlinks=True):
        here = Path(place)
        if here.resolve() in visited:  # a link that leads back
            inner.clear()
            continue
        visited.add(here.resolve())
        if here != folder and RECIPE in names:  # a data set that prepare made
            inner.clear()
            continue
        inner[:] = sorted(name for name in inner if name[0] != "." and (here / name).resolve() not in not_in)
        paths += [
            here / name for name in sorted(names) if name[0] != "." and Path(name).suffix.lower() in SUFFIXES
        ]
    return paths


def _of_folder(folder: Path, out: Path, options: OwnPatchesOptions) -> list[Picture]:
    ending = options.mask_ending.casefold()
    paths = walked(folder, [path for path in (options.masks, out) if path is not None])
    if options.masks is None:
        paths = [path for path in paths if not _named_for_masks(path, folder)]
    elif strange := next((path for path in paths if _named_for_masks(path, folder)), None):
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


def passed_over(source: Path, out: Path) -> list[str]:
    """A line on files that are no pictures by their suffix."""
    if not source.is_dir():
        return []
    others: Counter[str] = Counter()
    for place, inner, names in os.walk(source):
        inner[:] = [
            name for name in inner if name[0] != "." and (Path(place) / name).resolve() != out.resolve()
        ]
        if Path(place) != source and RECIPE in names:
            inner.clear()
            continue
        others.update(Path(name).suffix.lower() or name for name in names if name[0] != ".")
    left = [f"{count} {suffix}" for suffix, count in others.most_common() if suffix not in SUFFIXES]
    return [f"passed over: {listed(left, 5)} (no {', '.join(SUFFIXES)})"] if left else []


def _named_for_masks(path: Path, folder: Path) -> bool:
    return any(part.casefold() in MASK_FOLDERS for part in path.relative_to(folder).parent.parts)


def _of_table(path: Path) -> list[Picture]:
    faults, rows = [], list[Picture]()
    seen: dict[Path, int] = {}
    for line, record in table_records(path, ("image",), COLUMNS):
        row, wrong = _row(record, path.parent)
        first = seen.setdefault(row.image.resolve(), line)
        if first != line:
            wrong.append(f"{row.name} stands in line {first} already")
        faults += [f"{path.name} line {line}: {fault}" for fault in wrong]
        rows.append(row)
    if faults:
        raise UserError("\n".join([f"{len(faults)} problem(s) in {path}:", *faults]))
    if not rows:
        raise UserError(f"{path} has a header but no rows: expected one a picture")
    top = os.path.commonpath([os.path.abspath(row.image.parent) for row in rows])
    return [replace(row, name=Path(os.path.relpath(row.image, top)).as_posix()) for row in rows]


def _row(record: Mapping[str, str], folder: Path) -> tuple[Picture, list[str]]:
    faults = []
    image = folder / record["image"]
    mask = folder / record["mask"] if record.get("mask") else None
    if not record["image"]:
        faults.append("no image")
    for file in (image, mask):
        if file is not None and record["image"] and not file.is_file():
            faults.append(f"{file} not found (paths count from the folder of the table)")
    split = SPLIT_NAMES.get(record.get("split", "").casefold())
    if record.get("split") and split is None:
        faults.append(f"split {shown(record['split'])} is none of {', '.join(SPLITS)}")
    mpp, text = None, record.get("mpp", "").replace(",", ".")
    if text:
        try:
            mpp = float(text)
        except ValueError:
            mpp = None
        if mpp is None or not possible(mpp):
            faults.append(f"mpp {shown(record['mpp'])} is {IMPOSSIBLE}")
    return Picture(
        record["image"], image, mask, record.get("label", ""), record.get("group", ""), split, mpp
    ), faults
