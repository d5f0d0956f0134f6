"""What the making of a manifest is told: frozen dataclasses. `presets.py` has their values as data.

What a class inherits are groups of options: those of its own stand beside them. The defaults are the paper's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from l2s_jax.slides.mpp_choice import SlideMppFrom
from l2s_jax.system.ranges import MOST, SCALES, Range, Seed, require_in_range

Share = Annotated[float, Range(0, 1)]

HeldOut = Literal["whole", "patches"]
"""Sources of val and test stay whole, to be predicted by tiles and scored on every pixel; or (release, on
Gleason2019 and DigestPath2019) they become mask patches as the training sources do."""

WORKING_MPP = 7.5
"""um/px of the paper's 1.25x on BACH: 0.467 um/px, every 16th pixel."""

SLIDE_RULE = r"(.+?)_\d{4}-\d{2}-\d{2}"
"""DigestPath2019's slide is what stands before a date: D201705413_2019-05-14 15_29_11-lv1-... is of
D201705413."""


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """Patches, whichever way they are cut."""

    patch_size: Annotated[int, Range(1, 1_000_000)] = 128
    """Side of a patch in pixels of the working scale, a multiple of 16."""
    min_foreground: Share = 0.75
    """Patches with a smaller share of tissue are dropped (B.1). The release keeps all: 0."""
    morphology: Literal["open", "close"] = "open"
    """Last step of the tissue mask: opening (B.1) or, in the release, closing."""
    label_rule: Literal["foreground", "three_to_one"] = "foreground"
    """Label of a mask patch: its most frequent class other than background; background where there is none.
    Or (release) the most frequent class, but the next where background has at most 3 times its pixels."""
    seed: Seed = 0
    """Of K-means, of the pixels that it sees, and of the split where that is drawn."""

    def __post_init__(self) -> None:
        require_in_range(self)


@dataclass(frozen=True, kw_only=True)
class CentredOptions:
    """Patches around annotated regions (Appendix B.2)."""

    components: Literal["class", "any"] = "class"
    """Regions are connected components (8 neighbours) of each class, or (release) of all classes but
    background together, so that touching regions of different classes are one."""
    small_region: Literal["box", "nextpow2"] = "box"
    """A region gets one patch where the longer side of its bounding box, or (release) that side rounded up to
    a power of two, is at most a patch's."""
    centre: Literal["box", "centroid"] = "box"
    """A small region's patch is centred on its bounding box, so that all of it is in the patch, or on its
    centroid (release)."""
    kmeans_area: Literal["region", "box"] = "region"
    """A larger region is split into ceil(1 + area / patch^2) by its own area or (release) its box's area."""
    kmeans_step: Annotated[int, Range(1, 1_000_000)] = 1
    """K-means sees the pixels whose row and column are multiples of this (release: 16)."""


@dataclass(frozen=True, kw_only=True)
class TileOptions:
    """Tiles of fully annotated pictures (section 3.3)."""

    dominance: Share = 0.9
    """From this share on, a class makes the tile an image-level patch. 0 (release): every tile is one, of its
    most frequent class."""
    seg_from: Literal["grid", "perimeter"] = "grid"
    """Mask patches are the grid tiles with exactly two classes, or (release) patches centred on class
    borders, taken greedily in row order."""
    max_overlap: Share = 0.2
    """Perimeter patches overlap each one kept before by less than this share of their area."""
    drop_last: bool = False
    """Leave out the last row and column even where they are whole, as the release's loop does."""


@dataclass(frozen=True, kw_only=True)
class ExtractionOptions(TileOptions, CentredOptions, PatchOptions):
    """How patches are cut."""

    kmeans_points: Annotated[int, Range(1, MOST)] = 4096
    """K-means sees at most this many pixels, or 32 a centre where that is more, drawn at random."""
    report_overlap: Share = 0.5
    """Pairs of patches that share more than this part of their area are reported."""


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """What is done to the pictures of a data set."""

    stain: Literal["macenko", "cls-only", "off"] = "macenko"
    """Stain normalisation of all pictures (paper), of image-level patches only (release, BACH), or of none
    (release, otherwise)."""
    stain_reference: Path | None = None
    """Picture whose stains all others are given; by default a training patch is chosen."""
    resample: Literal["antialias", "nearest"] = "antialias"
    """How photos and pictures are resized (release: nearest); slides are always antialiased."""
    held_out: HeldOut = "whole"
    """Sources of val and test stay whole, or become mask patches (release, but not on BACH)."""


