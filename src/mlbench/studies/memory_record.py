"""The memory of a case, recorded with the code at hand: what is held during one call of both runners, and the plan of the compiled one."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlbench.errors import MlbenchError
from mlbench.ir import BYTES_PER_NUMBER
from mlbench.measure import has_memray, record
from mlbench.measure.system.environment import cores
from mlbench.results import RUNNERS, Result
from mlbench.results.memory import CellMemory, MemoryRecord, Place
from mlbench.results.newest import newest
from mlbench.results.pairs import Pair, pairs
from mlbench.runtime.threads import BlasThreads
from mlbench.studies.cases import Case, Cell, call_of, case_of, optimized_runner, static_bytes

WARM_UPS = 3
MOST_DRAWN_FLOP, MOST_DRAWN_BYTES, MOST_DRAWN_LAYERS = 2e8, 128 * 1024 * 1024, 16
"""What is more work, or larger, or deeper (hidden layers) is not made for a picture: a name in a file decides what is built here."""


def record_memory(results: Sequence[tuple[str, Result]]) -> MemoryRecord | None:
    """Record the memory of the digits, and of the cell in which most of it is gone, of those that can be made here.

    Args:
        results: with their files' names; the newest that has such a cell counts.
    """
    source = newest(results, _drawn_pairs)
    if source is None:
        return None
    found = _drawn_pairs(source[1])
    digits = [pair for pair in found if pair.cell.startswith("digits-") and "network" not in _identity(pair)]
    most = sorted((pair for pair in found if pair not in digits), key=lambda pair: pair.memory_reduction or 0.0)[-1:]
    recorded: list[CellMemory] = []
    gaps: list[str] = []
    for pair in (*digits, *most):
        try:
            found_here = memory_of(_identity(pair))
        except Exception as error:  # noqa: BLE001  # a recording is made here and now, and may fail for any reason of this machine
            gaps.append(f"the memory of {pair.cell} could not be made ({type(error).__name__}: {error})")
        else:
            recorded += [] if found_here is None else [found_here]
    return MemoryRecord(source[0], tuple(recorded), tuple(gaps))


def _drawn_pairs(run: Result) -> list[Pair]:
    return [pair for pair in pairs(run.measurements) if pair.memory_reduction is not None and can_be_drawn(_identity(pair))]


def _identity(pair: Pair) -> dict[str, Any]:
    measured = pair.baseline or pair.optimized
    return {} if measured is None else measured.case


def memory_of(identity: Mapping[str, Any]) -> CellMemory | None:
    """Record the memory of a row's cell; None for what is no cell of ours, or is too large to be made here just for a picture."""
    if not can_be_drawn(identity):
        return None
    cell = case_of(identity).cell
    held = {runner: held_during(Case(cell, runner)) for runner in RUNNERS} if has_memray() else {}
    plan = optimized_runner(Case(cell, RUNNERS[-1])).plan
    places = [Place(", ".join(each.values) or "scratch", each.first, each.last, each.offset, each.size_bytes) for each in plan.buffers]
    return CellMemory(cell.id, held, tuple(places), tuple(plan.nodes), plan.arena_bytes, plan.lower_bound_bytes)


def can_be_drawn(identity: Mapping[str, Any]) -> bool:
    """Whether a row is about a cell of ours, whose network is still where it was, and that is small enough to be made here."""
    try:
        return is_drawn(case_of(identity).cell)
    except MlbenchError:
        return False


def is_drawn(cell: Cell) -> bool:
    """Whether a cell is small enough to be made here, without a search and without more threads than there are cores."""
    numbers, products = cell.subject.size(cell.batch)
    is_small = cell.work_flop <= MOST_DRAWN_FLOP and BYTES_PER_NUMBER * numbers <= MOST_DRAWN_BYTES
    return is_small and products <= MOST_DRAWN_LAYERS + 1 and not cell.tuned and cell.threads <= cores()


def held_during(case: Case) -> list[int]:
    """Return the bytes held at the beginning and after each allocation or release of one call, the static ones included."""
    with BlasThreads(case.cell.threads):  # whose job table for more of them is allocated in each call
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
