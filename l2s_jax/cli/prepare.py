"""Subcommands of `l2s` that make manifests of the paper's data sets, and the options of patch extraction."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from l2s_jax.cli.options import Config
from l2s_jax.system.errors import UserError
from l2s_jax.system.jax_setup import set_up_jax

if TYPE_CHECKING:
    from l2s_jax.prepare.extraction import ExtractionOptions
    from l2s_jax.prepare.pipeline import Work


PAPER = {"stain": "macenko", "resample": "antialias", "held_out": "whole", "split": "paper"}
"""What the paper says, for the options that are not extraction's."""


@dataclass(frozen=True, kw_only=True)
class ExtractionArguments:
    """Options of both ways of cutting patches. Those left out are the preset's."""

    preset: Literal["paper", "release"] = "paper"
    """Everything as the paper says, or as its authors' released code does."""
    patch_size: int = 128
    """Side of a patch in pixels, a multiple of 16."""
    min_foreground: float | None = None
    """Least share of tissue in a patch, 0 to 1 (paper: 0.75, release: 0)."""
    morphology: Literal["open", "close"] | None = None
    """Last step of the tissue mask (paper: open, release: close)."""
    label_rule: Literal["foreground", "three_to_one"] | None = None
    """Label of a mask patch: its commonest class but background (paper), or the commonest, except that
    background needs more than three times the pixels of the next (release)."""

    def extraction(self, seed: int = 0) -> "ExtractionOptions":
        """The preset with the options that were given."""
        from dataclasses import replace

        from l2s_jax.prepare.extraction import PRESETS

        preset = PRESETS[self.preset]
        names = {field.name for field in fields(preset)} & {field.name for field in fields(self)} - {"size"}
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(preset, **given | {"size": self.patch_size, "seed": seed})


@dataclass(frozen=True, kw_only=True)
class CentredArguments(ExtractionArguments):
    """Options of patches around annotated regions."""

    components: Literal["class", "any"] | None = None
    """Regions are connected components of each class (paper), or of all but background together (release)."""
    small_region: Literal["box", "nextpow2"] | None = None
    """A region gets one patch where its box's longer side (paper), or that rounded up to a power of two
    (release), fits into it."""
    centre: Literal["box", "centroid"] | None = None
    """A small region's patch is centred on its box (paper) or its centroid (release)."""
    kmeans_area: Literal["region", "box"] | None = None
    """A larger region is split into ceil(1 + area / patch^2) by its own area (paper), its box's (release)."""
    kmeans_step: int | None = None
    """K-means sees every pixel whose row and column are multiples of this (paper: 1, release: 16)."""


@dataclass(frozen=True, kw_only=True)
class TileArguments(ExtractionArguments):
    """Options of tiles of fully annotated pictures."""

    dominance: float | None = None
    """Share from which on a class makes a tile an image-level patch (paper: 0.9, release: 0)."""
    seg_from: Literal["grid", "perimeter"] | None = None
    """Mask patches are tiles with exactly two classes (paper), or centred on class borders (release)."""
    max_overlap: float | None = None
    """Border patches share less than this part of their area with each one before, 0 to 1 (release: 0.2)."""
    drop_last: bool | None = None
    """Leave out the last row and column of tiles even where they are whole (release)."""


@dataclass(frozen=True, kw_only=True)
class PrepareArguments(ExtractionArguments):
    """Options that the paper's data sets have in common."""

    folder: tyro.conf.Positional[Path]
    """The unpacked challenge."""
    out: tyro.conf.Positional[Path]
    """Folder for the manifest and its pictures; started again, it goes on where it was."""
    stain: Literal["macenko", "cls-only", "off"] | None = None
    """Stain normalisation of all pictures (paper), of image-level patches only (release, BACH), or of none
    (release, otherwise)."""
    stain_reference: Path | None = None
    """Picture whose stains all others are given; by default a training patch is chosen."""
    resample: Literal["antialias", "nearest"] | None = None
    """How photos and pictures are resized (paper: antialias, release: nearest); slides are antialiased."""
    held_out: Literal["whole", "patches"] | None = None
    """Sources of val and test stay whole (paper), or become mask patches (release, but not on BACH)."""
    workers: int | None = None
    """Processes; by default one a core, fewer where memory is short."""
    scheduler: str | None = None
    """Address of a Dask scheduler, to work on its cluster instead."""
    seed: int = 0
    """Of K-means and of the split, where that is drawn."""
    overwrite: bool = False
    """Use a folder that holds something else."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def of_release(self) -> dict[str, str]:
        """What the release does, for the options that are not extraction's."""
        raise NotImplementedError

    def chosen(self, name: str) -> Any:
        """An option's value, or the preset's where it was left out."""
        value = getattr(self, name)
        return (PAPER if self.preset == "paper" else self.of_release())[name] if value is None else value

    def prepare(self, function: Callable[..., Any], **own: Any) -> int:
        """Calls one of the `prepare_*` functions; ends with 1 where a slide failed or the check did."""
        from l2s_jax.data.check import check_manifest

        work = self.work()
        if work.stainer is not None:
            set_up_jax(self.compile_cache)
        prepared = function(
            self.folder,
            self.out,
            extraction=self.extraction(self.seed),
            resample=self.chosen("resample"),
            work=work,
            **own,
        )
        report = check_manifest(self.out)
        print("\n".join([*prepared.report, "", str(report)]))
        if prepared.failures:
            print(f"\n{len(prepared.failures)} failed; mend them and run the same command again:")
            print("\n".join(f"  {failure}" for failure in prepared.failures))
        return 0 if report.ok and not prepared.failures else 1

    def work(self) -> "Work":
        """How the data set is gone through."""
        from l2s_jax.prepare.pipeline import Work

        return Work(
            stainer=_stainer(self.chosen("stain")),
            stained="labels" if self.chosen("stain") == "cls-only" else "all",
            stain_reference=self.stain_reference,
            held_out=self.chosen("held_out"),
            workers=self.workers,
            scheduler=self.scheduler,
            overwrite=self.overwrite,
        )


