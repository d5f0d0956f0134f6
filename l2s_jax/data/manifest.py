"""The data contract: `patches.csv` and `classes.toml` in one folder, the *manifest*.

`patches.csv` has one row a patch:

  image   path of an RGB picture, relative to the manifest's folder
  mask    path of its mask, or empty: the patch is then image-level only
  label   name of its class, or empty where there is a mask
  group   patient or slide; a group never straddles two splits
  split   train, val or test
  mpp     optional, micrometres a pixel
  source  optional, free text: where the patch was cut from
  allowed optional, names of the classes that can occur in the patch, separated by semicolons; without it an
          image-level patch is taken to hold its label and the background only. It may stand
          alone: no class is known to be there, but which ones can be
  bag     optional, name of the whole (a slide, a box, a large picture) that the patch is a part of
  bag_label  name of the class that is somewhere in that whole, though perhaps not in this patch

Every field is text as it stands, `NA` and `020` included; rows of nothing but commas are passed over.
`classes.toml` is described in `l2s_jax.data.classes`.
"""

import csv
import hashlib
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from l2s_jax.data.classes import CLASSES, Classes, parse_classes, write_classes
from l2s_jax.data.folds import fold_name, has_folds, root_of
from l2s_jax.system.csv_text import SEPARATORS, decoded
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.texts import alike, control_fault, listed, shown, told_apart
from l2s_jax.types import IGNORE_LABEL, SPLITS, Split

PATCHES = "patches.csv"
STAIN = "stain.json"
"""Its name in a manifest's and in a run's folder."""
REQUIRED_COLUMNS = ("image", "mask", "label", "group", "split")
OPTIONAL_COLUMNS = ("mpp", "source")
ALLOWED = "allowed"
BAG = ("bag", "bag_label")

__all__ = [
    "CLASSES",
    "PATCHES",
    "Classes",
    "Manifest",
    "PatchRow",
    "parse_classes",
    "parse_manifest",
    "read_manifest",
    "straddling_groups",
    "write_classes",
    "write_patches",
]


@dataclass(frozen=True)
class PatchRow:
    """One row of `patches.csv`, paths resolved."""

    line: int  # line number in patches.csv, for messages
    image: Path
    mask: Path | None
    label: int  # class code, or IGNORE_LABEL
    group: str
    split: Split
    mpp: float | None = None
    source: str = ""
    allowed: tuple[int, ...] = ()  # class codes that can occur; empty: the label and the background
    bag: str = ""  # the whole that it is a part of, "" for none
    bag_label: int = IGNORE_LABEL  # code of a class that is somewhere in that whole


@dataclass(frozen=True)
class Manifest:
    """A manifest as read: rows in file order, and a hash that changes when either file does."""

    folder: Path
    classes: Classes
    patches: tuple[PatchRow, ...]
    sha256: str

    def of_split(self, split: Split) -> tuple[PatchRow, ...]:
        """The rows of one split, in file order."""
        return tuple(patch for patch in self.patches if patch.split == split)


def read_manifest(path: str | Path, *, allow_outside: bool = False) -> Manifest:
    """Reads a manifest; opens none of its pictures (`l2s check` does).

    Args:
      path: the manifest's folder, or its `patches.csv`.
      allow_outside: accept paths that lead out of the manifest's folder.

    Raises:
      UserError: naming every faulty row and every fault of `classes.toml` at once.
    """
    manifest, problems = parse_manifest(path, allow_outside=allow_outside)
    if problems:
        raise UserError("\n".join([f"{len(problems)} problem(s) in {path}:", *problems]))
    return manifest


