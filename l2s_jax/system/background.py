"""Work that must never hold up or end the program that asks for it: a thread does it, thing by thing."""

import queue
import threading
from collections.abc import Callable


class Background:
    """Tasks in the order in which they are given; after the first that fails, no more are begun.

    The thread is a daemon: one that waits for a silent server does not keep the process alive.
    """

    def __init__(self, failed: Callable[[str], None]) -> None:
        """Begins with nothing to do.

        Args:
          failed: told once, by whichever thread finds it, why nothing more is done.
        """
        self._failed, self._told = failed, threading.Lock()
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="background")
        self._over = False
        self._thread.start()

    @property
    def going(self) -> bool:
        """Whether tasks are still begun."""
        return not self._over

    def add(self, task: Callable[[], None]) -> None:
        """Adds a task, and returns at once."""
        if self.going:
            self._tasks.put(task)

    def close(self, patience: float) -> None:
        """Waits until all is done or has failed, so many seconds at most."""
        self._tasks.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._give_up(f"it is not done after {patience:g} s")

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not self.going:
                continue
            try:
                task()
            except Exception as error:  # whatever another library raises
                self._give_up(" ".join(str(error).split()) or type(error).__name__)

    def _give_up(self, why: str) -> None:
        with self._told:
            if self._over:
                return
            self._over = True
        self._failed(why)