@dataclass(frozen=True, kw_only=True)
class PrepareBach(PrepareArguments, CentredArguments):
    """Make a manifest of BACH 2018: patches around the regions of WSI/*.xml, and Photos/."""

    mpp: float = 7.5
    """Micrometres a pixel of the patches; 7.5 is the paper's 1.25x."""
    split: Literal["paper", "printed"] | None = None
    """`paper`: 3 slides train, 1 val, 6 test. `printed`: the authors' results', 3, 0 and 7 (release)."""
    splits_file: Path | None = None
    """CSV with the columns slide,split instead."""
    class_ids: tuple[str, ...] = ()
    """Class of each Annotation Id, for files without labels: 1=benign "2=in situ" 3=invasive."""
    rename: tuple[str, ...] = ()
    """What other names in the annotations mean: Tumour=invasive "Normal tissue=normal"."""
    ignore: tuple[str, ...] = ()
    """Names in the annotations whose regions are of no known class: neither learned nor scored."""
    photos: bool = True
    """Use the photos of part A as image-level patches."""
    patients: Path | None = None
    """CSV with the columns photo,patient; otherwise each photo counts as a patient."""
    slide_mpp: float | None = None
    """Level-0 micrometres a pixel of slides that do not say."""
    mpp_table: Path | None = None
    """CSV with the columns slide,mpp, for the same."""
    outlines_from: Literal["bounds", "whole"] | None = None
    """Annotations count from the corner of a slide's non-empty area, as QuPath's do, or from the whole's."""

    def of_release(self) -> dict[str, str]:
        """Photos alone normalised, squeezed without a filter, the split of the printed results."""
        return {"stain": "cls-only", "resample": "nearest", "held_out": "whole", "split": "printed"}

    def run(self) -> int:
        """Cuts, writes and checks."""
        from l2s_jax.prepare.bach import prepare_bach

        own = {"split": self.chosen("split"), "rename": parse_pairs(self.rename, "--rename")}
        own["class_ids"] = parse_pairs(self.class_ids, "--class-ids")
        return self.prepare(prepare_bach, **own_options(self) | own)


@dataclass(frozen=True, kw_only=True)
class _PrepareTiles(PrepareArguments, TileArguments):
    """Options of the sets of fully annotated pictures."""

    size: int = 1024
    """Side to which pictures are resized, in pixels."""
    fractions: tuple[float, float, float] = (0.5, 0.25, 0.25)
    """Shares of train, val and test, by slide."""
    exclude: tuple[str, ...] = ()
    """Pictures to leave out, by name without suffix."""

    def of_release(self) -> dict[str, str]:
        """Never normalised, resized without a filter, measured on patches."""
        return {"stain": "off", "resample": "nearest", "held_out": "patches"}


@dataclass(frozen=True, kw_only=True)
class PrepareGleason(_PrepareTiles):
    """Make a manifest of Gleason2019: tiles of tissue cores and the maps of one expert."""

    map_number: int = 1
    """Whose maps, 1 to 6; the paper uses the first."""

    def run(self) -> int:
        """Cuts, writes and checks."""
        from l2s_jax.prepare.gleason import prepare_gleason

        return self.prepare(prepare_gleason, seed=self.seed, **own_options(self))


@dataclass(frozen=True, kw_only=True)
class PrepareDigestPath(_PrepareTiles):
    """Make a manifest of DigestPath2019: tiles of colonoscopy pictures with JPEG masks."""

    slide_rule: str | None = None
    """Regular expression with one group, the slide, at the start of names; by default all before a date."""

    def run(self) -> int:
        """Cuts, writes and checks."""
        from l2s_jax.prepare.digestpath import SLIDE_RULE, prepare_digestpath

        own = {"slide_rule": self.slide_rule or SLIDE_RULE}
        return self.prepare(prepare_digestpath, seed=self.seed, **own_options(self) | own)


def parse_pairs(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    """{name: class} from NAME=CLASS. Raises `UserError` for anything else, naming the option."""
    meanings = {}
    for pair in pairs:
        name, _, meaning = (part.strip() for part in pair.rpartition("="))
        if not name or not meaning:
            raise UserError(f"{option} {pair!r}: expected NAME=CLASS, such as 1=benign")
        meanings[name] = meaning
    return meanings


def _stainer(stain: str) -> Any:
    if stain == "off":
        return None
    from l2s_jax.stain.patches import MACENKO

    return MACENKO


def own_options(command: PrepareArguments) -> dict[str, Any]:
    """The options of a command that are neither of all data sets nor of extraction."""
    bases = (PrepareArguments, CentredArguments, TileArguments)
    common = {field.name for base in bases for field in fields(base)}
    return {field.name: getattr(command, field.name) for field in fields(command) if field.name not in common}


PREPARE_COMMANDS: dict[str, Any] = {
    "prepare bach": PrepareBach,
    "prepare gleason2019": PrepareGleason,
    "prepare digestpath2019": PrepareDigestPath,
}
