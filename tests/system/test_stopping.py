"""A request to stop is never lost, whenever it comes."""

import signal
import threading

import pytest

from l2s_jax.system.stopping import SIGNALS, Stopped, interrupts_later, stop_requests


@pytest.fixture(autouse=True)
def handlers_are_put_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_each_signal_is_a_flag_and_the_second_is_obeyed(number):
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        signal.raise_signal(number)
        assert stop.is_set()
        signal.raise_signal(number)


def test_what_was_asked_for_at_the_very_end_is_said_when_the_block_ends():
    with pytest.raises(Stopped, match="stopped") as stopped, stop_requests():
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.exit_code == 130


def test_an_error_of_the_block_is_not_covered_up():
    with pytest.raises(ValueError), stop_requests():
        signal.raise_signal(signal.SIGTERM)
        raise ValueError


def test_blocks_within_each_other_share_the_flag():
    """In an inner block, between two, and before one: all know it, and the outer one says it."""
    with pytest.raises(Stopped), stop_requests() as outer:
        with stop_requests() as inner:
            assert inner is outer
        signal.raise_signal(signal.SIGINT)
        with stop_requests() as later:
            assert later.is_set()


def test_nohup_is_heeded():
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("no SIGHUP here")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_get_a_flag_of_their_own():
    def work():
        with stop_requests() as stop, interrupts_later():
            assert not stop.is_set()
        done.append(True)

    done = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_an_interrupt_waits_for_the_end_of_the_block():
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts_later():
        signal.raise_signal(signal.SIGINT)
        reached.append(True)
    assert reached
    with pytest.raises(KeyboardInterrupt), interrupts_later():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("a second signal is obeyed at once")


def test_a_flag_is_set_by_what_waited():
    with pytest.raises(Stopped), stop_requests() as stop:
        with interrupts_later():
            signal.raise_signal(signal.SIGTERM)
            assert not stop.is_set()
        assert stop.is_set()
