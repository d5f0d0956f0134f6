"""How slides are read, predicted and handed on: the options of `predict` and `evaluate-slides`."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from l2s_jax.slides.area_folders import AreaFolders, require_named
from l2s_jax.slides.mpp_choice import SlideMppFrom, overrides
from l2s_jax.system.ranges import SCALES, Range, require_in_range
from l2s_jax.types import Enlargement


@dataclass(frozen=True, kw_only=True)
class SlideOptions:
    """Options that only slides have."""

    slide: bool = False
    """Take all files for slides, pictures too: they are then brought to the scale of --mpp."""
    mpp: Annotated[float | None, SCALES] = None
    """Slides: micrometres a pixel at which they are predicted; those of the training patches by default."""
    slide_mpp: Annotated[float | None, SCALES] = None
    """Slides: level-0 micrometres a pixel of those that do not say."""
    mpp_table: Path | None = None
    """Slides: CSV with the columns slide,mpp, for the same."""
    slide_mpp_from: SlideMppFrom = "file"
    """Slides: where one states another scale than is given, `file` takes its own; `given` that of --slide-mpp
    or the table, for files that are known to be wrong, which is said."""
    within: str = "tissue"
    """Slides: `tissue` predicts the tissue only, what lies outside is background; `slide` everything; FOLDER
    what its files NAME.geojson, or masks NAME.png, say is to be kept."""
    within_only: tuple[str, ...] = ()
    """Slides: classes (GeoJSON, XML) or values (masks) in that folder's files that are to be kept."""
    exclude: Path | None = None
    """Slides: folder with NAME.geojson or a mask NAME.png of what is to be left out (artefacts, pen): 255."""
    exclude_only: tuple[str, ...] = ()
    """Slides: classes or values in that folder's files that are to be left out."""
    areas_from: Literal["bounds", "whole"] | None = None
    """Slides: GeoJSON in both folders counts from the corner of a slide's non-empty area, or the whole's."""
    entropy: bool = False
    """Slides: write NAME_entropy.ome.tif as well, 0 (sure) to 255 (all classes equally likely)."""
    probabilities: bool = False
    """Write NAME_probabilities.ome.tif as well: a channel a class, 0 to 255; of pictures too."""
    disagreement: bool = False
    """Several runs: write NAME_disagreement.ome.tif as well, mutual information and predictive entropy as
    channels, 0 to 255 for 0 to ln of the number of classes; of pictures too."""
    grey_map: bool = False
    """Slides: write NAME_codes.tif as well, class codes as grey in a plain pyramid that more viewers read."""
    enlargement: Enlargement = "bilinear"
    """Slides: interpolate between the network's cells (8 pixels, with the decoder skip 4); or `nearest`, each
    cell a square, as the paper does with patches."""
    simplify: Annotated[float | None, Range(0, 1_000_000)] = None
    """Slides: micrometres by which outlines in the GeoJSON may leave the edges of pixels; by default
    two pixels, which makes slopes of their stairs."""
    readers: Annotated[int, Range(1, 256)] = 4
    """Slides: threads that read; do not change the result."""

    def __post_init__(self):
        require_in_range(self)
        _ = self.mpp_override  # refused where nothing is given
        require_named(self.folders)

    @property
    def mpp_override(self) -> bool:
        """Whether the scale that is given comes before the slides' own."""
        return overrides(self.slide_mpp_from, self.slide_mpp, self.mpp_table)

    def given(self) -> list[str]:
        """The options, as the command line has them, that ask something of slides alone."""
        both = ("probabilities", "disagreement", "readers")
        asked = [one.name for one in fields(self) if getattr(self, one.name) != one.default]
        return [f"--{name.replace('_', '-')}" for name in asked if name not in both]

    @property
    def folders(self) -> AreaFolders:
        """Folders of what is to be kept, where `within` is one, and of what is to be left out."""
        within = None if self.within in ("tissue", "slide") else Path(self.within)
        return AreaFolders(within, self.within_only, self.exclude, self.exclude_only, self.areas_from)
