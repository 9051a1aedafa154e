"""Waiting for threads that spin after a call."""

from __future__ import annotations

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
    """Run a thread that spins until then."""

    def spin() -> None:
        while not until.is_set():
            pass

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
def test_without_other_threads_there_is_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that sleep are not waited for either."""
    slept: list[float] = []
    stop = threading.Event()
    sleeper = threading.Thread(target=stop.wait)
    sleeper.start()
    wait_for_threads(60.0)  # until it sleeps
    monkeypatch.setattr(time, "sleep", slept.append)
    wait_for_threads()
    stop.set()
    sleeper.join()
    assert slept == []


def test_where_the_system_does_not_say_who_runs_there_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as long as threads may spin."""
    slept: list[float] = []
    monkeypatch.setattr(spinning, "_TASKS", Path("no such folder"))
    monkeypatch.setattr(time, "sleep", slept.append)
    wait_for_threads()
    assert slept == [spinning.SPIN_S]
