"""`l2s prepare slides`: a folder or table of annotated slides into a manifest, with their own classes."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from l2s_jax.data.classes import CLASSES, Classes, read_classes
from l2s_jax.prepare.folders import RECIPE, claim_folder, reading_of, release_folder
from l2s_jax.prepare.options import WorkOptions, extraction_of
from l2s_jax.prepare.parallel import run_all
from l2s_jax.prepare.pipeline import Prepared, full_recipe, prepare_sources
from l2s_jax.prepare.slides.assignment import assign_slides, describe_splits
from l2s_jax.prepare.slides.class_table import OwnClasses, describe_drawn, label_code, own_classes
from l2s_jax.prepare.slides.drawn import Drawn, Scales, refuse_twice, scan_slide
from l2s_jax.prepare.slides.groups import require_groups
from l2s_jax.prepare.slides.inputs import Inputs, SlideInput, files_of, find_inputs
from l2s_jax.prepare.slides.knowledge import describe_known, require_two_known
from l2s_jax.prepare.slides.labelled import describe_labelled
from l2s_jax.prepare.slides.options import AnnotationOptions, SlidesOptions, required_mpp
from l2s_jax.prepare.slides.picture_sources import labelled_pictures, picture_sources
from l2s_jax.prepare.slides.reading import SlideReading, read_annotated
from l2s_jax.prepare.slides.table import read_groups
from l2s_jax.prepare.slides.unmatched import (
    idle_ids,
    idle_options,
    idle_truth,
    require_matched,
    slips,
    undrawn_labels,
    unmatched,
)
from l2s_jax.prepare.sources import Preparation, Source
from l2s_jax.slides.annotations.class_names import FRAME_OF_QUPATH
from l2s_jax.slides.annotations.corrections import describe_told, unseen_in_held_out
from l2s_jax.slides.annotations.predicted_files import require_compared, require_predictions
from l2s_jax.slides.area_names import require_area_names
from l2s_jax.slides.marked import marked_files, require_marked
from l2s_jax.slides.mpp_choice import overrides
from l2s_jax.slides.named_rows import read_scales
from l2s_jax.stain.fit import Stainer
from l2s_jax.system.errors import UserError
from l2s_jax.system.texts import listed
from l2s_jax.types import SPLITS, Split

DRAWN = "parts/drawn"
"""Where what is drawn on each slide is kept, in the manifest's folder."""


class Scanned(NamedTuple):
    """Slides whose annotations have been parsed."""

    slides: tuple[SlideInput, ...]
    drawn: dict[str, Drawn]  # by name
    failures: tuple[str, ...]


class Decided(NamedTuple):
    """What was made of them."""

    own: OwnClasses
    splits: dict[str, Split]  # by group
    reading: dict[str, Any]  # what is written down beside the recipe


