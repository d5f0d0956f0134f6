"""`l2s inspect` of somebody's own slide: what `prepare slides` would do with it, in pictures and in words."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from l2s_jax.data.pictures import write_png
from l2s_jax.figures.drawing import save_figure
from l2s_jax.figures.overlays import overlay
from l2s_jax.prepare.folders import QUALITY_PAGE
from l2s_jax.prepare.inspection import SUMMARY, describe_patches, describe_slide
from l2s_jax.prepare.inspection_figures import draw_patches, draw_tissue
from l2s_jax.prepare.options import CentredOptions, ExtractionOptions
from l2s_jax.prepare.slides.class_table import OwnClasses, describe_drawn, own_classes
from l2s_jax.prepare.slides.drawn import scan_slide
from l2s_jax.prepare.slides.extraction import (
    bands_of,
    class_pixels,
    extract_centred_in_bands,
    extract_tiles_in_bands,
)
from l2s_jax.prepare.slides.inputs import SlideInput, slide_stem
from l2s_jax.prepare.slides.knowledge import require_two_known
from l2s_jax.prepare.slides.looking import Looked, with_marks
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.prepare.slides.quality_page import FIGURES, quality_page
from l2s_jax.prepare.slides.quality_record import quality_record
from l2s_jax.prepare.slides.reading import SlideReading, read_annotated
from l2s_jax.prepare.slides.unmatched import idle_ids, idle_truth, unmatched
from l2s_jax.prepare.slides.windows import known_windows
from l2s_jax.slides.annotated_slide import AnnotatedSlide, image_window
from l2s_jax.slides.annotations.corrections import describe_told
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.predicted_files import require_compared, require_predictions
from l2s_jax.slides.area_names import unfound_warnings
from l2s_jax.slides.marked import require_marked
from l2s_jax.slides.mpp_choice import SlideMppFrom, overrides
from l2s_jax.slides.sheets import opening_at
from l2s_jax.slides.slide import downsample_at, size_at
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.outputs import publishing, require_replaceable, source_of
from l2s_jax.types import IGNORE_PIXEL

MOST_SHOWN = 2**24
"""Pixels of the slide's picture; of a slide that has more at the working scale a coarser one is shown."""

PICTURES = ("slide", "tissue", "mask", "centred", "tiles")


def inspect_own(
    path: str | Path,
    out: str | Path,
    annotation: str | Path,
    mpp: float,
    *,
    options: AnnotationOptions,
    extraction: ExtractionOptions,
    slide_mpp: float | None = None,
    slide_mpp_from: SlideMppFrom = "file",
    say: Callable[[str], None] = print,
) -> Path:
    """Draws and describes how `prepare slides` would cut a slide; it is the same code that decides.

    Args:
      path: the slide.
      out: folder for slide.png, tissue.png, mask.png, centred.png, tiles.png, summary.txt and quality.html;
        what is not known is pale in the last three pictures.
      annotation: of the slide.
      mpp: um/px of the patches.
      options: what the annotation means.
      extraction: how patches are cut.
      slide_mpp: level-0 um/px where neither slide nor annotation says.
      slide_mpp_from: "given" lets it come before what they say.
      say: receives the summary.

    Raises:
      UserError: the slide or annotation cannot be used, or the folder cannot be written.
    """
    path, out = Path(path), Path(out)
    override = overrides(slide_mpp_from, slide_mpp)
    _require_no_variants(extraction)
    require_marked(options.folders, [path])
    require_predictions(options.corrected_from)
    require_compared(options.untouched, options.corrected_from)
    sources = (source_of(path),)
    require_replaceable(out, [*(f"{name}.png" for name in PICTURES), SUMMARY, QUALITY_PAGE], sources)
    one = SlideInput("slide", path, Path(annotation), group=slide_stem(path))
    with tempfile.TemporaryDirectory() as folder:
        drawn = scan_slide(one, Path(folder), slide_mpp, None, options, mpp_override=override)
        own = own_classes([drawn], tuple(options.label_regions.values()), options, None)
        how = SlideReading(own, options, mpp, extraction.morphology, slide_mpp, None, override)
        sheet = read_annotated(one, how, Path(folder))
    lines = [*describe_slide(sheet.slide), *sheet.notes, *describe_told([drawn.told], options.untouched)]
    wrong = [*unfound_warnings(options.folders, [path]), *idle_ids([drawn], options)]
    wrong += idle_truth([drawn], options)
    lines += [*wrong, *(f"warning: {line}" for line in unmatched(own, [drawn], (), options))]
    lines += describe_drawn(own)
    try:
        lines += require_two_known(own, {drawn.kind}, tuple(options.label_regions.values()), options)
    except UserError as error:
        lines.append(f"prepare slides would refuse this slide alone: {error}")
    with publishing(out, sources) as stage:
        lines += _described(sheet, own, extraction)
        lines += _write_quality(stage, path.name, sheet, own)
        lines += _draw(stage, sheet, own, extraction)
        write_text(stage / SUMMARY, "\n".join(lines) + "\n")
    for line in lines:
        say(line)
    say(f"pictures in {out}")
    return out


