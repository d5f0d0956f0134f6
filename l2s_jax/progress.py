"""Progress of long work: bar, rate and time left on a terminal, silence elsewhere."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None, unit: str = "it") -> Iterator[T]:
    """Yields `items`, drawing a bar on standard error where that is a terminal.

    Args:
      items: what to go through.
      description: shown before the bar.
      total: the number of items, where `items` has no length.
      unit: what one item is, for the rate ("patches").
    """
    if not sys.stderr.isatty():
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
        task = bar.add_task(description, total=length, rate="")
        for item in items:
            yield item
            speed = bar.tasks[0].speed
            bar.update(task, advance=1, rate=f"{speed:.1f} {unit}/s" if speed else "")
