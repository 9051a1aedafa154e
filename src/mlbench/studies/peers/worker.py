"""What the process of one runtime does: build a cell, call it in turns, and say what it holds.

A process serves one runtime, cell after cell; what it has built lives in this module until the next cell takes its place.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import time
from collections.abc import Callable
from functools import partial

from mlbench.compiler import blas
from mlbench.compiler.schedule.schedule import Schedule, schedule_from_json, schedule_to_json
from mlbench.errors import MlbenchError, WrongResultError
from mlbench.measure import footprint, has_memray, held_bytes, time_interleaved, wait_for_threads
from mlbench.measure.stats import median
from mlbench.results.peers import MEASURED, OURS, WRONG, Outcome, Runtime
from mlbench.runtime import OptimizedRunner
from mlbench.studies.autotune import tune
from mlbench.studies.cases import Cell, check_outputs, inputs_of, mlp_cell, model_of, static_bytes_of
from mlbench.studies.peers import adapter, as_outputs, cannot_take, peer_loader, variants_of, versions
from mlbench.studies.peers.heap import faults_per_call, keep_freed_memory, release_freed_memory
from mlbench.studies.peers.scratch import NO_FOLDERS, Folders, found_once, use_folders
from mlbench.studies.subjects import Subject

WARM_UPS = 3
COST_S, SETTLE_S = 2e-3, 0.01
"""Time of a turn that finds out how long a call takes, and time for single calls before."""
OUR_SETTINGS = "OptimizedRunner, with what a search chose for each cell"
LONG_S = 1.0
CHOICE_ROUNDS, CHOICE_TURN_S = 15, 1e-3
"""Rounds in which the variants of a runtime alternate, before the fastest is measured."""
LEAST_FAULTS = 4.0
"""A call that makes so many page faults gets a warm heap."""
WARM = "warm heap"
_WARM_UP_CELL = mlp_cell(256, (256,), 256, 256)
"""Its products are large enough for whatever a runtime's library packs and keeps workspace for."""
_NOTHING: dict[str, int | None] = {"peak_bytes": None, "held_bytes": None, "weight_copies": None}
_kept: list[Callable[[], object]] = []
"""The call of the cell that is under way."""


def introduce(name: str, module: str | None, threads: int, folders: Folders = NO_FOLDERS) -> Runtime:
    """Keep this process to its cores, before a thread pool counts them, and say what runs in it.

    Args:
        name: of the runtime.
        module: its adapter; None for ours.
        threads: the first so many of the cores this process may use; the same ones for every runtime.
        folders: in which is kept what a compiler made or a search found.
    """
    use_folders(folders)
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # where frameworks tell about themselves; what is raised goes to the parent by another way
        os.dup2(quiet, stream)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    if module is None:
        return Runtime(name, "", OUR_SETTINGS, None)
    found = adapter(module)
    missing = found.missing()
    return Runtime(name, "" if missing else versions(found.PACKAGES), found.SETTINGS, missing)


def refusal(module: str, subject: Subject) -> str | None:
    """Return why a runtime cannot take what is to be measured, in one line; None where it can."""
    return cannot_take(module, subject)


def prepare(module: str | None, cell: Cell) -> Outcome:
    """Build the cell in place of the one before, check its output and warm it up; of several variants the fastest is kept."""
    _kept.clear()
    gc.collect()
    release_freed_memory()
    found: dict[str, Callable[[], object]] = {}
    outcomes: dict[str, Outcome] = {}
    for variant in ("",) if module is None else variants_of(module):
        found[variant], outcomes[variant] = _checked(module, cell, variant)
        if outcomes[variant].state == WRONG:
            return outcomes[variant]
    chosen = _fastest(found, outcomes, cell.threads)
    _kept.append(found[chosen])
    if cell.threads > 1:
        wait_for_threads()  # the check was made on those of a BLAS
    cost_s = _cost_s(outcomes[chosen].cost_s or 0.0)
    outcome = dataclasses.replace(outcomes[chosen], cost_s=cost_s, chosen=chosen)
    if module is None or cost_s > LONG_S or faults_per_call(_kept[0]) < LEAST_FAULTS:
        return outcome
    warm_s = _warm_cost_s(cost_s)
    return outcome if warm_s is None else dataclasses.replace(outcome, cost_s=warm_s, chosen=", ".join(filter(None, (chosen, WARM))))


