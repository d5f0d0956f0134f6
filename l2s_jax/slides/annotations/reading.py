"""Reading any annotation file into `Annotations`."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.data.pictures import picture_size, read_mask
from l2s_jax.slides.annotations.class_names import IGNORED, ClassTable, code_of
from l2s_jax.slides.annotations.geojson_format import parse_geojson
from l2s_jax.slides.annotations.kinds import annotation_kind
from l2s_jax.slides.annotations.repair import lies_inside, polygon_parts, polygons_from_rings
from l2s_jax.slides.annotations.tracing import polygons_from_mask
from l2s_jax.slides.annotations.types import Annotations, Outline, Parsed, Region, left_out
from l2s_jax.slides.annotations.xml_events import xml_events
from l2s_jax.slides.annotations.xml_formats import parse_asap, parse_imagescope, stated_mpp_of
from l2s_jax.system.errors import UserError

OUTSIDE_MARGIN = 0.01
"""Vertices this share of the slide's longer side beyond its edge still count as a slip of the hand."""

OUTSIDE_SHARE = 0.05
"""Above this share of vertices outside, the file is taken for another slide's."""

MAX_FILE_CROSSINGS = 200_000
"""All outlines of a file together; bounds the time of repairs."""

MAX_HOLE_PAIRS = 100_000
"""Pairs of a hole and a region of its layer that meet; bounds the time of cutting."""


def read_annotations(
    path: str | Path,
    table: ClassTable,
    *,
    size_level0: tuple[int, int] | None = None,
    offset_level0: tuple[float, float] = (0, 0),
    mask_size_level0: tuple[int, int] | None = None,
    allow_empty: bool = False,
    notes: tuple[str, ...] = (),
) -> Annotations:
    """Reads ImageScope, HALO or ASAP XML, GeoJSON (QuPath) or a mask (PNG or TIFF): the content decides.

    Args:
      path: the file; XML and GeoJSON may be packed with gzip, and hold up to `types.MAX_FILE_BYTES`.
      table: which names mean which class; a mask holds the pixel values of `table.classes`.
      size_level0: (height, width) of the slide. Needed for masks, whose scale it gives. For outlines, shapes
        wholly outside are left out, and the file is refused if it must be another slide's.
      offset_level0: (row, col) added to every vertex, also of a mask's outlines; `of_slide` knows which.
      mask_size_level0: (height, width) of the area that a mask covers; `size_level0` by default.
      allow_empty: return no regions instead of refusing a file without any.
      notes: what a person should know beforehand; they come first in `Annotations.notes`.

    Returns:
      Regions in file order, with counts of what was repaired and left out.

    Raises:
      UserError: unreadable, refused or empty file; a class name or pixel value that the table does not know
        (all are listed); vertices far outside the slide.
    """
    path = Path(path)
    if annotation_kind(path) == "mask":
        annotations = _from_mask(path, table, mask_size_level0 or size_level0, offset_level0)
    else:
        annotations = _from_outlines(path, read_outlines(path), table, size_level0, offset_level0)
    if not annotations.regions and not allow_empty:
        why = ", ".join(left_out(annotations)) or "nothing is drawn"
        raise UserError(
            f"{path} has no region to use ({why}). Draw or export the regions again, or leave the file out"
        )
    return replace(annotations, notes=(*notes, *annotations.notes))


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
      UserError: unreadable or refused file.
    """
    path = Path(path)
    kind = annotation_kind(path)
    if kind == "mask":
        raise UserError(f"{path} is a mask; expected outlines (ImageScope, HALO or ASAP XML, or GeoJSON)")
    return {"imagescope": parse_imagescope, "asap": parse_asap, "geojson": parse_geojson}[kind](path)


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
    traced = polygons_from_mask(mask, factor, background=table.classes.background)
    shift = np.array(offset_level0[::-1], np.float64)
    moved = (
        Region(shapely.transform(one.polygon, lambda xy: xy + shift), one.code) for one in traced.regions
    )
    return replace(traced, regions=tuple(moved)) if shift.any() else traced


def _from_outlines(
    path: Path,
    parsed: Parsed,
    table: ClassTable,
    size_level0: tuple[int, int] | None,
    offset_level0: tuple[float, float],
) -> Annotations:
    """Mends every outline, looks up its class, checks that it is on the slide, cuts its layer's holes."""
    shift = np.array(offset_level0[::-1], np.float64)
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    shapes: list[tuple[Outline, int, list[Polygon]]] = []
    for outline in parsed.outlines:
        try:
            mended = polygons_from_rings(tuple(ring + shift for ring in outline.rings))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        polygons = mended.polygons
        counts["repaired"] += mended.repaired
        counts["crossings"] += mended.crossings
        if counts["crossings"] > MAX_FILE_CROSSINGS:
            raise UserError(f"{path}: its outlines cross themselves more than {MAX_FILE_CROSSINGS} times")
        code = IGNORED if outline.negative else code_of(table, outline.names, outline.ident)
        if not polygons:
            counts["degenerate"] += 1
        elif code is None:
            unknown[next((name for name in outline.names if name.strip()), "(no name)")] += 1
        elif code == IGNORED and not outline.negative:
            counts["ignored"] += 1
        else:
            shapes.append((outline, code, polygons))
    if unknown:
        raise _unknown_names(path, unknown, table)
    if size_level0 is not None:
        _refuse_other_slide(path, [polygons for _, _, polygons in shapes], size_level0)
        inside = [shape for shape in shapes if _touches(shape[2], size_level0)]
        counts["outside"], shapes = len(shapes) - len(inside), inside
    return Annotations(
        tuple(_regions(path, shapes)),
        parsed.mpp,
        counts["repaired"],
        counts["degenerate"],
        counts["ignored"],
        counts["outside"],
        parsed.skipped,
    )


