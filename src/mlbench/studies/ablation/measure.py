"""Measure the ablation of a cell: every runner checked, with its footprint, in one process, then all of them timed in several more.

All runners are interleaved in the same rounds, so that every comparison is of one moment. A second, identical baseline is among
them: what its ratio to the first one strays from 1 is the noise of this very run, and an effect that does not stand out from it is not
called one.

The functions that a worker runs and the one that asks it for them are side by side here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from mlbench.compiler import blas
from mlbench.compiler.pipeline import compile_graph, passes_named
from mlbench.compiler.schedule.printer import program_text
from mlbench.measure import ArmTimes, Footprint, Worker, caches, eviction_bytes, eviction_text, evictor, footprint, time_interleaved
from mlbench.measure.stats import median, ratio_interval, typical
from mlbench.results import BASELINE
from mlbench.results.ablation import Ablation, Effect, Rung, Variant
from mlbench.results.network import network_key
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.studies.ablation.breakdown import measured_shares, programs
from mlbench.studies.ablation.variants import CONTROL, ORDER, Passes, name_of, ordered, rungs, variants
from mlbench.studies.cases import Cell, check_outputs, inputs_of, model_of
from mlbench.studies.sweep import Arms, Effort, Step, affordable_rounds, per_round, silent, time_in_process

SAME_PROGRAM = "the passes around it lead to the same program without it"
"""Why a pass that does something in a runner makes no difference there."""


def ablate(cell: Cell, effort: Effort, step: Step = silent, *, cold: bool = False) -> Ablation:
    """Measure every rung in a cell, and where the time of its baseline goes.

    Args:
        cell: the cell.
        effort: how much.
        step: told 1 + `effort.processes` times that something ended.
        cold: with cold caches: every timed call is a single one, and something else passes through the caches before it.

    Raises:
        WorkerError: when a worker fails; a wrong result is among the reasons.
    """
    with Worker(cell.threads) as worker:
        checked = worker.call(checked_variants, cell)
        reasons = worker.call(idle_reasons, cell)
    step(cell.id)
    found = caches()
    evicted = eviction_bytes(found) if cold else None
    arms: Arms = {}
    for _ in range(effort.processes):
        time_in_process(times_of_variants if evicted is None else cold_times_of_variants, cell, effort, arms)
        step(cell.id)
    measured = dataclasses.replace(evaluate(cell.id, checked, arms, reasons), network=network_key(cell.identity()))
    return measured if evicted is None else dataclasses.replace(measured, evicted_bytes=evicted, eviction=eviction_text(evicted, found))


def evaluate(
    cell: str,
    checked: Mapping[str, Variant],
    arms: Mapping[str, Sequence[ArmTimes]],
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> Ablation:
    """Turn times into effects and shares.

    Args:
        cell: its id.
        checked: each compiled runner, by name as in `name_of`, and the baseline.
        arms: times of the same, of the two baselines, and of the programs behind the shares.
        reasons: label of a rung to why its pass changed nothing, as `idle_reasons` gives them.
    """
    control = ratio_interval(per_round(arms[BASELINE], arms[CONTROL]))
    noise = max(abs(math.log(control.low)), abs(math.log(control.high)))
    best = name_of(ordered(ORDER))
    baseline_s, compile_s = _seconds(arms[BASELINE]), checked[best].compile_s
    saved_s = baseline_s - _seconds(arms[best])
    faults = [each.minor_faults_per_call for each in arms[BASELINE] if each.minor_faults_per_call is not None]
    return Ablation(
        cell=cell,
        baseline_s=baseline_s,
        baseline_faults=median(faults) if faults else None,
        shares=measured_shares(arms[BASELINE], arms),
        effects=tuple(_effect(rung, checked, arms, noise, reasons.get(rung.label, "")) for rung in rungs()),
        noise=math.exp(noise),
        compile_s=compile_s,
        break_even_calls=compile_s / saved_s if saved_s > 0 else None,
    )


def checked_variants(cell: Cell) -> dict[str, Variant]:
    """Build and check every runner of a cell, and take its footprint; a worker is asked for it."""
    model, xs = model_of(cell), inputs_of(cell)
    blas.set_up()  # which is no compile time
    OptimizedRunner(model, cell.batch).run(*xs)
    return {BASELINE: _baseline(cell)} | {name_of(passes): _variant(cell, passes) for passes in variants()}


def idle_reasons(cell: Cell) -> dict[str, str]:
    """Return for each rung whose pass changes nothing in the runner that has it, why; a worker is asked for it."""
    graph = model_of(cell).graph()
    found = {}
    for rung in rungs():
        steps = compile_graph(graph, cell.batch, passes_named(rung.with_it), threads=cell.threads).steps
        found[rung.label] = next((step.idle_reason for step in steps if step.by.name == rung.optimisation), "")
    return {label: reason for label, reason in found.items() if reason}


def times_of_variants(cell: Cell, effort: Effort) -> dict[str, ArmTimes]:
    """Time every runner of a cell, two baselines and what the shares need, interleaved; a worker is asked for it."""
    return _times(cell, effort, None)


def cold_times_of_variants(cell: Cell, effort: Effort) -> dict[str, ArmTimes]:
    """Time the same with cold caches: something else passes through them before each call; a worker is asked for it."""
    return _times(cell, effort, evictor(eviction_bytes(caches())))


def _times(cell: Cell, effort: Effort, evict: Callable[[], None] | None) -> dict[str, ArmTimes]:
    model, xs = model_of(cell), inputs_of(cell)
    arms: dict[str, Callable[[], object]] = {BASELINE: partial(BaselineRunner(model).run, *xs)}
    for passes in variants():
        arms[name_of(passes)] = partial(OptimizedRunner(model, cell.batch, passes=passes).run, *xs)
    arms[CONTROL] = partial(BaselineRunner(model).run, *xs)
    arms |= programs(model.graph(), xs)
    paid = arms if evict is None else {name: _after(evict, call) for name, call in arms.items()}
    return time_interleaved(arms, affordable_rounds(paid, effort.rounds), effort.turn_s, effort.singles_s, before=evict)


def _after(evict: Callable[[], None], call: Callable[[], object]) -> Callable[[], object]:
    def evict_and_call() -> object:
        evict()
        return call()

    return evict_and_call


def _variant(cell: Cell, passes: Passes) -> Variant:
    model, xs = model_of(cell), inputs_of(cell)
    start = time.perf_counter()
    runner = OptimizedRunner(model, cell.batch, passes=passes)
    y = runner.run(*xs)
    compile_s = time.perf_counter() - start
    check_outputs(cell, y, name_of(passes))
    found: Footprint = footprint(partial(runner.run, *xs))
    return Variant(_digest(runner), found.peak_bytes + runner.memory.total_bytes, found.allocations, compile_s)


def _baseline(cell: Cell) -> Variant:
    """Return the eager runner as a variant, for what it holds."""
    model, xs = model_of(cell), inputs_of(cell)
    start = time.perf_counter()
    runner = BaselineRunner(model)
    runner.run(*xs)
    compile_s = time.perf_counter() - start
    found = footprint(partial(runner.run, *xs))
    return Variant(BASELINE, found.peak_bytes, found.allocations, compile_s)


def _digest(runner: OptimizedRunner) -> str:
    """Return a digest of the graph, the plan, the code and the layout of the constants: everything that could make a difference."""
    program = runner.compiled.program
    layouts = [f"{name} {array.shape} {array.strides}" for name, array in program.graph.constants.items()]
    text = "\n".join([program_text(program), str(runner.plan), *runner.sources, *layouts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _effect(rung: Rung, checked: Mapping[str, Variant], arms: Mapping[str, Sequence[ArmTimes]], noise: float, reason: str) -> Effect:
    with_it, without_it = name_of(rung.with_it), name_of(rung.without_it)
    effect = ratio_interval(per_round(arms[without_it], arms[with_it]))
    distance = max(math.log(effect.low), -math.log(effect.high))  # of the interval from 1, negative where 1 lies inside
    is_idle = rung.without_it is not None and checked[with_it].program == checked[without_it].program
    shown = without_it if rung.label.startswith("all but") else with_it
    total = ratio_interval(per_round(arms[BASELINE], arms[shown]))
    without_bytes, with_bytes = (checked[name].memory_bytes if name in checked else None for name in (without_it, with_it))
    why = (reason or SAME_PROGRAM) if is_idle else ""
    return Effect(rung, checked[shown], total, effect, is_idle, not is_idle and distance > noise, without_bytes, with_bytes, why)


def _seconds(times: Sequence[ArmTimes]) -> float:
    return typical([each.rounds_s for each in times])
