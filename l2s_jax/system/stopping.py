"""Being asked to stop: signals as a flag that is never lost, and the error that says that it was heeded."""

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from l2s_jax.system.errors import UserError

Handler = Callable[[int, FrameType | None], None]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, what batch systems and containers send, and what a closed terminal sends; Windows has no SIGHUP."""


REPEAT_S = 0.05


class Stopped(UserError):
    """Ctrl-C, SIGTERM or SIGHUP: the state was saved first.

    Attributes:
      folder: what can be gone on with, where it is known.
      step: the last that was taken.
      steps: how many there are.
    """

    def __init__(self, folder: Path | None = None, step: int | None = None, steps: int | None = None):
        self.folder, self.step, self.steps = folder, step, steps
        super().__init__(
            "stopped" if step is None else f"stopped after step {step} of {steps}", exit_code=130
        )


class _Ask:
    """The handler that sets the flag; a second signal is obeyed at once."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.stop.is_set():
            raise KeyboardInterrupt
        self.stop.set()


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns Ctrl-C, SIGTERM and SIGHUP into a flag that a loop looks at; a second is obeyed.

    Within another such block it is the other's flag: what was asked for in an inner block, or before it
    began, is known in the outer one.

    Raises:
      Stopped: at the end of the outermost block, where the flag was set and nobody has raised anything: what
        comes after the block is not begun.
    """
    if threading.current_thread() is not threading.main_thread():
        yield threading.Event()  # signals reach the main thread only
        return
    handler = signal.getsignal(signal.SIGINT)
    if isinstance(handler, _Ask):
        yield handler.stop
        return
    ask = _Ask()
    with _handlers({number: ask for number in SIGNALS if not _ignored(number)}):
        yield ask.stop
    if ask.stop.is_set():
        raise Stopped()


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Keeps a signal until the block has ended: libraries take an exception in their midst for damage.

    For what takes seconds at most. A second signal is obeyed at once. Signals that end the process without
    asking it do so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept: list[tuple[int, FrameType | None]] = []

    def keep(number: int, frame: FrameType | None) -> None:
        if kept:
            raise KeyboardInterrupt
        kept.append((number, frame))

    before = {number: signal.getsignal(number) for number in SIGNALS}
    callable_ones = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        with _handlers(dict.fromkeys(callable_ones, keep)):
            yield
    finally:
        for number, frame in kept:
            callable_ones[number](number, frame)


@contextmanager
def interrupts_repeated() -> Iterator[None]:
    """Repeats a Ctrl-C that Python could not hand on until somebody receives it.

    `KeyboardInterrupt` is raised wherever the main thread is. In a finaliser or in a callback of the garbage
    collector, of which JAX has one, Python prints and forgets it.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            before(unraisable)
            return
        again = threading.Timer(REPEAT_S, _interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _interrupt_main() -> None:
    """Ctrl-C once more; a system call that waits is woken, where the system can do that."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _ignored(number: int) -> bool:
    """Whether the process was started with a closed terminal ignored, as nohup does."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN


@contextmanager
def _handlers(handlers: dict[int, Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: put there by something else than Python, which cannot put it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
