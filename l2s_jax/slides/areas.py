"""Areas of slides that other tools or people have marked: tissue to keep, or artefacts and pen to leave out.

Which of the two a file means does not stand in it: TRIDENT's contours and HistoQC's masks are what to keep, a
drawing of pen marks is what to leave out, and a GrandQC mask has values of both kinds. A file of several
classes or values is therefore refused until somebody says which of them are meant.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image
from shapely import Polygon

from l2s_jax.data.classes import Classes
from l2s_jax.data.pictures import MAX_PIXELS, picture_size, read_mask_values
from l2s_jax.slides.annotations.class_names import IGNORED, NO_NAME, ClassTable, first_name, normalised
from l2s_jax.slides.annotations.kinds import annotation_kind
from l2s_jax.slides.annotations.of_slide import OutlinesFrom
from l2s_jax.slides.annotations.outlines import annotations_from
from l2s_jax.slides.annotations.painting import paint
from l2s_jax.slides.annotations.reading import mask_fits, read_outlines
from l2s_jax.slides.annotations.types import Annotations, Region, left_out
from l2s_jax.slides.slide import Slide, downsample_at, size_at
from l2s_jax.system.errors import UserError
from l2s_jax.system.outputs import content_digest

ENDINGS = (
    ".geojson", ".json", ".xml", ".geojson.gz", ".png", ".tif", ".tiff",
    "_mask_use.png",  # HistoQC
    "_mask.png", "_MASK.png",  # GrandQC
)  # fmt: skip
"""What a file of areas is called after the slide's name, with or without the slide's own ending."""

SHOWN = 20

Kind = TypeVar("Kind", str, int)
"""A class name of outlines, or a value of a mask."""


class Areas(NamedTuple):
    """What a file marks on a slide."""

    path: Path
    digest: str  # of the file's content and of what was chosen of it
    polygons: tuple[Polygon, ...] = ()  # level-0 pixels of the whole slide
    mask: np.ndarray | None = None  # bool[h,w], in place of polygons
    place: tuple[int, int, int, int] = (0, 0, 0, 0)  # (row, col, height, width) of `mask` in level-0 pixels
    notes: tuple[str, ...] = ()  # for people


def find_areas(folder: Path, slide: Path) -> Path | None:
    """The file in a folder that is named after a slide; HistoQC's lie in a folder of the slide's name.

    Raises:
      UserError: there are several.
    """
    names = dict.fromkeys((slide.name, slide.stem, slide.stem.removesuffix(".ome")))
    found: dict[tuple[int, int], Path] = {}
    for place in (folder, folder / slide.name):
        for path in (place / f"{name}{ending}" for name in names for ending in ENDINGS):
            with contextlib.suppress(OSError):
                stat = path.stat()
                if path.is_file() and not (slide.exists() and os.path.samefile(path, slide)):
                    found.setdefault((stat.st_dev, stat.st_ino), path)
    if len(found) > 1:
        listed = ", ".join(path.name for path in found.values())
        raise UserError(
            f"{folder} has several files for {slide.name} ({listed}); expected one: move others away"
        )
    return next(iter(found.values()), None)


def require_areas(option: str, folder: Path | None, slides: Sequence[Path]) -> None:
    """Refuses a folder of areas that holds no file of any of the slides. Raises `UserError`."""
    if folder is None:
        return
    if not folder.is_dir():
        known = "tissue, slide or a folder" if option == "--within" else "a folder"
        raise UserError(f"{option} {folder} is no folder; expected {known}")
    if slides and not any(_is_marked(folder, slide) for slide in slides):
        raise UserError(
            f"{option} {folder} holds no file named after any of the slides, such as "
            f"{slides[0].stem}.geojson or {slides[0].stem}.png"
        )


def _is_marked(folder: Path, slide: Path) -> bool:
    try:
        return find_areas(folder, slide) is not None
    except UserError:  # several: said when the slide is read
        return True


def read_areas(
    path: Path, slide: Slide, *, only: Sequence[str] = (), areas_from: OutlinesFrom | None = None
) -> Areas:
    """Reads the areas of a file: outlines of any format that is read, or a mask that covers the slide.

    Args:
      path: from `find_areas`.
      slide: from `open_slide`.
      only: class names of outlines, or values of a mask, that are meant; the others are not. A file of one
        name, or a mask of 0 and one further value, needs none.
      areas_from: outlines count from the corner of the slide's non-empty area (QuPath) or of the whole
        (TRIDENT, HistoQC); to be said for GeoJSON on slides that state such an area. A mask covers the one
        whose proportions it has.

    Raises:
      UserError: the file cannot be read or is not of the slide, or it has several classes and `only` does not
        say which are meant.
    """
    digest = f"{content_digest(path)} {sorted(only)} {areas_from}"
    kind = annotation_kind(path)
    if kind == "mask":
        place = _place_of_mask(path, slide)
        values = read_mask_values(path)
        meant, notes = _chosen(path, np.unique(values).tolist(), [_number(path, one) for one in only])
        return Areas(path, digest, mask=np.isin(values, list(meant)), place=place, notes=notes)
    corner = _corner(path, slide, areas_from) if kind == "geojson" else (0, 0)
    parsed = read_outlines(path)
    names = dict.fromkeys(first_name(one.names) for one in parsed.outlines if not one.negative)
    chosen, notes = _chosen(path, list(names), only)
    found = annotations_from(
        path, parsed, _table(names, chosen), size_level0=slide.size_level0, offset_level0=corner
    )
    polygons = tuple(region.polygon for region in found.regions if region.code == 0)
    return Areas(path, digest, polygons, notes=(*notes, *left_out(replace(found, ignored=0))))


def covered(
    areas: Areas,
    slide: Slide,
    mpp: float,
    *,
    origin: tuple[int, int] = (0, 0),
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Which pixels have their centres in the areas; a window is exactly the crop of the whole.

    Args:
      areas: from `read_areas`.
      slide: the slide.
      mpp: um/px of the result.
      origin: (row, col) of the first pixel, in pixels from level-0 (0, 0).
      size: (height, width) of the result; by default all of the slide.

    Returns:
      bool[h,w].
    """
    size, factor = size or size_at(slide, mpp), downsample_at(slide, mpp)
    if areas.mask is None:
        regions = tuple(Region(polygon, 1) for polygon in areas.polygons)
        return paint(Annotations(regions), size, factor, origin=origin).astype(bool)
    places, inside = [], []
    for axis in (0, 1):
        centres = (np.arange(size[axis]) + origin[axis] + 0.5) * factor[axis] - areas.place[axis]
        pixel = np.floor(centres * (areas.mask.shape[axis] / areas.place[axis + 2])).astype(np.int64)
        inside.append((pixel >= 0) & (pixel < areas.mask.shape[axis]))
        places.append(pixel.clip(0, areas.mask.shape[axis] - 1))
    return areas.mask[np.ix_(*places)] & np.outer(*inside)