def _regions(path: Path, shapes: list[tuple[Outline, int, list[Polygon]]]) -> list[Region]:
    """Regions in file order, with the negative shapes of their layer cut out.

    A hole does not cut what lies inside it: that was drawn inside the hole, not erased by it.
    """
    holes: dict[int, list[Polygon]] = defaultdict(list)
    for outline, _, polygons in shapes:
        if outline.negative:
            holes[outline.layer] += polygons
    trees = {layer: shapely.STRtree(of_layer) for layer, of_layer in holes.items()}
    regions, pairs = [], 0
    for outline, code, polygons in shapes:
        if outline.negative:
            continue
        for polygon in polygons:
            parts = [polygon]
            if outline.layer in trees:
                near = trees[outline.layer].query(polygon, predicate="intersects")
                pairs += len(near)
                if pairs > MAX_HOLE_PAIRS:
                    raise UserError(f"{path}: its holes overlap its regions more than {pairs} times")
                cutting = [holes[outline.layer][i] for i in sorted(near)]
                cutting = [hole for hole in cutting if not lies_inside(polygon, hole)]
                parts = polygon_parts(polygon.difference(shapely.union_all(cutting))) if cutting else parts
            regions += [Region(part, code) for part in parts]
    return regions


def _refuse_other_slide(path: Path, shapes: list[list[Polygon]], size_level0: tuple[int, int]) -> None:
    """Raises where more than a few vertices lie beyond the slide."""
    vertices = shapely.get_coordinates([polygon for polygons in shapes for polygon in polygons])
    margin = OUTSIDE_MARGIN * max(size_level0)
    far = (vertices < -margin) | (vertices > np.array(size_level0[::-1]) + margin)
    share = far.any(axis=1).mean() if len(vertices) else 0.0
    if share > OUTSIDE_SHARE:
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        raise UserError(
            f"{path}: {share:.0%} of the vertices lie outside the slide. They span rows {low[1]:.0f} to "
            f"{high[1]:.0f} and columns {low[0]:.0f} to {high[0]:.0f}, the slide has {size_level0[0]} rows "
            f"and {size_level0[1]} columns at level 0. Are they of another slide, or of another level?"
        )


def _touches(polygons: list[Polygon], size_level0: tuple[int, int]) -> bool:
    slide = shapely.box(0, 0, size_level0[1], size_level0[0])
    return any(polygon.intersects(slide) for polygon in polygons)


def _unknown_names(path: Path, unknown: Counter[str], table: ClassTable) -> UserError:
    found = ", ".join(f"{name[:60]!r} ({number})" for name, number in unknown.most_common(20))
    parts = ", ".join(f"*{part}*" for part, _ in table.contains)
    known = ", ".join(sorted(table.exact)) + (f", {parts}" if parts else "")
    return UserError(
        f"{path}: {unknown.total()} region(s) have a class name that is not known: {found}"
        f"{' and more' if len(unknown) > 20 else ''}. Known are: {known}. Rename them in the file, say what "
        "they mean with --rename NAME=CLASS, or leave them out with --ignore NAME"
    )
