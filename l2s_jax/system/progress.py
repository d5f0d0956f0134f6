"""Progress of long work: bar, rate and time left on a terminal, silence elsewhere."""

import os
import sys
from collections.abc import Generator, Iterable, Sized
from typing import TypeVar

T = TypeVar("T")


def track(
    items: Iterable[T], description: str, total: int | None = None, unit: str = "it", done: int = 0
) -> Generator[T, None, None]:
    """Yields `items`, drawing a bar on standard error where that is a terminal and L2S_NO_BARS is not set.

    Args:
      items: what to go through.
      description: shown before the bar.
      total: the number of items, where `items` has no length.
      unit: what one item is, for the rate ("patches").
      done: how many of the total were done before these.
    """
    if not sys.stderr.isatty() or os.environ.get("L2S_NO_BARS"):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        length = total if total is not None else len(items) if isinstance(items, Sized) else None
        task = bar.add_task(description, total=length, completed=done, rate="")
        for item in items:
            yield item
            speed = bar.tasks[0].speed
            bar.update(task, advance=1, rate=_rate(speed, unit) if speed else "")


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _rate(speed: float, unit: str) -> str:
    return f"{speed:.1f} {unit}/s" if speed >= 0.1 else f"{speed * 3600:.1f} {unit}/h"
