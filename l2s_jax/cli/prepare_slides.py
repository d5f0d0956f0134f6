"""Subcommands of `l2s` that make manifests of slides, and of the paper's data sets."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from l2s_jax.cli.options import Folder, JaxCommand, Out, preset_help
from l2s_jax.prepare.options import (
    BachOptions,
    DigestPathOptions,
    GleasonOptions,
    PictureOptions,
    WorkOptions,
)
from l2s_jax.prepare.presets import (
    BACH_PRESETS,
    DIGESTPATH_PRESETS,
    EXTRACTION_PRESETS,
    GLEASON_PRESETS,
    Preset,
)
from l2s_jax.prepare.slides.options import SlidesOptions

if TYPE_CHECKING:
    from l2s_jax.prepare.pipeline import Prepared
    from l2s_jax.stain.fit import Stainer

PRESET_WORDS: dict[Preset, str] = {
    "paper": "what the paper says",
    "release": "what its authors' released code does instead",
}
ExtractionPreset = Annotated[Preset, tyro.conf.arg(help=preset_help(PRESET_WORDS, EXTRACTION_PRESETS))]


@dataclass(frozen=True, kw_only=True)
class PrepareCommand(JaxCommand, WorkOptions, PictureOptions):
    """What the data sets have in common."""

    folder: Folder
    """The unpacked challenge."""
    out: Out
    """Folder for the manifest and its pictures; started again, it goes on where it was."""

    def prepare(self) -> "Prepared":
        """Makes the manifest."""
        raise NotImplementedError

    def stainer(self) -> "Stainer | None":
        """How stains are normalised; nothing of JAX is imported where they are left alone."""
        if self.stain == "off":
            return None
        from l2s_jax.stain.patches import MACENKO

        return MACENKO

    def run(self) -> int:
        """Makes and checks the manifest; ends with 1 where a slide failed or the check did."""
        from l2s_jax.data.check import check_manifest

        if self.stain != "off":
            self.set_up()
        prepared = self.prepare()
        report = check_manifest(self.out)
        print("\n".join([*prepared.report, "", str(report)]))
        if prepared.failures:
            print(f"\n{len(prepared.failures)} failed; mend them and run the same command again:")
            print("\n".join(f"  {failure}" for failure in prepared.failures))
        return 0 if report.ok and not prepared.failures else 1


@dataclass(frozen=True, kw_only=True)
class PrepareBach(PrepareCommand, BachOptions):
    """Make a manifest of BACH 2018: patches around the regions of WSI/*.xml, and Photos/."""

    preset: Annotated[Preset, tyro.conf.arg(help=preset_help(PRESET_WORDS, BACH_PRESETS))] = "paper"

    presets = BACH_PRESETS

    def prepare(self) -> "Prepared":
        """Cuts and writes."""
        from l2s_jax.prepare.bach import prepare_bach

        work = self.part(WorkOptions)
        return prepare_bach(self.folder, self.out, self.part(BachOptions), work, stainer=self.stainer())


@dataclass(frozen=True, kw_only=True)
class PrepareGleason(PrepareCommand, GleasonOptions):
    """Make a manifest of Gleason2019: tiles of tissue cores and the maps of one expert."""

    preset: Annotated[Preset, tyro.conf.arg(help=preset_help(PRESET_WORDS, GLEASON_PRESETS))] = "paper"

    presets = GLEASON_PRESETS

    def prepare(self) -> "Prepared":
        """Cuts and writes."""
        from l2s_jax.prepare.gleason import prepare_gleason

        work = self.part(WorkOptions)
        return prepare_gleason(self.folder, self.out, self.part(GleasonOptions), work, stainer=self.stainer())


@dataclass(frozen=True, kw_only=True)
class PrepareDigestPath(PrepareCommand, DigestPathOptions):
    """Make a manifest of DigestPath2019: tiles of colonoscopy pictures with JPEG masks."""

    preset: Annotated[Preset, tyro.conf.arg(help=preset_help(PRESET_WORDS, DIGESTPATH_PRESETS))] = "paper"

    presets = DIGESTPATH_PRESETS

    def prepare(self) -> "Prepared":
        """Cuts and writes."""
        from l2s_jax.prepare.digestpath import prepare_digestpath

        work = self.part(WorkOptions)
        return prepare_digestpath(
            self.folder, self.out, self.part(DigestPathOptions), work, stainer=self.stainer()
        )


@dataclass(frozen=True, kw_only=True)
class PrepareSlides(PrepareCommand, SlidesOptions):
    """Make a manifest of your own slides: patches around what is drawn, windows of what is known."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="INPUT")]
    """A folder of slides with their annotations, or a CSV file with the column slide and any of annotation,
    label, group, split, mpp."""

    def prepare(self) -> "Prepared":
        """Cuts and writes."""
        from l2s_jax.prepare.slides.prepare import prepare_slides

        work = self.part(WorkOptions)
        chosen = self.part(SlidesOptions)
        return prepare_slides(self.folder, self.out, chosen, work, stainer=self.stainer(), say=print)
