"""`l2s inspect`: what patch extraction would do to a slide, in pictures and in words."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from l2s_jax.data.classes import Classes, read_classes
from l2s_jax.data.pictures import write_png
from l2s_jax.figures.drawing import save_figure
from l2s_jax.figures.overlays import overlay
from l2s_jax.prepare.centred_extraction import extract_centred
from l2s_jax.prepare.extraction import Patches
from l2s_jax.prepare.inspection_figures import (
    draw_centred_and_tiled,
    draw_patches,
    draw_splitting,
    draw_tissue,
)
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.prepare.tile_extraction import extract_tiles
from l2s_jax.slides.annotations.class_names import BACH_CLASSES, bach_table, class_table
from l2s_jax.slides.annotations.of_slide import OutlinesFrom, read_slide_annotations
from l2s_jax.slides.annotations.types import Annotations, summary
from l2s_jax.slides.annotations.unmatched import unmatched_names
from l2s_jax.slides.mpp_choice import SlideMppFrom, overrides
from l2s_jax.slides.sheets import open_slide_with, opening_at, paint_slide, whole_slide
from l2s_jax.slides.slide import Slide
from l2s_jax.slides.tissue import tissue_mask
from l2s_jax.system.files import write_text
from l2s_jax.system.outputs import publishing, require_replaceable, source_of
from l2s_jax.types import IGNORE_PIXEL

SUMMARY = "summary.txt"
PICTURES = ("slide", "tissue", "mask", "tiles", "centred", "centred_and_tiled", "splitting")


def inspect(
    path: str | Path,
    out: str | Path,
    *,
    annotations: str | Path | None = None,
    classes: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    mpp: float = 7.5,
    slide_mpp: float | None = None,
    slide_mpp_from: SlideMppFrom = "file",
    outlines_from: OutlinesFrom | None = None,
    options: ExtractionOptions | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Draws how a slide is cut, after Figs. 4, B.7, B.8 and B.9, and describes it.

    Args:
      path: a slide, or a picture of known scale.
      out: folder for slide.png and tissue.png (B.7); with an annotation also mask.png, tiles.png (Fig. 4),
        centred.png, centred_and_tiled.png (B.8) and splitting.png (B.9); and summary.txt. Files of these
        names are replaced where they were drawn from the same slide.
      annotations: of any format that `read_slide_annotations` reads.
      classes: `classes.toml`, or the folder with it; BACH's four by default.
      rename: {name in the annotation: class}, beside the classes' own names (and BACH's wordings).
      ignore: names in the annotation whose regions are of no known class.
      mpp: working scale, um/px; 7.5 is the paper's 1.25x.
      slide_mpp: level-0 um/px where neither slide nor annotation says.
      slide_mpp_from: "given" lets it come before what they say.
      outlines_from: where the annotation counts from on a slide with bounds, see `read_slide_annotations`.
      options: of extraction; the paper's by default.
      say: receives the summary.

    Returns:
      The folder.

    Raises:
      UserError: the slide, annotation or classes cannot be used, or the folder cannot be written.
    """
    out, options = Path(out), options or ExtractionOptions()
    drawn = Path(annotations) if annotations is not None else None
    sources = (source_of(path),)
    require_replaceable(out, [*(f"{name}.png" for name in PICTURES), SUMMARY], sources)
    slide = open_slide_with(Path(path), drawn, slide_mpp, None, overrides(slide_mpp_from, slide_mpp))
    task = BACH_CLASSES if classes is None else read_classes(classes)
    make = bach_table if classes is None else class_table
    table = make(task, synonyms=rename, ignored=ignore)
    found = None
    if drawn is not None:
        found = read_slide_annotations(drawn, table, slide, outlines_from=outlines_from)
    image = whole_slide(slide, mpp)
    tissue = tissue_mask(image, morphology=options.morphology, opening=opening_at(mpp))
    with publishing(out, sources) as stage:
        write_png(stage / "slide.png", image)
        save_figure(draw_tissue(image, options, opening_at(mpp)), stage / "tissue.png")
        lines = [*describe_slide(slide), *_describe_sheet(image, tissue, mpp)]
        if drawn is not None and found is not None:
            mask, unpainted = paint_slide(drawn, found, slide, mpp, task)
            lines += [*describe_annotations(found, mask, task), *unpainted]
            asked = {"--rename": rename or {}, "--ignore": ignore}
            lines += [f"warning: {line}" for line in unmatched_names(asked, found.names, table)]
            lines += _draw_extraction(stage, image, mask, tissue, options, task)
        write_text(stage / SUMMARY, "\n".join(lines) + "\n")
    for line in lines:
        say(line)
    say(f"pictures in {out}")
    return out


