"""Reading the annotation of an opened slide: from which corner its coordinates count.

OpenSlide's level 0 is the whole canvas. Where a scanner states a smaller non-empty area
(`Slide.bounds_level0`: MIRAX, Leica), QuPath shows and exports that area only, so its coordinates count from
the area's corner; ASAP and others on OpenSlide count from the canvas. No file says which of the two it does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from l2s_jax.slides.annotations.choices import Untouched
from l2s_jax.slides.annotations.class_names import ClassTable
from l2s_jax.slides.annotations.kinds import annotation_kind
from l2s_jax.slides.annotations.reading import mask_fits, read_annotations
from l2s_jax.slides.annotations.types import Annotations, Outline
from l2s_jax.slides.slide import Slide

OutlinesFrom = Literal["bounds", "whole"]
"""Coordinates of annotations count from the corner of the slide's non-empty area, or from the whole's."""

Area = tuple[int, int, int, int]


def read_slide_annotations(
    path: str | Path,
    table: ClassTable,
    slide: Slide,
    *,
    outlines_from: OutlinesFrom | None = None,
    allow_empty: bool = False,
    predicted: Sequence[Outline] | None = None,
    untouched: Untouched = "unknown",
) -> Annotations:
    """Reads a slide's annotation into level-0 pixels of the whole slide.

    On slides with bounds, where `outlines_from` does not say it: GeoJSON counts from the bounds, as QuPath
    does; XML from the whole; a mask covers the area whose proportions it has (the whole where it has those
    of both). What was assumed stands in `Annotations.notes`.

    Args:
      path: see `read_annotations`.
      table: which names mean which class.
      slide: from `open_slide`.
      outlines_from: see `OutlinesFrom`; it matters on slides with bounds only.
      allow_empty: return no regions instead of refusing a file without any.
      predicted: see `read_annotations`.
      untouched: see `read_annotations`.

    Raises:
      UserError: see `read_annotations`.
    """
    path = Path(path)
    area, notes = area_counted_from(path, slide, outlines_from)
    return read_annotations(
        path,
        table,
        size_level0=slide.size_level0,
        offset_level0=area[:2],
        mask_size_level0=area[2:],
        allow_empty=allow_empty,
        notes=notes,
        predicted=predicted,
        untouched=untouched,
    )


def area_counted_from(
    path: Path, slide: Slide, outlines_from: OutlinesFrom | None
) -> tuple[Area, tuple[str, ...]]:
    """From the corner of which area (row, col, height, width) a file counts, and what was assumed.

    Arguments as `read_slide_annotations`.
    """
    whole = (0, 0, *slide.size_level0)
    if slide.bounds_level0 == whole:
        return whole, ()
    chosen = outlines_from or _assumed(path, slide)
    area = slide.bounds_level0 if chosen == "bounds" else whole
    return area, () if outlines_from else (_said(chosen, slide.bounds_level0),)


def _assumed(path: Path, slide: Slide) -> OutlinesFrom:
    """From where a file counts, as far as its kind can tell."""
    kind = annotation_kind(path)
    if kind == "mask":
        fits_whole = mask_fits(path, slide.size_level0)
        return "bounds" if not fits_whole and mask_fits(path, slide.bounds_level0[2:]) else "whole"
    return "bounds" if kind == "geojson" else "whole"


def _said(chosen: OutlinesFrom, bounds: Area) -> str:
    """The note on an assumption."""
    if chosen == "bounds":
        where, other = f"the corner of the non-empty area (row {bounds[0]}, col {bounds[1]})", "whole"
    else:
        where, other = "the corner of the whole slide", "bounds"
    return f"assumed to count from {where}; --outlines-from {other} if not"
