"""The classes of a task, as `classes.toml` names them in the order of their codes 0..C-1.

  background = "background"      # optional: which class is background
  ignore_value = 255             # optional: mask pixels of this value take no part
  mixed_scales = true            # optional: patches of different mpp in one manifest are meant
  [[class]]
  name = "background"
  colour = [255, 255, 255]
  pixel_value = 0                # what stands in the mask files; the code where left out

Unknown keys are refused, so that a misspelt one is not ignored.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.texts import control_fault, listed, told_apart
from l2s_jax.system.toml import parse_table
from l2s_jax.system.values import shown
from l2s_jax.types import MAX_CLASSES

CLASSES = "classes.toml"
_KEYS = ("class", "background", "ignore_value", "mixed_scales")


@dataclass(frozen=True)
class Classes:
    """The classes of a task; position in each tuple is the class code 0..C-1."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]  # RGB, 0..255
    pixel_values: tuple[int, ...]  # value in mask files, 0..65535
    background: int | None = None  # code of the background class
    ignore_value: int | None = None  # value in mask files that means "not known"
    mixed_scales: bool = field(default=False, compare=False)  # patches of different mpp are meant

    def __len__(self) -> int:
        return len(self.names)


def read_classes(path: str | Path) -> Classes:
    """The classes of a `classes.toml`, or of the folder with it. Raises `UserError` with every fault."""
    path = Path(path)
    path = path / CLASSES if path.is_dir() else path
    try:
        return parse_classes(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"cannot read the classes {path}: {error.strerror or error}") from error


def parse_classes(content: bytes, path: Path) -> Classes:
    """Reads `classes.toml`. Raises `UserError` that names every fault."""
    table = parse_table(content, path)
    entries = table.get("class")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: expected one [[class]] table a class, found none")
    faults = [f"unknown key {key!r}" for key in table if key not in _KEYS]
    names, colours, values = [], [], []
    for code, entry in enumerate(entries):
        name, colour, value = entry.get("name"), entry.get("colour"), entry.get("pixel_value", code)
        faults += _faults_of_class(code, entry)
        names.append(str(name).strip())
        colours.append(tuple(colour) if isinstance(colour, list) else ())
        values.append(value)
    for what, list_of in (("name", names), ("pixel_value", values)):
        faults += [
            f"{what} {item!r} is given to two classes"
            for item, n in Counter(map(str, list_of)).items()
            if n > 1
        ]
    faults += _look_the_same(names)
    mixed = table.get("mixed_scales", False)
    if type(mixed) is not bool:
        faults.append("mixed_scales must be true or false")
    if len(names) > MAX_CLASSES:
        faults.append(f"{len(names)} classes; at most {MAX_CLASSES} are possible")
    background, ignore = table.get("background"), table.get("ignore_value")
    if background is not None and background not in names:
        faults.append(f"background {shown(background)} is none of the classes ({listed(names)})")
    if ignore is not None and (type(ignore) is not int or not 0 <= ignore <= 65535 or ignore in values):
        faults.append(
            f"ignore_value {shown(ignore)} must be a number 0..65535 that no class has as its pixel_value"
        )
    if faults:
        raise UserError("\n".join([f"{path}:", *faults]))
    return Classes(
        tuple(names),
        tuple(colours),
        tuple(values),
        names.index(background) if background is not None else None,
        ignore,
        mixed is True,
    )


def _look_the_same(names: Sequence[str]) -> list[str]:
    """Faults of names that differ in Unicode form only: nobody could tell their columns and masks apart."""
    forms: dict[str, str] = {}
    faults = []
    for name in names:
        other = forms.setdefault(unicodedata.normalize("NFKC", name), name)
        if other != name:
            faults.append(f"the classes {told_apart(other, name)} look the same: rename one")
    return faults


def _faults_of_class(code: int, entry: dict[str, Any]) -> list[str]:
    """What is wrong with one [[class]] table by itself."""
    name, colour, value = entry.get("name"), entry.get("colour"), entry.get("pixel_value", code)
    faults = [f"unknown key {key!r}" for key in entry if key not in ("name", "colour", "pixel_value")]
    if not isinstance(name, str) or not name.strip():
        faults.append("name missing")
    elif fault := control_fault(name.strip()):
        faults.append(f"name {fault}")
    if not (
        isinstance(colour, list)
        and len(colour) == 3
        and all(type(part) is int and 0 <= part <= 255 for part in colour)
    ):
        faults.append(f"colour must be three numbers 0..255, found {shown(colour)}")
    if not (type(value) is int and 0 <= value <= 65535):
        faults.append(f"pixel_value must be a number 0..65535, found {shown(value)}")
    return [f"class {code}: {fault}" for fault in faults]


def write_classes(folder: str | Path, classes: Classes) -> None:
    """Writes `classes.toml` into `folder`."""
    import tomli_w

    table: dict[str, Any] = {}
    if classes.background is not None:
        table["background"] = classes.names[classes.background]
    if classes.ignore_value is not None:
        table["ignore_value"] = classes.ignore_value
    if classes.mixed_scales:
        table["mixed_scales"] = True
    table["class"] = [
        {"name": name, "colour": list(colour), "pixel_value": value}
        for name, colour, value in zip(classes.names, classes.colours, classes.pixel_values, strict=True)
    ]
    write_text(Path(folder) / CLASSES, tomli_w.dumps(table))
