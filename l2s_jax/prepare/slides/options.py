"""What `prepare slides` is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from l2s_jax.prepare.options import HeldOut, PatchOptions, PictureOptions, Share
from l2s_jax.slides.annotations.choices import Undrawn, Untouched
from l2s_jax.slides.area_folders import AreaFolders
from l2s_jax.slides.mpp_choice import SlideMppFrom
from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import SCALES, Range

MPP = Range(0.05, 100)
"""um/px at which patches can be cut; beyond lie slips of the keyboard."""

_SHOWN = ((0.5, "nuclei and their texture (20x)"), (1, "cells and small glands (10x)"),
          (2, "glands, ducts, architecture (5x)"),
          (8, "tumour against stroma (1.25x; the paper has 7.5)"))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AnnotationOptions:
    """What the annotations of slides mean."""

    classes: Path | None = None
    """classes.toml, or the folder with it; by default the classes are the names in the annotations."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """The class that a name in the annotations stands for: tumor=Tumour "Tumour: Positive=Tumour"."""
    ignore: tuple[str, ...] = ()
    """Names whose regions are of no known class, beside QuPath's `Ignore*`. "" is a region without a name."""
    frame: tuple[str, ...] = ()
    """Names of frames, beside QuPath's `Region*`: what is not drawn inside them is background."""
    background: str | None = None
    """The class that is background; by default the one of that name."""
    corrected_from: tuple[Path, ...] = ()
    """Folders into which `predict` wrote the NAME.geojson of which the annotations are corrections: objects
    that nobody has touched are told from those that were corrected."""
    untouched: Untouched = "unknown"
    """What predicted objects are that nobody has touched: `unknown`; true where they were `locked` in QuPath;
    or `truth`."""
    undrawn: Undrawn = "unknown"
    """What nobody drew, outside frames: `unknown` is neither learned nor scored. `background` is the paper's
    rule, for slides that are annotated throughout."""
    label_regions: Mapping[str, str] = field(default_factory=dict)
    """Regions that carry only a label: somewhere in a region NAME is CLASS. NAME=CLASS."""
    class_ids: Mapping[str, str] = field(default_factory=dict)
    """Class of each Annotation Id, for ImageScope files without names: 1=tumour 2=stroma."""
    within: Path | None = None
    """Folder with NAME.geojson or a mask NAME.png of the tissue that is to be kept; the rest is unknown."""
    within_only: tuple[str, ...] = ()
    """Classes (GeoJSON, XML) or values (masks) in that folder's files that are to be kept."""
    exclude: Path | None = None
    """Folder with NAME.geojson or a mask NAME.png of what is to be left out (artefacts, pen): unknown."""
    exclude_only: tuple[str, ...] = ()
    """Classes or values in that folder's files that are to be left out."""
    areas_from: Literal["bounds", "whole"] | None = None
    """GeoJSON in both folders counts from the corner of a slide's non-empty area, or from the whole's."""
    outlines_from: Literal["bounds", "whole"] | None = None
    """Annotations count from the corner of a slide's non-empty area, as QuPath's do, or from the whole's."""

    @property
    def folders(self) -> AreaFolders:
        """Folders of what is to be kept, and of what is to be left out."""
        return AreaFolders(self.within, self.within_only, self.exclude, self.exclude_only, self.areas_from)


@dataclass(frozen=True, kw_only=True)
class SlidesOptions(AnnotationOptions, PictureOptions, PatchOptions):
    """Your own slides."""

    mpp: Annotated[float | None, MPP] = None
    """Micrometres a pixel of the patches. Must be given: it decides what the network can see."""
    patches: Literal["centred", "tiles"] = "centred"
    """Training patches are centred on the drawn regions, larger ones split by K-means; or a grid of tiles."""
    dominance: Share = 0.9
    """From this share on, a class makes a tile an image-level patch."""
    held_out: HeldOut = "whole"
    """Slides of val and test become windows that cover what is known, or patches as training slides do."""
    annotations: Path | None = None
    """Folder of annotations named after the slides; by default they lie beside them."""
    groups: Path | None = None
    """CSV with the columns slide,group: slides of one patient are not split. It names all slides; without it
    each is a patient of its own."""
    split: Annotated[tuple[float, float, float], Range(0, 100)] = (60, 20, 20)
    """Shares of train, val and test in percent, by group."""
    labelled: Path | None = None
    """Folder with a folder of pictures for each class, named after it: image-level patches to train on."""
    labelled_mpp: Annotated[float | None, SCALES] = None
    """Micrometres a pixel of those pictures: they are brought to --mpp and cut into patches."""
    labelled_fit: bool = False
    """Instead, make each of those pictures one patch, whatever it shows."""
    label_patches: Annotated[int, Range(1, 1_000_000)] = 100
    """Most patches of a slide, or of a region, of which only the label is known; drawn at random."""
    slide_mpp: Annotated[float | None, SCALES] = None
    """Level-0 micrometres a pixel of slides where neither slide, table nor annotation says."""
    mpp_table: Path | None = None
    """CSV with the columns slide,mpp, for the same."""
    slide_mpp_from: SlideMppFrom = "file"
    """Where a slide states another scale than is given: `file` takes its own; `given` what --slide-mpp, the
    table or the input say, for files that are known to be wrong, which is said."""


def required_mpp(options: SlidesOptions) -> float:
    """The scale of the patches.

    Raises:
      UserError: it is not given, which says what is seen at some scales.
    """
    if options.mpp is not None:
        return options.mpp
    lines = [f"  {mpp:<4g} {what}; a patch is {_length(mpp * options.patch_size)}" for mpp, what in _SHOWN]
    raise UserError(
        "\n".join(
            [
                "--mpp is not given: the micrometres a pixel of the patches, which decide what can be seen "
                "in "
                f"them. With patches of {options.patch_size} pixels (--patch-size):",
                *lines,
            ]
        )
    )


def _length(micrometres: float) -> str:
    return f"{micrometres:g} um" if micrometres < 1000 else f"{micrometres / 1000:.3g} mm"
