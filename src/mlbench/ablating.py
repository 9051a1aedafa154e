"""What each optimisation is worth: the ladder from the baseline to everything, each one by itself, and everything without it.

All of these runners take turns in the same rounds, so that every comparison is of one moment. A second, identical baseline takes turns with
them: what its ratio to the first one strays from 1 is the noise of this very run, and an effect that does not stand out from it is not
called one.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlbench.cases import Cell, input_of, model_of
from mlbench.graph import graph_text
from mlbench.measure import ArmTimes, Footprint, Worker, footprint, take_turns
from mlbench.measuring import Arms, Effort, Step, affordable_rounds, per_round, time_in_process
from mlbench.passes import PASSES
from mlbench.report import Table
from mlbench.runtime import BaselineRunner, OptimizedRunner, check_result
from mlbench.stats import Interval, median, ratio_interval
from mlbench.units import format_bytes, format_count, format_duration, format_ratio

ORDER = ("in_place", "fuse", "fold_bias", "tile", "strips")
"""The rungs of the ladder, from what every textbook has to what only measuring suggests."""
BASELINE = "baseline"
CONTROL = "baseline again"
STATIC = "static buffers"

Passes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rung:
    """One comparison.

    Attributes:
        label: what the table calls it.
        optimisation: what is switched.
        with_it: the passes of the runner that has it.
        without_it: the passes of the runner that has not; None is the baseline.
    """

    label: str
    optimisation: str
    with_it: Passes
    without_it: Passes | None


@dataclass(frozen=True, slots=True)
class Variant:
    """A runner with some passes, apart from its speed.

    Attributes:
        graph: the graph as it runs, as text; two variants with one graph are the same program.
        memory_bytes: peak of a call plus everything held between calls.
        allocations: of a call; None where the instrument cannot count them.
        compile_s: seconds until the first result of this batch size.
    """

    graph: str
    memory_bytes: int
    allocations: int | None
    compile_s: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rung is worth in this cell.

    Attributes:
        rung: the comparison.
        variant: the runner with the optimisation; in the rows 'all but', the one without.
        total: speed-up of that runner over the baseline.
        effect: time without / time with the optimisation; above 1 it helps.
        is_idle: both runners are the same program, so there is nothing to measure.
        is_beyond_noise: the whole interval lies on one side of 1, farther away than the two identical baselines are apart.
    """

    rung: Rung
    variant: Variant
    total: Interval
    effect: Interval
    is_idle: bool
    is_beyond_noise: bool


@dataclass(frozen=True, slots=True)
class Ablation:
    """All effects of a cell.

    Attributes:
        cell: its id.
        baseline_s: median time of a call of the baseline.
        baseline_faults: page faults of such a call; None where the system does not count them.
        effects: ladder first, then each by itself, then everything without each.
        noise: how far apart two identical baselines were, as a ratio of 1 or more.
        break_even_calls: calls after which the compile time is earned back; None where nothing is gained.
    """

    cell: str
    baseline_s: float
    baseline_faults: float | None
    effects: tuple[Effect, ...]
    noise: float
    break_even_calls: float | None


def rungs() -> tuple[Rung, ...]:
    """Return every comparison, in the order of the table."""
    everything = _ordered(ORDER)
    ladder = [Rung(STATIC, STATIC, (), None)]
    ladder += [Rung(f"+ {name}", name, _ordered(ORDER[: index + 1]), _ordered(ORDER[:index])) for index, name in enumerate(ORDER)]
    alone = [Rung(f"only {name}", name, (name,), ()) for name in ORDER]
    without = [Rung(f"all but {name}", name, everything, _ordered(set(ORDER) - {name})) for name in ORDER]
    return (*ladder, *alone, *without)


def ablate(cell: Cell, effort: Effort, step: Step) -> Ablation:
    """Measure every rung in a cell.

    Args:
        cell: the cell.
        effort: how much.
        step: told 1 + `effort.processes` times that something ended.

    Raises:
        WorkerError: when a worker fails; a wrong result is among the reasons.
    """
    data = dataclasses.asdict(cell)
    with Worker(cell.threads) as worker:
        answers = worker.call("mlbench.ablating:judge_in_worker", cell=data)
    variants = {name: Variant(**answer) for name, answer in answers.items()}
    step(cell.id)
    arms: Arms = {}
    for _ in range(effort.processes):
        time_in_process("mlbench.ablating:times_in_worker", {"cell": data}, cell.threads, effort, arms)
        step(cell.id)
    return evaluate(cell.id, variants, arms)


def evaluate(cell: str, variants: Mapping[str, Variant], arms: Mapping[str, Sequence[ArmTimes]]) -> Ablation:
    """Turn times into effects; `variants` and `arms` are by name as in `_name`, with the two baselines among the arms."""
    control = ratio_interval(per_round(arms[BASELINE], arms[CONTROL]))
    noise = max(abs(math.log(control.low)), abs(math.log(control.high)))
    effects = tuple(_effect(rung, variants, arms, noise) for rung in rungs())
    baseline_s, best_s = (_median_s(arms[name]) for name in (BASELINE, _name(_ordered(ORDER))))
    saved_s = baseline_s - best_s
    compile_s = variants[_name(_ordered(ORDER))].compile_s
    faults = [each.minor_faults_per_call for each in arms[BASELINE] if each.minor_faults_per_call is not None]
    earned = compile_s / saved_s if saved_s > 0 else None
    return Ablation(cell, baseline_s, median(faults) if faults else None, effects, math.exp(noise), earned)


