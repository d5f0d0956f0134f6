"""Subcommands of `l2s` that train a network and use it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from l2s_jax.cli.options import Config, Manifest, options_of
from l2s_jax.config import Preset, TrainConfig
from l2s_jax.prediction.slides.options import SlideOptions, slide_options_of
from l2s_jax.system.errors import UserError
from l2s_jax.system.jax_setup import set_up_jax
from l2s_jax.types import Split


@dataclass(frozen=True)
class Train:
    """Train a segmentation network on a manifest, from masks and image-level labels."""

    manifest: Manifest
    """Folder with patches.csv and classes.toml."""
    out: Path
    """Run folder: config, metrics, checkpoints, curves, samples and report.html; with --seeds, of such."""
    training: tyro.conf.OmitArgPrefixes[TrainConfig]
    preset: Preset = "paper"
    """`paper`: what the paper says. `release`: what its authors' released code does."""
    config: Config = None
    """Options from a TOML file; they win over the preset, the command line wins over both."""
    seeds: tuple[int, ...] = ()
    """Train one network a seed as one program, in OUT/seed0 and so on, instead of one with --seed."""
    own_draws: bool = False
    """With --seeds: take the seed for the draw too, so that each learns from a subset of its own."""
    strategy: Literal["auto", "vmap", "unroll", "map"] = "auto"
    """With --seeds: how they share the program. `auto` measures; `unroll` gives each the very result that it
    would have alone, on a CPU; the others but for rounding."""
    devices: int | Literal["all"] = 1
    """Spread seeds and batches over so many devices, or `all`."""
    coordinator: str | None = None
    """Train with several processes on all their devices: `auto` under Slurm or Open MPI, else HOST:PORT of
    process 0. Start the same command in each; all must see the same files."""
    processes: int | None = None
    """With --coordinator HOST:PORT: how many processes there are."""
    process: int | None = None
    """With --coordinator HOST:PORT: which of them this is, from 0."""
    resume: bool = False
    """Go on with what is in --out from the last checkpoint."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""

    def run(self) -> int:
        """Trains, or goes on training."""
        set_up_jax(self.compile_cache)
        devices = self.devices
        if self.coordinator is not None:
            from l2s_jax.system.processes import start_processes

            start_processes(self.coordinator, self.processes, self.process)
            devices = "all"
        elif self.processes is not None or self.process is not None:
            raise UserError("--processes and --process are for --coordinator HOST:PORT")
        if self.seeds:
            from l2s_jax.training.train import train_many

            train_many(
                self.manifest,
                self.out,
                self.training,
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
                self.training,
                devices=devices,
                resume=self.resume,
                allow_outside=self.allow_outside,
            )
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Measure a run on one split of a manifest: F1, IoU, accuracy, confusion matrix."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    manifest: Manifest
    """Folder with patches.csv and classes.toml, of the same classes."""
    split: Split = "test"
    """Which rows of the manifest."""
    out: Path | None = None
    """Where the figures go; RUN/evaluation/SPLIT by default."""
    stride: int | None = None
    """Pixels between tiles of pictures larger than a patch; half a patch by default."""
    weighting: Literal["gaussian", "uniform"] = "gaussian"
    """How the pixels of overlapping tiles count."""
    batch_size: int = 20
    """Patches a batch; does not change the result."""
    any_scale: bool = False
    """Accept patches of another scale (more than 10% off) than those that the run was trained on."""
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Evaluates."""
        set_up_jax(self.compile_cache)
        from l2s_jax.prediction.evaluate import evaluate

        evaluate(self.folder, self.manifest, **options_of(self, "folder", "manifest", "compile_cache"))
        return 0


@dataclass(frozen=True)
class Predict(SlideOptions):
    """Segment pictures and whole slides with a trained run: class maps, overlays, outlines, areas."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")]
    """Slides, and pictures of any size at the scale of the training patches."""
    out: Path
    """Output folder; slides that are finished in it are not done again."""
    stride: int | None = None
    """Pixels between tiles; half a patch by default."""
    weighting: Literal["gaussian", "uniform"] = "gaussian"
    """How the pixels of overlapping tiles count."""
    batch_size: int = 20
    """Tiles a batch; does not change the result."""
    stain: Literal["run", "off"] = "run"
    """Give pictures and slides the stains that the run was trained on; or leave them as they are."""
    any_scale: bool = False
    """Take pictures that state another scale (more than 10% off) than the run's as they are."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Predicts."""
        if not self.images:
            raise UserError("no picture or slide named: l2s predict RUN IMAGE... --out FOLDER")
        set_up_jax(self.compile_cache)
        from l2s_jax.prediction.predict import predict

        predict(
            self.folder,
            self.images,
            self.out,
            stride=self.stride,
            weighting=self.weighting,
            batch_size=self.batch_size,
            stain=self.stain,
            any_scale=self.any_scale,
            slides=slide_options_of(self),
        )
        return 0


@dataclass(frozen=True)
class Export:
    """Write a trained network as .safetensors (torchvision's names) and as a StableHLO program."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    out: tyro.conf.Positional[Path]
    """Output folder."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Exports."""
        from l2s_jax.exports.export import export_run

        for path in export_run(self.folder, self.out):
            print(f"written: {path}")
        return 0


RUN_COMMANDS: dict[str, Any] = {"train": Train, "evaluate": Evaluate, "predict": Predict, "export": Export}