def our_call(cell: Cell) -> Callable[[], object]:
    """Return a call of ours; what a search chose for the cell holds for every process of the run."""
    return partial(_our_runner(cell).run, *inputs_of(cell))


def _our_runner(cell: Cell) -> OptimizedRunner:
    return OptimizedRunner(model_of(cell), cell.batch, schedule=_schedule(cell) if cell.tuned else None, threads=cell.threads)


def _schedule(cell: Cell) -> Schedule:
    """Return what a search finds for a cell, once a run: it takes up to a minute, and is remembered only where the machine was quiet."""

    def search() -> bytes:
        return json.dumps(schedule_to_json(tune(model_of(cell), cell.batch, threads=cell.threads))).encode()

    return schedule_from_json(json.loads(found_once("schedule", json.dumps(cell.identity()).encode(), search)))


def _checked(module: str | None, cell: Cell, variant: str) -> tuple[Callable[[], object], Outcome]:
    """Build a variant of the cell and check its output; the cost is that of the first call."""
    start = time.perf_counter()
    call = our_call(cell) if module is None else peer_loader(module, cell, variant)()
    built = time.perf_counter()
    result = call()
    end = time.perf_counter()
    if end - built < LONG_S:
        result = call()  # a runtime may keep something in the memory of its input, and be right in its first call alone
    try:
        agreement = check_outputs(cell, as_outputs(result), module or OURS)
    except WrongResultError as error:
        return call, Outcome(WRONG, str(error))
    return call, Outcome(MEASURED, "", agreement.worst, end - start, end - built)


def _fastest(calls: dict[str, Callable[[], object]], outcomes: dict[str, Outcome], threads: int) -> str:
    """Return the variant whose call is the fastest; a very long call is not made again to find out.

    With several threads the variants are timed apart, because the threads of one spin for a while after its call.
    """
    first = {name: each.cost_s or 0.0 for name, each in outcomes.items()}
    if len(calls) == 1 or max(first.values()) > LONG_S:
        return min(first, key=first.__getitem__)
    times: dict[str, float] = {}
    for group in [calls] if threads == 1 else [{name: call} for name, call in calls.items()]:
        if threads > 1:
            wait_for_threads()
        timed = time_interleaved(group, CHOICE_ROUNDS, CHOICE_TURN_S, 0.0, count_faults=False)
        times |= {name: median(each.rounds_s) for name, each in timed.items()}
    return min(times, key=times.__getitem__)


def _warm_cost_s(cost_s: float) -> float | None:
    """Warm the heap for a call that faults, and return the seconds it takes then; None where that is no less, and the heap is as before."""
    fresh_s = min(cost_s, *(_cost_s(cost_s) for _ in range(WARM_UPS)))
    if not keep_freed_memory():
        return None
    warm_s = min(_cost_s(cost_s) for _ in range(1 + WARM_UPS))
    if warm_s < fresh_s:
        return warm_s
    release_freed_memory()
    return None


def _cost_s(first_s: float) -> float:
    """Return about how long a call takes, in seconds; a very long one is made once more, because a first call may compile."""
    end, costs_s = time.perf_counter() + SETTLE_S, [turn(1, 0)]
    while time.perf_counter() < end or (len(costs_s) < WARM_UPS and first_s <= LONG_S):
        costs_s.append(turn(1, 0))
    cost_s = min(costs_s)
    return min(turn(1 + int(COST_S / cost_s), 0) for _ in range(WARM_UPS)) if cost_s < COST_S else cost_s


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


def footprint_of(module: str | None, cell: Cell, variant: str = "") -> dict[str, int | None]:
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
            own = static_bytes_of(_our_runner(cell), cell)
            peak = footprint(our_call(cell)).peak_bytes
            return {"peak_bytes": peak, "held_bytes": own.total, "weight_copies": own.weight_copies}
        blas.set_up()
        _build(module, dataclasses.replace(_WARM_UP_CELL, threads=cell.threads))
        _kept.clear()
        load = peer_loader(module, cell, variant)
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
