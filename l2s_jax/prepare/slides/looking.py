"""Which slides of a data set are to be looked at first, by figures that are compared among them.

They are hints for H&E, and decide nothing: a slide with a mark is used as any other.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

FEW = 3
"""Slides with a figure from which on it is compared with the others'."""

BLURRED = 0.5
"""Share of the median sharpness."""
FAR_STAINS = 2.0
"""Times the median angle between a slide's stains and the reference's, ..."""
LEAST_ANGLE = 10.0
"""... and degrees below which nothing is said."""
INK = 0.01
LITTLE_TISSUE = 0.005
MUCH_LEFT_OUT = 0.5
OFF_TISSUE = 0.5
"""Share of what is drawn (not of background) that lies on tissue."""


class Looked(NamedTuple):
    """A slide, its figures, and what is odd about it."""

    name: str
    group: str
    split: str
    figures: Mapping[str, float | None]  # None: nothing to measure
    thumbnail: str  # JPEG, base64; "" where there is none
    notes: tuple[str, ...]  # what a person should know
    marks: tuple[str, ...] = ()


def with_marks(slides: Sequence[Looked]) -> list[Looked]:
    """The slides with what is odd about each, those with the most marks first, else in their order."""
    middle = {name: _median(slides, name) for name in ("sharpness", "stain_angle")}
    marked = [one._replace(marks=tuple(_marks(one.figures, middle))) for one in slides]
    return sorted(marked, key=lambda one: -len(one.marks))


def _median(slides: Sequence[Looked], name: str) -> float | None:
    values = [value for one in slides if (value := one.figures.get(name)) is not None]
    return float(np.median(values)) if len(values) >= FEW else None


def _marks(figures: Mapping[str, Any], middle: Mapping[str, float | None]) -> list[str]:
    def value(name: str) -> float:
        found = figures.get(name)
        return float("nan") if found is None else float(found)  # no comparison with it is true

    sharp, angle = middle["sharpness"], middle["stain_angle"]
    found = {
        "damaged: a part cannot be read": value("unreadable_share") > 0,
        "what is drawn lies mostly off the tissue": value("drawn_on_tissue") < OFF_TISSUE,
        "blurred beside the others": sharp is not None and value("sharpness") < BLURRED * sharp,
        "other stains than the others": angle is not None
        and value("stain_angle") > max(LEAST_ANGLE, FAR_STAINS * angle),
        "colours of ink": value("ink_share") > INK,
        "little tissue": value("tissue_share") < LITTLE_TISSUE,
        "most of the tissue is left out": value("excluded_share") > MUCH_LEFT_OUT,
    }
    return [what for what, is_so in found.items() if is_so]
