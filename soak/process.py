"""One command in a process of its own: killed when its time is over, watched for what it leaves."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

COMMAND = (sys.executable, "-c", "from l2s_jax.cli.app import main; main()")
PATIENCE_S = 600
"""A command that takes longer hangs."""


class Outcome(NamedTuple):
    """What a command did."""

    code: int | None  # None: it was killed by us
    seconds: float
    peak_mib: float
    output: str
    left: int  # processes of its session that outlived it by ten seconds
    hung: bool = False


def run(
    arguments: Sequence[str | Path],
    *,
    stop_after: float | None = None,
    stop_with: signal.Signals = signal.SIGKILL,
    before: Callable[[], None] | None = None,
    environment: dict[str, str] | None = None,
) -> Outcome:
    """Runs `l2s` with these arguments.

    Args:
      arguments: as on a command line.
      stop_after: seconds until the signal; none is sent to a command that ends before.
      stop_with: SIGKILL, SIGTERM, SIGINT or SIGHUP; to the command alone, as a user or a batch system does.
      before: runs in the child, to set limits.
      environment: variables beside those of this process.
    """
    began = time.monotonic()
    child = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: _begin(before),
        env={**os.environ, **(environment or {})},
    )
    stopped = hung = False
    try:
        output, _ = child.communicate(timeout=stop_after if stop_after is not None else PATIENCE_S)
    except subprocess.TimeoutExpired:
        if stop_after is None:
            hung = True
            os.killpg(child.pid, signal.SIGKILL)
        else:
            stopped = True
            child.send_signal(stop_with)
        try:
            output, _ = child.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            hung = True
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
    left = _left_of(child.pid)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    killed = stopped and stop_with == signal.SIGKILL and child.returncode == -signal.SIGKILL
    text = output.decode("utf-8", "replace")
    return Outcome(None if killed else child.returncode, time.monotonic() - began, peak, text, left, hung)


def _begin(before: Callable[[], None] | None) -> None:
    """In the child: signals as a terminal's shell leaves them, though `nohup` or `&` has us ignore some."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if before is not None:
        before()


def _left_of(session: int, patience_s: float = 10) -> int:
    """Processes of a session whose leader has ended; they are given time, then counted and killed."""
    end = time.monotonic() + patience_s
    while True:
        left = [process for process in psutil.process_iter() if _session(process.pid) == session]
        if not left or time.monotonic() > end:
            break
        time.sleep(0.1)
    for process in left:
        process.kill()
    return len(left)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
