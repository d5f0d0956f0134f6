"""The command `l2s`: each subcommand is a few lines over a library function."""

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

import tyro
from docstring_parser import parse_from_object

from l2s_jax import __version__
from l2s_jax.cli.advice import advice
from l2s_jax.cli.data import DATA_COMMANDS, Check
from l2s_jax.cli.options import Config
from l2s_jax.cli.prepare import PREPARE_COMMANDS
from l2s_jax.cli.results import RESULT_COMMANDS
from l2s_jax.cli.runs import RUN_COMMANDS, Train
from l2s_jax.cli.slides import SLIDE_COMMANDS
from l2s_jax.config import PRESETS, TrainConfig, validate
from l2s_jax.runs.config_file import preset_of
from l2s_jax.system.errors import UserError
from l2s_jax.system.toml import read_table, typed_options


@dataclass(frozen=True)
class Doctor:
    """Look at this installation: versions, devices, OpenSlide, weights, memory; say what to mend."""

    config: Config = None
    """Options from a TOML file; the command line wins."""

    def run(self) -> int:
        """Ends with 1 where there is a problem."""
        from l2s_jax.cli.doctor import diagnose, print_diagnosis

        return print_diagnosis(diagnose())


COMMANDS: dict[str, Any] = {
    **DATA_COMMANDS,
    **PREPARE_COMMANDS,
    "check": Check,
    **RUN_COMMANDS,
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
        print(f"l2s: {error}{advice(error, arguments[0])}", file=sys.stderr)
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
    for described in (command, *TrainConfig.__bases__):
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