def prepare_slides(
    source: str | Path,
    out: str | Path,
    options: SlidesOptions,
    work: WorkOptions = WorkOptions(),  # noqa: B008, frozen
    *,
    stainer: Stainer | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """Makes a manifest of annotated slides: patches to train on, windows of what is known to measure on.

    Made again with more slides or annotations, only what changed is worked on; slides stay in their splits,
    and classes keep their codes.

    Args:
      source: a folder of slides, or a CSV file (`table.read_slide_table`).
      out: folder that is made.
      options: with `mpp`.
      work: workers, overwriting.
      stainer: `l2s_jax.MACENKO`, unless the options say `stain="off"`; preparing itself knows no JAX.
      say: receives what was found and decided, before slides are cut.

    Raises:
      UserError: see `find_inputs`, `require_groups`, `own_classes`, `assign_slides`, `prepare_sources`; one
        class is known; an option names what no slide has.
    """
    mpp = required_mpp(options)
    out = Path(out)
    groups = read_groups(options.groups) if options.groups else {}
    require_predictions(options.corrected_from)
    require_compared(options.untouched, options.corrected_from)
    inputs = find_inputs(source, options.annotations, groups)
    paths = [one.slide for one in inputs.slides]
    require_marked(options.folders, paths)
    pictures = labelled_pictures(options)
    every = [path for of_class in pictures.values() for path in of_class]
    there = [*paths, *(one.slide for one in inputs.unused)]
    scales, of_rows = read_scales(options.mpp_table, there, every=True)
    warnings = require_groups(inputs, every, groups, source, options.groups)
    warnings += [*of_rows, *require_area_names(options.folders, paths)]
    for line in (*inputs.found, *(describe_labelled(pictures, groups) if pictures else ()), *warnings):
        say(line)
    given = (options.slide_mpp, options.mpp_table, *(one.mpp for one in inputs.slides))
    override = overrides(options.slide_mpp_from, *given)
    extraction = extraction_of(options)
    job = Preparation(
        out, Classes((), (), ()), extraction, options.patches, stainer, label_patches=options.label_patches
    )
    recipe = {
        "what": "slides",
        "mpp": mpp,
        "patches": options.patches,
        "label_patches": options.label_patches,
    }
    earlier, before = reading_of(out), _earlier_classes(out, options)
    claimed = (out / RECIPE).exists()
    claim_folder(out, full_recipe(recipe, job, options), reading=earlier, overwrite=work.overwrite)
    try:
        scanned = scan_slides(inputs, out / DRAWN, options.slide_mpp, scales, override, work, options)
        decided = _decide(scanned, pictures, options, before, earlier, say)
        how = SlideReading(decided.own, options, mpp, options.morphology, options.slide_mpp, scales, override)
        slides, left_out = _usable(scanned.slides, decided.splits)
        for line in left_out:
            say(line)
        sources = [
            _source(one, decided.splits[one.group], how, scanned.drawn[one.name], out) for one in slides
        ]
        of_pictures = picture_sources(pictures, groups, decided.own, mpp, options, decided.splits)
        prepared = prepare_sources(
            out,
            [*sources, *of_pictures],
            replace(job, classes=decided.own.classes),
            recipe,
            options,
            work,
            dataset="",
            reading=decided.reading,
            failures=scanned.failures,
        )
        return replace(prepared, report=(*prepared.report, *describe_known(out, decided.own, sources)))
    except UserError:
        if not claimed:
            release_folder(out)
        raise


def _decide(
    scanned: Scanned,
    pictures: Mapping[str, list[Path]],
    options: SlidesOptions,
    before: Classes | None,
    earlier: Mapping[str, Any],
    say: Callable[[str], None],
) -> Decided:
    """Classes and splits of what was found; those of an earlier time stay unless others are asked for."""
    named = [one.label for one in scanned.slides if one.label]
    labels = tuple(dict.fromkeys([*named, *pictures, *options.label_regions.values()]))
    drawn = list(scanned.drawn.values())
    own = own_classes(drawn, labels, options, before)
    lines = require_matched(unmatched(own, drawn, [*named, *pictures], options), scanned.failures)
    idle = (*idle_ids(drawn, options), *idle_truth(drawn, options), *idle_options(scanned.slides, options))
    for line in (*lines, *idle):
        say(line)
    for line in describe_told((one.told for one in drawn), options.untouched):
        say(line)
    kinds = {one.kind for one in drawn}
    known_of = (own, kinds, labels, options)
    near = (*undrawn_labels(*known_of), *slips(own, options))
    for line in (*describe_drawn(own), *require_two_known(*known_of), *near):
        say(line)
    content = {name: _drawn_content(own, name) for name in scanned.drawn}
    asked = {"shares": [float(share) for share in options.split], "seed": options.seed}
    same = all(earlier.get(name) == value for name, value in asked.items())
    known = {group: one for group, one in earlier.get("splits", {}).items() if same and one in SPLITS}
    splits = assign_slides(scanned.slides, content, options.split, options.seed, known)
    held = {one.name for one in scanned.slides if splits[one.group] != "train"}
    unseen = sum(one.told.unseen for name, one in scanned.drawn.items() if name in held)
    for line in (*describe_splits(scanned.slides, content, splits), *unseen_in_held_out(unseen)):
        say(line)
    return Decided(own, splits, _reading(options, {**known, **splits}) | asked)


def scan_slides(
    inputs: Inputs,
    folder: Path,
    slide_mpp: float | None,
    scales: Scales | None,
    mpp_override: bool,
    work: WorkOptions,
    options: AnnotationOptions,
) -> Scanned:
    """Parses all annotations, several at a time; those of slides that fail are told, the others go on.

    Raises:
      UserError: a slide is there twice, or none can be used.
    """
    scan = partial(
        scan_slide,
        folder=folder,
        slide_mpp=slide_mpp,
        table=scales,
        options=options,
        mpp_override=mpp_override,
    )
    outcomes = run_all(
        scan, inputs.slides, workers=work.workers, scheduler=work.scheduler, description="annotations"
    )
    failures = (*inputs.failures, *(outcome.error for outcome in outcomes if outcome.error))
    drawn = {outcome.result.name: outcome.result for outcome in outcomes if not outcome.error}
    if not drawn:
        raise UserError("\n".join([f"no slide can be used; {len(failures)} failure(s):", *failures]))
    slides = tuple(one for one in inputs.slides if one.name in drawn)
    refuse_twice({one.name: one for one in slides}, drawn)
    return Scanned(slides, drawn, failures)


def _drawn_content(own: OwnClasses, name: str) -> Mapping[str, float]:
    """mm2 of each class on a slide, and of its frames; not of what is ignored."""
    words = {**{one: one for one in own.classes.names}, FRAME_OF_QUPATH: "(frames)"}
    return {words[key]: area for key, area in own.of_slide[name].items() if key in words}


def _source(one: SlideInput, split: Split, how: SlideReading, drawn: Drawn, out: Path) -> Source:
    """A slide as the pipeline takes it; it is cut again when what its own names mean changes."""
    own, options = how.own, how.options
    labels = [label_code(own, one.label)] if one.label else []
    meanings = [*labels] + [(entry.names, entry.ident, own.meaning_of(entry)) for entry in drawn.names]
    areas: tuple[Path | None, ...] = ()
    with contextlib.suppress(UserError):  # said when the slide is read
        areas = marked_files(one.slide, options.folders)
    reading = repr(
        (meanings, own.classes.background, options.undrawn, options.outlines_from, drawn.key, drawn.kind)
        + ((options.within_only, options.exclude_only, options.areas_from) if any(areas) else ())
        + ((own.of_masks,) if drawn.kind == "mask" else ())
    )
    files = tuple(path for path in (*files_of(one.slide), one.annotation, *areas) if path is not None)
    return Source(one.name, one.group, split, files, partial(read_annotated, one, how, out / DRAWN), reading)


def _usable(
    slides: tuple[SlideInput, ...], splits: Mapping[str, Split]
) -> tuple[list[SlideInput], list[str]]:
    """Slides without those that have a label only and are of a patient of val or test."""
    used = [one for one in slides if one.annotation is not None or splits[one.group] == "train"]
    rest = [one.slide.name for one in slides if one not in used]
    why = "their groups are in val or test, where only masks are measured"
    return used, [f"slides with a label only that are not used, since {why}: {listed(rest)}"] if rest else []


def _reading(options: SlidesOptions, splits: Mapping[str, Split]) -> dict[str, Any]:
    """What is written down beside the recipe."""
    return {
        "rename": dict(options.rename),
        "ignore": list(options.ignore),
        "frame": list(options.frame),
        "background": options.background or "",
        "undrawn": options.undrawn,
        "corrected_from": [str(folder) for folder in options.corrected_from],
        "untouched": options.untouched,
        "within": str(options.within or ""),
        "exclude": str(options.exclude or ""),
        "class_ids": dict(options.class_ids),
        "slide_mpp": options.slide_mpp or 0.0,
        "slide_mpp_from": options.slide_mpp_from,
        "outlines_from": options.outlines_from or "as assumed",
        "splits": dict(splits),
    }


def _earlier_classes(out: Path, options: SlidesOptions) -> Classes | None:
    """The classes of a data set that is made again."""
    if options.classes is not None or not reading_of(out) or not (out / CLASSES).is_file():
        return None
    return read_classes(out / CLASSES)
