"""What this machine can do at most with NumPy: the ceilings that a measured case is held against.

A ceiling is what was reached once, not what is usual: the shortest of many short batches of calls, on operands that the calls before have
brought into whatever cache they fit into. Bandwidth depends on how much is touched, so it is measured at sizes around the caches, and read
between them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.measure.peaks import Peaks
from mlbench.measure.system.caches import Caches, caches
from mlbench.units import BYTES_PER_KB

_MB = BYTES_PER_KB**2
GEMM_SIZES = ((64, 64, 64), (128, 256, 256), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024))
LARGE_BYTES = (32 * _MB, 256 * _MB)
"""Beyond a second-level cache, and beyond what most processes get of a third-level one."""
REPEATS = 40
LEAST_REPEATS = 5
BATCH_S = 1e-3
"""A batch of calls: long against the clock's tick (some 50 ns), short against what disturbs a shared machine."""
MOST_S = 0.15
"""After so long LEAST_REPEATS batches suffice."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rate:
    """Bandwidth at one size.

    Attributes:
        size_bytes: what a call touches.
        bytes_per_s: the most of it that was read and written in a second.
    """

    size_bytes: int
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most this machine reached, with the BLAS threads of the process.

    Attributes:
        peaks: of the cores that may be used, by loops that do nothing else.
        gemm_flop_per_s: NumPy's float32 matrix product, the best of GEMM_SIZES.
        copy: bytes read plus bytes written by a copy, by the size of source and target together.
        ufunc_call_s: the shortest element-wise call, on one row of 16 numbers.
        dot_call_s: the shortest product, (1, 16) @ (16, 16).
    """

    peaks: Peaks
    gemm_flop_per_s: float
    copy: tuple[Rate, ...]
    ufunc_call_s: float
    dot_call_s: float


def measure_ceilings(peaks: Peaks, clock: Clock = time.perf_counter, found: Caches | None = None) -> Ceilings:
    """Measure NumPy's ceilings in this process, in about three seconds; `found` are the caches, which are asked for where it is None."""
    sizes = copy_sizes(found or caches())
    return Ceilings(
        peaks=peaks,
        gemm_flop_per_s=max(2.0 * m * k * n / fastest_s(product_call(m, k, n), clock) for m, k, n in GEMM_SIZES),
        copy=tuple(Rate(size, size / fastest_s(_copy(size // 2), clock)) for size in sizes),
        ufunc_call_s=fastest_s(_maximum(16), clock),
        dot_call_s=fastest_s(product_call(1, 16, 16), clock),
    )


def copy_sizes(found: Caches) -> tuple[int, ...]:
    """Return sizes within the first cache, the second one (twice), and beyond it; common caches where the system says nothing.

    >>> [size // 1024 for size in copy_sizes(Caches(48 * 1024, 2 * 1024 * 1024, None))]
    [24, 256, 1024, 8192, 32768, 262144]
    """
    first, second = found.l1_bytes or 32 * BYTES_PER_KB, found.l2_bytes or _MB
    return tuple(sorted({first // 2, second // 8, second // 2, 4 * second, *LARGE_BYTES}))


def rate_at(rates: Sequence[Rate], size_bytes: float) -> float:
    """Return the bandwidth for what touches so many bytes, in bytes a second.

    A rate counts for its size and all smaller ones, because overhead may hide there what the memory could do. Between two sizes it
    goes with the logarithm of the size; beyond the ends it stays.

    >>> rates = (Rate(1024, 90.0), Rate(4096, 50.0))
    >>> [rate_at(rates, size) for size in (10, 1024, 2048, 4096, 10**9)]
    [90.0, 90.0, 70.0, 50.0, 50.0]
    """
    at_least = [max(each.bytes_per_s for each in rates[place:]) for place in range(len(rates))]
    for (small, large), (fast, slow) in zip(itertools.pairwise(rates), itertools.pairwise(at_least), strict=True):
        if size_bytes <= small.size_bytes:
            return fast
        if size_bytes < large.size_bytes:
            share = math.log(size_bytes / small.size_bytes) / math.log(large.size_bytes / small.size_bytes)
            return fast + share * (slow - fast)
    return at_least[-1]


def product_call(m: int, k: int, n: int) -> Callable[[], object]:
    """Return NumPy's product (m, k) @ (k, n), whose result goes where it belongs."""
    random = np.random.default_rng(0)
    a, b = random.standard_normal((m, k), dtype=np.float32), random.standard_normal((k, n), dtype=np.float32)
    out = np.empty((m, n), np.float32)
    return lambda: a.dot(b, out)


def _copy(size: int) -> Callable[[], object]:
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    return lambda: np.copyto(target, source)


def _maximum(size: int) -> Callable[[], object]:
    one, other = np.ones((1, size), np.float32), np.zeros((1, size), np.float32)
    return lambda: np.maximum(one, other, out=one)


def fastest_s(call: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Return the shortest time of a call, averaged over one batch of about BATCH_S, in seconds."""
    call()
    began = clock()
    call()
    calls = max(1, int(BATCH_S / max(clock() - began, 1e-7)))
    best = math.inf
    for repeat in range(REPEATS):
        start = clock()
        for _ in range(calls):
            call()
        end = clock()
        best = min(best, (end - start) / calls)
        if repeat + 1 >= LEAST_REPEATS and end - began > MOST_S:
            break
    return best
