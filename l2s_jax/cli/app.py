"""The command `l2s`: each subcommand is a few lines over a library function."""

import contextlib
import difflib
import io
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from l2s_jax import __version__
from l2s_jax.cli.advice import advice
from l2s_jax.cli.commands import COMMANDS, summary
from l2s_jax.system.errors import UserError
from l2s_jax.system.jax_setup import require_device
from l2s_jax.system.stopping import interrupts_repeated

if TYPE_CHECKING:
    from l2s_jax.cli.options import Command

OUT_OF_MEMORY = (
    "out of memory. A smaller --batch-size takes less; so does a smaller --memory-gib when training, which "
    "then decodes pictures at every epoch"
)


OUT_OF_MEMORY_ELSEWHERE = (
    "RESOURCE_EXHAUSTED",  # XLA, on GPUs above all
    "can't start new thread",
    "failed to map segment from shared object",  # a library that is imported: Linux,
    "cannot allocate memory",
    "paging file is too small",  # and Windows
)
"""How it is said where no MemoryError is raised."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `l2s` and ends the process.

    With 0, 1 (something found or failed), 2 (wrong use or data), 3 (a loss that is not finite) or 130
    (stopped).
    """
    with interrupts_repeated():
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
    for stream in (sys.stdout, sys.stderr):
        # A class or file name that the terminal can't show is shown by its codes; it is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _command(arguments).run()
    except UserError as error:
        print(f"l2s: {error}{advice(error, arguments[0])}", file=sys.stderr)
        return error.exit_code
    except SystemExit as end:  # help was asked for, or tyro has said what is wrong
        return end.code if isinstance(end.code, int) else 0
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
    except UnicodeEncodeError as error:
        if "surrogates" not in error.reason:
            raise
        print(f"l2s: {_unnameable(error)}", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"l2s: {OUT_OF_MEMORY}", file=sys.stderr)
        return 1
    except (RuntimeError, AssertionError, ImportError) as error:
        if any(words.lower() in str(error).lower() for words in OUT_OF_MEMORY_ELSEWHERE):
            print(f"l2s: {OUT_OF_MEMORY}", file=sys.stderr)
            return 1
        if _no_device():
            print(f"l2s: {_no_device()}", file=sys.stderr)
            return 2
        raise


def _no_device() -> str:
    """Why JAX cannot compute on anything, where that is so: it raises whatever it likes."""
    try:
        require_device()
    except UserError as error:
        return str(error)
    return ""


def _unnameable(error: UnicodeEncodeError) -> str:
    """Text that no file of text can hold is part of a name that Python could not read as UTF-8."""
    around = error.object[max(0, error.start - 60) : error.end + 60]
    name = next(word for word in around.splitlines() if error.object[error.start] in word)
    return f"{name!r} holds a name that is no UTF-8, which tables and pages cannot hold. Rename the file"


def _command(arguments: list[str]) -> "Command":
    """The command object that the arguments describe; prints help and leaves where they ask for it."""
    if arguments[:1] == ["--version"]:
        print(f"l2s_jax {__version__}")
        sys.exit(0)
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in COMMANDS and len(arguments) >= words:
            return _parse(name, arguments[words:])
    wanted = [name for name in COMMANDS if arguments and name.split()[0] == arguments[0]]
    asked = any(argument in ("-h", "--help") for argument in arguments)
    wrong = bool(arguments) and arguments[0] not in ("-h", "--help") and not wanted
    unknown = " ".join(arguments[: 2 if wanted else 1])
    if wrong or (wanted and not asked and len(arguments) > 1):
        near = difflib.get_close_matches(unknown, COMMANDS, n=1)
        next_step = f"; did you mean {near[0]}?" if near else f"\n\n{_overview(wanted or COMMANDS)}"
        print(f"l2s: no such command: {unknown}{next_step}", file=sys.stderr)
    else:
        print(_overview(wanted or COMMANDS))
    sys.exit(0 if asked and not wrong else 2)


def _parse(name: str, arguments: Sequence[str]) -> "Command":
    """A command by its name and what stands after it."""
    from l2s_jax.cli.parsing import parse

    return parse(COMMANDS[name], f"l2s {name}", arguments)


def _overview(names: Iterable[str]) -> str:
    lines = ["usage: l2s COMMAND ...    (l2s COMMAND --help lists its options)", ""]
    wrapper = textwrap.TextWrapper(shutil.get_terminal_size().columns, subsequent_indent=" " * 26)
    return "\n".join(lines + [wrapper.fill(f"  {name:<23} {summary(name)}") for name in names])
