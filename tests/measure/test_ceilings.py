"""Ceilings under a clock that makes every call take a second, and bandwidth between the sizes it was measured at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from mlbench.measure import Caches
from mlbench.measure.ceilings import LEAST_REPEATS, Rate, copy_sizes, measure_ceilings, rate_at
from mlbench.measure.peaks import LOOPS, NUMPY, Level, Peaks, find_peaks, floor_of, read_sizes

KB, MB = 1024, 1024**2
CACHES = Caches(48 * KB, 2 * MB, 480 * MB)
PEAKS = Peaks(100e9, (Level("L1", 32 * KB, 200e9), Level("L2", 544 * KB, 80e9), Level("memory", 0, 10e9)), 30e-9, LOOPS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the sizes that take long to allocate."""
    monkeypatch.setattr("mlbench.measure.ceilings.LARGE_BYTES", (32 * MB,))


def test_ceilings_are_work_over_the_fastest_time(small: None) -> None:
    """Where every reading of the clock is a second after the last one, a call takes one, and a rate is the work of a call."""
    ticks = iter(range(10**6))
    found = measure_ceilings(PEAKS, lambda: float(next(ticks)), CACHES)
    assert found.gemm_flop_per_s == 2.0 * 1024**3
    assert found.copy == tuple(Rate(size, float(size)) for size in (24 * KB, 256 * KB, MB, 8 * MB, 32 * MB))
    assert found.peaks == PEAKS
    assert (found.ufunc_call_s, found.dot_call_s) == (1.0, 1.0)


def test_a_copy_touches_what_its_rate_says(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a copy is that of source and target together, so that each of them is half of it."""
    halves: list[int] = []

    def copy(size: int) -> Callable[[], object]:
        halves.append(size)
        return int

    monkeypatch.setattr("mlbench.measure.ceilings._copy", copy)
    ticks = iter(range(10**6))
    found = measure_ceilings(PEAKS, lambda: float(next(ticks)), CACHES)
    assert [2 * half for half in halves] == [each.size_bytes for each in found.copy]


def test_the_shortest_batch_counts(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disturbance in some of the batches does not lower a ceiling: the shortest counts."""
    readings: list[float] = []

    def clock() -> float:
        slow = len(readings) % 5 != 0
        readings.append((readings[-1] if readings else 0.0) + (10.0 if slow else 2.0))
        return readings[-1]

    assert measure_ceilings(PEAKS, clock, CACHES).ufunc_call_s == 2.0


def test_long_calls_are_repeated_less_often(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of a second are measured LEAST_REPEATS times, so that slow machines wait no minutes."""
    calls: list[int] = []
    monkeypatch.setattr("mlbench.measure.ceilings._maximum", lambda size: lambda: calls.append(size))
    ticks = iter(range(10**6))
    measure_ceilings(PEAKS, lambda: float(next(ticks)), CACHES)
    assert len(calls) == 2 + LEAST_REPEATS


@pytest.mark.parametrize(
    ("found", "first", "second"), [(CACHES, 24 * KB, MB), (Caches(), 16 * KB, MB // 2), (Caches(32 * KB), 16 * KB, MB // 2)], ids=str
)
def test_copies_lie_around_the_caches(found: Caches, first: int, second: int) -> None:
    """Half of the first and of the second cache are among the sizes, whatever the system says, and so is what fits into neither."""
    sizes = copy_sizes(found)
    assert sizes == tuple(sorted(sizes))
    assert sizes[0] == first
    assert second in sizes
    assert sizes[-1] == 256 * MB


@pytest.mark.parametrize(
    ("rates", "size", "expected"),
    [
        ((100.0, 50.0, 10.0), 1, 100.0),
        ((100.0, 50.0, 10.0), 1000, 100.0),
        ((100.0, 50.0, 10.0), 10_000, 50.0),
        ((100.0, 50.0, 10.0), 31_622.7766, 30.0),
        ((100.0, 50.0, 10.0), 10**9, 10.0),
        ((20.0, 50.0, 10.0), 1, 50.0),
        ((20.0, 50.0, 10.0), 3162.27766, 50.0),
    ],
    ids=["below", "first", "measured", "between", "above", "overhead-below", "overhead-between"],
)
def test_bandwidth_between_sizes(rates: Sequence[float], size: float, expected: float) -> None:
    """Between two sizes it goes with the logarithm, beyond the ends it stays, and a smaller size is never slower than a larger one."""
    found = tuple(Rate(10 ** (place + 3), rate) for place, rate in enumerate(rates))
    assert rate_at(found, size) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("flop", "touched", "seconds", "bound"),
    [
        (1e6, 10 * KB, 1e-5, "arithmetic"),
        (0.0, 20 * KB, 20 * KB / 200e9, "reading from L1"),
        (0.0, 500 * KB, 468 * KB / 80e9, "reading from L2"),
        (0.0, 10 * MB, (10 * MB - 544 * KB) / 10e9, "reading from memory"),
        (1.0, 64, 64 / 200e9, "an empty call"),
    ],
)
def test_the_floor_is_the_largest_of_its_bounds(flop: float, touched: int, seconds: float, bound: str) -> None:
    """Arithmetic at the peak, and of each level what the levels before it cannot hold, on top of an empty call."""
    found = floor_of(flop, touched, PEAKS)
    assert found.seconds == pytest.approx(30e-9 + seconds)
    assert found.bound == bound


def test_more_cores_bring_their_own_caches() -> None:
    """Two cores have twice the arithmetic, twice the bandwidth and twice the cache: nothing that would raise the floor."""
    two = PEAKS.of_cores(2)
    assert (two.flop_per_s, two.call_s) == (200e9, 30e-9)
    assert [(each.capacity_bytes, each.bytes_per_s) for each in two.levels] == [(64 * KB, 400e9), (1088 * KB, 160e9), (0, 20e9)]


def test_what_is_read_comes_from_the_level_that_holds_it() -> None:
    """The first level that is large enough, else memory."""
    assert [PEAKS.read_bytes_per_s(size) for size in (KB, 100 * KB, MB)] == [200e9, 80e9, 10e9]


def test_a_level_is_no_slower_than_those_beyond_it() -> None:
    """A rate that overhead hid in a small cache is raised to what the next level reached, so that the floor stays a lower bound."""
    sizes = {size: rate for (_, _, size), rate in zip(read_sizes(CACHES), (50e9, 80e9, 40e9, 10e9), strict=True)}
    found = find_peaks(1e9, sizes.__getitem__, 1e-8, CACHES, NUMPY)
    assert [each.bytes_per_s for each in found.levels] == [80e9, 80e9, 40e9, 10e9]
    assert [each.capacity_bytes for each in found.levels] == [48 * KB, 48 * KB + 2 * MB, 48 * KB + 482 * MB, 0]
