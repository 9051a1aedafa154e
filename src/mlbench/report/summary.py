"""The headline: what was won, on which machine, and what the figures do not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlbench.measure import Environment, describe
from mlbench.measure.stats import Interval, geometric_mean, geometric_mean_interval, median
from mlbench.report.doubts import doubt_lines
from mlbench.report.tables.cases import format_interval
from mlbench.results import COMPLETE, Measurement, time_of
from mlbench.results.pairs import Pair, pairs
from mlbench.units import format_bytes, format_count, format_kb, format_percent, format_ratio, paragraph


def summary(measurements: Sequence[Measurement], environment: Environment) -> str:
    """Return the summary of a run as text, ready to print."""
    found = [pair for pair in pairs(measurements) if _is_complete(pair)]
    if not found:
        return "No cell has complete measurements of both runners, so there is nothing to sum up."
    headline = _headline_pair(found)
    parts = [_headline(headline)]
    rest = [pair for pair in found if pair is not headline or not _is_digits(pair)]
    if len(rest) > 1:
        parts.append(_sweep(rest))
    parts.append(paragraph(f"Machine: {describe(environment)}", indent="         "))
    parts.append(
        "\n".join(["What these figures do not say:", *(paragraph(f"  - {line}", "    ") for line in _caveats(found, environment))])
    )
    return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that stands out.

    Attributes:
        value: as text, with its unit.
        what: it is, in a few words.
        detail: interval or range, and how to read it.
    """

    value: str
    what: str
    detail: str


def figures(measurements: Sequence[Measurement]) -> tuple[Figure, ...]:
    """Return what a run comes to, in a few numbers; none where no cell has both runners."""
    found = [pair for pair in pairs(measurements) if _is_complete(pair)]
    return tuple(_figures(found)) if found else ()


def _figures(found: Sequence[Pair]) -> Iterator[Figure]:
    headline = _headline_pair(found)
    rest = [pair for pair in found if pair is not headline or not _is_digits(pair)]
    if len(rest) > 1:
        mean, by_speedup = sweep_speedup(rest), sorted(rest, key=_speedup)
        low, high = by_speedup[0], by_speedup[-1]
        kept = [_kept(pair) for pair in rest]
        long_lived = geometric_mean([one or _speedup(pair) for one, pair in zip(kept, rest, strict=True)]) if any(kept) else None
        yield Figure(_faster(mean.estimate), f"Sweep of {len(rest)} cells, geometric mean",
                     f"95 % interval {format_interval(mean)}; from {format_ratio(_speedup(low))} "
                     f"({low.cell}) to {format_ratio(_speedup(high))} ({high.cell}){_heap(long_lived)}")  # fmt: skip
    assert headline.optimized is not None
    speedup, name = headline.optimized.ratios["speedup"], "Digits model" if _is_digits(headline) else "Longest call"
    yield Figure(_faster(speedup.estimate), f"{name}, {headline.cell}",
                 f"95 % interval {format_ratio(speedup.low)} to {format_ratio(speedup.high)}, {_counted(speedup.processes)}"
                 f"{_heap(_kept(headline))}")  # fmt: skip
    saved = sorted((pair.memory_reduction, pair.cell) for pair in found if pair.memory_reduction is not None)
    if saved:
        middle = median([share for share, _ in saved])
        yield Figure(f"{format_percent(abs(middle))} {'less' if middle >= 0 else 'more'} memory",
                     "Memory of a call and between calls, median cell",
                     f"from {format_percent(saved[0][0])} ({saved[0][1]}) to {format_percent(saved[-1][0])} ({saved[-1][1]})"
                     f"{_bare_middle(found)}")  # fmt: skip
    floors = sorted((pair.optimized.ratios["floor_ratio"].estimate, pair.cell)
                    for pair in found if pair.optimized is not None and "floor_ratio" in pair.optimized.ratios)  # fmt: skip
    if floors:
        yield Figure(f"{format_ratio(geometric_mean([ratio for ratio, _ in floors]))} the floor", "Distance to the limit, geometric mean",
                     f"1 is the limit; farthest {format_ratio(floors[-1][0])} ({floors[-1][1]})")  # fmt: skip