def ablation_table(found: Ablation) -> Table:
    """Return the effects of a cell as a table."""
    headers = ("runner", "speed-up", "95 % interval", "effect", "95 % interval", "verdict", "memory", "allocations")
    rows = tuple(
        (
            each.rung.label,
            format_ratio(each.total.estimate),
            f"{format_ratio(each.total.low)} to {format_ratio(each.total.high)}",
            "-" if each.is_idle else format_ratio(each.effect.estimate),
            "-" if each.is_idle else f"{format_ratio(each.effect.low)} to {format_ratio(each.effect.high)}",
            _verdict(each),
            format_bytes(each.variant.memory_bytes),
            "-" if each.variant.allocations is None else str(each.variant.allocations),
        )
        for each in found.effects
    )
    earned = "never" if found.break_even_calls is None else f"after {format_count(math.ceil(found.break_even_calls))} calls"
    notes: tuple[str, ...] = (
        f"Baseline {format_duration(found.baseline_s)} a call. Speed-up: baseline / this runner. Effect: the same runner without the "
        "optimisation / with it, so that above 1 it helps.",
        f"Two identical baselines differed by up to {100 * (found.noise - 1):.1f} % here. An effect is called one where its whole interval "
        f"is on one side of 1 and farther away than that. The compile time is earned back {earned}.",
    )
    if (found.baseline_faults or 0.0) >= 1:
        notes += (
            f"The baseline pays for {format_count(found.baseline_faults or 0.0)} page faults a call, which every runner with static "
            "buffers avoids: part of each speed-up over the baseline is the kernel's work. --heap kept measures without it.",
        )
    return Table(f"Ablation of {found.cell}", headers, rows, notes)


def judge_in_worker(cell: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Build, check and weigh every runner of a cell; what a worker process is asked to call."""
    here = Cell(**{**cell, "hidden": tuple(cell["hidden"])})
    model, x = model_of(here), input_of(here)
    OptimizedRunner(model, here.batch).run(x)  # BLAS sets itself up in its first product, which is no compile time
    return {_name(passes): dataclasses.asdict(_variant(here, passes)) for passes in _variants()}


def times_in_worker(cell: dict[str, Any], rounds: int, turn_s: float, singles_s: float) -> dict[str, dict[str, Any]]:
    """Time every runner of a cell and two baselines, interleaved; what a worker process is asked to call."""
    here = Cell(**{**cell, "hidden": tuple(cell["hidden"])})
    model, x = model_of(here), input_of(here)
    arms: dict[str, Callable[[], object]] = {BASELINE: partial(BaselineRunner(model).run, x)}
    for passes in _variants():
        arms[_name(passes)] = partial(OptimizedRunner(model, here.batch, passes=passes).run, x)
    arms[CONTROL] = partial(BaselineRunner(model).run, x)
    times = take_turns(arms, affordable_rounds(arms, rounds), turn_s, singles_s)
    return {name: dataclasses.asdict(each) for name, each in times.items()}


def _variant(cell: Cell, passes: Passes) -> Variant:
    model, x = model_of(cell), input_of(cell)
    start = time.perf_counter()
    runner = OptimizedRunner(model, cell.batch, passes=passes)
    y = runner.run(x)
    compile_s = time.perf_counter() - start
    check_result(model, x, y, _name(passes))
    found: Footprint = footprint(partial(runner.run, x))
    return Variant(graph_text(runner.compiled.graph), found.peak_bytes + runner.memory.total_bytes, found.allocations, compile_s)


def _effect(rung: Rung, variants: Mapping[str, Variant], arms: Mapping[str, Sequence[ArmTimes]], noise: float) -> Effect:
    with_it = _name(rung.with_it)
    without_it = BASELINE if rung.without_it is None else _name(rung.without_it)
    effect = ratio_interval(per_round(arms[without_it], arms[with_it]))
    distance = max(math.log(effect.low), -math.log(effect.high))  # of the interval from 1, negative where 1 lies inside
    is_idle = rung.without_it is not None and variants[with_it].graph == variants[without_it].graph
    shown = without_it if rung.label.startswith("all but") else with_it
    total = ratio_interval(per_round(arms[BASELINE], arms[shown]))
    return Effect(rung, variants[shown], total, effect, is_idle, not is_idle and distance > noise)


def _verdict(effect: Effect) -> str:
    if effect.is_idle:
        return "does nothing here"
    if not effect.is_beyond_noise:
        return "within noise"
    return "helps" if effect.effect.estimate > 1 else "hurts"


def _median_s(times: Sequence[ArmTimes]) -> float:
    return median([duration for each in times for duration in each.rounds_s])


def _variants() -> tuple[Passes, ...]:
    every = [passes for rung in rungs() for passes in (rung.with_it, rung.without_it) if passes is not None]
    return tuple(dict.fromkeys(every))


def _ordered(names: set[str] | Sequence[str]) -> Passes:
    return tuple(each.name for each in PASSES if each.name in names)


def _name(passes: Passes) -> str:
    return " + ".join(passes) or STATIC
