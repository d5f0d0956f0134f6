"""What is left out of a slide before it is cut: what lies outside the tissue to keep, artefacts, pen."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import shapely
from shapely import Polygon

from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.annotations.repair import polygon_parts
from l2s_jax.slides.annotations.tracing import polygons_from_mask
from l2s_jax.slides.annotations.types import Region
from l2s_jax.slides.areas import Areas, covered, find_areas, read_areas
from l2s_jax.slides.overview import Overview
from l2s_jax.slides.slide import Slide
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_PIXEL

LITTLE = 0.5
"""Share of the tissue found here from which on a file of what is to be kept is believed without a warning."""


class LeftOut(NamedTuple):
    """What files leave out of a slide."""

    regions: tuple[Region, ...]  # of no known class; level-0 pixels, to be painted last
    tissue: np.ndarray  # bool[h,w], what is left of the overview's
    notes: tuple[str, ...]  # what a person should know


def area_files(slide: Path, options: AnnotationOptions) -> tuple[Path | None, Path | None]:
    """The files of what is to be kept of a slide, and of what is to be left out.

    Raises:
      UserError: several of one kind, or none of what is to be kept where a folder is named.
    """
    within = None if options.within is None else find_areas(options.within, slide)
    if within is None and options.within is not None:
        raise UserError(
            f"{slide}: --within {options.within} holds no file of it, such as {slide.stem}.geojson or "
            f"{slide.stem}.png"
        )
    return within, None if options.exclude is None else find_areas(options.exclude, slide)


def leave_out(path: Path, slide: Slide, overview: Overview, options: AnnotationOptions) -> LeftOut:
    """Reads what files keep and leave out of a slide.

    Args:
      path: the slide as it was given, after which the files are named.
      slide: it, opened.
      overview: of the slide.
      options: the folders, and which classes or values in their files are meant.

    Raises:
      UserError: see `area_files` and `areas.read_areas`; nothing of the tissue is left.
    """
    within, exclude = area_files(path, options)
    regions: list[Region] = []
    tissue, notes = overview.tissue, []
    if within is not None:
        areas = read_areas(within, slide, only=options.within_only, areas_from=options.areas_from)
        tissue = tissue & covered(areas, slide, overview.mpp)
        height, width = slide.size_level0
        kept = shapely.union_all(_polygons(areas))
        regions += _unknown(polygon_parts(shapely.box(0, 0, width, height).difference(kept)))
        share = tissue.sum() / max(overview.tissue.sum(), 1)
        notes += [f"within {within.name}: {share:.1%} of the tissue is kept", *areas.notes]
        if share < LITTLE:
            notes.append(
                f"warning: {within} holds less than half of the tissue. Does it mark what is to be left out "
                "(--exclude), or is it of another slide?"
            )
    if exclude is not None:
        areas = read_areas(exclude, slide, only=options.exclude_only, areas_from=options.areas_from)
        out = covered(areas, slide, overview.mpp)
        notes += [f"exclude {exclude.name}: {(tissue & out).sum() / max(tissue.sum(), 1):.1%} of the tissue"]
        notes += areas.notes
        tissue = tissue & ~out
        regions += _unknown(_polygons(areas))
    if overview.tissue.any() and not tissue.any():
        raise UserError(f"{path}: --within and --exclude leave nothing of its tissue")
    return LeftOut(tuple(regions), tissue, tuple(notes))


def _unknown(polygons: list[Polygon]) -> list[Region]:
    return [Region(polygon, IGNORE_PIXEL) for polygon in polygons]


def _polygons(areas: Areas) -> list[Polygon]:
    """Outlines in level-0 pixels of the whole slide, of a mask too."""
    if areas.mask is None:
        return list(areas.polygons)
    top, left, height, width = areas.place
    downsample = height / areas.mask.shape[0], width / areas.mask.shape[1]
    traced = polygons_from_mask(areas.mask.astype(np.uint8), downsample).regions
    return [shapely.transform(region.polygon, lambda xy: xy + (left, top)) for region in traced]
