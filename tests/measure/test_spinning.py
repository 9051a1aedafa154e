"""Waiting for threads that spin after a call."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlbench.measure import spinning, wait_for_threads

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not say who runs")


@contextmanager
def spinning_thread(until: threading.Event) -> Iterator[threading.Thread]:
    """Run a thread that computes until then, mostly without the interpreter's lock: who waits for that does not run."""
    data = bytes(1 << 25)

    def spin() -> None:
        while not until.is_set():
            hashlib.sha256(data)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield thread
    finally:
        until.set()
        thread.join()


@LINUX
def test_the_wait_is_as_long_as_a_thread_spins() -> None:
    """It ends after the thread, which a timer stops, and long before its own end."""
    stop = threading.Event()
    timer = threading.Timer(0.1, stop.set)
    with spinning_thread(stop):
        timer.start()
        wait_for_threads(60.0)
        assert stop.is_set()


@LINUX
def test_a_thread_that_never_ends_is_not_waited_for() -> None:
    """The wait has an end of its own."""
    stop = threading.Event()
    with spinning_thread(stop) as thread:
        wait_for_threads(0.02)
        assert thread.is_alive()


@LINUX
def test_a_thread_that_sleeps_does_not_run() -> None:
    """The wait is over while it is still there."""
    stop = threading.Event()
    sleeper = threading.Thread(target=stop.wait)
    sleeper.start()
    wait_for_threads(60.0)
    state = spinning._state(Path(f"/proc/self/task/{sleeper.native_id}"))
    stop.set()
    sleeper.join()
    assert state == "S"


@LINUX
def test_a_thread_that_has_ended_does_not_run() -> None:
    """It may end while its state is read."""
    assert spinning._state(Path("/proc/self/task/0")) == ""


def test_where_the_system_does_not_say_who_runs_there_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as long as threads may spin."""
    slept: list[float] = []
    monkeypatch.setattr(spinning, "_TASKS", Path("no such folder"))
    monkeypatch.setattr(time, "sleep", slept.append)
    wait_for_threads()
    assert slept == [spinning.SPIN_S]
