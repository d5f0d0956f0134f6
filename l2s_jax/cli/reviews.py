"""Subcommands of `l2s` on labels and masks that may be wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from l2s_jax.cli.checks import check_and_print
from l2s_jax.cli.options import Command, JaxCommand, Manifest, Out, TilingOptions
from l2s_jax.cli.windows import WindowOptions, slide_arguments
from l2s_jax.system.ranges import COUNTS, Range
from l2s_jax.types import SPLITS, Split


@dataclass(frozen=True, kw_only=True)
class Review(JaxCommand, WindowOptions, TilingOptions):
    """Sort labels and masks by how unlikely they are to networks that never saw their patient."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml. It stays as it is."""
    runs: tuple[Path, ...]
    """Run folders of the same classes. Each patch is judged by those that have not learned from its patient
    or slide; train one on each fold of `prepare folds`. --slides needs two or more."""
    out: Path
    """Folder for review.csv, review.html with its pictures and, of slides, NAME_disagreement.geojson. No file
    of other origin is replaced."""
    slides: tuple[Path, ...] = ()
    """Slides without labels, whose windows are listed by how far the runs disagree. Each is looked at by
    those that have not learned from its patient or slide, two at least; windows meet no patch of MANIFEST
    that has a label or a mask."""
    windows: Annotated[int | None, COUNTS] = None
    """How many windows are listed, of all slides together; 10, or all where there are fewer."""
    split: tuple[Split, ...] = SPLITS
    """Which rows of the manifest are looked at."""
    unlikely: Annotated[float, Range(0, 1, open_low=True, open_high=True)] = 0.1
    """A pixel of a mask is contradicted where its class has less probability than this."""
    any_scale: bool = False
    """Accept patches of another scale (more than 10% off) than those that the runs were trained on."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""

    def run(self) -> int:
        """Looks at every label and mask."""
        self.set_up()
        from l2s_jax.prediction.review.review import review

        review(
            self.manifest,
            self.runs,
            self.out,
            splits=self.split,
            unlikely=self.unlikely,
            slides=self.slides,
            windows=self.windows,
            any_scale=self.any_scale,
            allow_outside=self.allow_outside,
            **slide_arguments(self.values(WindowOptions)),
            **self.values(TilingOptions),
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class PrepareReviewed(Command):
    """Make a manifest without the labels and masks that were marked as wrong on the page of `review`."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml. It stays as it is."""
    out: Out
    """Folder for the other; its pictures are hard links to the same files where those can be."""
    review: Path
    """Marks, as the page of `l2s review` saves them."""
    leave_out: tuple[Literal["wrong", "unsure"], ...] = ("wrong",)
    """What is left out: labels and masks with these marks."""
    overwrite: bool = False
    """Use a folder that holds something else."""
    allow_outside: bool = False
    """Accept paths that lead out of the manifest's folder."""

    def run(self) -> int:
        """Leaves out and checks."""
        from l2s_jax.prepare.reviewed import prepare_reviewed

        _, lines = prepare_reviewed(self.manifest, self.out, **self.own("manifest", "out"))
        print("\n".join(lines))
        return check_and_print(self.out, self.allow_outside)
