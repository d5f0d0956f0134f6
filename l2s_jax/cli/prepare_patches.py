"""Subcommands of `l2s` that make manifests: patches, phantom, EBHI-Seg, WSSS4LUAD, halves, folds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from l2s_jax.cli.checks import check_and_print
from l2s_jax.cli.options import Command, Folder, Manifest, Out, Overlap, Side
from l2s_jax.prepare.patches.options import OwnPatchesOptions
from l2s_jax.system.ranges import Count, Range, Seed
from l2s_jax.types import SPLITS


@dataclass(frozen=True, kw_only=True)
class PreparePhantom(Command):
    """Draw a phantom data set: H&E-like tissue with glands of three classes and known masks."""

    out: Out
    """Folder for the manifest and its pictures."""
    patches: Count = 400
    """How many patches in all, split 50/25/25 by slide."""
    patches_per_slide: Count = 5
    """Patches that share a stain and a group."""
    patch_size: Side = 128
    """Side of a patch in pixels, a multiple of 16."""
    masks: Annotated[float, Range(0, 1)] = 1.0
    """Share of the training patches that keep their mask, 0 to 1."""
    overlap: Overlap = 0.15
    """How much the classes resemble each other; 0 keeps them apart."""
    seed: Seed = 0
    """Of everything that is drawn."""
    overwrite: bool = False
    """Use a folder that holds something else."""

    def run(self) -> int:
        """Draws and checks."""
        from l2s_jax.phantom.patches import prepare_phantom

        prepare_phantom(self.out, **self.own("out"))
        return check_and_print(self.out)


@dataclass(frozen=True, kw_only=True)
class PrepareEbhi(Command):
    """Make a manifest of EBHI-Seg (Shi et al. 2023), 50/25/25 by slide group, stratified by class."""

    folder: Folder
    """The data set: CLASS/image/*.png with CLASS/label/*.png."""
    out: Out
    """Folder for the manifest and its pictures."""
    classes: Literal[4, 7] = 4
    """4: background, benign, neoplasia, adenocarcinoma. 7: background and the six folders."""
    patch_size: Side = 128
    """Side of a patch in pixels, a multiple of 16."""
    seed: Seed = 0
    """Of the split."""
    skip_faulty: bool = False
    """Leave out faulty and unpaired pictures, and say which, instead of stopping."""
    overwrite: bool = False
    """Use a folder that holds something else."""

    def run(self) -> int:
        """Converts and checks."""
        from l2s_jax.prepare.ebhi import prepare_ebhi
        from l2s_jax.prepare.splits import SPLIT_FRACTIONS, split_text

        made = prepare_ebhi(self.folder, self.out, **self.own("folder", "out"))
        labels, splits = zip(*((row.label, row.split) for row in made.patches), strict=True)
        print(split_text(made.classes.names, labels, splits, SPLIT_FRACTIONS))
        return check_and_print(self.out)


@dataclass(frozen=True, kw_only=True)
class PrepareWsss4luad(Command):
    """Make a manifest of WSSS4LUAD's pictures with masks: labels are sets of classes; split by picture."""

    folder: Folder
    """The data set: img/*.png with mask/*.png, as in its validation part."""
    out: Out
    """Folder for the manifest and its pictures."""
    patch_size: Side = 128
    """Side of a training patch in pixels, a multiple of 16. Pictures of val and test stay whole."""
    seed: Seed = 0
    """Of the split, 50/25/25 by picture: the names tell no patient."""
    skip_faulty: bool = False
    """Leave out faulty and unpaired pictures, and say which, instead of stopping."""
    overwrite: bool = False
    """Use a folder that holds something else."""

    def run(self) -> int:
        """Converts and checks."""
        from l2s_jax.prepare.wsss4luad import prepare_wsss4luad

        made = prepare_wsss4luad(self.folder, self.out, **self.own("folder", "out"))
        for split in SPLITS:
            rows = made.of_split(split)
            pictures = len({row.group for row in rows})
            held = ", ".join(
                f"{name} in {sum(code in row.allowed for row in rows)}"
                for code, name in enumerate(made.classes.names)
            )
            print(f"{split}: {len(rows)} patches of {pictures} pictures ({held})")
        print("A picture is taken for a group, since the names tell no patient: figures are optimistic.")
        return check_and_print(self.out)


@dataclass(frozen=True, kw_only=True)
class PrepareHalves(Command):
    """Make the manifest of a classification study: half of the image-level training patches become test."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml, such as `prepare bach` makes."""
    out: Out
    """Folder for the other; its pictures are hard links to the same files where those can be."""
    seed: Seed = 0
    """Which of the many equally good halves."""
    overwrite: bool = False
    """Use a folder that holds something else."""

    def run(self) -> int:
        """Splits and checks."""
        from l2s_jax.prepare.halves import prepare_halves

        _, lines = prepare_halves(self.manifest, self.out, **self.own("manifest", "out"))
        print("\n".join(lines))
        return check_and_print(self.out)


@dataclass(frozen=True, kw_only=True)
class PrepareFolds(Command):
    """Make a cross-validation of a manifest: K folds by patient, each tested on once, for `sweep`."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml. Its splits do not count."""
    out: Out
    """Folder of the folds; its pictures are hard links to the same files where those can be."""
    folds: Annotated[int, Range(3, 1_000_000)] = 5
    """How many, 3 or more; a group is needed for each."""
    seed: Seed = 0
    """Which of the many equally good ways to deal the groups out."""
    overwrite: bool = False
    """Use a folder that holds something else."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""

    def run(self) -> int:
        """Divides, and says what is in the folds."""
        from l2s_jax.prepare.folds import prepare_folds

        _, lines = prepare_folds(self.manifest, self.out, **self.own("manifest", "out"))
        print("\n".join(lines))
        return 0


@dataclass(frozen=True, kw_only=True)
class PreparePatches(Command, OwnPatchesOptions):
    """Make a manifest of patches that you have: pictures, masks for some, labels for others, by patient."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="INPUT")]
    """A folder of pictures, in folders of it too; or a CSV file with the column image and any of mask, label,
    group, split, mpp."""
    out: Out
    """Folder for the manifest and its pictures."""
    overwrite: bool = False
    """Use a folder that holds something else."""

    def run(self) -> int:
        """Finds, writes and checks."""
        from l2s_jax.prepare.patches.prepare import prepare_patches

        options = self.part(OwnPatchesOptions)
        prepare_patches(self.folder, self.out, options, overwrite=self.overwrite, say=print)
        return check_and_print(self.out)
