"""A slide of the inputs as it is cut: opened, its regions looked up, and what is known of the rest."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import shapely

from l2s_jax.prepare.slides.class_table import OwnClasses, label_code
from l2s_jax.prepare.slides.drawn import Scales, open_input, outlines_of
from l2s_jax.prepare.slides.inputs import SlideInput
from l2s_jax.prepare.slides.leaving_out import left_out_regions
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.annotated_slide import AnnotatedSlide
from l2s_jax.slides.annotations.covering import count_hidden
from l2s_jax.slides.annotations.frames import with_frames
from l2s_jax.slides.annotations.kinds import annotation_kind
from l2s_jax.slides.annotations.of_slide import area_counted_from, read_slide_annotations
from l2s_jax.slides.annotations.outlines import annotations_from
from l2s_jax.slides.annotations.painting import count_unpainted
from l2s_jax.slides.annotations.types import Annotations, Parsed, Region, left_out
from l2s_jax.slides.marked import part_of, read_marked
from l2s_jax.slides.overview import overview_of
from l2s_jax.slides.sheets import annotation_notes, slide_notes
from l2s_jax.slides.slide import Slide, downsample_at
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL


class SlideReading(NamedTuple):
    """How the slides of a data set are read."""

    own: OwnClasses
    options: AnnotationOptions
    mpp: float  # um/px of the patches
    morphology: str  # of the tissue mask
    slide_mpp: float | None
    scales: Scales | None
    mpp_override: bool  # both come before what the slides say


def read_annotated(one: SlideInput, how: SlideReading, folder: Path) -> AnnotatedSlide:
    """Opens a slide with its annotation.

    Args:
      one: the slide.
      how: how it is read.
      folder: where `scan_slide` keeps outlines.

    Raises:
      UserError: the slide or its annotation cannot be used: of another slide, nothing known, nothing that
        covers a pixel.
    """
    is_mask = one.annotation is not None and annotation_kind(one.annotation) == "mask"
    parsed = Parsed((), None, ()) if is_mask else outlines_of(one, folder, how.options)
    slide = open_input(one, parsed, how.slide_mpp, how.scales, how.mpp_override)
    undrawn = IGNORE_PIXEL
    annotations = Annotations(())
    labelled: tuple[Region, ...] = ()
    if one.annotation is not None and is_mask:
        annotations, undrawn = _from_mask(one.annotation, how, slide)
    elif one.annotation is not None:
        annotations, undrawn, labelled = _from_outlines(one.annotation, parsed, how, slide)
    if one.label:
        height, width = slide.size_level0
        labelled = (*labelled, Region(shapely.box(0, 0, width, height), label_code(how.own, one.label)))
    notes = [*slide_notes(slide), *annotation_notes(annotations)]
    if one.annotation is not None:
        notes += _unpainted(one.annotation, annotations, slide, how.mpp)
        if (
            not labelled
            and undrawn == IGNORE_PIXEL
            and all(region.code == IGNORE_PIXEL for region in annotations.regions)
        ):
            why = ", ".join(left_out(annotations)) or "nothing is drawn"
            raise UserError(
                f"{one.annotation}: nothing is known of its slide ({why}). Draw or export the regions "
                "again, or leave the slide out"
            )
    overview = overview_of(slide, how.morphology)
    folders = how.options.folders
    marked = read_marked(one.slide, slide, folders)
    part = part_of(slide, overview, folders, marked)
    notes += part.lines
    regions = (*annotations.regions, *left_out_regions(slide, marked))
    annotations, overview = replace(annotations, regions=regions), overview._replace(tissue=part.kept())
    return AnnotatedSlide(slide, annotations, how.mpp, undrawn, overview, tuple(notes), labelled, part)


def _from_mask(path: Path, how: SlideReading, slide: Slide) -> tuple[Annotations, int]:
    """A mask knows all of its slide but for its ignore value."""
    classes = how.own.of_masks
    table = replace(how.own.table, classes=classes)
    found = read_slide_annotations(
        path, table, slide, outlines_from=how.options.outlines_from, allow_empty=True
    )
    return found, IGNORE_PIXEL if classes.background is None else classes.background


def _from_outlines(
    path: Path, parsed: Parsed, how: SlideReading, slide: Slide
) -> tuple[Annotations, int, tuple[Region, ...]]:
    """Regions in their order, frames as background below them; the code of the rest; regions with a label."""
    area, notes = area_counted_from(path, slide, how.options.outlines_from)
    found = annotations_from(
        path, parsed, how.own.table, size_level0=slide.size_level0, offset_level0=area[:2]
    )
    background = how.own.classes.background
    labelled = [
        Region(region.polygon, label)
        for region in found.regions
        if (label := how.own.label_of(region.code)) is not None
    ]
    if labelled:
        regions = tuple(one for one in found.regions if how.own.label_of(one.code) is None)
        hidden = count_hidden(regions)
        found = replace(
            found,
            regions=regions,
            covered=hidden.covered,
            doubled=hidden.doubled,
            within=hidden.within,
        )
    if found.frames:
        assert background is not None, "own_classes has one where there are frames"
        found = with_frames(found, background)
    undrawn = IGNORE_PIXEL
    if how.options.undrawn == "background":
        assert background is not None, "own_classes has one where it is asked for"
        undrawn = background
    return replace(found, notes=(*notes, *found.notes)), undrawn, tuple(labelled)


def _unpainted(path: Path, annotations: Annotations, slide: Slide, mpp: float) -> list[str]:
    """What to say of regions that hold no pixel. Raises `UserError` where none does."""
    number = count_unpainted(annotations, downsample_at(slide, mpp))
    if number and number == len(annotations.regions):
        raise UserError(
            f"{path}: none of its {number} regions covers a pixel at {mpp:g} um/px. Choose a finer scale "
            "with --mpp, or draw larger regions"
        )
    return [f"{number} regions smaller than a pixel at {mpp:g} um/px: not painted"] if number else []
