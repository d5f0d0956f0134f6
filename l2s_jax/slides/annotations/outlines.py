"""From the shapes of a file to regions: their classes, their geometry mended, and where they lie."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.slides.annotations.class_names import (
    FRAME,
    IGNORED,
    NO_NAME,
    ClassTable,
    first_name,
    meaning_of,
    refuse_near_names,
)
from l2s_jax.slides.annotations.covering import count_hidden
from l2s_jax.slides.annotations.repair import areas_of, each_mended, lies_inside, polygon_parts
from l2s_jax.slides.annotations.types import Annotations, Outline, Parsed, Region
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

OUTSIDE_MARGIN = 0.01
"""Vertices this share of the slide's longer side beyond its edge still count as a slip of the hand."""

OUTSIDE_SHARE = 0.05
"""Above this share of vertices in shapes wholly outside, the file is taken for another slide's."""

MAX_HOLE_PAIRS = 100_000
"""Pairs of a hole and a region of its layer that meet; bounds the time of cutting."""


_COUNTED = ("repaired", "rewound", "degenerate", "ignored", "unseen", "outside", "clipped")


class _Shape(NamedTuple):
    outline: Outline
    code: int
    polygons: list[Polygon]


def annotations_from(
    path: Path,
    parsed: Parsed,
    table: ClassTable,
    *,
    size_level0: tuple[int, int] | None = None,
    offset_level0: tuple[float, float] = (0, 0),
) -> Annotations:
    """Looks up every outline's class, mends it, checks that it is on the slide, cuts its layer's holes.

    Args:
      path: where the outlines are from, for messages.
      parsed: from `read_outlines`.
      table: which names mean which class.
      size_level0: (height, width) of the slide, see `read_annotations`.
      offset_level0: (row, col) added to every vertex.

    Raises:
      UserError: see `read_annotations`.
    """
    counts: Counter[str] = Counter()
    try:
        shapes = _mended(parsed, table, np.array(offset_level0[::-1], np.float64), counts)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    notes: tuple[str, ...] = ()
    if size_level0 is not None:
        shapes, notes = _on_slide(path, shapes, size_level0, counts)
    drawn = _regions(path, shapes)
    regions = tuple(region for region in drawn if region.code != FRAME)
    frames = tuple(region.polygon for region in drawn if region.code == FRAME)
    notes += _unseen_in_frames(shapes, frames)
    hidden = count_hidden(regions)
    return Annotations(
        regions,
        frames=frames,
        mpp=parsed.mpp,
        **{name: counts[name] for name in _COUNTED},
        covered=hidden.covered,
        doubled=hidden.doubled,
        within=hidden.within,
        skipped=parsed.skipped,
        notes=notes + hidden.notes,
        names=tuple(dict.fromkeys(name for one in parsed.outlines for name in one.names if name.strip())),
    )


def drawn_areas(path: Path, outlines: Sequence[Outline]) -> np.ndarray:
    """Level-0 pixels of each outline, f64[N], as `annotations_from` mends it and cuts holes out of its layer.

    What lies under later regions, or beyond the slide, counts. Holes have none.

    Args:
      path: where the outlines are from, for messages.
      outlines: all of the file that count.

    Raises:
      UserError: outlines that cross themselves so often that they are none.
    """
    layers = {one.layer for one in outlines if one.negative}
    cut = [number for number, one in enumerate(outlines) if one.layer in layers]
    try:
        areas = areas_of([() if one.layer in layers else one.rings for one in outlines])
        mended = list(each_mended(outlines[number].rings for number in cut))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    shapes = [_Shape(outlines[n], n, one.polygons) for n, one in zip(cut, mended, strict=True)]
    for region in _regions(path, shapes):
        areas[region.code] += region.polygon.area
    return areas


def _unseen_in_frames(shapes: list[_Shape], frames: Sequence[Polygon]) -> tuple[str, ...]:
    """What to say of untouched predictions where all that is not drawn would be background."""
    unseen = [polygon for shape in shapes if shape.outline.unseen for polygon in shape.polygons]
    if not unseen or not frames:
        return ()
    number = len(set(shapely.STRtree(unseen).query(list(frames), predicate="intersects")[1].tolist()))
    what = "delete those that are wrong, so that it is background there; lock those that are right"
    return (f"{number} untouched predictions reach into frames: {what}",) if number else ()


