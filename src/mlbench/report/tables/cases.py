"""From measurements to tables: text in cells, nothing drawn yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.measure import Footprint
from mlbench.measure.stats import Interval
from mlbench.report.doubts import doubt_lines
from mlbench.results import COMPLETE, Measurement, time_of
from mlbench.results.older import OLD_FLOOR_RATIO
from mlbench.results.pairs import Pair, pairs
from mlbench.units import format_bytes, format_count, format_duration, format_percent, format_ratio

_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text.

    Attributes:
        title: what it shows.
        headers: of the columns; the first column is text and the others are numbers.
        rows: as many cells as headers.
        notes: sentences below it.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def format_interval(interval: Interval) -> str:
    """Return the ends of an interval of ratios, and a mark where it comes from too few processes.

    >>> format_interval(Interval(2.0, 1.9, 2.1, 0.95, 5, 75)), format_interval(Interval(2.0, 0.9, 4.4, 0.95, 2, 30))
    ('1.90x to 2.10x', '0.90x to 4.40x, 2 processes')
    """
    return f"{format_ratio(interval.low)} to {format_ratio(interval.high)}{interval.doubt}"


def latency_table(found: Sequence[Pair]) -> Table:
    """Return latency, speed-up, distance to the floor and predictability, a row a cell."""
    headers = (
        "cell",
        "baseline",
        "optimized",
        "speed-up",
        "95 % interval",
        "kept heap",
        "over products",
        "floor ratio",
        "p99/median",
        "faults/call",
    )
    aged = any(_ratio(pair.optimized, OLD_FLOOR_RATIO) for pair in found)
    rows = tuple(
        (
            _cell_name(pair),
            _time(pair.baseline),
            _time(pair.optimized),
            _estimate(_ratio(pair.optimized, "speedup")),
            _range(_ratio(pair.optimized, "speedup")),
            _estimate(_ratio(pair.optimized, "speedup_kept_heap")),
            _inverse(_ratio(pair.optimized, "products_ratio")),
            _estimate(_ratio(pair.optimized, OLD_FLOOR_RATIO if aged else "floor_ratio")),
            _both(_tail(pair.baseline), _tail(pair.optimized)),
            _both(_faults(pair.baseline), _faults(pair.optimized)),
        )
        for pair in found
    )
    notes = (
        "Latency: the time of one call over interleaved rounds in fresh processes; like the ratios, it is the geometric mean of "
        "the processes' medians. Speed-up: baseline / optimized. Over products: NumPy's bare matrix products / optimized, with a "
        "heap that keeps freed memory. Above 1 optimized is faster.",
        "Floor ratio, as older files define it: optimized / an empty run plus the bare products as generated code ran them."
        if aged
        else "Floor ratio: optimized / floor. The floor is the least time that the arithmetic at the core's peak, or the bytes at the "
        "bandwidth of their level, take, plus an empty call; no code under test is in it. 1.00x is the machine's limit.",
        "Kept heap: the speed-up if freed memory is not given back to the kernel, measured in cells where the baseline otherwise faults.",
        "p99/median of single calls and minor page faults per call: baseline -> optimized.",
    )
    return Table("Latency", headers, rows, notes)


def memory_table(found: Sequence[Pair]) -> Table:
    """Return peak memory, counted honestly, and allocations, a row a cell."""
    headers = ("cell", "baseline peak", "optimized", "reduction", "without copies", "reduction then", "call", "static", "weight copies",
               "with staging", "allocations")  # fmt: skip
    rows = tuple(
        (
            _cell_name(pair),
            _bytes(None if pair.baseline is None else pair.baseline.memory_bytes),
            _bytes(None if pair.optimized is None else pair.optimized.memory_bytes),
            format_percent(pair.memory_reduction),
            _bytes(None if pair.optimized is None else pair.optimized.memory_without_copies_bytes),
            format_percent(pair.memory_reduction_without_copies),
            _bytes(None if pair.optimized is None or pair.optimized.footprint is None else pair.optimized.footprint.peak_bytes),
            _bytes(None if pair.optimized is None else pair.optimized.static.total),
            _bytes(None if pair.optimized is None else pair.optimized.static.weight_copies),
            format_percent(pair.memory_reduction_staged),
            _both(_allocations(pair.baseline), _allocations(pair.optimized)),
        )
        for pair in found
    )
    instruments = sorted(
        {each.footprint.instrument for pair in found for each in (pair.baseline, pair.optimized) if each and each.footprint}
    )
    measured_by = f"Measured by {' and '.join(instruments)}. " if instruments else ""
    notes = (
        f"{measured_by}Optimized = peak of the call + static, which is all it holds between calls: arena, operands, code, and "
        "copies of weights. Neither number contains the input or the model's own weights. Without copies: the same without copies "
        "of weights.",
        "With staging: strided input needs a staging buffer too (so does float64, which the baseline has to convert as well). "
        "Allocations per call: baseline -> optimized.",
    )
    return Table("Memory", headers, rows, notes)


def code_table(found: Sequence[Pair]) -> Table | None:
    """Return what generated code executes in a call, a row a cell that has counts, or None where none has."""
    counted = [(pair, pair.optimized.code) for pair in found if pair.optimized is not None and pair.optimized.code is not None]
    if not counted:
        return None
    headers = ("cell", "instruction set", "instructions", "multiply-adds", "share", "loads", "stores", "loaded", "stored", "code")
    rows = tuple(
        (
            _cell_name(pair),
            code.instruction_set,
            f"{code.instructions:,}",
            f"{code.multiply_adds:,}",
            format_percent(code.multiply_adds / max(code.instructions, 1)),
            f"{code.loads:,}",
            f"{code.stores:,}",
            format_bytes(code.load_bytes),
            format_bytes(code.store_bytes),
            format_bytes(code.code_bytes),
        )
        for pair, code in counted
    )
    note = (
        "Instructions that the generated code of the compiled runner executes in one call, counted from its bytes and not measured: "
        "they have no noise. Share: multiply-adds / instructions. Loaded and stored: bytes that instructions move, from whatever cache."
    )
    return Table("Generated code", headers, rows, (note,))


def levels_table(found: Sequence[Pair]) -> Table | None:
    """Return what generated code moves between the levels of memory in one call, a row a cell, or None where that is not counted."""
    counted = [(pair, pair.optimized.code) for pair in found if pair.optimized and pair.optimized.code and pair.optimized.code.levels]
    if not counted:
        return None
    moved = [
        {"L1 read": code.load_bytes, "L1 written": code.store_bytes}
        | {
            f"{each.name} {what}": size
            for each in code.levels
            for what, size in (("read", each.read_bytes), ("asked", each.prefetched_bytes), ("written", each.written_bytes))
        }
        for _, code in counted
    ]
    columns = [name for name in max(moved, key=len) if any(each.get(name) for each in moved)]
    rows = tuple(
        (_cell_name(pair), *(format_bytes(each[name]) if each.get(name) else _NOTHING for name in columns))
        for (pair, _), each in zip(counted, moved, strict=True)
    )
    caches = "; ".join(dict.fromkeys(code.hierarchy for _, code in counted))
    note = (
        "Bytes that the generated code moves in one call that follows an equal one; a column without any is left out. L1: what its "
        "instructions load and store. Other levels: lines that loads and stores need from them, lines that the code asks for in advance, "
        f"and changed lines that go there. They are counted in a model of the caches ({caches}) and not measured: they have no noise, and "
        "leave out what the processor fetches on its own."
    )
    return Table("Bytes by level", ("cell", *columns), rows, (note,))


def reference_table(measurements: Sequence[Measurement]) -> Table | None:
    """Return a row for each callable that is not one of our two runners, or None where there is none."""
    others = [each for each in measurements if each.case["runner"] not in ("baseline", "optimized")]
    if not others:
        return None
    headers = ("case", "latency", "reference / this", "95 % interval", "peak", "held", "reference peak", "allocations", "p99/median",
               "faults/call")  # fmt: skip
    rows = tuple(
        (
            each.case["cell"] + (f" ({each.status})" if each.status != COMPLETE else ""),
            _time(each),
            _estimate(_ratio(each, "reference_ratio")),
            _range(_ratio(each, "reference_ratio")),
            _bytes(each.memory_bytes),
            _bytes(None if each.counted is None else each.static.total),
            _bytes(None if each.reference_footprint is None else each.reference_footprint.peak_bytes),
            _allocations(each) if each.reference_footprint is None else _both(_count(each.reference_footprint), _count(each.footprint)),
            _tail(each),
            _faults(each),
        )
        for each in others
    )
    notes = (
        "The rounds alternate with the reference in this one process; the interval does not contain the bias of that process. "
        "Above 1 this is faster. Allocations per call: reference -> this. Peak: of a call, with what is held between calls if "
        "this is a runner of mlbench or the test names it.",
        *doubt_lines([(each.case["cell"], line) for each in others for line in each.warnings]),
    )
    return Table("Callables", headers, rows, notes)


def tables(measurements: Sequence[Measurement]) -> tuple[Table, ...]:
    """Return every table that has a row."""
    found = pairs(measurements)
    reference = reference_table(measurements)
    code = code_table(found)
    levels = levels_table(found)
    counted = tuple(each for each in (code, levels) if each is not None)
    cases = (latency_table(found), memory_table(found), *counted) if found else ()
    return (*cases, *((reference,) if reference else ()))


def _cell_name(pair: Pair) -> str:
    halves = [each.status for each in (pair.baseline, pair.optimized) if each is not None and each.status != COMPLETE]
    return f"{pair.cell} ({halves[0]})" if halves else pair.cell


def _ratio(measured: Measurement | None, name: str) -> Interval | None:
    return None if measured is None else measured.ratios.get(name)


def _estimate(interval: Interval | None) -> str:
    return _NOTHING if interval is None else format_ratio(interval.estimate)


def _inverse(interval: Interval | None) -> str:
    return _NOTHING if interval is None else format_ratio(1 / interval.estimate)


def _range(interval: Interval | None) -> str:
    return _NOTHING if interval is None else format_interval(interval)


def _time(measured: Measurement | None) -> str:
    seconds = time_of(measured)
    return _NOTHING if seconds is None else format_duration(seconds)


def _tail(measured: Measurement | None) -> str:
    if measured is None or measured.timing is None or measured.timing.p99_ratio is None:
        return _NOTHING
    return f"{measured.timing.p99_ratio:.2f}"


def _faults(measured: Measurement | None) -> str:
    if measured is None or measured.timing is None or measured.timing.minor_faults_per_call is None:
        return _NOTHING
    return format_count(measured.timing.minor_faults_per_call)


def _allocations(measured: Measurement | None) -> str:
    return _NOTHING if measured is None else _count(measured.footprint)


def _count(footprint: Footprint | None) -> str:
    return _NOTHING if footprint is None or footprint.allocations is None else str(footprint.allocations)


def _bytes(size: int | None) -> str:
    return _NOTHING if size is None else format_bytes(size)


def _both(baseline: str, optimized: str) -> str:
    return _NOTHING if baseline == optimized == _NOTHING else f"{baseline} -> {optimized}"
