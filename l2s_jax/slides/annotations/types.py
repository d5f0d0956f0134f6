"""What a set of drawn regions is, whatever the format it came from.

Geometry is shapely's and therefore in (x, y) = (column, row) order, as in every annotation format; everything
around it is (row, col). The unit is the level-0 pixel, the origin that of `slides.Slide`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from shapely import Polygon

from l2s_jax.types import IGNORE_PIXEL

MAX_FILE_BYTES = 2**31
"""Larger annotation files, packed or not, are refused; all are streamed, so this bounds time, not memory."""

MAX_VERTICES = 5_000_000
MAX_REGIONS = 200_000


Colour = tuple[int, int, int]
"""RGB, 0..255."""


class Region(NamedTuple):
    """One drawn region: a valid polygon of non-zero area, possibly with holes."""

    polygon: Polygon  # (x, y), level-0 pixels
    code: int  # class code, or IGNORE_PIXEL: drawn to be ignored, so of no known class


@dataclass(frozen=True)
class Annotations:
    """Regions in the order of drawing: a later one lies over an earlier one.

    The counts say what became of the shapes in the file. A drawn shape may have given several regions (the
    parts of a MultiPolygon, or of an outline that crosses itself) or none.
    """

    regions: tuple[Region, ...]
    frames: tuple[Polygon, ...] = ()  # what is not drawn inside them is background, see `frames`
    mpp: float | None = None  # level-0 um/px that the file states (ImageScope's MicronsPerPixel)
    repaired: int = 0  # shapes that crossed or touched themselves
    rewound: int = 0  # shapes whose outline runs round twice, filled as if once
    degenerate: int = 0  # shapes without an area: fewer than 3 vertices, or all on a line
    ignored: int = 0  # shapes of a class that is to be ignored
    unseen: int = 0  # predictions that nobody has touched
    outside: int = 0  # shapes wholly outside the slide, left out
    clipped: int = 0  # shapes that reach beyond the slide, cut at its edge
    covered: int = 0  # regions of which later ones leave nothing
    doubled: int = 0  # regions that an equal one of the same class repeats
    within: int = 0  # regions that lie in an earlier one of their class
    skipped: tuple[tuple[str, int], ...] = ()  # (kind, number) of things that are no areas: points, lines
    notes: tuple[str, ...] = ()  # what was assumed or is odd, for people
    names: tuple[str, ...] = ()  # that stand on its shapes, each once


class Outline(NamedTuple):
    """A shape as it stands in a file, before its class is looked up and its geometry mended."""

    names: tuple[str, ...]  # what may name its class, most specific first
    rings: tuple[np.ndarray, ...]  # f64[V,2] (x, y) each: the outer one, then holes; even-odd
    layer: int = 0  # ImageScope's Annotation element, counted from 0
    ident: str = ""  # that element's Id
    negative: bool = False  # a hole in other shapes of its layer (ImageScope's NegativeROA)
    colour: Colour | None = None  # of its class or its own, as the tool that wrote the file shows it
    uid: str = ""  # of the object in its file (GeoJSON); the parts of one share it
    predicted: bool = False  # by its id or measurements, `predict` wrote it
    locked: bool = False  # in QuPath, so that nobody changes it
    unseen: bool = False  # a prediction that nobody has touched: of no known class


class Parsed(NamedTuple):
    """What a parser found in a file."""

    outlines: tuple[Outline, ...]
    mpp: float | None
    skipped: tuple[tuple[str, int], ...]


def left_out(annotations: Annotations) -> list[str]:
    """What is odd about the shapes of a file and what became of them, a phrase for each kind."""
    return [
        f"{number} {what}"
        for number, what in (
            (annotations.repaired, "repaired (crossed themselves)"),
            (annotations.rewound, "drawn twice round, filled"),
            (annotations.degenerate, "without area skipped"),
            (annotations.ignored, "ignored (unknown there)"),
            (annotations.unseen, "predicted and untouched (unknown there)"),
            (annotations.outside, "outside the slide skipped"),
            (annotations.clipped, "cut at the slide's edge"),
            (annotations.covered, "wholly covered by later ones"),
            (annotations.doubled, "drawn twice"),
            (annotations.within, "within another of its own class (filled; a hole is a hole of its outline)"),
            *((number, f"skipped ({kind})") for kind, number in annotations.skipped),
        )
        if number
    ]


def summary(annotations: Annotations) -> str:
    """One line for people: the number of regions, what is odd about them, and the notes."""
    known = sum(region.code != IGNORE_PIXEL for region in annotations.regions)
    counts = ", ".join([f"{known} regions", *left_out(annotations)])
    return "; ".join([counts, *annotations.notes])
