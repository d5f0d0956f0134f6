"""What the processes of some tests do; imports little, since each process imports it."""

import os
import time
from pathlib import Path

from l2s_jax.slides.reading import read_window
from l2s_jax.system.errors import UserError


def square(number):
    """Fails where it is told to, in every way there is."""
    if number == 3:
        raise UserError("three.svs cannot be read")
    if number == 4:
        raise ZeroDivisionError("four")
    if number == 5:
        raise MemoryError
    return number * number


def die_at(fatal, number):
    """A decoder that crashes, or a process killed for memory."""
    if number == fatal:
        os._exit(1)
    time.sleep(0.05)
    return number


def platform(number):
    return os.environ.get("JAX_PLATFORMS")


def window_mean(slide, row):
    return float(read_window(slide, (row, 50), (64, 64), 1.1).mean())


def toil(folder, number):
    """Leaves a file PID.begun and is busy for a minute, every other one without letting go of Python."""
    (Path(folder) / f"{os.getpid()}.begun").touch()
    if number % 2:
        pow(3, 10**8)
    time.sleep(60)
