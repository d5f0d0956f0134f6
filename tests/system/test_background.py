"""Tasks of a thread that neither holds up nor ends the program."""

import threading
import time

from l2s_jax.system.background import Background


def fail():
    raise OSError("no route\nto host")


def test_tasks_are_done_in_order():
    done, told = [], []
    background = Background(told.append)
    for number in range(100):
        background.add(lambda number=number: done.append(number))
    background.close(10)
    assert done == list(range(100)) and told == [] and background.going


def test_after_a_failure_nothing_more_is_begun_and_it_is_said_once():
    done, told = [], []
    background = Background(told.append)
    for task in (lambda: done.append(1), fail, lambda: done.append(2), fail):
        background.add(task)
    background.close(10)
    assert done == [1] and told == ["no route to host"] and not background.going


def test_a_task_that_never_ends_is_left_behind():
    told, forever = [], threading.Event()
    background = Background(told.append)
    background.add(forever.wait)
    begun = time.monotonic()
    background.add(lambda: told.append("not begun"))
    assert time.monotonic() - begun < 1
    background.close(0.2)
    assert time.monotonic() - begun < 3 and told == ["it is not done after 0.2 s"]
    forever.set()
    time.sleep(0.1)
    assert told == ["it is not done after 0.2 s"]
