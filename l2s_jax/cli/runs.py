"""Subcommands of `l2s` that train a network and use it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from l2s_jax.cli.options import (
    EnsembleOptions,
    JaxCommand,
    Manifest,
    Run,
    StainOptions,
    TilingOptions,
    preset_help,
)
from l2s_jax.config import PRESETS, Preset, TrainConfig
from l2s_jax.prediction.slides.options import SlideOptions
from l2s_jax.system.errors import UserError
from l2s_jax.system.ranges import COUNTS, SEEDS, Range
from l2s_jax.types import BOUNDARY_TOLERANCE, Split

PRESET_WORDS: dict[Preset, str] = {
    "paper": "what the paper says",
    "release": "what its authors' released code does instead",
    "labelset": "this package's own objective, which needs fewer masks: a label says which classes its "
    "patch can hold",
    "few-masks": "for few masks and many labels: a teacher with labelset's losses, a network that learns "
    "from its pseudo-masks, and S on the masks alone, whose network is kept where it is better on validation",
}


@dataclass(frozen=True, kw_only=True)
class SeedsOptions:
    """Several networks as one program, instead of one with --seed."""

    seeds: Annotated[tuple[int, ...] | None, SEEDS] = None
    """Train one network a seed, in OUT/seed0 and so on."""
    own_draws: bool = False
    """With --seeds: take the seed for the draw too, so that each learns from a subset of its own."""
    strategy: Literal["auto", "vmap", "unroll", "map"] = "auto"
    """With --seeds: how they share the program. `auto` measures; `unroll` gives each the very result that it
    would have alone, on a CPU; the others but for rounding."""


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Several devices, and several processes."""

    devices: Annotated[int | Literal["all"], Range(1, 1_000_000)] = 1
    """Spread seeds and batches over so many devices, or `all`."""
    coordinator: str | None = None
    """Train with several processes on all their devices: `auto` under Slurm or Open MPI, else HOST:PORT of
    process 0. Start the same command in each; all must see the same files."""
    processes: Annotated[int | None, COUNTS] = None
    """With --coordinator HOST:PORT: how many processes there are."""
    process: Annotated[int | None, Range(0, 1_000_000)] = None
    """With --coordinator HOST:PORT: which of them this is, from 0."""


@dataclass(frozen=True, kw_only=True)
class Train(JaxCommand, DeviceOptions, SeedsOptions, TrainConfig):
    """Train a segmentation network on a manifest, from masks and image-level labels."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml."""
    out: Path
    """Run folder: config, metrics, checkpoints, curves, samples and report.html; with --seeds, of such."""
    preset: Annotated[Preset, tyro.conf.arg(help=preset_help(PRESET_WORDS, PRESETS))] = "paper"
    resume: bool = False
    """Go on with what is in --out from the last checkpoint."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""

    presets = PRESETS

    def run(self) -> int:
        """Trains, or goes on training."""
        self.set_up()
        devices = self.devices
        if self.coordinator is not None:
            from l2s_jax.system.processes import start_processes

            start_processes(self.coordinator, self.processes, self.process)
            devices = "all"
        elif self.processes is not None or self.process is not None:
            raise UserError("--processes and --process are for --coordinator HOST:PORT")
        if self.seeds is not None and self.seed != TrainConfig.seed:
            raise UserError(f"--seed {self.seed} is for one network: name it among --seeds, or leave it out")
        if self.seeds is not None:
            from l2s_jax.training.train import train_many

            train_many(
                self.manifest,
                self.out,
                self.part(TrainConfig),
                self.seeds,
                own_draws=self.own_draws,
                strategy=self.strategy,
                devices=devices,
                resume=self.resume,
                allow_outside=self.allow_outside,
            )
        elif self.own_draws or self.strategy != "auto":
            raise UserError("--own-draws and --strategy are for several networks at once: give --seeds")
        else:
            from l2s_jax.training.train import train

            train(
                self.manifest,
                self.out,
                self.part(TrainConfig),
                devices=devices,
                resume=self.resume,
                allow_outside=self.allow_outside,
            )
        return 0


@dataclass(frozen=True, kw_only=True)
class Evaluate(JaxCommand, EnsembleOptions, TilingOptions):
    """Measure a run on one split of a manifest: F1, IoU, boundaries, confusion matrix, calibration."""

    folder: Run
    """Run folder."""
    manifest: Manifest
    """Folder with patches.csv and classes.toml, of the same classes."""
    split: Split = "test"
    """Which rows of the manifest."""
    out: Path | None = None
    """Where the figures go; RUN/evaluation/SPLIT by default, to be named for several runs."""
    any_scale: bool = False
    """Accept patches of another scale (more than 10% off) than those that the run was trained on."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""
    boundary_tolerance: Annotated[float, Range(0, 100_000)] = BOUNDARY_TOLERANCE
    """Pixels between a true and a predicted boundary that count as one in boundary F1."""

    def run(self) -> int:
        """Evaluates."""
        self.set_up()
        from l2s_jax.prediction.evaluate import evaluate

        evaluate(
            self.folder,
            self.manifest,
            split=self.split,
            out=self.out,
            any_scale=self.any_scale,
            allow_outside=self.allow_outside,
            boundary_tolerance=self.boundary_tolerance,
            **self.values(EnsembleOptions),
            **self.values(TilingOptions),
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class Calibrate(JaxCommand, TilingOptions):
    """Fit a temperature on a run's validation masks, so that its probabilities mean what they say."""

    folder: Run
    """Folder of a finished run; the temperature is kept in it."""
    manifest: Manifest
    """Folder with patches.csv and classes.toml, of the same classes, with masks in the split val."""
    any_scale: bool = False
    """Accept patches of another scale (more than 10% off) than those that the run was trained on."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""

    def run(self) -> int:
        """Calibrates."""
        self.set_up()
        from l2s_jax.prediction.calibrate import calibrate

        calibrate(
            self.folder,
            self.manifest,
            any_scale=self.any_scale,
            allow_outside=self.allow_outside,
            **self.values(TilingOptions),
        )
        return 0


@dataclass(frozen=True, kw_only=True)
class Predict(JaxCommand, EnsembleOptions, SlideOptions, StainOptions, TilingOptions):
    """Segment pictures and whole slides with a trained run: class maps, overlays, outlines, areas."""

    folder: Run
    """Run folder."""
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")]
    """Slides, and pictures of any size at the scale of the training patches."""
    out: Path
    """Output folder. What is finished in it is not done again; no file of other origin is replaced."""
    any_scale: bool = False
    """Take pictures that state another scale (more than 10% off) than the run's as they are."""

    def run(self) -> int:
        """Predicts."""
        if not self.images:
            raise UserError(f"no picture or slide named: l2s predict RUN IMAGE... --out FOLDER{self.taken()}")
        self.set_up()
        from l2s_jax.prediction.predict import predict

        predict(
            self.folder,
            self.images,
            self.out,
            stain=self.stain,
            any_scale=self.any_scale,
            slides=self.part(SlideOptions),
            **self.values(EnsembleOptions),
            **self.values(TilingOptions),
        )
        return 0
