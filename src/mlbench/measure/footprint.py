"""What one call allocates: peak bytes and number of allocations.

With memray (default tracking) both are exact: the same in every repeat after a warm-up of the callable and of the tracker. Python objects
from pymalloc are not in it, and neither are NumPy's blocks under 1 KiB, which NumPy caches.

Without memray `tracemalloc` gives the peak alone, Python objects included; a transient allocation leaves it no trace to count.
"""

from __future__ import annotations

import contextlib
import html
import importlib
import importlib.util
import io
import re
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.errors import FileError, MissingExtraError, UsageError
from mlbench.files import write_atomically

Call = Callable[[], object]

WARM_UPS = 3
MOST_REPEATS = 6
ARENA_BYTES = 1024 * 1024
"""What Python's allocator takes from the system at once (Objects/obmalloc.c, ARENA_BITS, since 3.10)."""
UNITS = "memray's kB are 1000 bytes, mlbench's KB 1024"
_TITLE = re.compile("<title>memray - (.*?)</title>")
_LEAKED = {
    "for memory that was leaked during the tracking period (i.e. allocated and not deallocated)": (
        "for memory that was allocated while this was recorded, and still held at its end"
    ),
    'can still appear as "leaks"': "can still appear here",
}
"""What memray's help says of leaks, and what is the case here."""
MEMRAY = "memray"
TRACEMALLOC = "tracemalloc"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one call allocated.

    Attributes:
        peak_bytes: most bytes the call held at any moment, its result included.
        allocations: how many allocations it made; None where the instrument cannot count them.
        instrument: memray or tracemalloc.
        is_steady: two repeats in a row agreed.
    """

    peak_bytes: int
    allocations: int | None
    instrument: str
    is_steady: bool = True


def has_memray() -> bool:
    """Whether memray can be imported here."""
    return importlib.util.find_spec("memray") is not None


def footprint(call: Call, instrument: str | None = None) -> Footprint:
    """Return what one call allocates, measured until two repeats agree.

    Args:
        call: without arguments; it is warmed up first.
        instrument: memray, tracemalloc, or None for memray where there is one.

    Raises:
        MissingExtraError: when memray is asked for and not installed.
        UsageError: when another tracker is active in this process.
    """
    chosen = instrument or (MEMRAY if has_memray() else TRACEMALLOC)
    measure = {MEMRAY: _with_memray, TRACEMALLOC: _with_tracemalloc}[chosen]
    for _ in range(WARM_UPS):
        call()
    measure(call)
    last = measure(call)
    for _ in range(MOST_REPEATS):
        before, last = last, measure(call)
        if before == last:
            return Footprint(*last, chosen)
    return Footprint(*last, chosen, is_steady=False)


def held_bytes(make: Call) -> int:
    """Return how many bytes that `make` allocated are still held when it has returned; it keeps alive itself what is to be counted.

    Python's small objects are not in it, and neither are the arenas they lie in: one more of these is 1 MB at a moment that depends on
    everything before.

    Raises:
        MissingExtraError: without memray.
        UsageError: when another tracker is active.
    """
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        path = Path(folder) / "held.bin"
        record(make, path)
        return _held_in(path)


def _held_in(path: Path) -> int:
    """Return the bytes of a recording that nothing freed, address by address: memray's own sums mix arenas with what lies beside them."""
    kinds = _memray().AllocatorType
    held: dict[int, int] = {}
    with _memray().FileReader(path) as reader:
        for each in reader.get_allocation_records():
            if each.allocator in (kinds.FREE, kinds.MUNMAP):
                held.pop(each.address, None)
            elif each.allocator != kinds.MMAP or each.size != ARENA_BYTES:
                held[each.address] = each.size
    return sum(held.values())


