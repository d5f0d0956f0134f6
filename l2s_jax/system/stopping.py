"""Being asked to stop: Ctrl-C and SIGTERM as a flag, and the error that says that it was heeded."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from l2s_jax.system.errors import UserError


class Stopped(UserError):
    """Ctrl-C or SIGTERM: the state was saved first.

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


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns Ctrl-C and SIGTERM into a flag that a loop looks at; a second is obeyed."""
    stop = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals reach the main thread only
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