def _mended(parsed: Parsed, table: ClassTable, shift: np.ndarray, counts: Counter[str]) -> list[_Shape]:
    """The shapes with an area, and their codes; others are counted."""
    unknown: Counter[str] = Counter()
    known: Counter[str] = Counter()
    shapes = []
    moved = (tuple(ring + shift for ring in outline.rings) for outline in parsed.outlines)
    for outline, mended in zip(parsed.outlines, each_mended(moved), strict=True):
        counts["repaired"] += mended.repaired
        counts["rewound"] += mended.rewound
        if not mended.polygons:
            counts["degenerate"] += 1
        elif outline.negative:
            shapes.append(_Shape(outline, IGNORED, mended.polygons))
        elif outline.unseen:
            counts["unseen"] += 1
            shapes.append(_Shape(outline, IGNORE_PIXEL, mended.polygons))
        elif (found := meaning_of(table, outline.names, outline.ident)) is None:
            unknown[first_name(outline.names) or "(no name)"] += 1
        else:
            name, code = found
            known[name] += name != NO_NAME
            counts["ignored"] += code == IGNORED
            shapes.append(_Shape(outline, IGNORE_PIXEL if code == IGNORED else code, mended.polygons))
    if unknown:
        raise _unknown_names(unknown, table)
    refuse_near_names(table, known)
    return shapes


def _unknown_names(unknown: Counter[str], table: ClassTable) -> UserError:
    found = ", ".join(f"{name[:60]!r} ({number})" for name, number in unknown.most_common(20))
    parts = "".join(f", *{part}*" for part, _ in table.contains)
    names = sorted(repr(name) for name, code in table.exact.items() if code >= 0)
    return UserError(
        f"{unknown.total()} region(s) have a class name that is not known: {found}"
        f"{' and more' if len(unknown) > 20 else ''}. Known are: {', '.join(names)}{parts}. Rename them in "
        "the file, say what they mean with --rename NAME=CLASS, or leave them out with --ignore NAME"
    )


def _on_slide(
    path: Path, shapes: list[_Shape], size_level0: tuple[int, int], counts: Counter[str]
) -> tuple[list[_Shape], tuple[str, ...]]:
    """The shapes that touch the slide, cut at its edge, and what to say of those that were.

    Raises:
      UserError: more than a few vertices are of shapes wholly beyond the slide.
    """
    slide = shapely.box(0, 0, size_level0[1], size_level0[0])
    kept, outside = [], []
    drawn = beyond = 0.0
    for shape in shapes:
        area = sum(polygon.area for polygon in shape.polygons)
        if all(slide.contains(polygon) for polygon in shape.polygons):
            kept.append(shape)
            drawn += area
            continue
        parts = [part for polygon in shape.polygons for part in polygon_parts(polygon.intersection(slide))]
        if parts:
            kept.append(shape._replace(polygons=parts))
            counts["clipped"] += not shape.outline.negative
            drawn += area
            beyond += area - sum(part.area for part in parts)
        else:
            outside.append(shape)
    _refuse_other_slide(path, outside, kept, size_level0)
    counts["outside"] = len(outside)
    share = beyond / drawn if drawn else 0.0
    return kept, ((f"{share:.1%} of the drawn area lies beyond the slide's edge",) if share >= 1e-3 else ())


def _refuse_other_slide(
    path: Path, outside: list[_Shape], kept: list[_Shape], size_level0: tuple[int, int]
) -> None:
    """Raises where more than a few vertices are of shapes that lie beyond the slide."""
    vertices, others = (
        shapely.get_coordinates([polygon for shape in shapes for polygon in shape.polygons])
        for shapes in (outside, kept)
    )
    margin = OUTSIDE_MARGIN * max(size_level0)
    far = (vertices < -margin) | (vertices > np.array(size_level0[::-1]) + margin)
    share = far.any(axis=1).sum() / max(1, len(vertices) + len(others))
    if share > OUTSIDE_SHARE:
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        raise UserError(
            f"{path}: {share:.0%} of the vertices lie outside the slide, in {len(outside)} shape(s) that do "
            f"not touch it. They span rows {low[1]:.0f} to {high[1]:.0f} and columns {low[0]:.0f} to "
            f"{high[0]:.0f}, the slide has {size_level0[0]} rows and {size_level0[1]} columns at level 0. "
            "Are they of another slide, or of another level?"
        )


def _regions(path: Path, shapes: list[_Shape]) -> list[Region]:
    """Regions in file order, with the negative shapes of their layer cut out.

    A hole does not cut what lies inside it: that was drawn inside the hole, not erased by it.
    """
    holes: dict[int, list[Polygon]] = defaultdict(list)
    for shape in shapes:
        if shape.outline.negative:
            holes[shape.outline.layer] += shape.polygons
    trees = {layer: shapely.STRtree(of_layer) for layer, of_layer in holes.items()}
    regions: list[Region] = []
    pairs = 0
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
