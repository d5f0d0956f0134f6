"""One command in a process of its own: killed when its time is over, watched for what it leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

COMMAND = (sys.executable, "-c", "from l2s_jax.cli.start import main; main()")
PATIENCE_S = 600
"""A command that takes longer hangs."""


class Outcome(NamedTuple):
    """What a command did."""

    code: int | None  # None: it was killed by us
    seconds: float
    peak_mib: float  # of the command's own process
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
    peak, ended = [0.0], threading.Event()
    watch = threading.Thread(target=_watch, args=(child.pid, peak, ended), daemon=True)
    watch.start()
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
    ended.set()
    watch.join()
    left = _left_of(child.pid)
    killed = stopped and stop_with == signal.SIGKILL and child.returncode == -signal.SIGKILL
    text = output.decode("utf-8", "replace")
    return Outcome(None if killed else child.returncode, time.monotonic() - began, peak[0], text, left, hung)


def peak_mib(pid: int | str = "self") -> float:
    """The most memory that a process has held since its program began, 0 where it has ended.

    `getrusage` would count what its parent held when it was forked.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def _watch(pid: int, peak: list[float], ended: threading.Event) -> None:
    """Keeps the most that a command has held, itself alone, until it has ended."""
    while not ended.wait(0.05):
        peak[0] = max(peak[0], peak_mib(pid))


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
