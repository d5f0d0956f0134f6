"""Options of the subcommands that look at windows of slides."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.slides.mpp_choice import SlideMppFrom
from l2s_jax.system.ranges import SCALES, Range


@dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """Windows of slides, and how slides are read."""

    window: Annotated[int | None, Range(1, 100_000)] = None
    """Side of a window in pixels of the working scale; by default the patch size of the runs or manifests."""
    mpp: Annotated[float | None, SCALES] = None
    """Micrometres a pixel at which slides are looked at; those of the training patches by default."""
    slide_mpp: Annotated[float | None, SCALES] = None
    """Level-0 micrometres a pixel of slides that do not say."""
    mpp_table: Path | None = None
    """CSV with the columns slide,mpp, for the same."""
    slide_mpp_from: SlideMppFrom = "file"
    """Where a slide states another scale than is given: `file` takes its own; `given` that of --slide-mpp or
    the table, for files that are known to be wrong, which is said."""
    within: str = "tissue"
    """`tissue`; or FOLDER, what its files NAME.geojson, or masks NAME.png, say is to be kept."""
    within_only: tuple[str, ...] = ()
    """Classes (GeoJSON, XML) or values (masks) in that folder's files that are to be kept."""
    exclude: Path | None = None
    """Folder with NAME.geojson or a mask NAME.png of what is to be left out (artefacts, pen)."""
    exclude_only: tuple[str, ...] = ()
    """Classes or values in that folder's files that are to be left out."""
    areas_from: Literal["bounds", "whole"] | None = None
    """GeoJSON in both folders counts from the corner of a slide's non-empty area, or the whole's."""


def slide_arguments(values: dict[str, Any]) -> dict[str, Any]:
    """The values of `WindowOptions` as the library's arguments `window` and `options`."""
    rest = {name: value for name, value in values.items() if name != "window"}
    return {"window": values["window"], "options": SlideOptions(**rest)}
