"""The memory of a case, recorded with the code at hand: what is held during one call of both runners, and the plan of the compiled one."""

from __future__ import annotations

import importlib
import itertools
import tempfile
from pathlib import Path

from mlbench.cases import BASELINE, RUNNERS, Case, Cell, call_of, optimized_runner, parse_case, static_bytes
from mlbench.errors import UsageError
from mlbench.graph import BYTES_PER_NUMBER
from mlbench.measure import has_memray, record
from mlbench.measure.environment import cores
from mlbench.report.charts import Chart, Place, arena_chart, held_chart

WARM_UPS = 3
MOST_DRAWN_FLOP, MOST_DRAWN_BYTES, MOST_DRAWN_LAYERS = 2e8, 128 * 1024 * 1024, 16
"""What is more work, or larger, or deeper is not made for a picture: a name in a file decides what is built here."""


def memory_charts(cell: str) -> tuple[Chart, ...]:
    """Return the charts of a cell's memory; none for what is no cell of ours, or is too large to be made here just for a picture."""
    try:
        case = parse_case(f"{BASELINE}-{cell}")
    except UsageError:
        return ()
    if not is_drawn(case.cell):
        return ()
    held = {runner: held_during(Case(case.cell, runner)) for runner in RUNNERS} if has_memray() else {}
    plan = optimized_runner(Case(case.cell, RUNNERS[-1])).plan
    places = [Place(", ".join(each.values) or "scratch", each.first, each.last, each.offset, each.size_bytes) for each in plan.buffers]
    charts = (held_chart(cell, held), arena_chart(cell, places, plan.nodes, plan.arena_bytes, plan.lower_bound_bytes))
    return tuple(chart for chart in charts if chart is not None)


def is_drawn(cell: Cell) -> bool:
    """Whether a cell is small enough to be made here, without a search and without more threads than there are cores."""
    sizes = (cell.inputs, *cell.hidden, cell.outputs)
    numbers = cell.batch * sum(sizes) + sum(one * other for one, other in itertools.pairwise(sizes))
    is_small = cell.work_flop <= MOST_DRAWN_FLOP and BYTES_PER_NUMBER * numbers <= MOST_DRAWN_BYTES
    return is_small and len(cell.hidden) <= MOST_DRAWN_LAYERS and not cell.tuned and cell.threads <= cores()


def held_during(case: Case) -> list[int]:
    """Return the bytes held at the beginning and after each allocation or release of one call, the static ones included."""
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