@dataclass(frozen=True, kw_only=True)
class BachOptions(PictureOptions, CentredOptions, PatchOptions):
    """Slides and photos of BACH."""

    mpp: Annotated[float, SCALES] = WORKING_MPP
    """Micrometres a pixel of the patches; 7.5 is the paper's 1.25x."""
    split: Literal["paper", "printed"] = "paper"
    """`paper`: 3 slides train, 1 val, 6 test. `printed`: the authors' results', 3, 0 and 7 (release)."""
    splits_file: Path | None = None
    """CSV with the columns slide,split instead, for slides of other names."""
    class_ids: Mapping[str, str] = field(default_factory=dict)
    """Class of each Annotation Id, for files without labels: 1=benign "2=in situ" 3=invasive."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Class of other names in the annotations, beside BACH's own: Tumour=invasive "Normal tissue=normal"."""
    ignore: tuple[str, ...] = ()
    """Names in the annotations whose regions are of no known class: 255 in masks, neither learned nor scored.
    QuPath's `Ignore*` is one of them where any is given."""
    photos: bool = True
    """Use the photos of part A as image-level patches."""
    patients: Path | None = None
    """CSV with the columns photo,patient: photos of one patient become one group. Otherwise each counts as a
    patient."""
    slide_mpp: Annotated[float | None, SCALES] = None
    """Level-0 micrometres a pixel of slides where neither slide, table nor XML says."""
    mpp_table: Path | None = None
    """CSV with the columns slide,mpp, for the same."""
    slide_mpp_from: SlideMppFrom = "file"
    """Where a slide states another scale than is given: `file` takes its own; `given` that of --slide-mpp or
    the table, for files that are known to be wrong, which is said."""
    outlines_from: Literal["bounds", "whole"] | None = None
    """Annotations count from the corner of a slide's non-empty area, as QuPath's do, or from the whole's."""


@dataclass(frozen=True, kw_only=True)
class AnnotatedPictureOptions(PictureOptions, TileOptions, PatchOptions):
    """Pictures with a map of all their pixels."""

    size: Annotated[int, Range(1, 1_000_000)] = 1024
    """Side to which pictures are resized, in pixels. The paper gives it for DigestPath2019; its inference
    script has it for Gleason2019 too."""
    fractions: Annotated[tuple[float, float, float], Range(0, 1)] = (0.5, 0.25, 0.25)
    """Shares of train, val and test, by slide."""
    exclude: tuple[str, ...] = ()
    """Pictures to leave out, by name without suffix, for maps known to be broken."""


@dataclass(frozen=True, kw_only=True)
class GleasonOptions(AnnotatedPictureOptions):
    """Tissue cores of Gleason2019."""

    map_number: Annotated[int, Range(1, 6)] = 1
    """Which expert's maps; the paper uses the first."""


@dataclass(frozen=True, kw_only=True)
class DigestPathOptions(AnnotatedPictureOptions):
    """Pictures of DigestPath2019."""

    slide_rule: str = SLIDE_RULE
    """Regular expression with one group, the slide, at the start of names; by default all before a date. A
    picture whose name it does not fit counts as a slide of its own; how many is in the report."""


@dataclass(frozen=True, kw_only=True)
class WorkOptions:
    """How a data set is gone through. Changes no result."""

    workers: Annotated[int | None, Range(1, 10_000)] = None
    """Processes; by default one a core, fewer where memory is short."""
    scheduler: str | None = None
    """Address of a Dask scheduler, to work on its cluster instead."""
    overwrite: bool = False
    """Use a folder that holds something else."""


def extraction_of(options: Any) -> ExtractionOptions:
    """How patches are cut by a data set's options; what they do not say is the paper's."""
    names = [field.name for field in fields(ExtractionOptions) if hasattr(options, field.name)]
    return ExtractionOptions(**{name: getattr(options, name) for name in names})
