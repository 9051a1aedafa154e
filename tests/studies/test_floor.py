"""The peaks of this machine, and floors made of them."""

from __future__ import annotations

import inspect
import time

import numpy as np
import pytest

import mlbench.compiler.x86.loops
import mlbench.studies.floor
from mlbench.compiler.x86 import find
from mlbench.compiler.x86.loops import multiply_add_loop, read_loop
from mlbench.measure.peaks import LOOPS, NUMPY, Level, Peaks
from mlbench.studies.cases import digits_cell, mlp_cell, sweep
from mlbench.studies.floor import floor_of_cell, measure_peaks, peaks_here
from support.machine_code import guarded

PEAKS = Peaks(100e9, (Level("L1", 32768, 200e9), Level("L2", 2**20, 80e9), Level("memory", 0, 10e9)), 30e-9, LOOPS)
needs_code = pytest.mark.skipif(find()[0] is None, reason="no code can be generated here")


def test_peaks_of_this_machine() -> None:
    """They are measured in a process of its own, and every level is at least as fast as those beyond it."""
    found = measure_peaks()
    assert found.source == (LOOPS if find()[0] is not None else NUMPY)
    rates = [each.bytes_per_s for each in found.levels]
    assert rates == sorted(rates, reverse=True)
    assert found.flop_per_s > 0
    assert found.call_s > 0


def test_without_generated_code_numpy_reaches_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the peaks are those of NumPy's calls, and say so."""
    monkeypatch.setattr(mlbench.studies.floor, "find", lambda: (None, "not here"))
    monkeypatch.setattr(mlbench.studies.floor, "fastest_s", lambda call: 1e-3)
    monkeypatch.setattr(mlbench.studies.floor, "GEMM_SIZES", ((8, 8, 8), (16, 16, 16)))
    found = peaks_here()
    assert found.source == NUMPY
    assert found.flop_per_s == pytest.approx(2 * 16**3 / 1e-3)


@needs_code
@pytest.mark.parametrize("streams", [1, 2, 4])
def test_the_loops_do_their_work(streams: int) -> None:
    """Twice the turns and twice the repeats end, whatever they read, up to the last byte and not beyond."""
    vectors, _ = find()
    assert vectors is not None
    adding, reading = multiply_add_loop(vectors), read_loop(vectors, streams)
    assert adding.work == 2 * vectors.lanes * 48
    buffer = guarded(np.ones(reading.work, np.float32))  # four turns
    adding.run(1000)
    reading.run(buffer.ctypes.data, 4, 3)
    assert (buffer == 1).all()
    start = time.perf_counter()
    adding.run(1)
    assert time.perf_counter() > start


def test_the_floor_contains_no_code_under_test() -> None:
    """Neither the floor nor its loops import a runner, a pass, or the code of a product."""
    for module in (mlbench.studies.floor, mlbench.compiler.x86.loops):
        source = inspect.getsource(module)
        for name in ("runtime", "passes", "products", "blocks", "program", "optimized"):
            assert f"import {name}" not in source
            assert f"mlbench.{name}" not in source
            assert f"mlbench.compiler.x86.{name}" not in source


def test_floors_of_the_sweep() -> None:
    """Small batches are bound by reading or by the call, large ones by arithmetic; the time grows with the work."""
    floors = {cell.id: floor_of_cell(cell, PEAKS) for cell in (digits_cell(), *sweep())}
    assert floors["b512-h1024"].bound == "arithmetic"
    assert floors["b512-h1024"].seconds == pytest.approx(30e-9 + 2 * 512 * (64 * 1024 + 1024 * 10) / 100e9)
    assert floors["b1-h1024"].bound == "reading from L2"
    assert floor_of_cell(mlp_cell(1, (8,)), PEAKS).bound == "an empty call"
