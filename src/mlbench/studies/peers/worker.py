"""What the process of one runtime does: build a cell, call it in turns, and say what it holds.

A process serves one runtime, cell after cell; what it has built lives in this module until the next cell takes its place.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import time
from collections.abc import Callable
from functools import partial

from mlbench.compiler import blas
from mlbench.errors import MlbenchError, WrongResultError
from mlbench.measure import footprint, has_memray, held_bytes
from mlbench.results import OPTIMIZED
from mlbench.results.peers import MEASURED, OURS, WRONG, Outcome, Runtime
from mlbench.studies.cases import Case, Cell, call_of, check_outputs, mlp_cell, model_of, static_bytes
from mlbench.studies.peers import adapter, as_outputs, peer_loader, versions

WARM_UPS = 3
COST_S = 2e-3
"""Time spent on finding out how long a call takes."""
LONG_S = 1.0
_WARM_UP_CELL = mlp_cell(256, (256,), 256, 256)
"""Its products are large enough for whatever a runtime's library packs and keeps workspace for."""
_NOTHING: dict[str, int | None] = {"peak_bytes": None, "held_bytes": None, "weight_copies": None}
_kept: list[Callable[[], object]] = []
"""The call of the cell that is under way."""


def introduce(name: str, module: str | None, threads: int) -> Runtime:
    """Keep this process to its cores, before a thread pool counts them, and say what runs in it.

    Args:
        name: of the runtime.
        module: its adapter; None for ours.
        threads: the first so many of the cores this process may use; the same ones for every runtime.
    """
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # where frameworks tell about themselves; what is raised goes to the parent by another way
        os.dup2(quiet, stream)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if module is None:
        return Runtime(name, "", "OptimizedRunner with tuned choices", None)
    found = adapter(module)
    missing = found.missing()
    return Runtime(name, "" if missing else versions(found.PACKAGES), found.SETTINGS, missing)


def prepare(module: str | None, cell: Cell) -> Outcome:
    """Build the cell in place of the one before, check its output and warm it up."""
    _kept.clear()
    gc.collect()
    start = time.perf_counter()
    call = call_of(Case(cell, OPTIMIZED)) if module is None else peer_loader(module, cell)()
    built = time.perf_counter()
    result = call()
    end = time.perf_counter()
    try:
        agreement = check_outputs(cell, as_outputs(result), module or OURS)
    except WrongResultError as error:
        return Outcome(WRONG, str(error))
    _kept.append(call)
    return Outcome(MEASURED, "", agreement.worst, end - start, _cost_s(end - built))


def _cost_s(first_s: float) -> float:
    """Return about how long a call takes, in seconds; a very long one is not made again to find out."""
    cost_s = first_s if first_s > LONG_S else min(turn(1, 0) for _ in range(WARM_UPS))
    return turn(1 + int(COST_S / cost_s), 0) if cost_s < COST_S else cost_s


def turn(calls: int, warm_ups: int) -> float:
    """Return the seconds a call takes on average, after some untimed ones: another process has just had the caches."""
    (call,) = _kept
    clock = time.perf_counter
    gc.disable()
    try:
        for _ in range(warm_ups):
            call()
        start = clock()
        for _ in range(calls):
            call()
        return (clock() - start) / calls
    finally:
        gc.enable()


def footprint_of(module: str | None, cell: Cell) -> dict[str, int | None]:
    """Return the bytes of the cell's runtime, each None where memray cannot tell.

    What a runtime holds is counted by memray, from before it is built until after its first calls, without the bytes of one set of
    weights. Imports, pools and the workspace of a BLAS are made once in a process, whatever runs in it, so they are in nobody's count:
    NumPy's BLAS is set up and another model is built and run before. Ours says itself what it
    holds beyond the model's weights, its copies of them included.

    Returns:
        `peak_bytes` of a call, `held_bytes` between calls (an output that stays bound is among them), and how many of these are
        `weight_copies`, None for a runtime that does not say.
    """
    _kept.clear()
    gc.collect()
    try:
        if not has_memray():
            return _NOTHING
        if module is None:
            own = static_bytes(Case(cell, OPTIMIZED))
            peak = footprint(call_of(Case(cell, OPTIMIZED))).peak_bytes
            return {"peak_bytes": peak, "held_bytes": own.total, "weight_copies": own.weight_copies}
        blas.set_up()
        _build(module, dataclasses.replace(_WARM_UP_CELL, threads=cell.threads))
        _kept.clear()
        load = peer_loader(module, cell)
        held = held_bytes(partial(_keep, load)) - model_of(cell).parameter_bytes
        return {"peak_bytes": footprint(_kept[0]).peak_bytes, "held_bytes": max(0, held), "weight_copies": None}
    except MlbenchError:  # another tracker, or no place for the recording
        return _NOTHING
    finally:
        _kept.clear()


def _build(module: str, cell: Cell) -> None:
    _keep(peer_loader(module, cell))


def _keep(load: Callable[[], Callable[[], object]]) -> None:
    """Build, keep and warm up."""
    _kept.append(load())
    for _ in range(WARM_UPS):
        _kept[0]()
    gc.collect()
