"""Subcommands of `l2s` on slides."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from l2s_jax.cli.options import (
    Command,
    EnsembleOptions,
    JaxCommand,
    NameOptions,
    Out,
    Overlap,
    Run,
    Side,
    StainOptions,
    TilingOptions,
    UndrawnOptions,
)
from l2s_jax.cli.prepare_slides import ExtractionPreset
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.prepare.options import WORKING_MPP, ExtractionOptions
from l2s_jax.prepare.presets import EXTRACTION_PRESETS
from l2s_jax.prepare.slides.options import AnnotationOptions
from l2s_jax.slides.mpp_choice import SlideMppFrom
from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import SCALES, Range, Seed


@dataclass(frozen=True, kw_only=True)
class PhantomBach(Command):
    """Draw a phantom of BACH as it is downloaded: annotated slides and photos, all of known truth."""

    out: Out
    """Folder for WSI/ and Photos/."""
    patch_size: Side = 32
    """Side of the patches that will be cut, a multiple of 16; slides are 6 x 8 of them at 7.5 um/px."""
    photos: Annotated[int, Range(0, 100_000)] = 4
    """Photos of each class."""
    overlap: Overlap = 0.0
    """How much the classes resemble each other; 0 keeps them apart."""
    seed: Seed = 0
    """Of everything that is drawn."""
    overwrite: bool = False
    """Draw into a folder that holds something already."""

    def run(self) -> int:
        """Draws."""
        from l2s_jax.phantom.bach import draw_bach

        draw_bach(**self.own())
        print(f"drawn into {self.out}: next, l2s prepare bach {self.out} OUT --patch-size {self.patch_size}")
        return 0


@dataclass(frozen=True, kw_only=True)
class PhantomSlides(Command):
    """Draw phantom slides with regions and frames in GeoJSON, and labelled pictures, all of known truth."""

    out: Out
    """Folder for slides/, labelled/ and groups.csv."""
    slides: Annotated[int, Range(2, 100_000)] = 8
    """How many slides, two a patient."""
    patch_size: Side = 32
    """Side of the patches that will be cut, a multiple of 16; slides are 6 x 8 of them at 7.5 um/px."""
    labelled: Annotated[int, Range(0, 100_000)] = 4
    """Labelled pictures of each class."""
    overlap: Overlap = 0.0
    """How much the classes resemble each other; 0 keeps them apart."""
    seed: Seed = 0
    """Of everything that is drawn."""
    overwrite: bool = False
    """Draw into a folder that holds something already."""

    def run(self) -> int:
        """Draws."""
        from l2s_jax.phantom.slides import draw_slides

        draw_slides(**self.own())
        print(
            f"drawn into {self.out}: next, l2s prepare slides {self.out}/slides OUT --mpp 7.5 "
            f"--patch-size {self.patch_size} --groups {self.out}/groups.csv"
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class Inspect(Command, AnnotationOptions, ExtractionOptions):
    """Draw what `prepare slides` would do with a slide: tissue, mask, patches; --bach: `prepare bach`."""

    slide: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SLIDE")]
    """A slide, or a picture of known scale."""
    out: Path
    """Folder for the pictures and summary.txt."""
    annotations: Path | None = None
    """ImageScope or ASAP XML, GeoJSON, or a mask."""
    bach: bool = False
    """As `prepare bach` would: its four classes (or --classes), and what is not drawn is background."""
    mpp: Annotated[float, SCALES] = WORKING_MPP
    """Micrometres a pixel at which it is cut; 7.5 is the paper's 1.25x."""
    slide_mpp: Annotated[float | None, SCALES] = None
    """Level-0 micrometres a pixel, where the slide does not say."""
    slide_mpp_from: SlideMppFrom = "file"
    """Where the slide states another scale than --slide-mpp: `file` takes its own; `given` the other, for
    files that are known to be wrong, which is said."""

    preset: ExtractionPreset = "paper"

    presets = EXTRACTION_PRESETS

    def run(self) -> int:
        """Draws."""
        from l2s_jax.prepare.inspection import inspect
        from l2s_jax.prepare.slides.inspection import inspect_own

        if self.annotations is not None and not self.bach:
            inspect_own(
                self.slide,
                self.out,
                self.annotations,
                self.mpp,
                options=self.part(AnnotationOptions),
                extraction=self.part(ExtractionOptions),
                slide_mpp=self.slide_mpp,
                slide_mpp_from=self.slide_mpp_from,
            )
            return 0
        _require_heeded(self.part(AnnotationOptions), self.annotations is not None, self.bach)
        inspect(
            self.slide,
            self.out,
            annotations=self.annotations,
            classes=self.classes,
            mpp=self.mpp,
            slide_mpp=self.slide_mpp,
            slide_mpp_from=self.slide_mpp_from,
            outlines_from=self.outlines_from,
            options=self.part(ExtractionOptions),
            rename=self.rename,
            ignore=self.ignore,
        )
        return 0


def _require_heeded(options: AnnotationOptions, annotated: bool, bach: bool) -> None:
    """Raises `UserError` for options that would be passed over in silence; without annotations all."""
    what = "--bach" if annotated else "a slide without --annotations"
    default = AnnotationOptions()
    heeded = ("classes", "rename", "ignore", "outlines_from") if annotated else ()
    names = [one.name for one in fields(options) if one.name not in heeded]
    asked = [
        f"--{name.replace('_', '-')}" for name in names if getattr(options, name) != getattr(default, name)
    ]
    if bach and not annotated:
        asked.insert(0, "--bach")
    if asked:
        mend = "It is of slides as `prepare slides` cuts them" if annotated else "Give them, or leave it out"
        raise UserError(f"{', '.join(asked)}: {what} has no such option. {mend}")


@dataclass(frozen=True, kw_only=True)
class EvaluateSlides(
    JaxCommand, EnsembleOptions, SlideOptions, StainOptions, TilingOptions, NameOptions, UndrawnOptions
):
    """Predict annotated slides and measure: F1, IoU and BACH score, per slide and pooled."""

    folder: Run
    """Run folder."""
    slides: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SLIDE...")]
    """Slides, or pictures of known scale."""
    annotations: Path | None = None
    """Folder with NAME.geojson, .json, .xml, .png or .tif; by default the slides' own, without pictures."""
    predictions: Path | None = None
    """Folder of predictions; what is finished there is not done again. OUT/predictions by default."""
    out: Path | None = None
    """Where the figures go; RUN/evaluation/slides by default, to be named for several runs."""
    allow_empty: bool = False
    """Accept annotations in which nothing is drawn: all of the slide is background."""
    trained_on: bool = False
    """Accept slides that the run has learned from."""
    outlines_from: Literal["bounds", "whole"] | None = None
    """Annotations count from the corner of the slide's non-empty area, as QuPath's do, or from the whole."""

    def run(self) -> int:
        """Predicts what is not predicted yet, and evaluates."""
        if not self.slides:
            raise UserError(f"no slide named: l2s evaluate-slides RUN SLIDE...{self.taken()}")
        self.set_up()
        from l2s_jax.prediction.slides.evaluate import evaluate_slides

        evaluate_slides(
            self.folder,
            self.slides,
            annotations=self.annotations,
            predictions=self.predictions,
            out=self.out,
            allow_empty=self.allow_empty,
            trained_on=self.trained_on,
            outlines_from=self.outlines_from,
            stain=self.stain,
            options=self.part(SlideOptions),
            **self.values(NameOptions),
            **self.values(UndrawnOptions),
            **self.values(EnsembleOptions),
            **self.values(TilingOptions),
        )
        return 0
