"""Ceilings under a clock that makes every call take a second, and bandwidth between the sizes it was measured at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from mlbench.measure import Caches
from mlbench.measure.ceilings import LEAST_REPEATS, Rate, copy_sizes, measure_ceilings, rate_at

KB, MB = 1024, 1024**2
CACHES = Caches(48 * KB, 2 * MB, 480 * MB)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the sizes that take long to allocate."""
    monkeypatch.setattr("mlbench.measure.ceilings.LARGE_BYTES", (32 * MB,))


def test_ceilings_are_work_over_the_fastest_time(small: None) -> None:
    """Where every reading of the clock is a second after the last one, a call takes one, and a rate is the work of a call."""
    ticks = iter(range(10**6))
    found = measure_ceilings(lambda: float(next(ticks)), CACHES)
    assert found.gemm_flop_per_s == 2.0 * 1024**3
    assert found.copy == tuple(Rate(size, float(size)) for size in (24 * KB, 256 * KB, MB, 8 * MB, 32 * MB))
    assert [each.size_bytes == each.bytes_per_s for each in found.gemv] == [True] * 4
    assert (found.ufunc_call_s, found.dot_call_s) == (1.0, 1.0)


def test_a_copy_touches_what_its_rate_says(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a copy is that of source and target together, so that each of them is half of it."""
    halves: list[int] = []

    def copy(size: int) -> Callable[[], object]:
        halves.append(size)
        return int

    monkeypatch.setattr("mlbench.measure.ceilings._copy", copy)
    ticks = iter(range(10**6))
    found = measure_ceilings(lambda: float(next(ticks)), CACHES)
    assert [2 * half for half in halves] == [each.size_bytes for each in found.copy]


def test_weights_are_square_and_about_as_large_as_asked(small: None) -> None:
    """The sizes of the weights are those of the copies but the smallest, to the next smaller square matrix."""
    ticks = iter(range(10**6))
    sizes = [each.size_bytes for each in measure_ceilings(lambda: float(next(ticks)), CACHES).gemv]
    assert sizes == [4 * math.isqrt(size // 4) ** 2 for size in (256 * KB, MB, 8 * MB, 32 * MB)]


def test_the_shortest_batch_counts(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disturbance in some of the batches does not lower a ceiling: the shortest counts."""
    readings: list[float] = []

    def clock() -> float:
        slow = len(readings) % 5 != 0
        readings.append((readings[-1] if readings else 0.0) + (10.0 if slow else 2.0))
        return readings[-1]

    assert measure_ceilings(clock, CACHES).ufunc_call_s == 2.0


def test_long_calls_are_repeated_less_often(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of a second are measured LEAST_REPEATS times, so that slow machines wait no minutes."""
    calls: list[int] = []
    monkeypatch.setattr("mlbench.measure.ceilings._maximum", lambda size: lambda: calls.append(size))
    ticks = iter(range(10**6))
    measure_ceilings(lambda: float(next(ticks)), CACHES)
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
