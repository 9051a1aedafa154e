"""Ceilings and distances as tables, with a sentence for each case."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlbench.measure.ceilings import Ceilings
from mlbench.measure.peaks import Level
from mlbench.measure.stats import FEWEST_PROCESSES, geometric_mean
from mlbench.report import Table, format_interval
from mlbench.results import OPTIMIZED, SPREAD_LIMIT
from mlbench.results.roofline import Distance
from mlbench.units import format_bytes, format_duration, format_ratio, paragraph

LARGE_BATCH = 64
"""From so many rows on the products of most models take nearly all of a call."""


def ceilings_table(found: Ceilings) -> Table:
    """Return the ceilings as a table."""
    rows = (
        ("multiply-adds in registers, float32", f"{found.peaks.flop_per_s / 1e9:.0f} GFLOP/s"),
        ("NumPy's matrix product, float32", f"{found.gemm_flop_per_s / 1e9:.0f} GFLOP/s"),
        *((f"reading from {_level(each)}", _rate(each.bytes_per_s)) for each in found.peaks.levels),
        *((f"copy, source and target {format_bytes(each.size_bytes)}", _rate(each.bytes_per_s)) for each in found.copy),
        ("element-wise call on 16 numbers", format_duration(found.ufunc_call_s)),
        ("product (1, 16) @ (16, 16)", format_duration(found.dot_call_s)),
        ("an empty builtin", format_duration(found.peaks.call_s)),
    )
    notes = (
        f"Multiply-adds and reading were reached by {found.peaks.source}, which contain no code under test. The floor of a case "
        "is made of these and of the empty builtin.",
        "The best of several sizes and repeats, on operands that lie in the cache they fit into. A copy counts bytes read and written.",
    )
    return Table("Ceilings", ("what", "at most"), rows, notes)


def distances_table(found: Sequence[Distance], ceilings: Ceilings) -> Table:
    """Return the distance of each case to the limit as a table."""
    headers = (
        "case",
        "latency",
        "GFLOP/s",
        "of peak",
        "of GEMM",
        "GB/s",
        "of bandwidth",
        "calls",
        "floor",
        "floor ratio",
        "95 % interval",
        "of the floor",
        "which is",
    )
    rows = tuple(
        (
            each.case,
            format_duration(each.latency_s),
            f"{each.limit.flop_per_s / 1e9:.1f}",
            _percent(each.limit.of_peak),
            _percent(each.limit.flop_per_s / ceilings.gemm_flop_per_s),
            f"{each.limit.bytes_per_s / 1e9:.1f}",
            _percent(each.limit.of_bandwidth),
            _percent(each.limit.calls_share),
            format_duration(each.floor.seconds),
            format_ratio(each.floor_ratio.estimate),
            format_interval(each.floor_ratio),
            _percent(1 / each.floor_ratio.estimate),
            each.floor.bound,
        )
        for each in found
    )
    notes = (
        *_large_batches(found, ceilings),
        "GFLOP/s of the matrix products. Of GEMM: divided by the best that NumPy's matrix product reached. GB/s of what must move: "
        "weights, input and output once, each hidden activation twice. Calls: what their overhead takes at least.",
        "The floor contains no code under test. It is the larger of two times, plus an empty builtin: the products' arithmetic at "
        "the peak, and reading weights, input and output from the level of memory they fit into. Floor ratio: latency / floor; "
        "1.00x is the machine's limit, and below 1 the floor would be wrong.",
        "The limits add up the least time of the calls, the products and the passes. The rest is allocation, page faults, Python, "
        "and shapes that suit BLAS badly; 'mlbench ablation' takes the baseline apart.",
        *_doubts(found),
    )
    return Table("Distance to the limit", headers, rows, notes)


def sentences(found: Sequence[Distance]) -> str:
    """Return what bounds each case, a sentence each."""
    lines = [f"  {each.case}: {each.limit.sentence}." for each in found]
    wrapped = [paragraph(line, "    ") for line in lines]
    return "\n".join(["What bounds each case", "", *wrapped])


def _large_batches(found: Sequence[Distance], ceilings: Ceilings) -> tuple[str, ...]:
    """Return how close the compiled runner comes to the machine where products decide; nothing where there is no such case."""
    large = [each for each in found if each.case.startswith(f"{OPTIMIZED}-") and _batch(each.case) >= LARGE_BATCH]
    if not large:
        return ()
    shares = {
        "of the peak": [each.limit.of_peak for each in large],
        "of NumPy's best matrix product": [each.limit.flop_per_s / ceilings.gemm_flop_per_s for each in large],
        "of the floor": [1 / each.floor_ratio.estimate for each in large],
    }
    said = []
    for what, each in shares.items():
        worst = min(range(len(large)), key=each.__getitem__)
        said.append(f"{_percent(geometric_mean(each))} {what} (worst {_percent(each[worst])}, {large[worst].case})")
    return (f"The compiled runner from batch {LARGE_BATCH} on, geometric mean of {len(large)}: {', '.join(said)}.",)


def _batch(case: str) -> int:
    """Return the batch that the name of a case has, which may begin with the name of a network; 0 where it has none."""
    found = re.findall(r"-b(\d+)(?=-|$)", case)
    return int(found[-1]) if found else 0


def _doubts(found: Sequence[Distance]) -> tuple[str, ...]:
    """Return what the reader should know before believing the floor ratios."""
    ratios = [each.floor_ratio for each in found]
    wide = sum(each.high - each.low > SPREAD_LIMIT * each.estimate for each in ratios)
    busy = f"The interval is wide in {wide} of {len(found)} cases: the machine was busy; measure again when idle, or with more --processes."
    few = min((each.processes for each in ratios), default=FEWEST_PROCESSES) < FEWEST_PROCESSES
    return (
        *((busy,) if wide else ()),
        *((f"Fewer than {FEWEST_PROCESSES} processes hardly show how much processes differ; one does not show it at all.",) if few else ()),
    )


def _level(level: Level) -> str:
    return f"{level.name} ({format_bytes(level.capacity_bytes)} with the levels before it)" if level.capacity_bytes else level.name


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e9:.1f} GB/s"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
