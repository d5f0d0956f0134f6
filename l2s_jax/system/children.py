"""Processes that this one starts: they end with it, however it ends, and start none by accident."""

import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, current_process, parent_process
from typing import Any

from l2s_jax.system.c_library import c_library
from l2s_jax.system.errors import UserError

NO_GUARD = 77
"""Exit code of a process whose main module would start processes of its own while it is imported."""

_PR_SET_PDEATHSIG = 1  # sys/prctl.h


def end_with_parent() -> None:
    """Ends this process when its parent ends, killed or not; to be called where it starts.

    A thread waits for the parent's end of a pipe to close. On Linux the kernel is asked too, since a library
    that never lets go of the interpreter would keep the thread from running.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()
    if sys.platform.startswith("linux"):
        prctl = getattr(c_library(), "prctl", None)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def started_since(others: Collection[Any]) -> list[Any]:
    """Processes of this one that are not among others."""
    return [process for process in active_children() if process not in others]


@contextmanager
def signals_wait() -> Iterator[None]:
    """Processes that are started in the block have SIGTERM blocked until they call `signals_come`.

    One that is asked to stop while it still starts would die of it, or miss it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def signals_come() -> None:
    """Lets SIGTERM through that `signals_wait` held back."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def require_main_guard() -> None:
    """Ends a process that comes here while it is being started: it imports a script without a main guard.

    To be called before work that starts processes. Its parent says what to do (`raise_for_guard`).
    """
    if getattr(current_process(), "_inheriting", False):
        os._exit(NO_GUARD)


def raise_for_guard(processes: Collection[Any]) -> None:
    """Says what to do where processes that were started have met `require_main_guard`.

    Raises:
      UserError: they have.
    """
    for process in processes:
        process.join(timeout=1)
    if any(process.exitcode == NO_GUARD for process in processes):
        raise UserError(
            'a script that uses several processes must call this below `if __name__ == "__main__":`, since '
            "each process imports the script first. Or use one process: workers=1, jobs=1"
        )
