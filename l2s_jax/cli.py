"""The command `l2s`: each subcommand is a few lines over a library function."""

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import tyro
from docstring_parser import parse_from_object

from l2s_jax import __version__
from l2s_jax.cli_prepare import PREPARE_COMMANDS
from l2s_jax.cli_results import RESULT_COMMANDS
from l2s_jax.cli_slides import SLIDE_COMMANDS
from l2s_jax.config import (
    PRESETS,
    Preset,
    TrainConfig,
    preset_of,
    read_table,
    typed_options,
    validate,
)
from l2s_jax.errors import UserError
from l2s_jax.jax_setup import set_up_jax
from l2s_jax.slide_options import SlideOptions, slide_options_of
from l2s_jax.types import Split

Config = Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")]
Manifest = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MANIFEST")]


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
        from l2s_jax.data.phantom import prepare_phantom

        prepare_phantom(self.out, **_options(self, "out"))
        return _check_and_print(self.out)


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
        from l2s_jax.data.ebhi import prepare_ebhi
        from l2s_jax.data.splits import FRACTIONS, split_text

        made = prepare_ebhi(self.folder, self.out, **_options(self, "folder", "out"))
        labels, splits = zip(*((row.label, row.split) for row in made.patches), strict=True)
        print(split_text(made.classes.names, labels, splits, FRACTIONS))
        return _check_and_print(self.out)


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
        from l2s_jax.data.label_halves import prepare_halves

        _, lines = prepare_halves(self.manifest, self.out, **_options(self, "manifest", "out"))
        print("\n".join(lines))
        return _check_and_print(self.out)


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
        return _check_and_print(self.manifest, self.allow_outside)


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
            from l2s_jax.mesh import start_processes

            start_processes(self.coordinator, self.processes, self.process)
            devices = "all"
        elif self.processes is not None or self.process is not None:
            raise UserError("--processes and --process are for --coordinator HOST:PORT")
        if self.seeds:
            from l2s_jax.training_many import train_many

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
            from l2s_jax.training import train

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
    allow_outside: bool = False
    """Accept paths in the manifest that lead out of its folder."""
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Evaluates."""
        set_up_jax(self.compile_cache)
        from l2s_jax.prediction import evaluate

        evaluate(self.folder, self.manifest, **_options(self, "folder", "manifest", "compile_cache"))
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
    compile_cache: bool = True
    """Keep compiled programs in the user's cache folder for the next start."""
    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Predicts."""
        if not self.images:
            raise UserError("no picture or slide named: l2s predict RUN IMAGE... --out FOLDER")
        set_up_jax(self.compile_cache)
        from l2s_jax.prediction import predict

        predict(
            self.folder,
            self.images,
            self.out,
            stride=self.stride,
            weighting=self.weighting,
            batch_size=self.batch_size,
            stain=self.stain,
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
        from l2s_jax.exporting import export_run

        for path in export_run(self.folder, self.out):
            print(f"written: {path}")
        return 0


@dataclass(frozen=True)
class Doctor:
    """Look at this installation: versions, devices, OpenSlide, weights, memory; say what to mend."""

    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Ends with 1 where there is a problem."""
        from l2s_jax.doctor import diagnose, print_diagnosis

        return print_diagnosis(diagnose())


COMMANDS: dict[str, Any] = {
    "prepare phantom": PreparePhantom,
    "prepare ebhi": PrepareEbhi,
    **PREPARE_COMMANDS,
    "prepare halves": PrepareHalves,
    "check": Check,
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "export": Export,
    **SLIDE_COMMANDS,
    **RESULT_COMMANDS,
    "doctor": Doctor,
}


