"""Subcommands of `l2s` that make and check manifests: phantom, EBHI-Seg, halves, check."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from l2s_jax.cli.options import Config, Manifest, options_of


@dataclass(frozen=True)
class PreparePhantom:
    """Draw a phantom data set: H&E-like tissue with glands of three classes and known masks."""

    out: tyro.conf.Positional[Path]
    """Folder for the manifest and its pictures."""
    patches: int = 400
    """How many patches in all, split 50/25/25 by slide."""
    patches_per_slide: int = 5
    """Patches that share a stain and a group."""
    patch_size: int = 128
    """Side of a patch in pixels, a multiple of 16."""
    masks: float = 1.0
    """Share of the training patches that keep their mask, 0 to 1."""
    overlap: float = 0.15
    """How much the classes resemble each other; 0 keeps them apart."""
    seed: int = 0
    """Of everything that is drawn."""
    overwrite: bool = False
    """Use a folder that holds something else."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Draws and checks."""
        from l2s_jax.phantom.patches import prepare_phantom

        prepare_phantom(self.out, **options_of(self, "out"))
        return check_and_print(self.out)


@dataclass(frozen=True)
class PrepareEbhi:
    """Make a manifest of EBHI-Seg (Shi et al. 2023), 50/25/25 by slide group, stratified by class."""

    folder: tyro.conf.Positional[Path]
    """The data set: CLASS/image/*.png with CLASS/label/*.png."""
    out: tyro.conf.Positional[Path]
    """Folder for the manifest and its pictures."""
    classes: Literal[4, 7] = 4
    """4: background, benign, neoplasia, adenocarcinoma. 7: background and the six folders."""
    patch_size: int = 128
    """Side of a patch in pixels, a multiple of 16."""
    seed: int = 0
    """Of the split."""
    skip_faulty: bool = False
    """Leave out faulty and unpaired pictures, and say which, instead of stopping."""
    overwrite: bool = False
    """Use a folder that holds something else."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Converts and checks."""
        from l2s_jax.prepare.ebhi import prepare_ebhi
        from l2s_jax.prepare.splits import FRACTIONS, split_text

        made = prepare_ebhi(self.folder, self.out, **options_of(self, "folder", "out"))
        labels, splits = zip(*((row.label, row.split) for row in made.patches), strict=True)
        print(split_text(made.classes.names, labels, splits, FRACTIONS))
        return check_and_print(self.out)


@dataclass(frozen=True)
class PrepareHalves:
    """Make the manifest of a classification study: half of the image-level training patches become test."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml, such as `prepare bach` makes."""
    out: tyro.conf.Positional[Path]
    """Folder for the other; its pictures are hard links to the same files where those can be."""
    seed: int = 0
    """Which of the many equally good halves."""
    overwrite: bool = False
    """Use a folder that holds something else."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Splits and checks."""
        from l2s_jax.prepare.halves import prepare_halves

        _, lines = prepare_halves(self.manifest, self.out, **options_of(self, "manifest", "out"))
        print("\n".join(lines))
        return check_and_print(self.out)


@dataclass(frozen=True)
class Check:
    """Read a manifest and every picture in it, and report all problems at once."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml."""
    allow_outside: bool = False
    """Accept paths that lead out of the manifest's folder."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Ends with 1 where there are problems."""
        return check_and_print(self.manifest, self.allow_outside)


DATA_COMMANDS: dict[str, Any] = {
    "prepare phantom": PreparePhantom,
    "prepare ebhi": PrepareEbhi,
    "prepare halves": PrepareHalves,
}


def check_and_print(manifest: Path, allow_outside: bool = False) -> int:
    """Prints what the check of a manifest found; the exit code."""
    from l2s_jax.data.check import check_manifest

    report = check_manifest(manifest, allow_outside=allow_outside)
    print(report)
    return 0 if report.ok else 1
