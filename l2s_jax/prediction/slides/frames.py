"""Windows of slides as frames for QuPath: annotations with a name and without a class."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from l2s_jax.system.errors import UserError
from l2s_jax.system.files import json_text, write_text

FRAME_COLOUR = (255, 200, 0)


class Frame(NamedTuple):
    """A rectangle of a slide."""

    name: str
    rectangle: tuple[float, float, float, float]  # (x, y, width, height), see `windows.rectangle`
    measurements: Mapping[str, float]  # NaN: not measured


def frame_names(paths: Sequence[Path], ending: str) -> list[str]:
    """Names of the files with the frames of each slide: its own without ending, and an ending.

    Raises:
      UserError: two slides have one name.
    """
    first: dict[str, Path] = {}
    for path in paths:
        other = first.setdefault(path.stem.casefold(), path)
        if other is not path:
            raise UserError(
                f"{other} and {path} have one name, after which the files of their frames would be named: "
                "call twice, with a folder for each"
            )
    return [f"{path.stem}{ending}" for path in paths]


def write_frames(path: Path, frames: Sequence[Frame]) -> None:
    """Writes a slide's frames as GeoJSON.

    They have no class: `prepare slides` refuses a region without one, so that a frame in which nobody has
    drawn is never taken for one in which all is drawn.

    Raises:
      Unwritable: it cannot be written.
    """
    content = {"type": "FeatureCollection", "features": [_feature(one) for one in frames]}
    write_text(path, json_text(content) + "\n")


def _feature(frame: Frame) -> dict[str, object]:
    x, y, width, height = frame.rectangle
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]
    measured = {name: value for name, value in frame.measurements.items() if not math.isnan(value)}
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[[round(v, 3) for v in xy] for xy in corners]]},
        "properties": {
            "objectType": "annotation",
            "name": frame.name,
            "color": list(FRAME_COLOUR),
            "measurements": [{"name": name, "value": value} for name, value in measured.items()],
        },
    }
