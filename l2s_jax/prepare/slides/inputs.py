"""Which slides there are, and what is known of each: from a folder, or from a table."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from l2s_jax.prepare.layouts import listed, plain_name
from l2s_jax.prepare.slides.pairing import Pairing, pair_annotations
from l2s_jax.prepare.slides.table import read_slide_table
from l2s_jax.slides.dicom import holds_dicom
from l2s_jax.slides.one_slide import dicom_series
from l2s_jax.slides.slide import is_slide
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import made_here, read_record
from l2s_jax.types import Split

_NO_SLIDES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".webp",
    ".csv",
    ".xml",
    ".json",
    ".geojson",
    ".gz",
    ".txt",
    ".toml",
)
"""Suffixes of files that are not looked into. A table may name pictures of known scale."""

DEPTH = 6
"""Folders in folders that are looked into."""


@dataclass(frozen=True)
class SlideInput:
    """A slide, and what is said of it outside its files."""

    name: str  # unique; pictures are named after it
    slide: Path  # a file, or the folder of a DICOM slide
    annotation: Path | None = None
    label: str = ""  # name of a class that is somewhere on it
    group: str = ""
    split: Split | None = None
    mpp: float | None = None  # level-0 um/px, where the slide does not say


@dataclass(frozen=True)
class Inputs:
    """All of them, and what to say of them."""

    slides: tuple[SlideInput, ...]  # with an annotation or a label
    found: tuple[str, ...]  # lines for people
    failures: tuple[str, ...] = ()  # slides that cannot be used
    alone: tuple[SlideInput, ...] = ()  # those of `slides` of which nothing says the group
    unused: tuple[SlideInput, ...] = ()  # without annotation and label


def find_inputs(source: str | Path, annotations: Path | None, groups: Mapping[str, str]) -> Inputs:
    """Finds slides and their annotations.

    Args:
      source: a folder with slides in it or in folders of it, or a CSV file (`table.read_slide_table`).
      annotations: folder of annotations by name; by default they lie beside the slides.
      groups: {name of a slide, with or without suffix: its group}; others are groups of their own.

    Raises:
      UserError: nothing there; no slide has an annotation or label; two annotations for one slide; one name
        for two slides; a group in two splits.
    """
    source = Path(source)
    if not source.exists():
        raise UserError(f"{source} not found: name a folder with slides, or a CSV file with the column slide")
    if annotations is not None and not annotations.is_dir():
        raise UserError(f"--annotations {annotations} is no folder")
    failures: list[str] = []
    if source.is_file():
        rows = read_slide_table(source)
        named = _named([row.slide for row in rows])
        pairing = pair_annotations(
            [one.slide for one, row in zip(named, rows, strict=True) if row.annotation is None], annotations
        )
        slides = [
            replace(
                one,
                annotation=row.annotation or pairing.of.get(one.slide),
                label=row.label,
                group=row.group,
                split=row.split,
                mpp=row.mpp,
            )
            for one, row in zip(named, rows, strict=True)
        ]
    else:
        paths, failures = _slides_in(source)
        if not paths and not failures:
            raise UserError(
                f"{source} holds no slide that OpenSlide opens. A CSV file may name plain pictures"
            )
        pairing = pair_annotations(paths, annotations)
        slides = [replace(one, annotation=pairing.of.get(one.slide)) for one in _named(paths)]
    said = [replace(one, group=one.group or _group(one, groups)) for one in slides]
    slides = [replace(one, group=one.group or one.name) for one in said]
    used = [one for one in slides if one.annotation is not None or one.label]
    unused = [one for one in slides if one not in used]
    found = _described(used, unused, pairing)
    if not used and not failures:
        where = annotations or source
        raise UserError(
            f"none of the {len(slides)} slides has an annotation in {where}: expected a file of the same "
            f"name, such as {slides[0].name}.geojson, .json, .xml or {slides[0].name}_mask.png (.gz too)"
            + (
                f". There are annotations of other names: {listed(path.name for path in pairing.left)}"
                if pairing.left
                else ""
            )
            + "".join(f". {note}" for note in pairing.notes)
        )
    _require_whole_groups(used)
    nothing = {one.name for one in said if not one.group}
    alone = tuple(one for one in used if one.name in nothing)
    return Inputs(tuple(used), tuple(found), tuple(failures), alone, tuple(unused))


def slide_stem(path: Path) -> str:
    """The name of a slide without its suffixes: A.ome.tif is A."""
    name = path.name
    for suffix in (path.suffix, ".ome"):
        if suffix and not path.is_dir() and name.lower().endswith(suffix.lower()):
            name = name[: -len(suffix)]
    return name


def files_of(slide: Path) -> tuple[Path, ...]:
    """What tells that a slide has changed: its file, or a DICOM folder and the files in it."""
    if not slide.is_dir():
        return (slide,)
    inner = sorted(path for path in slide.iterdir() if path.is_file() and path.name[0] != ".")
    return (slide, *inner)


def names_in_tables(one: SlideInput) -> tuple[str, ...]:
    """By what a row of `--groups` may name a slide."""
    return one.slide.name, slide_stem(one.slide), one.name


def _group(one: SlideInput, groups: Mapping[str, str]) -> str:
    return next((groups[name] for name in names_in_tables(one) if name in groups), "")


def _named(paths: Sequence[Path]) -> list[SlideInput]:
    """Slides with unique names: theirs, and before it as many folders as tell two apart.

    Raises:
      UserError: two of one name in one folder.
    """
    words = 1
    names = [plain_name(slide_stem(path)) for path in paths]
    while len({name.casefold() for name in names}) < len(names) and words < DEPTH:
        words += 1
        twice = {
            name.casefold() for name in names if sum(name.casefold() == one.casefold() for one in names) > 1
        }
        names = [
            plain_name("_".join([*path.parts[:-1][-(words - 1) :], slide_stem(path)]))
            if name.casefold() in twice
            else name
            for name, path in zip(names, paths, strict=True)
        ]
    seen: dict[str, Path] = {}
    for name, path in zip(names, paths, strict=True):
        other = seen.setdefault(name.casefold(), path)
        if other is not path:
            raise UserError(f"{other} and {path} have one name: rename one, or leave it out")
    return [SlideInput(name, path) for name, path in zip(names, paths, strict=True)]


def _slides_in(folder: Path) -> tuple[list[Path], list[str]]:
    """Slides in a folder and its folders, by path; and what cannot be one though it looks like it."""
    found: list[Path] = []
    failures: list[str] = []
    for place in _folders(folder):
        files = sorted(path for path in place.iterdir() if path.is_file() and path.name[0] != ".")
        # A class map that `predict` has written beside its slide is none.
        record = read_record(place)
        files = [path for path in files if path.name not in record or not made_here(path)]
        found += [
            path
            for path in files
            if not _is_other(path)
            and path.suffix.lower() != ".dcm"
            and not dicom_series(path)
            and is_slide(path)
        ]
        if not holds_dicom(place):
            continue
        series: dict[str, Path] = {}
        for path in files:
            if not _is_other(path) and (of := dicom_series(path)):
                series.setdefault(of, path)
        if not series:
            failures.append(
                f"{place} has only DICOM files that are no level of a slide (label, overview or "
                "thumbnail), or "
                "cannot be opened. Put the slide's other files beside them"
            )
        elif len(series) == 1 and place != folder:
            found.append(place)
        else:
            found += series.values()
    return found, failures


def _is_other(path: Path) -> bool:
    stem = slide_stem(path).lower()
    return path.suffix.lower() in _NO_SLIDES or stem.endswith("_mask")


def _folders(folder: Path, depth: int = 0) -> Iterator[Path]:
    yield folder
    if depth < DEPTH:
        with os.scandir(folder) as entries:
            inner = sorted(entry.path for entry in entries if entry.is_dir() and entry.name[0] != ".")
        for path in inner:
            yield from _folders(Path(path), depth + 1)


def _described(used: Sequence[SlideInput], unused: Sequence[SlideInput], pairing: Pairing) -> list[str]:
    lines = [f"{len(used)} slides with an annotation or a label:"]
    for one in used:
        of = one.annotation.name if one.annotation else "no annotation"
        label = f", label {one.label!r}" if one.label else ""
        group = f", group {one.group}" if one.group != one.name else ""
        lines.append(f"  {one.slide.name}: {of}{label}{group}")
    if unused:
        lines.append(
            f"{len(unused)} slides without annotation or label are not used: "
            f"{listed((one.slide.name for one in unused), 20)}"
        )
    if pairing.left:
        lines.append(
            f"{len(pairing.left)} annotations without a slide: "
            f"{listed((path.name for path in pairing.left), 20)}"
        )
    return [*lines, *pairing.notes]


def _require_whole_groups(slides: Sequence[SlideInput]) -> None:
    """Raises `UserError` for a group that the table puts into two splits."""
    first: dict[str, SlideInput] = {}
    for one in slides:
        if one.split is None:
            continue
        other = first.setdefault(one.group, one)
        if other.split != one.split:
            raise UserError(
                f"group {one.group!r} stands in two splits: {other.slide.name} in {other.split}, "
                f"{one.slide.name} in {one.split}. What is learned would leak into the score: give all "
                "slides of a patient one split"
            )
