"""Windows of slides that networks look at one by one: squares of a grid over tissue."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.data.manifest import PatchRow
from l2s_jax.data.origins import Box, boxes_of
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.slides.areas import tissue_area
from l2s_jax.prediction.slides.job import Area, SlideJob
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import make_job
from l2s_jax.prediction.tiles import Answer, predict_pictures
from l2s_jax.slides.area_names import unfound_warnings
from l2s_jax.slides.marked import part_of, read_marked, require_marked
from l2s_jax.slides.named_rows import read_scales
from l2s_jax.slides.overview import overview_of
from l2s_jax.slides.slide import Slide, downsample_at, open_slide, size_at, windows
from l2s_jax.system.errors import UserError

Say = Callable[[str], None]
Place = tuple[int, int]
"""(row, col) of a window in pixels of the working scale."""

TISSUE = 0.75
"""Share of a window that is tissue, at least: Appendix B.1's rule for patches."""


class Window(NamedTuple):
    """A square of a slide."""

    slide: int  # which of those that were named
    origin: Place


class Sheet(NamedTuple):
    """A slide and its windows."""

    slide: Slide
    group: str
    job: SlideJob  # reads it at the working scale, and looks at it in the stains of the runs
    places: tuple[Place, ...]
    factor: tuple[float, float]  # level-0 pixels to one of the working scale, (row, col)


def require_tissue(options: SlideOptions) -> None:
    """Raises `UserError` where windows are not to be looked for on tissue."""
    if options.within == "slide":
        raise UserError("--within slide: windows are looked for on tissue. Name a folder, or leave it out")


def require_slides_named(asked: Mapping[str, object], options: SlideOptions) -> None:
    """Raises `UserError` where no slide is named and something is said of slides.

    Args:
      asked: other arguments that only slides have, by name; None where nothing is said.
      options: how slides are read.
    """
    given = [f"--{name}" for name, value in asked.items() if value is not None] + options.given()
    if given:
        raise UserError(f"{' and '.join(given)}: no slide is named. Name them with --slides")


def window_side(window: int | None, tile: int) -> int:
    """Pixels of a window's side: as asked, or the patch size `tile`. Raises `UserError` for less."""
    if window is not None and window < tile:
        raise UserError(f"--window {window} must be at least the runs' patch size, {tile} pixels")
    return tile if window is None else window


def open_sheets(
    paths: Sequence[Path],
    groups: Sequence[str],
    predictors: Sequence[Predictor],
    taken: Sequence[PatchRow],
    nothing: str,
    options: SlideOptions,
    mpp: float,
    side: int,
    say: Say,
) -> list[Sheet]:
    """Opens slides and finds their windows.

    Args:
      paths: slides.
      groups: the patient of each.
      predictors: who looks at each.
      taken: patches that no window may meet.
      nothing: that none is met, in words.
      options: how slides are read.
      mpp: the working scale, um/px.
      side: of a window, in pixels of that scale.
      say: receives messages.

    Raises:
      UserError: a slide cannot be read, its scale is not known, or none has a window.
    """
    require_marked(options.folders, paths)
    table, of_rows = read_scales(options.mpp_table, paths)
    for line in (*of_rows, *unfound_warnings(options.folders, paths)):
        say(line)
    boxes = boxes_of(taken, mpp)
    found = []
    for path, group, predictor in zip(paths, groups, predictors, strict=True):
        slide = open_slide(path, mpp=options.slide_mpp, mpp_table=table, mpp_override=options.mpp_override)
        part = part_of(slide, overview_of(slide), options.folders, read_marked(path, slide, options.folders))
        for line in (*slide.notes, *part.lines):
            say(f"{path.name}: {line}")
        size = size_at(slide, mpp)
        area = tissue_area(part, size, mpp)
        job, stains, _ = make_job(slide, size, mpp, area, predictor, options)
        places = tuple(places_on_tissue(size, side, area, boxes[path.name]))
        say(
            f"{path.name}: {len(places)} windows of {side} pixels at {mpp:g} um/px over tissue; stains: "
            f"{stains}"
        )
        found.append(Sheet(slide, group, job, places, downsample_at(slide, mpp)))
    if not any(one.places for one in found):
        raise UserError(
            f"no window of {side} pixels at {mpp:g} um/px has {TISSUE:.0%} tissue and {nothing}. "
            "Give smaller ones with --window, or other slides"
        )
    return found


def look_through(
    sheet: Sheet, places: Sequence[Place], side: int
) -> Iterator[tuple[int, np.ndarray, Answer]]:
    """Windows of a slide: which, its picture u8[side,side,3], and what the networks say of it.

    What cannot be read is passed over.
    """
    read: list[tuple[int, np.ndarray]] = []

    def pictures() -> Iterator[np.ndarray]:
        for number, place in enumerate(places):
            image = sheet.job.read(place, (side, side))
            if image is not None:
                read.append((number, image))
                yield image

    for answer in predict_pictures(sheet.job.forward, pictures(), sheet.job.tiling):
        yield (*read.pop(0), answer)


def tissue_in(area: Area, place: Place, side: int) -> np.ndarray:
    """bool[side,side]: which pixels of a window are tissue that is looked at."""
    row, column = place
    found: np.ndarray = area.mask[np.ix_(area.rows[row : row + side], area.columns[column : column + side])]
    return found


def rectangle(sheet: Sheet, place: Place, side: int) -> tuple[float, float, float, float]:
    """(x, y, width, height) in level-0 pixels from the corner of the slide's non-empty area, as in QuPath."""
    (row, column), (down, across) = place, sheet.factor
    top, left = sheet.slide.bounds_level0[:2]
    return column * across - left, row * down - top, side * across, side * down


def places_on_tissue(size: tuple[int, int], side: int, area: Area, boxes: Sequence[Box]) -> Iterator[Place]:
    """The whole squares of a grid that hold enough tissue and meet none of the boxes."""
    for row, column, height, width in windows(size, (side, side)):
        if (height, width) != (side, side):
            continue
        apart = all(
            row + side <= top or bottom <= row or column + side <= left or right <= column
            for top, left, bottom, right in boxes
        )
        if apart and tissue_in(area, (row, column), side).mean() >= TISSUE:
            yield row, column
