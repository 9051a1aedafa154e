"""What one call allocates, by memray and by tracemalloc, and what a flame graph shows of it."""

from __future__ import annotations

import contextlib
import gc
import itertools
import re
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mlbench.errors import FileError, MissingExtraError, UsageError
from mlbench.measure import Footprint, footprint, has_memray, held_bytes, record, render_flame_graph
from mlbench.measure.footprint import MEMRAY, MOST_REPEATS, TRACEMALLOC, WARM_UPS
from mlbench.runtime import BaselineRunner

MB = 1 << 20
needs_memray = pytest.mark.skipif(sys.platform == "win32", reason="memray does not run on Windows")


def nothing() -> None:
    """Allocate nothing that memray sees."""


def one_array() -> object:
    """Allocate one block of a megabyte."""
    return np.empty(MB, np.uint8)


def two_arrays() -> object:
    """Allocate two blocks that live together."""
    return np.empty(MB, np.uint8), np.empty(2 * MB, np.uint8)


def one_after_the_other() -> None:
    """Allocate three blocks, each freed before the next."""
    for _ in range(3):
        np.empty(MB, np.uint8)


def growing() -> Callable[[], object]:
    """Return a call that takes a megabyte more each time."""
    calls = itertools.count(1)
    return lambda: np.empty(next(calls) * MB, np.uint8)


@pytest.fixture
def no_memray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process where memray cannot be imported."""
    monkeypatch.setitem(sys.modules, "memray", None)


@needs_memray
@pytest.mark.parametrize(
    ("call", "peak_bytes", "allocations"),
    [(nothing, 0, 0), (one_array, MB, 1), (two_arrays, 3 * MB, 2), (one_after_the_other, MB, 3)],
    ids=["nothing", "one", "two-together", "three-in-turn"],
)
def test_memray_is_exact(call: Callable[[], object], peak_bytes: int, allocations: int) -> None:
    """Peak bytes and allocations are those of the blocks, to the byte: what lives together adds up, what comes in turn does not."""
    assert Footprint(peak_bytes, allocations, MEMRAY, is_steady=True) == footprint(call, MEMRAY)


@needs_memray
def test_memray_gives_the_same_again() -> None:
    """Measuring again, in the same process, gives the same bytes and the same count."""
    assert len({footprint(two_arrays, MEMRAY) for _ in range(3)}) == 1


@needs_memray
def test_frees_are_not_counted() -> None:
    """A call that only frees what an earlier one allocated has made no allocation."""
    held = [np.empty(MB, np.uint8) for _ in range(WARM_UPS + 2 + MOST_REPEATS)]
    assert footprint(held.pop, MEMRAY).allocations == 0


@needs_memray
def test_memray_is_the_instrument_where_there_is_one() -> None:
    """Without a choice, memray measures."""
    assert has_memray()
    assert footprint(one_array).instrument == MEMRAY


def test_tracemalloc_gives_the_peak_and_no_count() -> None:
    """tracemalloc sees the block and the Python objects around it, and says that it cannot count."""
    found = footprint(one_array, TRACEMALLOC)
    assert (found.allocations, found.instrument, found.is_steady) == (None, TRACEMALLOC, True)
    assert MB <= found.peak_bytes < MB + 4096


def test_tracemalloc_is_the_instrument_without_memray(no_memray: None) -> None:
    """Without memray, and without a choice, tracemalloc measures."""
    assert not has_memray()
    assert footprint(two_arrays).instrument == TRACEMALLOC


def test_tracemalloc_counts_only_the_call() -> None:
    """In a program that traces, neither what it holds nor an earlier peak of its own is in the call's peak."""
    tracemalloc.start()
    try:
        held = np.empty(8 * MB, np.uint8)
        np.empty(16 * MB, np.uint8)
        assert footprint(one_array, TRACEMALLOC).peak_bytes < 2 * MB
        assert held.nbytes == 8 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("is_tracing", [True, False], ids=["tracing", "not-tracing"])
def test_tracemalloc_is_left_as_it_was(is_tracing: bool) -> None:
    """A program that traces goes on tracing afterwards, and one that does not is not slowed down."""
    if is_tracing:
        tracemalloc.start()
    try:
        footprint(one_array, TRACEMALLOC)
        assert tracemalloc.is_tracing() is is_tracing
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("instrument", [pytest.param(MEMRAY, marks=needs_memray), TRACEMALLOC])
def test_an_unsteady_callable_says_so(instrument: str) -> None:
    """Repeats that never agree give the last of them, marked as unsteady."""
    found = footprint(growing(), instrument)
    assert not found.is_steady
    assert found.peak_bytes >= (WARM_UPS + 2 + MOST_REPEATS) * MB


@pytest.mark.parametrize("instrument", [pytest.param(MEMRAY, marks=needs_memray), TRACEMALLOC])
def test_the_call_is_warmed_up_first(instrument: str) -> None:
    """What only the first calls allocate is in no footprint, and a steady call is measured three times."""
    calls = itertools.count()

    def call() -> object:
        return np.empty(MB, np.uint8) if next(calls) < WARM_UPS else None

    found = footprint(call, instrument)
    assert found.peak_bytes < MB
    assert found.is_steady
    assert next(calls) == WARM_UPS + 3


@needs_memray
@pytest.mark.parametrize("use", ["footprint", "record"])
def test_another_tracker_is_a_usage_error(tmp_path: Path, use: str) -> None:
    """There is one memray tracker to a process; under another one (memray run, pytest --memray) the error says what to do."""
    import memray  # noqa: PLC0415  # absent on Windows

    uses: dict[str, Callable[[], object]] = {
        "footprint": lambda: footprint(nothing, MEMRAY),
        "record": lambda: record(nothing, tmp_path / "mine.bin"),
    }
    with memray.Tracker(tmp_path / "other.bin"), pytest.raises(UsageError, match="without another memray tracker"):
        uses[use]()


