"""The list of what to draw next: a table, and frames for QuPath."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.data.fingerprint import relative_name
from l2s_jax.data.folds import root_of
from l2s_jax.data.manifest import Manifest, PatchRow
from l2s_jax.prediction.review.judgement import slide_of
from l2s_jax.prediction.suggest.candidates import Candidate, Window
from l2s_jax.prediction.suggest.windows import Sheet
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.files import json_text, write_text
from l2s_jax.types import IGNORE_LABEL

FRAME_COLOUR = (255, 200, 0)


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
        x, y, width, height = (round(value, 3) for value in _rectangle(sheet, window, side))
        record: dict[str, Any] = {"rank": one.rank, "slide": sheet.slide.path.name, "group": sheet.group}
        record |= {"x": x, "y": y, "width": width, "height": height}
        record["likeliest"] = "" if one.stratum == IGNORE_LABEL else names[one.stratum]
        records.append(record | _figures(one))
    return _table(records)


def write_frames(path: Path, found: Sequence[Suggestion], sheet: Sheet, number: int, side: int) -> None:
    """Writes a slide's windows as annotations for QuPath.

    They have names, `Suggested 1` and so on, and no class: `prepare slides` refuses a region without one, so
    that a frame in which nobody has drawn is never taken for one in which all is drawn.

    Args:
      path: the .geojson file.
      found: all suggestions.
      sheet: the slide.
      number: which of the slides it is.
      side: of a window, in working pixels.

    Raises:
      Unwritable: it cannot be written.
    """
    features = []
    for one in found:
        window = window_of(one)
        if window.slide != number:
            continue
        x, y, width, height = _rectangle(sheet, window, side)
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
        figures = {"Rank": one.rank, "Disagreement": one.disagreement, "Change": one.change}
        features.append(
            {
                "type": "Feature",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [[[round(v, 3) for v in xy] for xy in corners]],
                },
                "properties": {
                    "objectType": "annotation",
                    "name": f"Suggested {one.rank}",
                    "color": list(FRAME_COLOUR),
                    "measurements": [
                        {"name": name, "value": value}
                        for name, value in figures.items()
                        if not math.isnan(value)
                    ],
                },
            }
        )
    write_text(path, json_text({"type": "FeatureCollection", "features": features}) + "\n")


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


def _rectangle(sheet: Sheet, window: Window, side: int) -> tuple[float, float, float, float]:
    """(x, y, width, height) in level-0 pixels from the corner of the slide's non-empty area."""
    (row, column), (down, across) = window.origin, sheet.factor
    top, left = sheet.slide.bounds_level0[:2]
    return column * across - left, row * down - top, side * across, side * down


def _figures(one: Suggestion) -> dict[str, Any]:
    names = ("disagreement", "change", "distance")
    figures = {"score": one.worth} | {name: getattr(one, name) for name in names}
    return {name: None if math.isnan(value) else value for name, value in figures.items()} | {"why": one.why}


def _table(records: Sequence[dict[str, Any]]) -> str:
    import pandas as pd  # here, since nothing else of the command needs a table

    return table_text(pd.DataFrame(records))
