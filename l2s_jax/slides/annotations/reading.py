"""Reading any annotation file into `Annotations`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely

from l2s_jax.data.pictures import picture_size, read_mask
from l2s_jax.slides.annotations.choices import Untouched
from l2s_jax.slides.annotations.class_names import ClassTable
from l2s_jax.slides.annotations.corrections import tell
from l2s_jax.slides.annotations.geojson_format import parse_geojson
from l2s_jax.slides.annotations.kinds import annotation_kind
from l2s_jax.slides.annotations.outlines import annotations_from
from l2s_jax.slides.annotations.tracing import polygons_from_mask
from l2s_jax.slides.annotations.types import Annotations, Outline, Parsed, left_out
from l2s_jax.slides.annotations.vertices import refuse_broken
from l2s_jax.slides.annotations.xml_events import xml_events
from l2s_jax.slides.annotations.xml_formats import parse_asap, parse_imagescope, stated_mpp_of
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL


def read_annotations(
    path: str | Path,
    table: ClassTable,
    *,
    size_level0: tuple[int, int] | None = None,
    offset_level0: tuple[float, float] = (0, 0),
    mask_size_level0: tuple[int, int] | None = None,
    allow_empty: bool = False,
    notes: tuple[str, ...] = (),
    predicted: Sequence[Outline] | None = None,
    untouched: Untouched = "unknown",
) -> Annotations:
    """Reads ImageScope, HALO or ASAP XML, GeoJSON (QuPath) or a mask (PNG or TIFF): the content decides.

    Args:
      path: the file; XML and GeoJSON may be packed with gzip, and hold up to `types.MAX_FILE_BYTES`.
      table: which names mean which class; a mask holds the pixel values of `table.classes`.
      size_level0: (height, width) of the slide. Needed for masks, whose scale it gives. Outlines are cut at
        the slide's edge, those wholly outside are left out, and where these are more than a few the file is
        refused as another slide's.
      offset_level0: (row, col) added to every vertex, also of a mask's outlines; `of_slide` knows which.
      mask_size_level0: (height, width) of the area that a mask covers; `size_level0` by default.
      allow_empty: return no regions instead of refusing a file without any.
      notes: what a person should know beforehand; they come first in `Annotations.notes`.
      predicted: outlines that the file may be a correction of, see `corrections.tell`; None takes all that is
        drawn for true, whoever drew it.
      untouched: what those of them are that nobody has touched.

    Returns:
      Regions in file order, with counts of what was repaired and left out. Those of ignored classes have the
      code `IGNORE_PIXEL`, and so have the areas of a mask's ignore value. A mask is a frame.

    Raises:
      UserError: unreadable, refused or empty file; a class name or pixel value that the table does not know
        (all are listed); a vertex that is no position, or vertices far outside the slide.
    """
    path = Path(path)
    is_mask = annotation_kind(path) == "mask"
    if is_mask:
        annotations = _from_mask(path, table, mask_size_level0 or size_level0, offset_level0)
    else:
        parsed = read_outlines(path)
        if predicted is not None:
            parsed = _told(path, parsed, predicted, untouched)
        annotations = annotations_from(
            path, parsed, table, size_level0=size_level0, offset_level0=offset_level0
        )
    empty = all(region.code == IGNORE_PIXEL for region in annotations.regions)
    if empty and not allow_empty and (is_mask or not annotations.frames):
        why = ", ".join(left_out(annotations)) or "nothing is drawn"
        raise UserError(
            f"{path} has no region to use ({why}). Draw or export the regions again, or leave the file out"
        )
    return replace(annotations, notes=(*notes, *annotations.notes))


def _told(path: Path, parsed: Parsed, predicted: Sequence[Outline], untouched: Untouched) -> Parsed:
    """What was corrected told from what was predicted, see `corrections.tell`."""
    try:
        return parsed._replace(outlines=tell(predicted, parsed.outlines, untouched).outlines)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def stated_mpp(path: str | Path) -> float | None:
    """The level-0 um/px that an ImageScope XML file states, for slides that do not; None where it does not.

    Raises:
      UserError: the file cannot be read, or is of no known format.
    """
    path = Path(path)
    if annotation_kind(path) != "imagescope":
        return None
    return stated_mpp_of(next(xml_events(path))[2])


def read_outlines(path: str | Path) -> Parsed:
    """The shapes of a file that is no mask, before their classes are looked up and their geometry mended.

    Raises:
      UserError: unreadable or refused file, or a vertex that is no position.
    """
    path = Path(path)
    kind = annotation_kind(path)
    if kind == "mask":
        raise UserError(f"{path} is a mask; expected outlines (ImageScope, HALO or ASAP XML, or GeoJSON)")
    parsed = {"imagescope": parse_imagescope, "asap": parse_asap, "geojson": parse_geojson}[kind](path)
    refuse_broken(path, parsed.outlines)
    return parsed


def mask_fits(path: Path, size_level0: tuple[int, int]) -> bool:
    """Whether a mask has the proportions of an area of (height, width) `size_level0`. Raises `UserError`."""
    return _same_proportions(picture_size(path), size_level0)


def _same_proportions(size: tuple[int, int], size_level0: tuple[int, int]) -> bool:
    factor = size_level0[0] / size[0], size_level0[1] / size[1]
    # A mask of a few hundred pixels may have lost up to one of them to rounding.
    return abs(factor[0] / factor[1] - 1) <= 0.01 + 1 / min(size)


def _from_mask(
    path: Path,
    table: ClassTable,
    size_level0: tuple[int, int] | None,
    offset_level0: tuple[float, float],
) -> Annotations:
    """Outlines of a mask that covers an area of a slide, with its corner at `offset_level0`."""
    if size_level0 is None:
        raise UserError(f"{path} is a mask: its scale is only known together with the slide's size")
    mask = read_mask(path, table.classes)
    if not _same_proportions(mask.shape, size_level0):
        raise UserError(
            f"{path}: a mask of {mask.shape[0]} x {mask.shape[1]} pixels cannot belong to a slide or area of "
            f"{size_level0[0]} x {size_level0[1]}: their proportions differ"
        )
    factor = size_level0[0] / mask.shape[0], size_level0[1] / mask.shape[1]
    traced = polygons_from_mask(mask, factor, background=table.classes.background, ignored=True)
    shift = np.array(offset_level0[::-1], np.float64)
    moved = (one._replace(polygon=shapely.transform(one.polygon, shift.__add__)) for one in traced.regions)
    top, left = offset_level0
    frame = shapely.box(left, top, left + size_level0[1], top + size_level0[0])  # each of its pixels is known
    return replace(traced, regions=tuple(moved) if shift.any() else traced.regions, frames=(frame,))
