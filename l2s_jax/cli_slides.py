"""Subcommands of `l2s` on slides and the paper's data sets."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from l2s_jax.compile_cache import use_compile_cache
from l2s_jax.errors import UserError
from l2s_jax.slide_options import SlideOptions, slide_options_of

Config = Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")]


@dataclass(frozen=True, kw_only=True)
class _PrepareSlides:
    """Options that the paper's data sets have in common."""

    folder: tyro.conf.Positional[Path]
    """The unpacked challenge."""
    out: tyro.conf.Positional[Path]
    """Folder for the manifest and its pictures; started again, it goes on where it was."""
    preset: Literal["paper", "release"] = "paper"
    """Extraction as the paper says, or as its authors' released code does."""
    patch_size: int = 128
    """Side of a patch in pixels, a multiple of 16."""
    min_foreground: float | None = None
    """Least share of tissue in a patch, 0 to 1; the preset's by default (paper: 0.75)."""
    stain: Literal["macenko", "off"] = "macenko"
    """Stain normalisation of all pictures."""
    stain_reference: Path | None = None
    """Picture whose stains all others are given; by default a training patch is chosen."""
    workers: int | None = None
    """Processes; by default one a core, fewer where memory is short."""
    scheduler: str | None = None
    """Address of a Dask scheduler, to work on its cluster instead."""
    seed: int = 0
    """Of K-means and of the split, where that is drawn."""
    overwrite: bool = False
    """Use a folder that holds something else."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def prepare(self, function: Callable[..., Any], **own: Any) -> int:
        """Calls one of the `prepare_*` functions; ends with 1 where a slide failed or the check did."""
        from l2s_jax.data.check import check_manifest
        from l2s_jax.data.preparing import Work

        prepared = function(
            self.folder,
            self.out,
            preset=self.preset,
            patch_size=self.patch_size,
            min_foreground=self.min_foreground,
            seed=self.seed,
            work=Work(self._stainer(), self.stain_reference, self.workers, self.scheduler, self.overwrite),
            **own,
        )
        report = check_manifest(self.out)
        print("\n".join([*prepared.report, "", str(report)]))
        if prepared.failures:
            print(f"\n{len(prepared.failures)} failed; mend them and run the same command again:")
            print("\n".join(f"  {failure}" for failure in prepared.failures))
        return 0 if report.ok and not prepared.failures else 1

    def _stainer(self) -> Any:
        if self.stain == "off":
            return None
        from l2s_jax.stain_patches import MACENKO

        return MACENKO


@dataclass(frozen=True, kw_only=True)
class PrepareBach(_PrepareSlides):
    """Make a manifest of BACH 2018: patches around the regions of WSI/*.xml, and Photos/."""

    mpp: float = 7.5
    """Micrometres a pixel of the patches; 7.5 is the paper's 1.25x."""
    split: Literal["paper", "printed"] = "paper"
    """`paper`: 3 slides train, 1 val, 6 test. `printed`: the split of the authors' result files, 3 and 7."""
    splits_file: Path | None = None
    """CSV with the columns slide,split instead."""
    class_ids: tuple[str, ...] = ()
    """Class of each Annotation Id, for files without labels: 1=benign "2=in situ" 3=invasive."""
    photos: bool = True
    """Use the photos of part A as image-level patches."""
    patients: Path | None = None
    """CSV with the columns photo,patient; otherwise each photo counts as a patient."""
    slide_mpp: float | None = None
    """Level-0 micrometres a pixel of slides that do not say."""
    mpp_table: Path | None = None
    """CSV with the columns slide,mpp, for the same."""

    def run(self) -> int:
        """Cuts, writes and checks."""
        from l2s_jax.data.bach import parse_class_ids, prepare_bach

        own = {field.name: getattr(self, field.name) for field in own_fields(PrepareBach)}
        return self.prepare(prepare_bach, **own | {"class_ids": parse_class_ids(self.class_ids)})


@dataclass(frozen=True, kw_only=True)
class PrepareGleason(_PrepareSlides):
    """Make a manifest of Gleason2019: tiles of tissue cores and the maps of one expert."""

    map_number: int = 1
    """Whose maps, 1 to 6; the paper uses the first."""
    size: int = 1024
    """Side to which cores are resized, in pixels."""
    exclude: tuple[str, ...] = ()
    """Cores to leave out, such as slide001_core003."""

    def run(self) -> int:
        """Cuts, writes and checks."""
        from l2s_jax.data.gleason import prepare_gleason

        own = {field.name: getattr(self, field.name) for field in own_fields(PrepareGleason)}
        return self.prepare(prepare_gleason, **own)


@dataclass(frozen=True, kw_only=True)
class PrepareDigestPath(_PrepareSlides):
    """Make a manifest of DigestPath2019: tiles of colonoscopy pictures with JPEG masks."""

    size: int = 1024
    """Side to which pictures are resized, in pixels."""
    slide_rule: str | None = None
    """Regular expression with one group, the slide, at the start of names; by default all before a date."""
    exclude: tuple[str, ...] = ()
    """Pictures to leave out, by name without suffix."""

    def run(self) -> int:
        """Cuts, writes and checks."""
        from l2s_jax.data.digestpath import SLIDE_RULE, prepare_digestpath

        own = {field.name: getattr(self, field.name) for field in own_fields(PrepareDigestPath)}
        return self.prepare(prepare_digestpath, **own | {"slide_rule": self.slide_rule or SLIDE_RULE})


@dataclass(frozen=True)
class Inspect:
    """Draw how a slide would be cut into patches, after the paper's Figs. 4, B.7, B.8 and B.9."""

    slide: tyro.conf.Positional[Path]
    """A slide, or a picture of known scale."""
    out: Path
    """Folder for the pictures and summary.txt."""
    annotations: Path | None = None
    """ImageScope or ASAP XML, GeoJSON, or a mask."""
    classes: Path | None = None
    """classes.toml, or the folder with it; BACH's four classes by default."""
    mpp: float = 7.5
    """Micrometres a pixel at which it is cut; 7.5 is the paper's 1.25x."""
    slide_mpp: float | None = None
    """Level-0 micrometres a pixel, where the slide does not say."""
    preset: Literal["paper", "release"] = "paper"
    """Extraction as the paper says, or as its authors' released code does."""
    patch_size: int = 128
    """Side of a patch in pixels."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Draws."""
        from l2s_jax.data.extraction import PRESETS
        from l2s_jax.inspection import inspect

        inspect(
            self.slide,
            self.out,
            annotations=self.annotations,
            classes=self.classes,
            mpp=self.mpp,
            slide_mpp=self.slide_mpp,
            options=dataclasses.replace(PRESETS[self.preset], size=self.patch_size),
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
    """Names in the annotations to leave out."""
    allow_empty: bool = False
    """Accept annotations in which nothing is drawn: all of the slide is background."""
    trained_on: bool = False
    """Accept slides that the run has learned from."""
    stride: int | None = None
    """Pixels between tiles; half a patch by default."""
    weighting: Literal["gaussian", "uniform"] = "gaussian"
    """How the pixels of overlapping tiles count."""
    batch_size: int = 20
    """Tiles a batch; does not change the result."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Predicts what is not predicted yet, and evaluates."""
        if not self.slides:
            raise UserError("no slide named: l2s evaluate-slides RUN SLIDE...")
        use_compile_cache(self.compile_cache)
        from l2s_jax.slide_evaluation import evaluate_slides

        unlike = ("folder", "slides", "rename", "compile_cache", "config")
        common = {field.name for field in dataclasses.fields(SlideOptions)}
        names = [field.name for field in dataclasses.fields(self) if field.name not in (*common, *unlike)]
        evaluate_slides(
            self.folder,
            self.slides,
            rename=parse_pairs(self.rename),
            options=slide_options_of(self),
            **{name: getattr(self, name) for name in names},
        )
        return 0


def parse_pairs(pairs: tuple[str, ...]) -> dict[str, str]:
    """{name: class} from NAME=CLASS. Raises `UserError` for anything else."""
    meanings = {}
    for pair in pairs:
        name, equals, meaning = pair.rpartition("=")
        if not equals:
            raise UserError(f"--rename {pair!r}: expected NAME=CLASS")
        meanings[name] = meaning
    return meanings


SLIDE_COMMANDS: dict[str, Any] = {
    "prepare bach": PrepareBach,
    "prepare gleason2019": PrepareGleason,
    "prepare digestpath2019": PrepareDigestPath,
    "inspect": Inspect,
    "evaluate-slides": EvaluateSlides,
}


def own_fields(command: Any) -> list[dataclasses.Field]:
    """The fields that a command has beside the common ones."""
    common = {field.name for field in dataclasses.fields(_PrepareSlides)}
    return [field for field in dataclasses.fields(command) if field.name not in common]
