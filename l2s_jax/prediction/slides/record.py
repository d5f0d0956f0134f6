"""How a slide was predicted and what came of it: the record NAME.json, and its row in areas.csv.

The record is written last, so a slide that has one of the same settings is finished.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2s_jax.data.classes import Classes
from l2s_jax.prediction.own_shares import keep_own_shares, own_shares, table_columns
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prediction.stains import NOT_FOUND
from l2s_jax.prediction.tiles import Tiling
from l2s_jax.slides.marked import Part
from l2s_jax.slides.overview import Tissue
from l2s_jax.slides.slide import Slide
from l2s_jax.system.csv_rows import replace_row
from l2s_jax.system.files import parse_json
from l2s_jax.system.outputs import begin_table
from l2s_jax.types import IGNORE_PIXEL

AREAS = "areas.csv"
AREAS_OF_RUNS = "areas_of_runs.csv"
OF_RUNS_COLUMNS = table_columns("slide", "mm2")

Record = dict[str, Any]


class Counts(NamedTuple):
    """What came of the tiles of a slide."""

    pixels: np.ndarray  # i64[C], predicted, by class
    own_pixels: np.ndarray  # i64[M,C], by each of several runs alone; [0,C] of one
    unread: int  # pixels that should have been predicted and could not be read
    tiles_unread: int


_FURTHER_FILES = ("entropy", "grey_map", "probabilities", "disagreement")
"""Options that ask for a file and change none of the others."""

_NOT_OF_PIXELS = {*_FURTHER_FILES, "simplify"}
"""Options that decide nothing of what is predicted of a pixel."""


def settings_of(
    slide: Slide,
    identity: str,
    classes: Classes,
    tiling: Tiling,
    mpp: float,
    options: SlideOptions,
    marked: Mapping[str, Any] | None = None,
) -> Record:
    """All that decides the outputs of a slide, and a hash of it under "key".

    "pixels_key" is one of what decides the maps alone: neither which of them are written, nor the outlines.

    Args:
      slide: the slide, whose file's size and time of change count.
      identity: of the network.
      classes: the run's.
      tiling: how the slide is covered.
      mpp: working scale in um/px.
      options: the others.
      marked: what decides which areas are kept and left out, where files say.
    """
    stat = slide.path.stat()
    settings = {
        "slide": slide.path.name,
        "slide_bytes": stat.st_size,
        "slide_changed": stat.st_mtime_ns,
        "slide_mpp": list(slide.mpp),
        "slide_mpp_source": slide.mpp_source,
        "mpp": mpp,
        "network": identity,
        "classes": list(classes.names),
        "colours": [list(colour) for colour in classes.colours],
        "background": classes.background,
        "tile": tiling.tile,
        "stride": tiling.stride,
        "weighting": tiling.weighting,
        "within": "areas" if options.folders.within else options.within,
        "entropy": options.entropy,
        "enlargement": options.enlargement,
        "simplify": options.simplify,
    } | dict(marked or {})
    if options.mpp_override:
        settings["slide_mpp_notes"] = list(slide.notes)
    for name in _FURTHER_FILES[1:]:
        settings |= {name: True} if getattr(options, name) else {}
    of_pixels = {name: value for name, value in settings.items() if name not in _NOT_OF_PIXELS}
    return settings | {"key": _hash(settings), "pixels_key": _hash(of_pixels)}


def _hash(settings: Record) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def says_the_same(path: Path, settings: Record) -> bool:
    """Whether the record at `path` is of a slide whose pixels were predicted by these settings."""
    try:
        before = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(before, dict) and before.get("pixels_key") == settings["pixels_key"]


def finished(path: Path, key: str, outputs: dict[str, Path]) -> Record | None:
    """The record of a slide whose outputs are complete and of these settings, or None."""
    record = _of_settings(path, key)
    return record if record is not None and all(file.is_file() for file in outputs.values()) else None


def _of_settings(path: Path, key: str) -> Record | None:
    try:
        record = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("key") == key else None


def missing(path: Path, key: str, outputs: dict[str, Path]) -> list[str]:
    """Names of files that are gone of a slide that was finished with these settings."""
    if _of_settings(path, key) is None:
        return []
    return [file.name for file in outputs.values() if not file.is_file()]


def describe_counts(counts: Counts, classes: Classes, mpp: float, part: Part) -> Record:
    """Areas in mm2: of each class (as predicted), of tissue, of what of it was left out or unreadable."""
    tissue, excluded = part.tissue, 0 if part.excluded is None else (part.tissue.mask & part.excluded).sum()
    pixel = (mpp / 1000) ** 2
    areas = zip(classes.names, (counts.pixels * pixel).tolist(), strict=True)
    own = {}
    if len(counts.own_pixels):
        most = float(counts.pixels.sum() * pixel)
        own["areas_of_runs_mm2"] = {
            name: own_shares((counts.own_pixels[:, code] * pixel).tolist(), counts.pixels[code] * pixel, most)
            | {"runs": (counts.own_pixels[:, code] * pixel).tolist()}
            for code, name in enumerate(classes.names)
        }
    return {
        "areas_mm2": dict(areas),
        **own,
        "tissue_mm2": float(tissue.mask.sum()) * (tissue.mpp / 1000) ** 2,
        "tissue_mask_mpp": tissue.mpp,
        "excluded_mm2": float(excluded) * (tissue.mpp / 1000) ** 2,
        "unreadable_mm2": counts.unread * pixel,
        "unreadable_tiles": counts.tiles_unread,
    }


def outside_text(options: SlideOptions, classes: Classes, tissue: Tissue) -> str:
    """What stands in the class map where there is no tissue."""
    if options.within == "slide":
        return "predicted like the tissue"
    code = IGNORE_PIXEL if classes.background is None else classes.background
    name = "no class" if classes.background is None else classes.names[classes.background]
    what = "the tissue mask" if options.within == "tissue" else f"the areas of {options.within}"
    return f"not predicted: {code} ({name}) outside {what} at {tissue.mpp:g} um/px"


def record_text(record: Record) -> str:
    """A finished slide's scale, where it came from, the scale that was asked for, and what was found."""
    scale = " x ".join(f"{value:.4g}" for value in dict.fromkeys(record["slide_mpp"]))
    of_tissue = f"{record['tissue_mm2']:.3g} mm2 of tissue"
    return (
        f"{scale} um/px from {record['slide_mpp_source']}, read at {record['mpp']:.4g} um/px; {of_tissue}, "
        f"{record['seconds']} s"
    )


