"""Work for tests of runs at a time: it has to stand in a module that other processes can import."""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

PASSING = ["seconds", "finished"]
"""Columns of results.csv that differ from one time to the next."""


class Toy(NamedTuple):
    """A run of no consequence, and what it is to do."""

    run: str
    does: str = "writes"
    waits_for: tuple[str, ...] = ()


class Unportable(Exception):
    """Cannot be brought to another process: it is made from two arguments and keeps one."""

    def __init__(self, one, two):
        super().__init__(one + two)


def toil(folder, toy):
    """Leaves a file NAME.begun, then does what it is told; gives when it began and ended and what it saw."""
    began = time.monotonic()
    (Path(folder) / f"{toy.run}.begun").write_text(str(os.getpid()))
    if toy.does == "fails":
        raise Unportable("no luck", " today")
    if toy.does == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if toy.does == "waits":
        try:
            time.sleep(120)
        except KeyboardInterrupt:
            (Path(folder) / f"{toy.run}.saved").touch()
            raise
    if toy.does.startswith("meets "):
        other = Path(folder) / f"{toy.does.removeprefix('meets ')}.begun"
        while not other.exists() and time.monotonic() - began < 120:
            time.sleep(0.01)
    time.sleep(0.5)
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return began, time.monotonic(), cores