def record(call: Call, path: Path, *, held: bool = False) -> None:
    """Write a memray recording of one call to `path`; an old one there is replaced.

    With `held` Python's own allocator is traced too, without which memray cannot tell what is held from what is kept for reuse.

    Raises:
        MissingExtraError: without memray.
        UsageError: when another tracker is active.
        FileError: when the file cannot be written.
    """
    with _tracked(path, python_objects=held):
        _run(call)


def render_flame_graph(recording: Path, page: Path, *, held: bool = False, title: str = "") -> Path:
    """Render a recording as memray's flame graph page.

    The graph shows the moment of the peak, or with `held` what was still held at the end. memray would call that leaks; `title` is what the
    page is called instead, with a word on memray's units.
    It is rendered in the process that recorded it, so that lines of generated code can be read in it.

    Raises:
        MissingExtraError: without memray.
        FileError: when the recording cannot be read.
    """
    _memray()
    commands = importlib.import_module("memray.commands")
    arguments = ["flamegraph", *(["--leaks"] if held else []), "--no-web", "--force", "--output", str(page), str(recording)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as complaints:
        try:
            code = commands.main(arguments)
        except OSError as error:
            raise FileError(f"{page}: cannot write a flame graph here ({error.strerror or error})") from error
    if code:
        raise FileError(f"{recording}: memray cannot render it ({complaints.getvalue().strip() or f'exit code {code}'})")
    return write_atomically(page, entitled(page.read_text(encoding="utf-8"), title)) if title else page


def entitled(page: str, title: str) -> str:
    """Return memray's page under another title, in the tab and on the bar; where memray writes neither it stays as it is."""
    theirs = _TITLE.search(page)
    if theirs is None:
        return page
    ours = html.escape(f"{title} ({UNITS})")
    bar = re.compile(rf"(navbar-brand[^>]*>memray</span>\s*){re.escape(theirs[1])}")
    page = bar.sub(lambda found: found[1] + ours, page).replace(theirs[0], f"<title>{ours}</title>")
    for said, held in _LEAKED.items():
        page = page.replace(said, held)
    return page


def _memray() -> Any:  # the module, imported by name
    if sys.platform == "win32":
        raise UsageError("memray does not run on Windows; memory there is measured by tracemalloc, and there are no flame graphs")
    try:
        return importlib.import_module("memray")
    except ImportError as error:
        raise MissingExtraError("memory by memray", "memray") from error


def _run(call: Call) -> None:
    """Call from a frame that began inside the tracker: memray does not see the first frame below one that was there before."""
    call()


@contextmanager
def _tracked(path: Path, *, python_objects: bool = False) -> Iterator[None]:
    """Record to `path` what happens inside; what the measured callable raises comes out as it is."""
    memray = _memray()
    try:
        path.unlink(missing_ok=True)
        tracker = memray.Tracker(path, trace_python_allocators=python_objects)
        tracker.__enter__()
    except OSError as error:
        raise FileError(f"{path}: cannot write a recording here ({error.strerror or error})") from error
    except RuntimeError as error:
        raise UsageError(f"memray cannot start: {error}; run without another memray tracker in this process") from error
    try:
        yield
    finally:
        tracker.__exit__(None, None, None)


def _with_memray(call: Call) -> tuple[int, int | None]:
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        path = Path(folder) / "call.bin"
        with _tracked(path):
            _run(call)
        return read_recording(path)


def read_recording(path: Path) -> tuple[int, int]:
    """Return the peak in bytes and the number of allocations of a recording.

    `metadata.total_allocations` is not that number: it counts frees as well.
    """
    memray = importlib.import_module("memray")
    kinds = memray.AllocatorType
    frees = {kinds.FREE, kinds.MUNMAP, kinds.PYMALLOC_FREE}
    with memray.FileReader(path) as reader:
        allocations = sum(record.allocator not in frees for record in reader.get_allocation_records())
        return reader.metadata.peak_memory, allocations


def _with_tracemalloc(call: Call) -> tuple[int, int | None]:
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        return max(0, tracemalloc.get_traced_memory()[1] - before), None
    finally:
        if started:
            tracemalloc.stop()
