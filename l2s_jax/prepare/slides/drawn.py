"""What is drawn on a slide, before it is known which classes there are: each annotation is parsed once.

A slide's scale, its names and areas stand in `parts/drawn/NAME.json`, its outlines in `NAME.npz` beside it.
They are made anew when the slide, its annotation, or what is said of its scale changes.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from l2s_jax.prepare.slides.inputs import SlideInput, files_of
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.annotations.corrections import Counts, tell
from l2s_jax.slides.annotations.kinds import annotation_kind
from l2s_jax.slides.annotations.outline_store import load_outlines, save_outlines
from l2s_jax.slides.annotations.outlines import drawn_areas
from l2s_jax.slides.annotations.predicted_files import predicted_files, read_predictions
from l2s_jax.slides.annotations.reading import read_outlines
from l2s_jax.slides.annotations.types import Colour, Parsed
from l2s_jax.slides.slide import Slide, open_slide
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import json_text, parse_json, sha256_of_file, write_text

Scales = Mapping[str, tuple[float, float]]

RULES = 2
"""Goes up where files that were read before are to be read anew: 2 since areas are those of mended outlines,
and vertices that are no positions are refused."""


@dataclass(frozen=True)
class DrawnName:
    """The regions of a slide that have the same names."""

    names: tuple[str, ...]  # what may name their class, most specific first
    ident: str  # ImageScope's Annotation Id
    regions: int
    area: float  # mm2 of what they enclose: what lies under later regions counts too
    colour: Colour | None


@dataclass(frozen=True)
class Drawn:
    """A slide and what is drawn on it."""

    name: str
    fingerprint: str  # equal for copies of a slide
    kind: str  # of the annotation, or ""
    names: tuple[DrawnName, ...]  # of what is known: without predictions that nobody has touched
    key: str  # of the files
    told: Counts = Counts()  # what became of the predictions that it is a correction of
    unseen: tuple[str, ...] = ()  # names of predictions that nobody has touched


def scan_slide(
    one: SlideInput,
    folder: Path,
    slide_mpp: float | None,
    table: Scales | None,
    options: AnnotationOptions = AnnotationOptions(),  # noqa: B008, frozen
    *,
    mpp_override: bool = False,
) -> Drawn:
    """Opens a slide and parses its annotation, or takes up what an earlier call found.

    Args:
      one: the slide.
      folder: where what is found is kept.
      slide_mpp: level-0 um/px where nothing else says.
      table: level-0 um/px by slide.
      options: of what the annotation is a correction.
      mpp_override: let what is said of the scale come before what slide and annotation say.

    Raises:
      UserError: the slide cannot be opened, has no scale, or its annotation cannot be read, or holds
        predictions of which nobody can tell whether they were corrected.
    """
    key = _key(one, slide_mpp, table, mpp_override, options)
    record = folder / f"{one.name}.json"
    if (known := _known(record, key)) is not None:
        return known
    kind, parsed, told = "", None, Counts()
    names: tuple[DrawnName, ...] = ()
    if one.annotation is not None:
        kind = annotation_kind(one.annotation)
        if kind != "mask":
            parsed, told = _read(one, one.annotation, options)
    slide = open_input(one, parsed, slide_mpp, table, mpp_override)
    if one.annotation is not None and parsed is not None:
        names = _names(one.annotation, parsed, slide)
        save_outlines(folder / f"{one.name}.npz", parsed)
    outlines = () if parsed is None else parsed.outlines
    unseen = tuple(dict.fromkeys(name for one in outlines if one.unseen for name in one.names))
    drawn = Drawn(one.name, slide.fingerprint or _digest(one.slide), kind, names, key, told, unseen)
    write_text(record, json_text(asdict(drawn)))
    return drawn


def open_input(
    one: SlideInput,
    parsed: Parsed | None,
    slide_mpp: float | None,
    table: Scales | None,
    mpp_override: bool,
) -> Slide:
    """Opens a slide of the inputs at the scale that is known of it."""
    scales = dict(table or {})
    if one.mpp is not None:
        scales[one.slide.name] = (one.mpp, one.mpp)
    return open_slide(
        one.slide,
        mpp=slide_mpp,
        mpp_table=scales,
        annotation_mpp=None if parsed is None else parsed.mpp,
        mpp_override=mpp_override,
    )


def outlines_of(one: SlideInput, folder: Path, options: AnnotationOptions) -> Parsed:
    """The outlines of a slide that was scanned."""
    if one.annotation is None:
        return Parsed((), None, ())
    return load_outlines(folder / f"{one.name}.npz") or _read(one, one.annotation, options)[0]


def _read(one: SlideInput, annotation: Path, options: AnnotationOptions) -> tuple[Parsed, Counts]:
    """The outlines of an annotation, predictions that nobody has touched marked among them."""
    parsed = read_outlines(annotation)
    predicted = read_predictions(predicted_files(one.slide, options.corrected_from))
    try:
        told = tell(predicted, parsed.outlines, options.untouched)
    except UserError as error:
        raise UserError(f"{annotation}: {error}") from error
    return parsed._replace(outlines=told.outlines), told.counts


def refuse_twice(slides: Mapping[str, SlideInput], drawn: Mapping[str, Drawn]) -> None:
    """Raises `UserError` where one slide is there under two names: its patches would be on both sides."""
    first: dict[str, str] = {}
    for name, one in drawn.items():
        other = first.setdefault(one.fingerprint, name)
        if other != name:
            raise UserError(
                f"{slides[other].slide} and {slides[name].slide} are the same slide under two names: leave "
                "one out, or what is learned of one is scored on the other"
            )


def _names(path: Path, parsed: Parsed, slide: Slide) -> tuple[DrawnName, ...]:
    seen = [outline for outline in parsed.outlines if not outline.unseen]
    areas = drawn_areas(path, seen) * slide.mpp[0] * slide.mpp[1] / 1e6
    by_name: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
    for number, outline in enumerate(seen):
        if not outline.negative:
            named = tuple(dict.fromkeys(name for name in outline.names if name.strip()))
            by_name[named, outline.ident].append(number)
    found = []
    for (named, ident), numbers in by_name.items():
        colours = [colour for number in numbers if (colour := seen[number].colour) is not None]
        colour = max(dict.fromkeys(colours), key=colours.count) if colours else None
        found.append(DrawnName(named, ident, len(numbers), float(areas[numbers].sum()), colour))
    return tuple(found)


def _digest(path: Path) -> str:
    """Of plain pictures, which OpenSlide gives no hash."""
    return sha256_of_file(path) if path.is_file() else str(path.resolve())


def _key(
    one: SlideInput,
    slide_mpp: float | None,
    table: Scales | None,
    mpp_override: bool,
    options: AnnotationOptions,
) -> str:
    content: list[Any] = [RULES, one.name, one.mpp, slide_mpp, mpp_override, options.untouched]
    content += [(table or {}).get(name) for name in (one.slide.name, one.slide.stem)]
    for path in (*files_of(one.slide), one.annotation, *predicted_files(one.slide, options.corrected_from)):
        if path is not None:
            try:
                stat = path.stat()
            except OSError as error:
                raise UserError(f"cannot read {path}: {error.strerror or error}") from error
            content += [str(path), stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _known(record: Path, key: str) -> Drawn | None:
    """What an earlier call found, where its files are the same."""
    try:
        table = parse_json(record.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(table, dict) or table.get("key") != key:
        return None
    names = tuple(
        DrawnName(
            tuple(n["names"]),
            n["ident"],
            n["regions"],
            n["area"],
            tuple(n["colour"]) if n["colour"] else None,
        )
        for n in table["names"]
    )
    told = Counts(*table["told"])
    unseen = tuple(table["unseen"])
    return Drawn(table["name"], table["fingerprint"], table["kind"], names, key, told, unseen)