def parse_manifest(path: str | Path, *, allow_outside: bool = False) -> tuple[Manifest, list[str]]:
    """Reads what can be read and returns it with a message for every row that cannot.

    Raises:
      UserError: where nothing can be read: a file missing, no header, faulty `classes.toml`, no rows.
    """
    path = Path(path)
    folder = path.parent if path.name == PATCHES else path
    patches_bytes, classes_bytes = (_read_bytes(folder / name) for name in (PATCHES, CLASSES))
    classes = parse_classes(classes_bytes, folder / CLASSES)
    outside = _nowhere if allow_outside else _outside_of(root_of(folder))
    rows, problems = [], []
    for line, record in _records(patches_bytes, folder / PATCHES):
        row, faults = _parse_row(record, line, folder, classes, outside)
        problems += [f"{PATCHES} line {line}: {fault}" for fault in faults]
        if row is not None:
            rows.append(row)
    problems += _torn_bags(rows)
    if not rows and not problems:
        raise UserError(f"{folder / PATCHES} has a header but no rows: there is nothing to work on")
    sha256 = hashlib.sha256(classes_bytes + b"\0" + patches_bytes).hexdigest()
    return Manifest(folder, classes, tuple(rows), sha256), problems


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if has_folds(path.parent):
            raise UserError(
                f"{path.parent} holds the folds of a cross-validation. Name one of them, "
                f"{path.parent / fold_name(1)}; `l2s sweep` takes them all"
            ) from error
        raise UserError(
            f"{path} not found. A manifest is a folder with {PATCHES} and {CLASSES}; "
            "`l2s prepare patches` makes one of pictures in folders, `l2s prepare slides` of slides"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _records(content: bytes, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and fields of a CSV file with `REQUIRED_COLUMNS`. Raises `UserError` where it is none."""
    text = decoded(content, path)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        _require_columns(path, reader.fieldnames)
        for record in reader:
            if _is_filled(record):
                yield reader.line_num, record
    except csv.Error as error:
        raise UserError(f"{path} near line {reader.line_num + 1} is no valid CSV: {error}") from error


def _is_filled(record: dict[str, Any]) -> bool:
    """Whether anything stands in a row; a spreadsheet leaves rows of nothing but commas."""
    own = (text for key, text in record.items() if isinstance(key, str))
    return any((text or "").strip() for text in (*own, *record.get(None, ())))  # type: ignore[call-overload]


def _require_columns(path: Path, header: Sequence[str]) -> None:
    missing = [column for column in REQUIRED_COLUMNS if column not in header]
    if missing:
        by = next((name for mark, name in SEPARATORS.items() if any(mark in one for one in header)), None)
        hint = (
            f". Its fields are separated by {by}, expected commas: save it as CSV (comma delimited), UTF-8"
            if by
            else ""
        )
        raise UserError(
            f"{path}: column(s) {', '.join(missing)} missing from the header "
            f"(found: {listed(header) or 'nothing'}){hint}"
        )
    doubled = sorted({name for name in header if name and header.count(name) > 1})
    if doubled:
        raise UserError(f"{path}: column(s) {', '.join(doubled)} stand in the header twice. Take one out")


def _parse_row(
    record: dict[str, Any], line: int, folder: Path, classes: Classes, outside: Callable[[Path], bool]
) -> tuple[PatchRow | None, list[str]]:
    """One CSV record as a `PatchRow`, or the faults that stop it from being one."""
    value = {key: (text or "").strip() for key, text in record.items() if isinstance(key, str)}
    faults = []
    if any(text.strip() for text in record.get(None, ())):  # type: ignore[call-overload]
        faults.append("more fields than the header has (quote a name that contains a comma)")
    for column in ("image", "mask", "group", "source", "bag"):
        if fault := control_fault(value.get(column, "")):
            faults.append(f"{column} {fault}")
    if not value["image"]:
        faults.append("no image")
    if not value["mask"] and not value["label"] and not value.get(ALLOWED):
        faults.append("neither mask nor label nor allowed classes: the patch teaches nothing")
    label = IGNORE_LABEL
    if value["label"]:
        if value["label"] in classes.names:
            label = classes.names.index(value["label"])
        else:
            faults.append(f"label {_no_class(value['label'], classes)}")
    if not value["group"]:
        faults.append("no group: name the patient or slide, so that splits cannot leak")
    if value["split"] not in SPLITS:
        faults.append(f"split {value['split']!r} is none of {', '.join(SPLITS)}")
    mpp = _parse_mpp(value.get("mpp", ""), faults)
    allowed = _parse_allowed(value.get(ALLOWED, ""), label, classes, faults)
    bag = _parse_bag(value, label, allowed, classes, faults)
    paths = {
        column: _parse_path(folder, column, value[column], outside, faults) for column in ("image", "mask")
    }
    if faults:
        return None, faults
    image = cast(Path, paths["image"])
    split = cast(Split, value["split"])
    source = value.get("source", "")
    row = PatchRow(line, image, paths["mask"], label, value["group"], split, mpp, source, allowed, *bag)
    return row, []


def _no_class(name: str, classes: Classes) -> str:
    """That a name is none of the classes, and how it differs from the one that it may be meant to be."""
    near = alike(name, classes.names)
    if near is not None:
        return (
            f"{shown(name)} is none of the classes: {told_apart(name, near)} differ. Write it as the class is"
        )
    return f"{shown(name)} is none of the classes ({listed(classes.names)})"


def _parse_mpp(text: str, faults: list[str]) -> float | None:
    if not text:
        return None
    try:
        mpp = float(text)
    except ValueError:
        mpp = math.nan
    if not (math.isfinite(mpp) and mpp > 0):
        faults.append(f"mpp {text!r} is no positive number of micrometres a pixel")
    return mpp


def _parse_allowed(text: str, label: int, classes: Classes, faults: list[str]) -> tuple[int, ...]:
    names = [name.strip() for name in text.split(";") if name.strip()]
    unknown = [name for name in names if name not in classes.names]
    if unknown:
        faults += [f"{ALLOWED}: {_no_class(name, classes)} (separate them by semicolons)" for name in unknown]
        cut = [name for name in classes.names if ";" in name]
        if cut:
            faults.append(
                f"{ALLOWED}: the class {cut[0]!r} cannot be named here for its semicolon: rename it"
            )
        return ()
    codes = tuple(sorted({classes.names.index(name) for name in names}))
    if codes and label != IGNORE_LABEL and label not in codes:
        faults.append(f"{ALLOWED}: the patch's own label {classes.names[label]!r} is not among {text!r}")
    return codes


def _parse_bag(
    value: dict[str, str], label: int, allowed: tuple[int, ...], classes: Classes, faults: list[str]
) -> tuple[str, int]:
    """The whole that a patch is a part of and the code of its class; "" and `IGNORE_LABEL` without one."""
    bag, name = (value.get(column, "") for column in BAG)
    if not bag and not name:
        return "", IGNORE_LABEL
    if not bag or not name:
        faults.append(f"{BAG[0]} {bag!r} and {BAG[1]} {name!r}: give both, or none")
    elif name not in classes.names:
        faults.append(f"{BAG[1]} {_no_class(name, classes)}")
    elif value["mask"] or label != IGNORE_LABEL:
        faults.append(f"{BAG[0]} is for patches of which no mask and no label is known: leave it empty here")
    elif classes.names.index(name) not in allowed:
        faults.append(f"{BAG[1]} {name!r} is not among the classes that {ALLOWED} says can be in the patch")
    else:
        return bag, classes.names.index(name)
    return "", IGNORE_LABEL


def _torn_bags(rows: Sequence[PatchRow]) -> list[str]:
    """Wholes whose patches differ in what is said of the whole."""
    first: dict[str, PatchRow] = {}
    faults = []
    for row in rows:
        one = first.setdefault(row.bag, row)
        what = (one.bag_label, one.group, one.split)
        if row.bag and what != (row.bag_label, row.group, row.split):
            faults.append(
                f"{PATCHES} line {row.line}: bag {row.bag!r} has another {BAG[1]}, group or split in line "
                f"{one.line}: name wholes so that no two have one name"
            )
    return faults


def _parse_path(
    folder: Path, column: str, name: str, outside: Callable[[Path], bool], faults: list[str]
) -> Path | None:
    if not name:
        return None
    if outside(folder / name):
        faults.append(f"{column} {name!r} leads out of the manifest's folder (--allow-outside permits it)")
    return folder / name


def _outside_of(root: Path) -> Callable[[Path], bool]:
    """Whether a path of the manifest, links followed, ends up outside the folder that it may not leave.

    A folder's own links are followed once, however many of its files are named: that was the longest part of
    reading a large manifest.
    """
    top, inside = root.resolve(), cache(lambda folder: folder.resolve().is_relative_to(top))

    def outside(path: Path) -> bool:
        try:
            if ".." not in path.parts and inside(path.parent) and not path.is_symlink():
                return False
            return not path.resolve().is_relative_to(top)
        except (OSError, ValueError, RuntimeError):
            return True

    return outside


def _nowhere(path: Path) -> bool:
    """Every path is accepted."""
    return False


def write_patches(
    folder: str | Path, classes: Classes, patches: Iterable[PatchRow], root: Path | None = None
) -> None:
    """Writes `patches.csv` into `folder`; pictures inside it, or inside `root`, are named relative to it."""
    folder, patches = Path(folder), list(patches)
    root = folder if root is None else root
    with_allowed = any(patch.allowed for patch in patches)
    with_bags = any(patch.bag for patch in patches)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    more = ((ALLOWED,) if with_allowed else ()) + (BAG if with_bags else ())
    writer.writerow(REQUIRED_COLUMNS + OPTIONAL_COLUMNS + more)
    for patch in patches:
        allowed = (";".join(classes.names[code] for code in patch.allowed),) if with_allowed else ()
        bag = (patch.bag, classes.names[patch.bag_label] if patch.bag else "") if with_bags else ()
        writer.writerow(
            (
                _relative(patch.image, folder, root),
                _relative(patch.mask, folder, root) if patch.mask else "",
                classes.names[patch.label] if patch.label != IGNORE_LABEL else "",
                patch.group,
                patch.split,
                "" if patch.mpp is None else f"{patch.mpp:.6g}",
                patch.source,
                *allowed,
                *bag,
            )
        )
    write_text(folder / PATCHES, out.getvalue())


def _relative(path: Path, folder: Path, root: Path) -> str:
    return Path(os.path.relpath(path, folder) if path.is_relative_to(root) else path).as_posix()


def straddling_groups(patches: Sequence[PatchRow]) -> dict[str, list[str]]:
    """Groups that stand in more than one split, with those splits: leakage. Empty where all is well."""
    splits: dict[str, set[str]] = {}
    for patch in patches:
        splits.setdefault(patch.group, set()).add(patch.split)
    return {group: sorted(of_group) for group, of_group in splits.items() if len(of_group) > 1}
