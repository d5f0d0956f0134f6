"""The same function on many items: in this process, in several, or on a Dask cluster.

An item that fails does not stop the others. A worker that dies (killed for memory, crashed in a decoder)
takes only the item with it that kills it a second time, alone.
"""

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import Any, NamedTuple, TypeVar

from l2s_jax.system.children import (
    end_with_parent,
    raise_for_guard,
    require_main_guard,
    started_since,
)
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.resources import available_memory, usable_cores

T = TypeVar("T")

GIB_A_WORKER = 2.0
"""Memory that one slide may take: its picture at the working scale, stains as float32, a few copies."""

CONNECT_SECONDS = 20


class Outcome(NamedTuple):
    """What became of one item: a result, or the message of its failure."""

    number: int  # of the item
    result: Any = None
    error: str = ""


def default_workers() -> int:
    """As many as there are cores for this process and memory for their slides, in its container too."""
    return max(1, min(usable_cores(), int(available_memory() / 2**30 / GIB_A_WORKER)))


def run_all(
    work: Callable[[T], Any],
    items: Sequence[T],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    description: str = "slides",
) -> list[Outcome]:
    """Applies `work` to every item.

    Args:
      work: a function that other processes can import (or `functools.partial` of one).
      items: what it is applied to; must be picklable where other processes are used.
      workers: processes; 1 works in this one. By default `default_workers()`.
      scheduler: address of a Dask scheduler whose workers are used instead. They need this package and the
        same paths.
      description: of the progress bar.

    Returns:
      One outcome an item, in their order.

    Raises:
      UserError: `workers` is below 1, Dask is not installed or cannot be reached, or a script without a main
        guard asks for several.
    """
    require_main_guard()
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: expected 1 or more")
    number = min(workers or default_workers(), len(items))
    if scheduler is not None:
        outcomes = _on_dask(work, items, scheduler)
    elif number <= 1:
        outcomes = (_outcome(work, item, i) for i, item in enumerate(items))
    else:
        outcomes = _in_processes(work, items, number)
    done = list(track(outcomes, description, total=len(items), unit="slides"))
    return sorted(done, key=lambda outcome: outcome.number)


def _outcome(work: Callable[[T], Any], item: T, number: int) -> Outcome:
    """Runs one item here; whatever it raises becomes a message."""
    try:
        return Outcome(number, result=work(item))
    except UserError as error:
        return Outcome(number, error=str(error))
    except MemoryError:
        return Outcome(number, error="out of memory. Use fewer workers, or a coarser scale")
    except Exception as error:  # a fault of ours in one slide must not lose the others
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            number,
            error=f"unexpected {type(error).__name__}: {error} ({where.filename}:{where.lineno}). This is a "
            "bug; please report it with this line",
        )


def _prepare_process() -> None:
    """Keeps a process's JAX off the accelerator: several would fight for its memory."""
    os.environ["JAX_PLATFORMS"] = "cpu"


def _prepare_child() -> None:
    _prepare_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    end_with_parent()


def _in_processes(work: Callable[[T], Any], items: Sequence[T], workers: int) -> Iterator[Outcome]:
    """Spawned, not forked: threads and libraries' state do not survive a fork."""
    left = dict(enumerate(items))
    while left:
        for outcome in _pool(work, dict(left), workers):
            del left[outcome.number]
            yield outcome
        # A process died, and with it the pool. It worked on one of the first items left, since they are begun
        # in order; which one shows when each is alone.
        for number in list(left)[:workers]:
            died = "the process that worked on it was killed (out of memory?). Use fewer workers"
            yield next(_pool(work, {number: left.pop(number)}, 1), Outcome(number, error=died))


def _pool(work: Callable[[T], Any], items: dict[int, T], workers: int) -> Iterator[Outcome]:
    """Outcomes as they come; those that a dying process took with it are missing."""
    others = active_children()
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _prepare_child)
    futures = []
    try:
        with contextlib.suppress(BrokenProcessPool):  # before all are submitted
            for number, item in items.items():
                futures.append(pool.submit(_outcome, work, item, number))
        processes = started_since(others)
        for future in as_completed(futures):
            with contextlib.suppress(BrokenProcessPool):
                yield future.result()
        raise_for_guard([process for process in processes if not process.is_alive()])
    except BaseException:  # Ctrl-C, or nobody asks for the rest
        for process in started_since(others):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _on_dask(work: Callable[[T], Any], items: Sequence[T], address: str) -> Iterator[Outcome]:
    try:
        import distributed
    except ImportError as error:
        raise UserError("--scheduler needs Dask: pip install 'l2s-jax[dask]'") from error
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"no Dask scheduler answers at {address!r} ({error}). Start one with `dask scheduler`, and "
            "workers with `dask worker ADDRESS`, and give its address, such as tcp://10.0.0.1:8786"
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise UserError(f"the Dask scheduler at {address} has no workers: start `dask worker {address}`")
        client.run(_prepare_process)
        futures = {
            client.submit(_outcome, work, item, number, pure=False): number
            for number, item in enumerate(items)
        }
        for future in distributed.as_completed(futures, loop=client.loop):
            if future.status == "finished":
                yield future.result()
            else:
                yield Outcome(futures[future], error=f"lost on the cluster: {future.exception()}")