@needs_memray
@pytest.mark.parametrize("error", [RuntimeError("mine"), OSError("mine")], ids=["RuntimeError", "OSError"])
@pytest.mark.parametrize("use", ["footprint", "record"])
def test_an_error_of_the_callable_stays_its_own(tmp_path: Path, use: str, error: Exception) -> None:
    """What the measured callable raises comes out unchanged, not dressed up as a problem with memray or a file."""
    calls = itertools.count()

    def call() -> None:
        if use == "record" or next(calls) >= WARM_UPS:
            raise error

    with pytest.raises(type(error), match=r"^mine$"):
        footprint(call, MEMRAY) if use == "footprint" else record(call, tmp_path / "mine.bin")


@pytest.mark.parametrize("use", ["footprint", "record", "render"])
def test_missing_memray_names_the_extra(no_memray: None, tmp_path: Path, use: str) -> None:
    """Whoever asks for memray where there is none reads which extra brings it."""
    uses: dict[str, Callable[[], object]] = {
        "footprint": lambda: footprint(nothing, MEMRAY),
        "record": lambda: record(nothing, tmp_path / "mine.bin"),
        "render": lambda: render_flame_graph(tmp_path / "mine.bin", tmp_path / "mine.html"),
    }
    with pytest.raises(MissingExtraError, match=re.escape(".[bench]")):
        uses[use]()


@needs_memray
@pytest.mark.parametrize("way", ["lambda", "partial"])
def test_the_flame_graph_shows_the_lines_of_the_generated_kernels(tmp_path: Path, way: str) -> None:
    """In the baseline's flame graph the lines that hold the peak can be read, although no file holds the generated code."""
    from mlbench.models import mlp  # noqa: PLC0415  # beside its only use

    runner, x = BaselineRunner(mlp(64, 256, 10)), np.ones((512, 64), np.float32)
    runner.run(x)
    record(partial(runner.run, x) if way == "partial" else lambda: runner.run(x), tmp_path / "call.bin")
    page = render_flame_graph(tmp_path / "call.bin", tmp_path / "call.html").read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!DOCTYPE html>")
    at_the_peak = [line.strip() for line in runner.source.splitlines() if "x @ w0" in line or " + b0" in line]
    assert len(at_the_peak) == 2
    for line in at_the_peak:
        assert line in page


@needs_memray
def test_a_recording_is_replaced(tmp_path: Path) -> None:
    """Recording to the same file again leaves the new recording, as a file of its own."""
    path = tmp_path / "call.bin"
    path.write_bytes(b"old")
    record(one_array, path)
    assert render_flame_graph(path, tmp_path / "call.html").exists()


@needs_memray
def test_rendering_says_nothing_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """memray's own chatter stays out of our output, and standard output is back afterwards."""
    record(one_array, tmp_path / "call.bin")
    before = sys.stdout
    render_flame_graph(tmp_path / "call.bin", tmp_path / "call.html")
    assert sys.stdout is before
    assert capsys.readouterr().out == ""


@needs_memray
@pytest.mark.parametrize("content", [b"rubbish", b"", None], ids=["foreign", "empty", "missing"])
def test_an_unreadable_recording_is_a_file_error(tmp_path: Path, content: bytes | None) -> None:
    """A recording that is no recording is refused with its path, and no page is left."""
    recording, page = tmp_path / "bad.bin", tmp_path / "bad.html"
    if content is not None:
        recording.write_bytes(content)
    with pytest.raises(FileError, match=re.escape(str(recording))):
        render_flame_graph(recording, page)
    assert not page.exists()


@needs_memray
def test_a_truncated_recording_is_a_file_error_or_a_page(tmp_path: Path) -> None:
    """Half a recording either renders what it holds or is refused; it never ends in a traceback of memray."""
    recording, page = tmp_path / "half.bin", tmp_path / "half.html"
    record(two_arrays, recording)
    recording.write_bytes(recording.read_bytes()[: recording.stat().st_size // 2])
    with contextlib.suppress(FileError):
        render_flame_graph(recording, page)
        assert page.exists()


@needs_memray
@pytest.mark.parametrize("place", ["missing/folder/call", "."], ids=["missing-folder", "is-a-folder"])
@pytest.mark.parametrize("use", ["record", "render"])
def test_a_file_that_cannot_be_written_is_a_file_error(tmp_path: Path, use: str, place: str) -> None:
    """Recording or rendering to a place where no file can be is refused with that path."""
    record(one_array, tmp_path / "call.bin")
    target = tmp_path / place
    uses: dict[str, Callable[[], object]] = {
        "record": lambda: record(nothing, target),
        "render": lambda: render_flame_graph(tmp_path / "call.bin", target),
    }
    with pytest.raises(FileError, match=re.escape(str(target))):
        uses[use]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # memray leaves the recording open when it cannot write the page
        gc.collect()


@needs_memray
def test_held_bytes_are_what_is_left() -> None:
    """What was kept counts, what was freed does not, and what was kept before does not either."""
    kept = [np.ones(MB, np.uint8)]

    def make() -> None:
        np.ones(5 * MB, np.uint8)
        kept.append(np.ones(3 * MB, np.uint8))

    assert min(held_bytes(make) for _ in range(5)) == 3 * MB  # another thread of this process may have kept something in one of them


@needs_memray
def test_arenas_of_python_are_not_held_bytes() -> None:
    """Python objects that need more of Python's own memory are in no count."""
    kept: list[object] = []
    assert held_bytes(lambda: kept.extend([str(number) for number in range(200_000)])) < 3 * MB
    assert len(kept) == 200_000
