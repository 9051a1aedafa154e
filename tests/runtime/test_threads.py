"""Several threads: they share the rows of a call, end with the runner, and leave BLAS as it was."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from mlbench import OptimizedRunner, mlp
from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.compiler.schedule.schedule import BLAS, ONE, TILES, OpSchedule, Schedule
from mlbench.errors import CrewError, MissingExtraError, ModelError
from mlbench.runtime import check_result
from mlbench.runtime.threads import ThreadPool
from support.strategies import batch_of

MODEL = mlp(20, 40, 12)


def shared(threads: int = 3, batch: int = 100, threading_: str = TILES, tile_rows: int | None = 16) -> OptimizedRunner:
    """Return a runner whose rows are shared."""
    return OptimizedRunner(MODEL, batch, schedule=Schedule(tile_rows, (OpSchedule(), OpSchedule()), threading_), threads=threads)


def pool_threads() -> set[threading.Thread]:
    """Return the threads of all pools; those of earlier tests may just be ending."""
    return {each for each in threading.enumerate() if each.name == "mlbench-pool"}


def blas_threads() -> set[int]:
    """Return how many threads each BLAS of this process uses."""
    pools = importlib.import_module("threadpoolctl").threadpool_info()
    return {int(pool["num_threads"]) for pool in pools if pool["user_api"] == "blas"}


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 33, 34, 35, 67, 99, 100])
def test_rows_are_shared(batch: int) -> None:
    """Fewer rows than threads, uneven shares, every row once: what float64 gives, into the arena and into `out`."""
    runner, x = shared(), batch_of(batch, 20)
    check_result(MODEL, x, runner.run(x))
    check_result(MODEL, x, runner.run(x.astype(np.float64)))
    out = np.empty((batch, 12), np.float32)
    assert runner.run(x, out) is out
    check_result(MODEL, x, out)


@pytest.mark.parametrize("threading_", [ONE, BLAS, TILES])
def test_blas_is_left_as_it_was(threading_: str) -> None:
    """During a call BLAS has one thread, or all of them where it shares the products; afterwards what it had before."""
    seen: list[set[int]] = []
    runner = shared(2, 8, threading_)
    before = blas_threads()
    lane = runner._engine._executor.lanes[0]
    real = lane.run

    def spied(*given: Any, **options: Any) -> None:
        seen.append(blas_threads())
        real(*given, **options)

    lane.run = spied  # type: ignore[method-assign]
    runner.run(batch_of(8, 20))
    assert seen == [{2 if threading_ == BLAS else 1}]
    assert blas_threads() == before


def test_threads_end_with_the_runner() -> None:
    """Two threads wait while a runner of three lives, and none when it is gone."""
    before = pool_threads()
    runner = shared()
    runner.run(batch_of(100, 20))
    mine = pool_threads() - before
    assert len(mine) == 2
    del runner
    gc.collect()
    deadline = time.monotonic() + 60
    while mine & pool_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not mine & pool_threads()


@pytest.mark.parametrize("place", [0, 1, 2], ids=["calling-thread", "second", "third"])
def test_an_exception_of_a_thread_reaches_the_caller(place: int) -> None:
    """Whoever fails, the others finish, the caller gets the error, and the next call runs."""
    runner, x = shared(), batch_of(100, 20)
    runner.run(x)
    lane = runner._engine._executor.lanes[place]
    real = lane.run

    def broken(*_: object, **__: object) -> None:
        raise FloatingPointError("broken")

    lane.run = broken  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError, match="broken"):
        runner.run(x)
    lane.run = real  # type: ignore[method-assign]
    check_result(MODEL, x, runner.run(x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_is_survived_with_an_error() -> None:
    """The child says what to do instead of waiting for ever; the parent goes on."""
    runner, x = shared(), batch_of(100, 20)
    runner.run(x)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            runner.run(x)
        except CrewError as error:
            code = 0 if "make the runner in the process that uses it" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    check_result(MODEL, x, runner.run(x))


def test_an_input_over_the_output_is_copied_first() -> None:
    """Threads would overwrite what others still read: the result is still right."""
    runner = OptimizedRunner(mlp(6, 8, 6), 90, schedule=Schedule(None, (OpSchedule(), OpSchedule()), TILES), threads=3)
    x = batch_of(90, 6)
    expected = runner.run(x).copy()
    room = np.zeros((91, 6), np.float32)
    room[1:] = x
    np.testing.assert_allclose(runner.run(room[1:], room[:-1]), expected, rtol=1e-6, atol=1e-6)
    again = runner.run(runner.run(x, None) * 0 + x)
    np.testing.assert_allclose(again, expected, rtol=1e-6, atol=1e-6)


def test_memory_of_all_threads_counts() -> None:
    """Every thread's arena is the runner's memory."""
    one = OptimizedRunner(MODEL, 34, schedule=Schedule(16, (OpSchedule(), OpSchedule())))
    without_output = one.memory.arena_bytes - 34 * 12 * 4
    assert shared().memory.arena_bytes == 3 * without_output + 100 * 12 * 4 + ALIGNMENT_BYTES


def test_one_thread_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without threadpoolctl a runner of one thread runs, and one of two says which extra is missing."""
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    OptimizedRunner(MODEL, 8).run(batch_of(8, 20))
    with pytest.raises(MissingExtraError, match="setting the threads of BLAS needs threadpoolctl"):
        shared(2)


@pytest.mark.parametrize("threads", [0, -1, 1.5, None])
def test_threads_are_whole_numbers(threads: Any) -> None:  # whatever a caller may give
    """Anything else is refused with what was found."""
    with pytest.raises(ModelError, match=r"threads is .*; expected a whole number of 1 or more"):
        OptimizedRunner(MODEL, 8, threads=threads)


def test_a_pool_of_one_runs_on_the_calling_thread() -> None:
    """With nobody hired the one piece of work runs here."""
    ran: list[threading.Thread] = []
    ThreadPool(1, 1).run([lambda: ran.append(threading.current_thread())])
    assert ran == [threading.current_thread()]
