"""Subcommands of `l2s` on slides."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from l2s_jax.cli.options import Config
from l2s_jax.cli.prepare import CentredArguments, TileArguments, parse_pairs
from l2s_jax.prediction.slides.options import SlideOptions, slide_options_of
from l2s_jax.system.errors import UserError
from l2s_jax.system.jax_setup import set_up_jax


@dataclass(frozen=True)
class PhantomBach:
    """Draw a phantom of BACH as it is downloaded: slides with annotations, and photos, all of known truth."""

    out: tyro.conf.Positional[Path]
    """Folder for WSI/ and Photos/."""
    patch_size: int = 32
    """Side of the patches that will be cut, a multiple of 16; slides are 6 x 8 of them at 7.5 um/px."""
    photos: int = 4
    """Photos of each class."""
    overlap: float = 0.0
    """How much the classes resemble each other; 0 keeps them apart."""
    seed: int = 0
    """Of everything that is drawn."""
    overwrite: bool = False
    """Draw into a folder that holds something already."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Draws."""
        from l2s_jax.phantom.bach import draw_bach

        options = dataclasses.asdict(self)
        del options["config"]
        draw_bach(**options)
        print(f"drawn into {self.out}: next, l2s prepare bach {self.out} OUT --patch-size {self.patch_size}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Inspect(CentredArguments, TileArguments):
    """Draw how a slide would be cut into patches, after the paper's Figs. 4, B.7, B.8 and B.9."""

    slide: tyro.conf.Positional[Path]
    """A slide, or a picture of known scale."""
    out: Path
    """Folder for the pictures and summary.txt."""
    annotations: Path | None = None
    """ImageScope or ASAP XML, GeoJSON, or a mask."""
    classes: Path | None = None
    """classes.toml, or the folder with it; BACH's four classes by default."""
    rename: tuple[str, ...] = ()
    """What names in the annotations mean: Tumour=invasive "Normal tissue=normal"."""
    ignore: tuple[str, ...] = ()
    """Names in the annotations whose regions are of no known class, and not scored."""
    mpp: float = 7.5
    """Micrometres a pixel at which it is cut; 7.5 is the paper's 1.25x."""
    slide_mpp: float | None = None
    """Level-0 micrometres a pixel, where the slide does not say."""
    outlines_from: Literal["bounds", "whole"] | None = None
    """Annotations count from the corner of a slide's non-empty area, as QuPath's do, or from the whole's."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Draws."""
        from l2s_jax.prepare.inspection import inspect

        inspect(
            self.slide,
            self.out,
            annotations=self.annotations,
            classes=self.classes,
            rename=parse_pairs(self.rename, "--rename"),
            ignore=self.ignore,
            mpp=self.mpp,
            slide_mpp=self.slide_mpp,
            outlines_from=self.outlines_from,
            options=self.extraction(),
        )
        return 0


@dataclass(frozen=True)
class EvaluateSlides(SlideOptions):
    """Predict annotated slides and measure: F1, IoU and BACH score, per slide and pooled."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    slides: tyro.conf.Positional[tuple[Path, ...]]
    """Slides, or pictures of known scale."""
    annotations: Path | None = None
    """Folder with NAME.geojson, .json, .xml, .png or .tif; by default the slides' own, without pictures."""
    predictions: Path | None = None
    """Folder of predictions; what is finished there is not done again. OUT/predictions by default."""
    out: Path | None = None
    """Where the figures go; RUN/evaluation/slides by default."""
    rename: tuple[str, ...] = ()
    """What names in the annotations mean: Tumour=invasive "Normal tissue=normal"."""
    ignore: tuple[str, ...] = ()
    """Names in the annotations whose regions are of no known class, and not scored."""
    allow_empty: bool = False
    """Accept annotations in which nothing is drawn: all of the slide is background."""
    trained_on: bool = False
    """Accept slides that the run has learned from."""
    outlines_from: Literal["bounds", "whole"] | None = None
    """Annotations count from the corner of the slide's non-empty area, as QuPath's do, or from the whole."""
    stride: int | None = None
    """Pixels between tiles; half a patch by default."""
    weighting: Literal["gaussian", "uniform"] = "gaussian"
    """How the pixels of overlapping tiles count."""
    batch_size: int = 20
    """Tiles a batch; does not change the result."""
    stain: Literal["run", "off"] = "run"
    """Give slides the stains that the run was trained on; or leave them as they are."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Predicts what is not predicted yet, and evaluates."""
        if not self.slides:
            raise UserError("no slide named: l2s evaluate-slides RUN SLIDE...")
        set_up_jax(self.compile_cache)
        from l2s_jax.prediction.slides.evaluate import evaluate_slides

        unlike = ("folder", "slides", "rename", "compile_cache", "config")
        common = {field.name for field in dataclasses.fields(SlideOptions)}
        names = [field.name for field in dataclasses.fields(self) if field.name not in (*common, *unlike)]
        evaluate_slides(
            self.folder,
            self.slides,
            rename=parse_pairs(self.rename, "--rename"),
            options=slide_options_of(self),
            **{name: getattr(self, name) for name in names},
        )
        return 0


SLIDE_COMMANDS: dict[str, Any] = {
    "phantom-bach": PhantomBach,
    "inspect": Inspect,
    "evaluate-slides": EvaluateSlides,
}
