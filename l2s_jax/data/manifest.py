"""The data contract: `patches.csv` and `classes.toml` in one folder, the *manifest*.

`patches.csv` has one row a patch:

  image   path of an RGB picture, relative to the manifest's folder
  mask    path of its mask, or empty: the patch is then image-level only
  label   name of its class, or empty where there is a mask
  group   patient or slide; a group never straddles two splits
  split   train, val or test
  mpp     optional, micrometres a pixel
  source  optional, free text: where the patch was cut from

`classes.toml` names the classes in the order of their codes 0..C-1:

  background = "background"      # optional: which class is background
  ignore_value = 255             # optional: mask pixels of this value take no part
  [[class]]
  name = "background"
  colour = [255, 255, 255]
  pixel_value = 0                # what stands in the mask files
"""

import csv
import hashlib
import io
import math
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from l2s_jax.errors import UserError
from l2s_jax.files import write_text
from l2s_jax.types import IGNORE_LABEL, MAX_CLASSES, SPLITS, Split

PATCHES = "patches.csv"
CLASSES = "classes.toml"
REQUIRED_COLUMNS = ("image", "mask", "label", "group", "split")
OPTIONAL_COLUMNS = ("mpp", "source")


@dataclass(frozen=True)
class Classes:
    """The classes of a task; position in each tuple is the class code 0..C-1."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]  # RGB, 0..255
    pixel_values: tuple[int, ...]  # value in mask files, 0..65535
    background: int | None = None  # code of the background class
    ignore_value: int | None = None  # value in mask files that means "not known"

    def __len__(self) -> int:
        return len(self.names)


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
    for name in (PATCHES, CLASSES):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder / name} not found. A manifest is a folder with {PATCHES} and {CLASSES}; "
                "`l2s prepare` writes one, and the README shows how to write your own."
            )
    classes_bytes, patches_bytes = (folder / CLASSES).read_bytes(), (folder / PATCHES).read_bytes()
    classes = parse_classes(classes_bytes, folder / CLASSES)
    try:
        text = patches_bytes.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{folder / PATCHES} is not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    if "\0" in text:
        raise UserError(f"{folder / PATCHES} holds NUL bytes: it is no CSV file")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in REQUIRED_COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise UserError(
            f"{folder / PATCHES}: column(s) {', '.join(missing)} missing from the header "
            f"(found: {', '.join(reader.fieldnames or ()) or 'nothing'})"
        )
    rows, problems = [], []
    for record in reader:
        row, faults = _parse_row(record, reader.line_num, folder, classes, allow_outside)
        problems += [f"{PATCHES} line {reader.line_num}: {fault}" for fault in faults]
        if row is not None:
            rows.append(row)
    if not rows and not problems:
        raise UserError(f"{folder / PATCHES} has a header but no rows: there is nothing to work on")
    sha256 = hashlib.sha256(classes_bytes + b"\0" + patches_bytes).hexdigest()
    return Manifest(folder, classes, tuple(rows), sha256), problems


def _parse_row(
    record: dict[str, Any], line: int, folder: Path, classes: Classes, allow_outside: bool
) -> tuple[PatchRow | None, list[str]]:
    """One CSV record as a `PatchRow`, or the faults that stop it from being one."""
    value = {key: (text or "").strip() for key, text in record.items() if isinstance(key, str)}
    faults = []
    if None in record:
        faults.append("more fields than the header has (quote a name that contains a comma)")
    if not value["image"]:
        faults.append("no image")
    if not value["mask"] and not value["label"]:
        faults.append("neither mask nor label: the patch teaches nothing")
    label = IGNORE_LABEL
    if value["label"]:
        if value["label"] in classes.names:
            label = classes.names.index(value["label"])
        else:
            faults.append(f"label {value['label']!r} is none of the classes ({', '.join(classes.names)})")
    if not value["group"]:
        faults.append("no group: name the patient or slide, so that splits cannot leak")
    if value["split"] not in SPLITS:
        faults.append(f"split {value['split']!r} is none of {', '.join(SPLITS)}")
    mpp = None
    if value.get("mpp"):
        try:
            mpp = float(value["mpp"])
        except ValueError:
            mpp = math.nan
        if not (math.isfinite(mpp) and mpp > 0):
            faults.append(f"mpp {value['mpp']!r} is no positive number of micrometres a pixel")
    paths: dict[str, Path | None] = {"mask": None}
    for column in ("image", "mask"):
        if value[column]:
            paths[column] = folder / value[column]
            if not allow_outside and _leads_outside(folder, value[column]):
                faults.append(
                    f"{column} {value[column]!r} leads out of the manifest's folder "
                    "(--allow-outside permits it)"
                )
    if faults:
        return None, faults
    image = cast(Path, paths["image"])
    split = cast(Split, value["split"])
    return PatchRow(
        line, image, paths["mask"], label, value["group"], split, mpp, value.get("source", "")
    ), []


def _leads_outside(folder: Path, name: str) -> bool:
    """Whether a path of the manifest, links followed, ends up outside the manifest's folder."""
    try:
        return not (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return True


def parse_classes(content: bytes, path: Path) -> Classes:
    """Reads `classes.toml`. Raises `UserError` that names every fault."""
    try:
        table = tomllib.loads(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    entries = table.get("class")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: expected one [[class]] table a class, found none")
    faults = [f"unknown key {key!r}" for key in table if key not in ("class", "background", "ignore_value")]
    names, colours, values = [], [], []
    for code, entry in enumerate(entries):
        name, colour, value = entry.get("name"), entry.get("colour"), entry.get("pixel_value", code)
        faults += [
            f"class {code}: unknown key {k!r}" for k in entry if k not in ("name", "colour", "pixel_value")
        ]
        if not isinstance(name, str) or not name.strip():
            faults.append(f"class {code}: name missing")
        if not (
            isinstance(colour, list)
            and len(colour) == 3
            and all(type(part) is int and 0 <= part <= 255 for part in colour)
        ):
            faults.append(f"class {code}: colour must be three numbers 0..255, found {colour!r}")
        if not (type(value) is int and 0 <= value <= 65535):
            faults.append(f"class {code}: pixel_value must be a number 0..65535, found {value!r}")
        names.append(str(name).strip())
        colours.append(tuple(colour) if isinstance(colour, list) else ())
        values.append(value)
    for what, list_of in (("name", names), ("pixel_value", values)):
        faults += [
            f"{what} {item!r} is given to two classes"
            for item, n in Counter(map(str, list_of)).items()
            if n > 1
        ]
    if len(names) > MAX_CLASSES:
        faults.append(f"{len(names)} classes; at most {MAX_CLASSES} are possible")
    background, ignore = table.get("background"), table.get("ignore_value")
    if background is not None and background not in names:
        faults.append(f"background {background!r} is none of the classes ({', '.join(names)})")
    if ignore is not None and (type(ignore) is not int or not 0 <= ignore <= 65535 or ignore in values):
        faults.append(
            f"ignore_value {ignore!r} must be a number 0..65535 that no class has as its pixel_value"
        )
    if faults:
        raise UserError("\n".join([f"{path}:", *faults]))
    return Classes(
        tuple(names),
        tuple(colours),
        tuple(values),
        names.index(background) if background is not None else None,
        ignore,
    )


def write_classes(folder: str | Path, classes: Classes) -> None:
    """Writes `classes.toml` into `folder`."""
    import tomli_w

    table: dict[str, Any] = {}
    if classes.background is not None:
        table["background"] = classes.names[classes.background]
    if classes.ignore_value is not None:
        table["ignore_value"] = classes.ignore_value
    table["class"] = [
        {"name": name, "colour": list(colour), "pixel_value": value}
        for name, colour, value in zip(classes.names, classes.colours, classes.pixel_values, strict=True)
    ]
    write_text(Path(folder) / CLASSES, tomli_w.dumps(table))


def write_patches(folder: str | Path, classes: Classes, patches: Iterable[PatchRow]) -> None:
    """Writes `patches.csv` into `folder`; pictures that lie inside it are named relative to it."""
    folder = Path(folder)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(REQUIRED_COLUMNS + OPTIONAL_COLUMNS)
    for patch in patches:
        writer.writerow(
            (
                _relative(patch.image, folder),
                _relative(patch.mask, folder) if patch.mask else "",
                classes.names[patch.label] if patch.label != IGNORE_LABEL else "",
                patch.group,
                patch.split,
                "" if patch.mpp is None else f"{patch.mpp:.6g}",
                patch.source,
            )
        )
    write_text(folder / PATCHES, out.getvalue())


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def straddling_groups(patches: Sequence[PatchRow]) -> dict[str, list[str]]:
    """Groups that stand in more than one split, with those splits: leakage. Empty where all is well."""
    splits: dict[str, set[str]] = {}
    for patch in patches:
        splits.setdefault(patch.group, set()).add(patch.split)
    return {group: sorted(of_group) for group, of_group in splits.items() if len(of_group) > 1}
