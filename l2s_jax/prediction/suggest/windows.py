"""Windows of slides that could be drawn next: squares of a grid over tissue, none of val and test."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2s_jax.data.groups import near_pairs
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.pictures import picture_size
from l2s_jax.prediction.predictor import Predictor
from l2s_jax.prediction.review.judgement import slide_of
from l2s_jax.prediction.slides.areas import tissue_area
from l2s_jax.prediction.slides.job import Area, SlideJob
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.slides.predict import make_job
from l2s_jax.prediction.suggest.candidates import Candidate, Candidates, Seen, Window
from l2s_jax.prediction.suggest.looks import looks_at
from l2s_jax.runs.leaks import HELD_OUT, LISTED
from l2s_jax.slides.marked import part_of, read_marked, require_marked
from l2s_jax.slides.mpp import read_mpp_table
from l2s_jax.slides.overview import overview_of
from l2s_jax.slides.slide import Slide, downsample_at, open_slide, size_at, windows
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL

Say = Callable[[str], None]

TISSUE = 0.75
"""Share of a window that is tissue, at least: Appendix B.1's rule for patches."""


class Sheet(NamedTuple):
    """A slide whose windows can be suggested."""

    slide: Slide
    group: str
    job: SlideJob  # reads it at the working scale, and looks at it in the stains of the runs
    places: tuple[tuple[int, int], ...]  # (row, col) of its windows, in pixels of the working scale
    factor: tuple[float, float]  # level-0 pixels to one of those, (row, col)


def open_sheets(
    paths: Sequence[Path],
    contents: Manifest,
    predictor: Predictor,
    options: SlideOptions,
    mpp: float,
    side: int,
    say: Say,
) -> list[Sheet]:
    """Opens slides and finds their windows.

    Args:
      paths: slides.
      contents: the manifest, which says which patients and slides are tested on, and what is drawn already.
      predictor: the runs.
      options: how slides are read.
      mpp: the working scale, um/px.
      side: of a window, in pixels of that scale.
      say: receives messages.

    Raises:
      UserError: a slide cannot be read or is one of the splits val and test, or none has a window.
    """
    require_marked(options.folders, paths)
    groups = _groups_of(paths, contents, say)
    table = read_mpp_table(options.mpp_table) if options.mpp_table else None
    found = []
    for path, group in zip(paths, groups, strict=True):
        slide = open_slide(path, mpp=options.slide_mpp, mpp_table=table)
        part = part_of(slide, overview_of(slide), options.folders, read_marked(path, slide, options.folders))
        for line in part.lines:
            say(f"{path.name}: {line}")
        size = size_at(slide, mpp)
        area = tissue_area(part, size, mpp)
        job, stains, _ = make_job(slide, size, mpp, area, predictor, options)
        boxes = _drawn_boxes(path, contents, mpp)
        places = tuple(_places(size, side, area, boxes))
        say(
            f"{path.name}: {len(places)} windows of {side} pixels at {mpp:g} um/px over tissue; stains: "
            f"{stains}"
        )
        found.append(Sheet(slide, group, job, places, downsample_at(slide, mpp)))
    if not any(one.places for one in found):
        raise UserError(
            f"no window of {side} pixels at {mpp:g} um/px has {TISSUE:.0%} tissue and nothing drawn in it. "
            "Give smaller ones with --window, or other slides"
        )
    return found


def window_candidates(sheets: Sequence[Sheet], predictor: Predictor, side: int) -> Candidates:
    """All windows of all slides. Nothing is known of them, so each can hold every class."""
    every = np.ones(len(predictor.classes), bool)
    each = [
        Candidate(sheet.group, IGNORE_LABEL, every, Window(number, place))
        for number, sheet in enumerate(sheets)
        for place in sheet.places
    ]

    def look(indices: Sequence[int]) -> Iterator[Seen]:
        for number, sheet in enumerate(sheets):
            own = [index for index in indices if each[index].place.slide == number]  # type: ignore[union-attr]
            read: list[tuple[int, np.ndarray]] = []
            pictures = _pictures(sheet, each, own, side, read)
            for one in looks_at(predictor, sheet.job.forward, ((image, every) for image in pictures)):
                yield (*read.pop(0), one)

    return Candidates(each, look)


def _pictures(
    sheet: Sheet,
    each: Sequence[Candidate],
    indices: Sequence[int],
    side: int,
    read: list[tuple[int, np.ndarray]],
) -> Iterator[np.ndarray]:
    """Windows of a slide, noted in `read`; what cannot be read is passed over."""
    for index in indices:
        place = each[index].place
        image = sheet.job.read(place.origin, (side, side))  # type: ignore[union-attr]
        if image is not None:
            read.append((index, image))
            yield image


def _places(
    size: tuple[int, int], side: int, area: Area, boxes: Sequence[tuple[float, float, float, float]]
) -> Iterator[tuple[int, int]]:
    """(row, col) of the whole squares of a grid that hold enough tissue and nothing that is drawn."""
    for row, column, height, width in windows(size, (side, side)):
        if (height, width) != (side, side):
            continue
        here = np.ix_(area.rows[row : row + side], area.columns[column : column + side])
        apart = all(
            row + side <= top or bottom <= row or column + side <= left or right <= column
            for top, left, bottom, right in boxes
        )
        if apart and area.mask[here].mean() >= TISSUE:
            yield row, column


def _drawn_boxes(path: Path, contents: Manifest, mpp: float) -> list[tuple[float, float, float, float]]:
    """(top, left, bottom, right) of the patches with a mask that were cut from a slide, in working pixels."""
    rows = [row for row in contents.of_split("train") if row.mask is not None and slide_of(row) == path.name]
    return [box for row in rows for box in _box(row, mpp)]


def _box(row: PatchRow, mpp: float) -> Iterator[tuple[float, float, float, float]]:
    """Where a patch was cut, by what `prepare` has written down of it."""
    words = row.source.rpartition(" at row ")[2].split(", col ")
    if row.mpp is not None and len(words) == 2 and all(word.strip().isdigit() for word in words):
        scale, (top, left) = row.mpp / mpp, map(int, words)
        height, width = picture_size(row.image)
        yield top * scale, left * scale, (top + height) * scale, (left + width) * scale


def _groups_of(paths: Sequence[Path], contents: Manifest, say: Say) -> list[str]:
    """The patient of each slide: as the manifest has it, else the slide's own name.

    Raises:
      UserError: slides of val or test.
    """
    known: dict[str, PatchRow] = {}
    for row in contents.patches:
        known.setdefault(slide_of(row), row)
    of_group = {row.group: row for row in contents.patches}
    rows = [known.get(path.name, of_group.get(path.stem)) for path in paths]
    held = [
        f"{path} ({row.split})"
        for path, row in zip(paths, rows, strict=True)
        if row and row.split in HELD_OUT
    ]
    if held:
        raise UserError(
            f"{len(held)} of the slides are of the splits val and test of {contents.folder}, which no "
            f"network may learn from: {', '.join(held[:LISTED])}. Leave them out"
        )
    groups = [path.stem if row is None else row.group for path, row in zip(paths, rows, strict=True)]
    others = {row.group for row in contents.patches if row.split in HELD_OUT}
    near = near_pairs(others, {group for group, row in zip(groups, rows, strict=True) if row is None})
    if near:
        shown = "; ".join(f"{other!r} and {group!r}" for other, group in near[:LISTED])
        say(
            f"warning: patients of val and test have nearly the names of slides: {shown}. If they are the "
            "same, leave these slides out"
        )
    return groups