def _bare_middle(found: Sequence[Pair]) -> str:
    """Return what the median cell saves without copies of weights, where there are some."""
    bare = [pair.memory_reduction_without_copies for pair in found]
    known = [share for share in bare if share is not None]
    is_other = any(pair.optimized is not None and pair.optimized.static.weight_copies for pair in found)
    return f"; {format_percent(median(known))} less in the median cell without copies of weights" if is_other and known else ""


def _heap(kept: float | None) -> str:
    return "" if kept is None else f"; {format_ratio(kept)} in a process that keeps freed memory, as a long-running one does"


def sweep_speedup(found: Sequence[Pair]) -> Interval:
    """Return the geometric mean of the cells' speed-ups with its interval, from the rounds that were kept."""
    cells = []
    for pair in found:
        assert pair.baseline is not None
        assert pair.baseline.timing is not None
        assert pair.optimized is not None
        assert pair.optimized.timing is not None
        processes = zip(pair.baseline.timing.rounds_s, pair.optimized.timing.rounds_s, strict=True)
        cells.append([[one / other for one, other in zip(a, b, strict=True)] for a, b in processes])
    return geometric_mean_interval(cells)


def _is_complete(pair: Pair) -> bool:
    both = (pair.baseline, pair.optimized)
    if not all(each is not None and each.status == COMPLETE and each.timing is not None for each in both):
        return False
    assert pair.optimized is not None
    return "speedup" in pair.optimized.ratios and _shape(pair.baseline) == _shape(pair.optimized) != ()


def _shape(measured: Measurement | None) -> tuple[int, ...]:
    """Return how many rounds each process has."""
    return () if measured is None or measured.timing is None else tuple(len(rounds) for rounds in measured.timing.rounds_s)


def _is_digits(pair: Pair) -> bool:
    return pair.optimized is not None and pair.optimized.case.get("model") == "digits"


def _headline_pair(found: Sequence[Pair]) -> Pair:
    """Return the digits, or else the cell whose call takes longest."""
    digits = [pair for pair in found if _is_digits(pair)]
    return digits[0] if digits else max(found, key=lambda pair: _seconds(pair.baseline))


def _seconds(measured: Measurement | None) -> float:
    return time_of(measured) or 0.0


def _headline(pair: Pair) -> str:
    assert pair.optimized is not None
    speedup = pair.optimized.ratios["speedup"]
    what = f"{pair.cell}: one call"
    if _is_digits(pair):
        what = f"Trained digits model, {pair.optimized.case['batch']} held-out images in one call ({pair.cell})"
    kept = pair.optimized.ratios.get("speedup_kept_heap")
    heap = (
        ()
        if kept is None
        else (f"                    Speedup {format_ratio(kept.estimate)} where freed memory is kept (no page faults in the baseline)",)
    )
    saved = pair.memory_reduction
    memory = "no reduction to state: the baseline's peak is too small to be seen" if saved is None else (
        f"{format_percent(saved)} reduction in peak allocation" if saved >= 0 else f"{format_percent(-saved)} more peak allocation"
    ) + _bare(pair)  # fmt: skip
    return "\n".join((
        what,
        f"  Baseline:         Time {_seconds(pair.baseline):.7f} sec   Peak Memory {_kb(pair.baseline)}",
        f"  Optimized:        Time {_seconds(pair.optimized):.7f} sec   Peak Memory {_kb(pair.optimized)}",
        f"  Performance win:  Speedup {_faster(speedup.estimate)}   "
        f"(95 % interval {format_ratio(speedup.low)} to {format_ratio(speedup.high)}, {_counted(speedup.processes)})",
        *heap,
        f"                    Memory {memory}",
    ))  # fmt: skip


def _bare(pair: Pair) -> str:
    """Return the reduction without copies of weights, where there are some."""
    if pair.optimized is None or not pair.optimized.static.weight_copies:
        return ""
    return f"   ({format_percent(pair.memory_reduction_without_copies)} without copies of weights)"


