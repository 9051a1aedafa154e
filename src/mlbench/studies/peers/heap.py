"""The heap of a peer's process: as glibc has it in a new process, or one that keeps what was freed.

A runtime that allocates its result may fault in every call, because glibc gives large blocks back to the kernel at once. Whether it does
depends on what the process freed before, so one peer took 1.8 or 3.0 ms in the same cell. A server that runs for long has a warm heap. So a
peer that faults gets one as well, and the faster of the two is measured. Other allocators have no such switch.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}
"""Of mallopt(3): what a new process has."""
_WARM = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}
_CALLS = 10


def faults_per_call(call: Callable[[], object]) -> float:
    """Return how many page faults a call makes that need no disk; 0 where the system does not count them."""
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return 0.0
    call()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(_CALLS):
        call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / _CALLS


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed from now on; False where there is no glibc."""
    return _set(_WARM)


def release_freed_memory() -> None:
    """Have glibc give freed memory back, as in a new process, and what it kept so far."""
    if _set(_USUAL):
        _c_library().malloc_trim(0)


def _set(options: dict[int, int]) -> bool:
    library = _c_library()
    if not hasattr(library, "mallopt"):
        return False
    done = [library.mallopt(option, value) for option, value in options.items()]
    return all(done)


def _c_library() -> Any:  # ctypes.CDLL
    return ctypes.CDLL(None) if sys.platform == "linux" else None
