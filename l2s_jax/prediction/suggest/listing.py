"""The list of what to draw next: a table, and frames for QuPath."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.data.fingerprint import relative_name
from l2s_jax.data.folds import root_of
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.data.origins import slide_of
from l2s_jax.prediction.slides.frames import Frame
from l2s_jax.prediction.slides.windows import Sheet, Window, rectangle
from l2s_jax.prediction.suggest.candidates import Candidate
from l2s_jax.system.csv_text import table_text
from l2s_jax.types import IGNORE_LABEL


class Suggestion(NamedTuple):
    """A patch or window to draw next."""

    rank: int  # from 1
    candidate: Candidate
    stratum: int  # class that it counts for: its label, or what is predicted of a window; or `IGNORE_LABEL`
    worth: float  # by what it was taken, see `--by`; NaN where by chance
    disagreement: float  # of two runs or more, else NaN
    change: float  # of one run or more, else NaN
    distance: float  # of its looks from the nearest that is drawn or listed before it; NaN where not asked
    why: str


def patches_table(found: Sequence[Suggestion], contents: Manifest) -> str:
    """suggested.csv of patches, in their order."""
    names, root = contents.classes.names, root_of(contents.folder)
    return _table(
        [
            {
                "rank": one.rank,
                "image": relative_name(row.image, root),
                "group": row.group,
                "slide": slide_of(row),
                "label": "" if row.label == IGNORE_LABEL else names[row.label],
                "can_hold": holds(one, names),
            }
            | _figures(one)
            for one in found
            for row in [patch_of(one)]
        ]
    )


def windows_table(
    found: Sequence[Suggestion], sheets: Sequence[Sheet], side: int, names: Sequence[str]
) -> str:
    """suggested.csv of windows; x, y, width and height in level-0 pixels, from where QuPath counts."""
    records = []
    for one in found:
        window = window_of(one)
        sheet = sheets[window.slide]
        x, y, width, height = (round(value, 3) for value in rectangle(sheet, window.origin, side))
        record: dict[str, Any] = {"rank": one.rank, "slide": sheet.slide.path.name, "group": sheet.group}
        record |= {"x": x, "y": y, "width": width, "height": height}
        record["likeliest"] = "" if one.stratum == IGNORE_LABEL else names[one.stratum]
        records.append(record | _figures(one))
    return _table(records)


def frames_of(found: Sequence[Suggestion], sheet: Sheet, number: int, side: int) -> list[Frame]:
    """A slide's windows as frames, `Suggested 1` and so on.

    Args:
      found: all suggestions.
      sheet: the slide.
      number: which of the slides it is.
      side: of a window, in working pixels.
    """
    return [
        Frame(
            f"Suggested {one.rank}",
            rectangle(sheet, window_of(one).origin, side),
            {"Rank": one.rank, "Disagreement": one.disagreement, "Change": one.change},
        )
        for one in found
        if window_of(one).slide == number
    ]


def patch_of(one: Suggestion) -> PatchRow:
    """The patch that is suggested, in a list of patches."""
    assert isinstance(one.candidate.place, PatchRow)
    return one.candidate.place


def window_of(one: Suggestion) -> Window:
    """The window that is suggested, in a list of windows."""
    assert isinstance(one.candidate.place, Window)
    return one.candidate.place


def holds(one: Suggestion, names: Sequence[str]) -> str:
    """The classes that it can hold."""
    return ";".join(names[int(code)] for code in np.flatnonzero(one.candidate.allowed))


def _figures(one: Suggestion) -> dict[str, Any]:
    names = ("disagreement", "change", "distance")
    figures = {"score": one.worth} | {name: getattr(one, name) for name in names}
    return {name: None if math.isnan(value) else value for name, value in figures.items()} | {"why": one.why}


def _table(records: Sequence[dict[str, Any]]) -> str:
    import pandas as pd  # here, since nothing else of the command needs a table

    return table_text(pd.DataFrame(records))
