"""The footprint of a target's call, and its flame graph."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import tracemalloc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from .target import Target

WARM_UPS = 3
MOST_REPEATS = 5
NO_MEMRAY = "its environment has no memray; --install '-e .' --install memray puts it there (with --same-env: pip install memray)"


def footprint(target: Target) -> dict[str, Any]:
    """Return peak bytes and allocations of a call: the least and the most of repeats, until two in a row agree, and the instrument."""
    try:
        import memray  # noqa: F401
    except ImportError:
        measure, instrument = _with_tracemalloc, "tracemalloc"
    else:
        measure, instrument = _with_memray, "memray"
    for _ in range(WARM_UPS if target.is_quick else 1):
        target.call()
    measure(target)
    found = [measure(target), measure(target)]
    while found[-1] != found[-2] and len(found) < MOST_REPEATS:
        found.append(measure(target))
    if found[-1] == found[-2]:
        found = found[-1:]
    peaks, counts = zip(*found)
    return {
        "instrument": instrument,
        "peak_bytes": [min(peaks), max(peaks)],
        "allocations": None if None in counts else [min(counts), max(counts)],
    }


def flame_graph(target: Target, page: str) -> str:
    """Draw what a call allocates, at the moment of its peak; return nothing, or why that is not possible.

    It is drawn in this process, so that lines of generated code can be read in it.
    """
    try:
        import memray
        from memray.commands import main as command
    except ImportError:
        return NO_MEMRAY
    for _ in range(WARM_UPS):
        target.call()
    call, after = target.prepared()
    recording = page + ".bin"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(recording)
    with memray.Tracker(recording):
        call()
    after()
    with contextlib.redirect_stdout(io.StringIO()):
        code = command(["flamegraph", "--no-web", "--force", "--output", page, recording])
    os.unlink(recording)
    return "memray could not draw it (exit code %s)" % code if code else ""


def _with_memray(target: Target) -> tuple[int, int | None]:
    import memray

    kinds = memray.AllocatorType
    frees = (kinds.FREE, kinds.MUNMAP, kinds.PYMALLOC_FREE)
    call, after = target.prepared()
    with tempfile.TemporaryDirectory(prefix="mlbench-ab-") as folder:
        path = os.path.join(folder, "call.bin")
        tracker = memray.Tracker(path)
        with tracker:
            call()
        after()
        with memray.FileReader(path) as reader:
            count = sum(record.allocator not in frees for record in reader.get_allocation_records())
            peak: int = reader.metadata.peak_memory
    return peak, count


def _with_tracemalloc(target: Target) -> tuple[int, int | None]:
    call, after = target.prepared()
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        peak = max(0, tracemalloc.get_traced_memory()[1] - before)
    finally:
        if started:
            tracemalloc.stop()
    after()
    return peak, None