def _chosen(
    path: Path, found: Sequence[Kind], only: Sequence[Kind]
) -> tuple[frozenset[Kind], tuple[str, ...]]:
    """Which of the names or values in a file are meant, and notes.

    Raises:
      UserError: several may be.
    """
    if not only:
        meant = [one for one in found if one != 0]
        if len(meant) > 1:
            what = "the values" if isinstance(meant[0], int) else "regions of the classes"
            listed = ", ".join(str(one) or "(no name)" for one in meant[:SHOWN])
            raise UserError(
                f"{path} has {what} {listed}: say which of them are meant, with --within-only or "
                "--exclude-only"
            )
        return frozenset(meant), ()
    wanted = {_form(one) for one in only}
    chosen = frozenset(one for one in found if _form(one) in wanted)
    there = {_form(one) for one in found}
    missing = [str(one) for one in only if _form(one) not in there]
    if not missing:
        return chosen, ()
    listed = ", ".join(str(one) or "(no name)" for one in found[:SHOWN]) or "nothing"
    none = "no" if chosen else "none of"
    return chosen, (f"{path.name} has {none} {', '.join(missing)}; it has {listed}",)


def _form(one: object) -> object:
    """By what names and values are compared."""
    return normalised(one) if isinstance(one, str) else one


def _number(path: Path, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{path} is a mask, of which values are meant; {text!r} is no number") from None


def _table(names: Iterable[str], chosen: frozenset[str]) -> ClassTable:
    """A table in which the names that are meant have the code 0, and all others are ignored."""
    classes = Classes(("area", "rest"), ((0, 0, 0), (255, 255, 255)), (0, 1))
    return ClassTable(classes, {name: 0 if name in chosen else IGNORED for name in (NO_NAME, *names)}, {})


def _corner(path: Path, slide: Slide, areas_from: OutlinesFrom | None) -> tuple[int, int]:
    """The level-0 (row, col) from which a GeoJSON file counts. Raises `UserError` where it may be either."""
    if slide.bounds_level0 == (0, 0, *slide.size_level0) or areas_from == "whole":
        return 0, 0
    if areas_from == "bounds":
        return slide.bounds_level0[:2]
    raise UserError(
        f"{path}: {slide.path.name} states a non-empty area from row {slide.bounds_level0[0]}, column "
        f"{slide.bounds_level0[1]}. Say from where the file counts: --areas-from bounds (as QuPath does) "
        "or --areas-from whole (as TRIDENT and HistoQC do)"
    )


def _place_of_mask(path: Path, slide: Slide) -> tuple[int, int, int, int]:
    """(row, col, height, width) of the area of level 0 that a mask covers. Raises `UserError`."""
    size = _size_of_mask(path)
    whole = (0, 0, *slide.size_level0)
    for place in (whole, slide.bounds_level0):
        if mask_fits(path, place[2:]):
            return place
    raise UserError(
        f"{path}: a mask of {size[0]} x {size[1]} pixels cannot cover {slide.path.name} of "
        f"{slide.size_level0[0]} x {slide.size_level0[1]}: their proportions differ"
    )


def _size_of_mask(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:  # unlike `picture_size` at any size
        width, height = image.size
    if height * width > MAX_PIXELS:
        raise UserError(
            f"{path}: a mask of {height} x {width} pixels is larger than the {MAX_PIXELS:,} that are read. "
            "Make it smaller without mixing its values, e.g. `magick IN -sample 25% OUT.png`"
        )
    return picture_size(path)