OUT_OF_MEMORY = (
    "out of memory. A smaller --batch-size takes less; so does a smaller --memory-gib when training, which "
    "then decodes pictures at every epoch"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `l2s` and ends the process.

    With 0, 1 (something found or failed), 2 (wrong use or data), 3 (a loss that is not finite) or 130
    (stopped).
    """
    code = run(sys.argv[1:] if arguments is None else list(arguments))
    if code and _threads_left():
        # A checkpoint that could not be written can leave writer threads behind; do not wait for them.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _threads_left(patience: float = 5.0) -> bool:
    """Whether threads other than this one are still at work after some seconds.

    Most are about to end, like a timer of JAX's that is cancelled. Leaving in spite of them would leave
    other processes of the run waiting for this one, which has to take its leave of them.
    """
    end = time.monotonic() + patience
    others = [t for t in threading.enumerate() if not t.daemon and t is not threading.current_thread()]
    for thread in others:
        thread.join(max(0.0, end - time.monotonic()))
    return any(thread.is_alive() for thread in others)


def run(arguments: list[str]) -> int:
    """Runs one command and gives its exit code; what goes wrong becomes one message on standard error."""
    try:
        return _command(arguments).run()
    except UserError as error:
        print(f"l2s: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("l2s: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader went away (`l2s ... | head`); keep Python from complaining while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"l2s: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except MemoryError:
        print(f"l2s: {OUT_OF_MEMORY}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # XLA's way of saying it, on GPUs above all
            raise
        print(f"l2s: {OUT_OF_MEMORY}", file=sys.stderr)
        return 1


def _command(arguments: list[str]) -> Any:
    """The command object that the arguments describe; prints help and leaves where they ask for it."""
    if arguments[:1] == ["--version"]:
        print(f"l2s_jax {__version__}")
        sys.exit(0)
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in COMMANDS and len(arguments) >= words:
            return _parse(name, arguments[words:])
    wanted = [name for name in COMMANDS if arguments and name.split()[0] == arguments[0]]
    wrong = arguments and arguments[0] not in ("-h", "--help") and not wanted
    if wrong:
        print(f"l2s: no such command: {arguments[0]}\n", file=sys.stderr)
    print(_overview(wanted or list(COMMANDS)), file=sys.stderr if wrong else sys.stdout)
    asked = any(argument in ("-h", "--help") for argument in arguments)
    sys.exit(0 if asked else 2)


def _overview(names: Sequence[str]) -> str:
    lines = ["usage: l2s COMMAND ...    (l2s COMMAND --help lists its options)", ""]
    lines += [f"  {name:<23} {COMMANDS[name].__doc__.splitlines()[0]}" for name in names]
    return "\n".join(lines)


def _parse(name: str, arguments: list[str]) -> Any:
    command = COMMANDS[name]
    file = _value_of("--config", arguments)
    if command is Train:
        default = _train_default(_value_of("--preset", arguments), file)
    else:
        options = typed_options(read_table(file), _optional(command), file) if file else {}
        default = command(**_required(command), **options)
    for described in (command, TrainConfig):
        _join_help_lines(described)
    return tyro.cli(command, prog=f"l2s {name}", args=arguments, default=default)


def _join_help_lines(described: Any) -> None:
    """Makes a paragraph of each option's text; tyro would break its lines where the source does."""
    texts = {param.arg_name: param.description or "" for param in parse_from_object(described).params}
    for name, text in texts.items():
        if "\n" in text:
            hint = get_type_hints(described, include_extras=True)[name]
            help_text = tyro.conf.arg(help=" ".join(text.split()))
            described.__annotations__[name] = Annotated[hint, help_text]


def _train_default(preset: str | None, file: str | None) -> Train:
    """What the file says, over the preset that the command line names, or else the file."""
    table = read_table(file) if file else {}
    named = preset_of(table, file) if file else None
    if preset not in PRESETS:  # tyro says so where it is none
        preset = named or "paper"
    own = _optional(Train, "training", "preset")
    values = typed_options(table, {**own, **get_type_hints(TrainConfig)}, str(file))
    options = {name: values.pop(name) for name in own if name in values}
    training = dataclasses.replace(PRESETS[preset], **values)
    validate(training)
    return Train(**{**_required(Train), **options, "training": training, "preset": preset})


def _required(command: Any) -> dict[str, Any]:
    """The fields that only the command line can give."""
    fields = dataclasses.fields(command)
    return {field.name: tyro.MISSING for field in fields if field.default is dataclasses.MISSING}


def _optional(command: Any, *without: str) -> dict[str, Any]:
    """Types of the options that a file can give."""
    left_out = ("config", *_required(command), *without)
    return {name: hint for name, hint in get_type_hints(command).items() if name not in left_out}


def _value_of(flag: str, arguments: list[str]) -> str | None:
    """The value of a flag before the arguments are parsed, since it decides their defaults."""
    for position, argument in enumerate(arguments):
        if argument == flag and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{flag}="):
            return argument.split("=", 1)[1]
    return None


def _options(command: Any, *without: str) -> dict[str, Any]:
    """A command's fields as keyword arguments of the library function behind it."""
    names = [field.name for field in dataclasses.fields(command) if field.name not in ("config", *without)]
    return {name: getattr(command, name) for name in names}


def _check_and_print(manifest: Path, allow_outside: bool = False) -> int:
    from l2s_jax.data.check import check_manifest

    report = check_manifest(manifest, allow_outside=allow_outside)
    print(report)
    return 0 if report.ok else 1