def warnings(record: Record) -> list[str]:
    """What a person must know of a finished slide before using it."""
    lines = []
    if not record["tissue_mm2"]:
        lines.append("no tissue was found (nothing has 10% saturation): is it blank, or in grey?")
    if record["unreadable_tiles"]:
        lines.append(
            f"{record['unreadable_tiles']} tiles could not be decoded; {record['unreadable_mm2']:.4g} mm2 "
            f"that no other tile covers have no class ({IGNORE_PIXEL}). The file is damaged: copy it again"
        )
    if record["stain"] == NOT_FOUND:
        lines.append("no two stains were found in its tissue, so its colours were not normalised")
    return lines


def area_columns(classes: Classes) -> list[str]:
    """Columns of areas.csv."""
    areas = (f"mm2 {name}" for name in (*classes.names, "tissue", "excluded", "unreadable"))
    return ["slide", "mpp", "within", *areas]


def append_areas(path: Path, record: Record) -> None:
    """Puts a slide's areas into areas.csv, in place of an earlier row of the same slide."""
    begin_table(path)
    row = {"slide": record["name"], "mpp": record["mpp"], "within": record["within"]}
    row |= {f"mm2 {name}": area for name, area in record["areas_mm2"].items()}
    row |= {f"mm2 {name}": record[f"{name}_mm2"] for name in ("tissue", "excluded", "unreadable")}
    replace_row(path, row, "slide")


def append_areas_of_runs(path: Path, record: Record) -> None:
    """Puts the areas in mm2 that several runs find alone into areas_of_runs.csv, a row a class."""
    keep_own_shares(path, "slide", record["name"], "mm2", record.get("areas_of_runs_mm2"))