def _require_no_variants(extraction: ExtractionOptions) -> None:
    """Raises `UserError` for variants of the release that `prepare slides` does not have."""
    names = [*(field.name for field in fields(CentredOptions)), "seg_from", "drop_last"]
    changed = [name for name in names if getattr(extraction, name) != getattr(ExtractionOptions(), name)]
    if changed:
        raise UserError(
            f"prepare slides has no {', '.join('--' + name.replace('_', '-') for name in changed)}: "
            "variants of the "
            "authors' released code are shown with --bach"
        )


def _described(sheet: AnnotatedSlide, own: OwnClasses, extraction: ExtractionOptions) -> list[str]:
    """Size, what is known, and windows."""
    height, width = sheet.size
    lines = [f"at {sheet.mpp:g} um/px: {height} x {width} pixels, tissue {sheet.overview.tissue.mean():.1%}"]
    counts = class_pixels(sheet, bands_of(sheet))
    square = (sheet.mpp / 1e3) ** 2
    lines += [f"  {name}: {counts[code] * square:.3g} mm2" for code, name in enumerate(own.classes.names)]
    if min(height, width) >= extraction.patch_size:
        number = sum(1 for _ in known_windows(sheet, extraction.patch_size))
        lines.append(f"in val or test: {number} windows of what is known")
    return lines


def _write_quality(stage: Path, name: str, sheet: AnnotatedSlide, own: OwnClasses) -> list[str]:
    """Writes the page that `prepare slides` makes of all slides, of this one; says its figures."""
    record = quality_record(sheet, own.classes)
    figures = {key: record["quality"].get(key) for key in FIGURES}
    one = with_marks([Looked(name, "", "", figures, record["thumbnail"], sheet.notes)])[0]
    write_text(stage / QUALITY_PAGE, quality_page([one], own.classes))
    lines = [f"known: {record['quality']['known_share']:.1%} of the tissue"]
    lines += [
        f"  {heading}: {shown.format(value * factor)}"
        for key, (heading, factor, shown) in FIGURES.items()
        if (value := figures[key]) is not None
    ]
    return [*lines, *(f"to be looked at: {mark}" for mark in one.marks)]


def _draw(stage: Path, sheet: AnnotatedSlide, own: OwnClasses, extraction: ExtractionOptions) -> list[str]:
    """Writes the pictures; says how many patches each way gives."""
    shown = sheet.mpp * max(1.0, math.sqrt(math.prod(sheet.size) / MOST_SHOWN))
    coarse = replace(sheet, mpp=shown)
    image = image_window(coarse, (0, 0), size_at(sheet.slide, shown))
    down = downsample_at(sheet.slide, shown)
    mask = paint(sheet.annotations, image.shape[:2], down, background=sheet.undrawn)
    write_png(stage / "slide.png", image)
    unknown = mask == IGNORE_PIXEL
    image = np.where(unknown[..., None], image // 3 + 120, image)
    opening = opening_at(sheet.overview.mpp)
    save_figure(draw_tissue(sheet.overview.image, extraction, opening), stage / "tissue.png")
    write_png(stage / "mask.png", overlay(image, mask, own.classes))
    background, lines = own.classes.background, []
    ways = {
        "centred": extract_centred_in_bands(sheet, background, extraction, bands_of(sheet)),
        "tiles": extract_tiles_in_bands(sheet, background, extraction),
    }
    for name, patches in ways.items():
        seen = replace(patches, origins=np.round(patches.origins * sheet.mpp / shown).astype(np.int64))
        size = max(1, round(extraction.patch_size * sheet.mpp / shown))
        save_figure(draw_patches(image, mask, seen, size, own.classes), stage / f"{name}.png")
        lines.append(describe_patches(name, patches))
    return lines
