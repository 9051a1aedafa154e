"""The memory of a case, recorded with the code at hand: what is held during one call of both runners, and the plan of the compiled one."""

from __future__ import annotations

import importlib
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlbench.errors import UsageError
from mlbench.ir import BYTES_PER_NUMBER
from mlbench.measure import blas_threads, has_memray, record
from mlbench.measure.system.environment import cores
from mlbench.report import Pair
from mlbench.report.charts import Chart, Place, arena_chart, held_chart
from mlbench.studies.cases import BASELINE, RUNNERS, Case, Cell, call_of, optimized_runner, parse_case, static_bytes
from mlbench.units import format_bytes

WARM_UPS = 3
MOST_DRAWN_FLOP, MOST_DRAWN_BYTES, MOST_DRAWN_LAYERS = 2e8, 128 * 1024 * 1024, 16
"""What is more work, or larger, or deeper is not made for a picture: a name in a file decides what is built here."""


def memory_charts(cell: str) -> tuple[Chart, ...]:
    """Return the charts of a cell's memory; none for what is no cell of ours, or is too large to be made here just for a picture."""
    if not can_be_drawn(cell):
        return ()
    case = parse_case(f"{BASELINE}-{cell}")
    held = {runner: held_during(Case(case.cell, runner)) for runner in RUNNERS} if has_memray() else {}
    plan = optimized_runner(Case(case.cell, RUNNERS[-1])).plan
    places = [Place(", ".join(each.values) or "scratch", each.first, each.last, each.offset, each.size_bytes) for each in plan.buffers]
    charts = (held_chart(cell, held), arena_chart(cell, places, plan.nodes, plan.arena_bytes, plan.lower_bound_bytes))
    return tuple(chart for chart in charts if chart is not None)


def differences(pairs: Sequence[Pair], charts: Sequence[Chart], source: str) -> tuple[str, ...]:
    """Return a line for each runner that held here at most something else than a result says, so that nobody takes both for one number."""
    told = {chart.name: {row[0]: row[-1] for row in chart.table.rows} for chart in charts}
    lines = []
    for pair in pairs:
        for runner, measured in (("baseline", pair.baseline), ("optimized", pair.optimized)):
            here = told.get(f"held-{pair.cell}", {}).get(runner)
            there = None if measured is None or measured.memory_bytes is None else format_bytes(measured.memory_bytes)
            if here is not None and there is not None and here != there:
                lines.append(f"Warning: {runner}-{pair.cell} held {here} here and {there} when {source} was measured: with other code, "
                             "another NumPy or another processor.")  # fmt: skip
    return tuple(lines)


def can_be_drawn(cell: str) -> bool:
    """Whether a cell is one of ours and small enough to be made here."""
    try:
        return is_drawn(parse_case(f"{BASELINE}-{cell}").cell)
    except UsageError:
        return False


def is_drawn(cell: Cell) -> bool:
    """Whether a cell is small enough to be made here, without a search and without more threads than there are cores."""
    sizes = (cell.inputs, *cell.hidden, cell.outputs)
    numbers = cell.batch * sum(sizes) + sum(one * other for one, other in itertools.pairwise(sizes))
    is_small = cell.work_flop <= MOST_DRAWN_FLOP and BYTES_PER_NUMBER * numbers <= MOST_DRAWN_BYTES
    return is_small and len(cell.hidden) <= MOST_DRAWN_LAYERS and not cell.tuned and cell.threads <= cores()


def held_during(case: Case) -> list[int]:
    """Return the bytes held at the beginning and after each allocation or release of one call, the static ones included."""
    with blas_threads(case.cell.threads):  # whose job table for more of them is allocated in each call
        return _held_during(case)


def _held_during(case: Case) -> list[int]:
    call, static = call_of(case), static_bytes(case).total
    for _ in range(WARM_UPS):
        call()
    memray = importlib.import_module("memray")
    kinds = memray.AllocatorType
    sizes: dict[int, int] = {}
    held = [static]
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        path = Path(folder) / "call.bin"
        record(call, path)  # the first recording of a process has allocations of its own
        record(call, path)
        with memray.FileReader(path) as reader:
            for each in reader.get_allocation_records():
                if each.allocator in (kinds.FREE, kinds.MUNMAP):
                    if each.address not in sizes:
                        continue
                    held.append(held[-1] - sizes.pop(each.address))
                else:
                    sizes[each.address] = each.size
                    held.append(held[-1] + each.size)
    return held