def describe_slide(slide: Slide) -> list[str]:
    """Size, scale and its source, levels."""
    height, width = slide.size_level0
    row, col = slide.mpp
    scale = f"{row:.4g}" if row == col else f"{row:.4g} x {col:.4g} (row, col)"
    power = "" if slide.objective_power is None else f", {slide.objective_power:g}x"
    lines = [
        f"{slide.path.name} ({slide.vendor}{power})",
        f"level 0: {height} x {width} pixels (height x width), {height * row / 1e3:.2f} x "
        f"{width * col / 1e3:.2f} mm",
        f"mpp: {scale} um/px, from {slide.mpp_source}",
    ]
    if slide.bounds_level0 != (0, 0, height, width):
        top, left, rows, cols = slide.bounds_level0
        lines.append(f"non-empty area: {rows} x {cols} pixels from row {top}, col {left}")
    lines += [
        f"level {number}: {size[0]} x {size[1]}, downsample {factor[0]:.4f}"
        for number, (size, factor) in enumerate(zip(slide.level_sizes, slide.level_downsamples, strict=True))
    ]
    if len(slide.level_sizes) == 1:
        lines.append("no pyramid: every read is from full resolution")
    return lines + [f"note: {note}" for note in slide.notes]


def describe_annotations(annotations: Annotations, mask: np.ndarray, classes: Classes) -> list[str]:
    """What was read and, by class, the number of regions and the share of the slide."""
    lines = [f"annotation: {summary(annotations)}"]
    if annotations.mpp is not None:
        lines.append(f"annotation states {annotations.mpp:.4g} um/px")
    for code, name in enumerate(classes.names):
        regions = sum(region.code == code for region in annotations.regions)
        lines.append(f"  {name}: {regions} regions, {(mask == code).mean():.1%} of the slide")
    if annotations.ignored:
        unknown = (mask == IGNORE_PIXEL).mean()
        lines.append(f"  ignored: {annotations.ignored} regions, {unknown:.1%} of the slide is not known")
    return lines


def _describe_sheet(image: np.ndarray, tissue: np.ndarray, mpp: float) -> list[str]:
    height, width = tissue.shape
    area = tissue.sum() * (mpp / 1e3) ** 2
    lines = [f"at {mpp:g} um/px: {height} x {width} pixels, tissue {tissue.mean():.1%} ({area:.2f} mm2)"]
    return lines if tissue.any() else [*lines, "no tissue was found: is the slide blank, or in grey?"]


def _draw_extraction(
    out: Path,
    image: np.ndarray,
    mask: np.ndarray,
    tissue: np.ndarray,
    options: ExtractionOptions,
    classes: Classes,
) -> list[str]:
    """Writes the figures that need an annotation; says how many patches each way gives."""
    write_png(out / "mask.png", overlay(image, mask, classes))
    lines = []
    for name, cut in (("centred", extract_centred), ("tiles", extract_tiles)):
        patches = cut(mask, tissue, classes.background, options)
        save_figure(draw_patches(image, mask, patches, options.patch_size, classes), out / f"{name}.png")
        lines.append(describe_patches(name, patches))
    drawing = draw_centred_and_tiled(image, mask, options, classes)
    save_figure(drawing, out / "centred_and_tiled.png")
    save_figure(draw_splitting(image, mask, options, classes), out / "splitting.png")
    return lines


def describe_patches(name: str, patches: Patches) -> str:
    """How many patches there are of each kind, and why others are left out."""
    kept = patches.kept()
    masks = int(kept.is_mask.sum())
    text = f"{name}: {masks} mask patches, {len(kept) - masks} image-level patches"
    dropped = ", ".join(f"{count} {reason}" for reason, count in patches.dropped_counts().items())
    return f"{text}; left out: {dropped}" if dropped else text
