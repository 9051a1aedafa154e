"""What this machine can do at most with NumPy: the ceilings that a measured case is held against.

Each ceiling is the best of several sizes and repeats: a ceiling is what was reached once, not what is usual.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

GEMM_SIZES = ((64, 64, 64), (128, 256, 256), (512, 512, 512), (1024, 1024, 1024))
GEMV_SIZES = (512, 1024, 2048, 4096)
COPY_BYTES = (16 * 1024, 512 * 1024, 64 * 1024 * 1024)
REPEATS = 7
REPEAT_S = 0.02

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most this machine reached, with the BLAS threads of the process.

    Attributes:
        gemm_flop_per_s: float32 matrix product.
        gemv_bytes_per_s: weights read by a product with one row.
        copy_bytes_per_s: bytes read plus bytes written by a copy, for each of COPY_BYTES.
        ufunc_call_s: the shortest element-wise call, on one row of 16 numbers.
        dot_call_s: the shortest product, (1, 16) @ (16, 16).
    """

    gemm_flop_per_s: float
    gemv_bytes_per_s: float
    copy_bytes_per_s: tuple[float, ...]
    ufunc_call_s: float
    dot_call_s: float


def measure_ceilings(clock: Clock = time.perf_counter) -> Ceilings:
    """Measure every ceiling in this process, in about two seconds."""
    return Ceilings(
        gemm_flop_per_s=max(2.0 * m * k * n / _fastest_s(_product(m, k, n), clock) for m, k, n in GEMM_SIZES),
        gemv_bytes_per_s=max(4.0 * size * size / _fastest_s(_product(1, size, size), clock) for size in GEMV_SIZES),
        copy_bytes_per_s=tuple(2.0 * size / _fastest_s(_copy(size), clock) for size in COPY_BYTES),
        ufunc_call_s=_fastest_s(_maximum(16), clock),
        dot_call_s=_fastest_s(_product(1, 16, 16), clock),
    )


def _product(m: int, k: int, n: int) -> Callable[[], object]:
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


def _fastest_s(call: Callable[[], object], clock: Clock) -> float:
    """Return the shortest time of a call, over repeats of about REPEAT_S each, in seconds."""
    call()
    start = clock()
    call()
    calls = max(1, int(REPEAT_S / max(clock() - start, 1e-7)))
    best = float("inf")
    for _ in range(REPEATS):
        start = clock()
        for _ in range(calls):
            call()
        best = min(best, (clock() - start) / calls)
    return best
