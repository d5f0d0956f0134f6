"""Subcommands of `l2s` that run a sweep and read its results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from l2s_jax.cli.options import Command, JaxCommand, Manifest, Results
from l2s_jax.system.ranges import MOST, Count, Range, Seed

Jobs = Annotated[int, Range(1, 10_000)]


@dataclass(frozen=True, kw_only=True)
class Sweep(JaxCommand):
    """Run an experiment: settings x percents x draws, one row of results.csv a finished run."""

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SWEEP.toml")]
    """What to run; experiments/ has one for each data set."""
    out: Path | None = None
    """Folder of the results; runs/NAME by default. Started again, a sweep goes on where it was killed."""
    manifest: Path | None = None
    """The data, instead of what the file names: a manifest, or the folder of folds."""
    dry_run: bool = False
    """Say what would be run and how long it would take, from measured steps."""
    retry_failed: bool = False
    """Run again what failed."""
    jobs: Jobs = 1
    """Runs at a time, each in a process with its share of the cores. With another share, figures differ by
    rounding."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""

    def run(self) -> int:
        """Runs what is not finished; ends with 1 where runs failed."""
        self.set_up()
        from l2s_jax.sweeps.sweep import sweep

        sweep(
            self.file,
            self.out,
            manifest=self.manifest,
            dry_run=self.dry_run,
            retry_failed=self.retry_failed,
            jobs=self.jobs,
            allow_outside=self.allow_outside,
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class Compare(JaxCommand):
    """Do the labels help on this data? S beside recipes that learn from labels too, draw by draw."""

    manifest: Manifest
    """The data: a manifest, or the folder of folds."""
    out: Path = Path("runs/compare")
    """Folder of the runs; what comes out goes to `comparison` in it. Started again, it goes on."""
    recipes: tuple[Literal["paper", "labelset", "few-masks"], ...] = ("labelset", "few-masks")
    """Presets that are compared with S."""
    draws: Count = 3
    """How many. An interval needs 2, and is wide below 5."""
    percent: Annotated[float, Range(0, 100)] = 100.0
    """Share of the training masks that are used; the others count as labels."""
    steps: Annotated[int, Range(1, MOST)] = 400
    """Of each phase of each run."""
    weights: str = "auto"
    """Initial weights, as in `train`."""
    learning_rate: Annotated[float, Range(0, 10, open_low=True, open_high=True)] = 3e-4
    """Of all runs."""
    dry_run: bool = False
    """Say how long it would take, from measured steps."""
    jobs: Jobs = 1
    """Runs at a time, each in a process with its share of the cores."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""

    def run(self) -> int:
        """Runs what is not finished, and says what came out."""
        self.set_up()
        from l2s_jax.sweeps.compare import compare

        compare(self.manifest, **self.own("manifest"))
        return 0


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Tables, figures and one page from the results of a sweep, beside the paper's printed values."""

    results: Results
    """Folder of a sweep, or a CSV file with the columns run, setting, percent, draw and metrics."""
    out: Path | None = None
    """Where they go; RESULTS/report by default."""
    metric: tuple[str, ...] = ()
    """Metrics to show, or validation_score; by default macro_f1 micro_f1, or the classifier's."""
    ddof: Annotated[int | None, Range(0, 1_000_000)] = None
    """Standard deviations divide by n - ddof; the sweep's by default, else 1."""
    against: Annotated[tuple[str, ...], tyro.conf.arg(metavar='["VARIANT SETTING" ...]')] = ()
    """Methods from which all others are subtracted, draw by draw, besides S and the first variant."""
    draw: Annotated[tuple[int, ...], Range(0, MOST)] = ()
    """Look at these draws only."""
    pictures: bool = True
    """Draw predictions on test pictures, where the run folders are there; they show the data."""

    def run(self) -> int:
        """Writes the report."""
        from l2s_jax.sweeps.report import report

        report(
            self.results,
            out=self.out,
            metrics=self.metric or None,
            ddof=self.ddof,
            against=self.against,
            draws=self.draw or None,
            pictures=self.pictures,
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class Plan(Command):
    """How many masks are needed: the share that reaches 90, 95 and 99% of the full-mask score."""

    results: Results
    """Folder of a segmentation sweep, or a CSV file with run, setting, percent, draw and metrics."""
    metric: str = "macro_f1"
    """The score."""
    target: Annotated[tuple[float, ...], Range(0, 100, open_low=True)] = (90.0, 95.0, 99.0)
    """Percent of the mean score of S at 100% of the masks."""
    out: Path | None = None
    """Where plan_masks.csv and plan_masks.svg go; RESULTS/report by default."""
    seed: Seed = 0
    """Of the resampling."""

    def run(self) -> int:
        """Prints the answers, and writes them down."""
        from l2s_jax.reports.plan_output import plan_masks

        plan_masks(self.results, self.metric, self.target, out=self.out, seed=self.seed)
        return 0