def _counted(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def _faster(ratio: float) -> str:
    return f"{format_ratio(ratio)} {'faster' if ratio >= 1 else '(slower)'}"


def _kb(measured: Measurement | None) -> str:
    return "not measured" if measured is None or measured.memory_bytes is None else f"{format_kb(measured.memory_bytes)} KB"


def _sweep(found: Sequence[Pair]) -> str:
    mean = sweep_speedup(found)
    by_speedup = sorted(found, key=_speedup)
    low, high = by_speedup[0], by_speedup[-1]
    saved = sorted((pair.memory_reduction, pair.cell) for pair in found if pair.memory_reduction is not None)
    lines = [
        f"Sweep of {len(found)} cells: geometric mean {_faster(mean.estimate)} (95 % interval {format_interval(mean)}),",
        f"  from {format_ratio(_speedup(low))} ({low.cell}) to {format_ratio(_speedup(high))} ({high.cell})",
    ]
    if any(_kept(pair) is not None for pair in found):
        kept = geometric_mean([_kept(pair) or _speedup(pair) for pair in found])
        lines.append(f"  where freed memory is kept (the other cells as they are): geometric mean {_faster(kept)}")
    if saved:
        lines.append(
            f"  Memory reduction from {format_percent(saved[0][0])} ({saved[0][1]}) to {format_percent(saved[-1][0])} ({saved[-1][1]})"
        )
    bare = sorted((pair.memory_reduction_without_copies, pair.cell) for pair in found if pair.memory_reduction_without_copies is not None)
    if bare != saved:
        lines.append(f"  without copies of weights from {format_percent(bare[0][0])} ({bare[0][1]}) to {format_percent(bare[-1][0])} "
                     f"({bare[-1][1]})")  # fmt: skip
    return "\n".join(lines)


def _speedup(pair: Pair) -> float:
    assert pair.optimized is not None
    return pair.optimized.ratios["speedup"].estimate


def _kept(pair: Pair) -> float | None:
    kept = None if pair.optimized is None else pair.optimized.ratios.get("speedup_kept_heap")
    return None if kept is None else kept.estimate


def _caveats(found: Sequence[Pair], environment: Environment) -> list[str]:
    lines = ["Times belong to this machine at this moment. The ratios were taken in interleaved rounds and carry further than the seconds."]
    faulting = [pair for pair in found if _faults(pair) >= 1]
    if faulting:
        worst = max(faulting, key=_faults)
        cells = f"{len(faulting)} cells" if len(faulting) > 1 else "one cell"
        lines.append(
            f"In {cells} the baseline pays for page faults ({worst.cell}: {format_count(_faults(worst))} a call), because "
            "glibc in a fresh process gives freed memory back to the kernel on every call. A process that has freed larger blocks "
            "before keeps it: see the column 'kept heap'."
        )
    copies = max((pair.optimized.static.weight_copies for pair in found if pair.optimized), default=0)
    staging = max((pair.optimized.static.staging_if_needed for pair in found if pair.optimized), default=0)
    lines.append(
        "Neither peak contains the input or the model's weights. The optimized one contains copies of weights, up to "
        f"{format_bytes(copies)}. A runner whose products are all generated does not need the model's own weights: a program "
        "that drops its model holds one set less. Input that is float64 or strided needs a staging buffer of up to "
        f"{format_bytes(staging)} more."
    )
    if any(pair.baseline and pair.baseline.footprint and pair.baseline.footprint.instrument == "tracemalloc" for pair in found):
        lines.append(
            "Peaks come from tracemalloc, which sees Python objects too and cannot count allocations; the extra 'bench' adds memray "
            "(exact bytes and counts), tables in colour, progress, and the pytest fixtures."
        )
    if environment.threads == 1:
        lines.append("BLAS had one thread; --threads measures with more.")
    measured = [each for runner in ("baseline", "optimized") for pair in found if (each := getattr(pair, runner)) is not None]
    return lines + doubt_lines([(each.case["id"], line) for each in measured for line in each.warnings])


def _faults(pair: Pair) -> float:
    timing = None if pair.baseline is None else pair.baseline.timing
    return 0.0 if timing is None or timing.minor_faults_per_call is None else timing.minor_faults_per_call
