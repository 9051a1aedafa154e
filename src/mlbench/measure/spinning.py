"""Threads that still run after a call: those of a BLAS and of other runtimes spin for a while, on cores that the next arm may need.

A thread that wakes on a core where another one spins waits for the scheduler's next tick, milliseconds, or shares the core with it.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

SPIN_S = 0.15
"""Time for threads to end spinning: those of OpenBLAS take more than 0.1 s, those of ONNX Runtime 30 ms."""
_POLL_S = 2e-3
_TASKS = Path("/proc/self/task")


def wait_for_threads(most_s: float = 2 * SPIN_S) -> None:
    """Return when no other thread of this process runs, or after so many seconds; after SPIN_S where the system does not say who runs."""
    if not _TASKS.exists():
        time.sleep(SPIN_S)
        return
    end = time.perf_counter() + most_s
    while _others_run() and time.perf_counter() < end:
        time.sleep(_POLL_S)


def _others_run() -> bool:
    own = str(threading.get_native_id())
    return any(_state(task) == "R" for task in _TASKS.iterdir() if task.name != own)


def _state(task: Path) -> str:
    """Return what the kernel says of a thread: R where it runs, or waits for a core."""
    try:
        told = (task / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has just ended
        return ""
    return told.rpartition(") ")[2][:1]
