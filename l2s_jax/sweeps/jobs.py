"""Runs of a sweep one after the other, or several at a time, each in a process with its share of the cores.

A step of a small network leaves part of a machine unused: on two cores two short runs side by side, a core
each, took 0.79 of the time of one after the other (benchmarks/README.md). Nothing heavy is imported here: a
process takes its share before JAX looks for cores.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from threading import Thread
from typing import Any, NamedTuple, Protocol, TypeVar

from l2s_jax.system.children import (
    end_with_parent,
    raise_for_guard,
    signals_come,
    signals_wait,
    started_since,
)
from l2s_jax.system.errors import UserError
from l2s_jax.system.stopping import Stopped, stop_requests

LOOK_SECONDS = 0.2
"""Between two looks at whether to stop."""

END_IF_IDLE = getattr(signal, "SIGUSR1", None)
"""Windows has none, and needs none: there SIGTERM ends a process whatever it does."""


class Queued(Protocol):
    """What has to be known of a run to put it in its turn."""

    @property
    def run(self) -> str:
        """Its name."""

    @property
    def waits_for(self) -> Collection[str]:
        """Names of the runs that it takes weights or pseudo-masks from."""


R = TypeVar("R", bound=Queued)


class ProcessKilled(UserError):
    """A process that trained was killed from outside; the state of its run was saved before.

    Attributes:
      jobs: how many there were at a time.
    """

    def __init__(self, jobs: int):
        self.jobs = jobs
        super().__init__(f"a process that trained was killed (out of memory? {jobs} at a time)", exit_code=1)


class Outcome(NamedTuple):
    """What became of a run: a result, or what it raised."""

    run: Any
    result: Any = None
    error: Exception | None = None


def in_turn(
    work: Callable[[R], Any], runs: Iterable[R], begin: Callable[[R], None]
) -> Generator[Outcome, None, None]:
    """Works on one run after the other, in this process. `begin` is told of each before."""
    for run in runs:
        begin(run)
        try:
            yield Outcome(run, work(run))
        except Exception as error:  # what it means for the others is for the caller to say
            yield Outcome(run, error=error)


def at_a_time(
    work: Callable[[R], Any], runs: Sequence[R], jobs: int, begin: Callable[[R], None]
) -> Generator[Outcome, None, None]:
    """Works on several runs at a time, each in a process of its own; none before those that it takes from.

    Processes end with this one, however it ends. Asked to stop (Ctrl-C, SIGTERM, an iteration that is left),
    it lets each run save its state first.

    Args:
      work: a function that other processes can import, or `functools.partial` of one.
      runs: in the order in which they are begun, those that others take from before those others.
      jobs: how many at a time.
      begin: told of each run before.

    Yields:
      Outcomes as they come.

    Raises:
      ProcessKilled: one was.
      Stopped: after the runs in hand have saved their state.
    """
    context = get_context("spawn")  # threads and libraries' state do not survive a fork
    shares = context.SimpleQueue()
    for cores in core_shares(jobs):
        shares.put(cores)
    others = active_children()
    waiting: list[R] = list(runs)
    going: dict[Future[Outcome], R] = {}
    pool = ProcessPoolExecutor(jobs, context, _settle, (shares,))
    started: list[Any] = []
    broken = False
    told = False  # once: a run in training obeys a second signal at once
    with stop_requests() as stop:
        try:
            while going or (waiting and not stop.is_set()):
                if stop.is_set() and not told:
                    told = True
                    _ask_to_stop(others)
                elif not stop.is_set():
                    for run in ready(waiting, going.values())[: jobs - len(going)]:
                        begin(run)
                        waiting.remove(run)
                        with signals_wait():
                            going[pool.submit(_attempt, work, run)] = run
                    started = started_since(others)
                for future in wait(going, LOOK_SECONDS, FIRST_COMPLETED).done:
                    del going[future]
                    outcome = future.result()
                    if not (stop.is_set() and isinstance(outcome.error, Stopped)):
                        yield outcome
        except BrokenProcessPool as error:
            broken = True
            if not stop.is_set():
                raise_for_guard([process for process in started if not process.is_alive()])
                raise ProcessKilled(jobs) from error
        except KeyboardInterrupt:  # a second Ctrl-C
            for process in started_since(others):
                process.kill()
            raise
        finally:
            if not told:
                _ask_to_stop(others)
            _shut(pool, started if broken else ())
        if stop.is_set():
            raise Stopped()


def ready(waiting: Sequence[R], going: Collection[R]) -> list[R]:
    """Those that wait for no other."""
    unfinished = {run.run for run in (*waiting, *going)}
    return [run for run in waiting if unfinished.isdisjoint(run.waits_for)]


def core_shares(jobs: int) -> list[set[int] | None]:
    """Cores for each of several processes, as many for each; None where a system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * jobs
    cores = sorted(os.sched_getaffinity(0))
    size = max(1, len(cores) // jobs)
    return [{cores[(i * size + k) % len(cores)] for k in range(size)} for i in range(jobs)]


def _settle(shares: Any) -> None:
    """Prepares a process. Ctrl-C is the parent's to act on; SIGTERM is heeded now or when a run is begun."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _Asked())
    if END_IF_IDLE is not None:
        signal.signal(END_IF_IDLE, _end_if_idle)
    signals_come()
    cores = shares.get()
    if cores is not None:
        os.sched_setaffinity(0, cores)
    os.environ["L2S_NO_BARS"] = "1"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU is shared
    end_with_parent()
    from l2s_jax.system.jax_setup import set_up_jax

    set_up_jax(compile_cache=None)


class _Asked:
    """A handler that remembers that a process was asked to stop while no run was at work in it."""

    def __init__(self) -> None:
        self.so = False

    def __call__(self, number: int, frame: Any) -> None:
        self.so = True


def _attempt(work: Callable[[R], Any], run: R) -> Outcome:
    """Works on a run in a process of its own; what it raises takes a form that survives the way back."""
    asked = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, _interrupt)  # a run in training puts its own handler in the place of it
        if isinstance(asked, _Asked) and asked.so:
            raise KeyboardInterrupt
        return Outcome(run, work(run))
    except KeyboardInterrupt:
        return Outcome(run, error=Stopped())
    except (UserError, OSError, MemoryError) as error:
        return Outcome(run, error=error)
    except Exception as error:
        return Outcome(run, error=RuntimeError(str(error) or type(error).__name__))
    finally:
        signal.signal(signal.SIGTERM, asked)


def _shut(pool: ProcessPoolExecutor, idle_ones_end: Collection[Any]) -> None:
    """Waits for a pool's processes to end.

    When one was killed, `concurrent.futures` sends the others SIGTERM and waits. That lets a run save its
    state; but a process without a run only remembers it, and from Python 3.12 on nothing else ends it.
    """
    closing = Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
    closing.start()
    while closing.is_alive():
        for process in idle_ones_end:
            with contextlib.suppress(ProcessLookupError):
                if END_IF_IDLE is not None and process.is_alive():
                    os.kill(process.pid, END_IF_IDLE)
        closing.join(LOOK_SECONDS)


def _end_if_idle(number: int, frame: Any) -> None:
    """Ends a process that has no run: its handler for SIGTERM is the one that remembers."""
    if isinstance(signal.getsignal(signal.SIGTERM), _Asked):
        os._exit(0)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _ask_to_stop(others: Collection[Any]) -> None:
    for process in started_since(others):
        process.terminate()
