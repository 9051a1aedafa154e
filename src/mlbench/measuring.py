"""Measure a cell: right first, then the footprint, then the rounds; each in processes that do nothing else.

The functions that a worker process runs and the ones that ask it to stand side by side here, so that both ends of a request are
on one page.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlbench.cases import (
    BASELINE,
    OPTIMIZED,
    RUNNERS,
    Case,
    Cell,
    call_of,
    check,
    input_of,
    model_of,
    optimized_runner,
    plan_of,
    static_bytes,
)
from mlbench.graph import FloatArray, Graph, Node
from mlbench.measure import FRESH_HEAP, KEPT_HEAP, ArmTimes, Footprint, Worker, footprint, take_turns
from mlbench.measure.latency import ROUNDS, SINGLES_S, TURN_S
from mlbench.passes import Choices, Way, choices_from_json, choices_to_json
from mlbench.results import COMPLETE, INTERRUPTED, Measurement, timing_of
from mlbench.runtime import OptimizedRunner
from mlbench.stats import FEWEST_PROCESSES, ratio_interval

FLOOR = "floor"
FLOOR_TILES = (56, 84, 126, 256, 512)
MOST_SEARCHED_FLOP = 1e9
ROUNDS_S = 3.0
"""Time for the rounds of a case in one process; cases with calls of 0.1 s and more get fewer rounds."""
LEAST_ROUNDS = 3
PROCESSES = 5
_IN_WORKER = "mlbench.measuring:in_worker"
_ALLOCATOR_DEAF = "kept heap: this allocator gives memory back all the same, so there is no number without page faults"
SPREAD_LIMIT = 0.25
"""An interval wider than this share of its estimate is warned about."""


def bare_products(cell: Cell) -> Graph:
    """Return the cell's model without biases and activations."""
    model = model_of(cell)
    constants = {f"w{index}": layer.weight for index, layer in enumerate(model.layers)}
    values = ["x", *(f"v{index}" for index in range(len(model.layers)))]
    nodes = tuple(Node("matmul", (values[index], f"w{index}"), values[index + 1], layer.weight.shape[1])
                  for index, layer in enumerate(model.layers))  # fmt: skip
    return Graph("x", model.inputs, constants, nodes, values[-1])


def floor_call(cell: Cell, floor: Choices) -> Callable[[], FloatArray]:
    """Return a call that runs an empty `run` plus the bare matrix products, pre-allocated, as chosen."""
    runner = OptimizedRunner(bare_products(cell), cell.batch, choices=floor, threads=cell.threads)
    return partial(runner.run, input_of(cell))


def floors(cell: Cell) -> tuple[Choices, ...]:
    """Return the ways to run the bare products that compete to be the floor; the runners' own are among them.

    They differ in tile, weight order and in whose code runs them: what is the least time must not depend on what a rule chose. Above
    MOST_SEARCHED_FLOP the search would take longer than the measuring, and only the rule's choices and the plain ways compete.
    """
    searched = (False, True) if cell.tuned or cell.work_flop <= MOST_SEARCHED_FLOP else (False,)
    own = [optimized_runner(Case(dataclasses.replace(cell, tuned=tuned), OPTIMIZED)).compiled.choices for tuned in searched]
    first = next(choices for choices in own if choices is not None)
    tiles = (None, *(rows for rows in FLOOR_TILES if rows < cell.batch))
    ways = (Way(), Way(order="F"), Way(generated=True))
    rest = [Choices(rows, (way,) * len(first.ways), first.threading) for rows in tiles for way in ways]
    return tuple(dict.fromkeys(each for each in (*own, *rest) if each is not None))


def fastest_floor(cell: Cell) -> Choices:
    """Return the fastest of the floors, by a short race in this process."""
    race = {str(index): floor_call(cell, floor) for index, floor in enumerate(floors(cell))}
    times = take_turns(race, affordable_rounds(race, 3), singles_s=0, count_faults=False)
    best = min(times, key=lambda name: min(times[name].rounds_s))
    return floors(cell)[int(best)]


def affordable_rounds(arms: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter) -> int:
    """Return how many rounds fit into ROUNDS_S: `rounds`, or fewer where calls take long, but LEAST_ROUNDS at least."""
    spent = 0.0
    for call in arms.values():
        call()
        start = clock()
        call()
        spent += clock() - start
    return min(rounds, max(LEAST_ROUNDS, int(ROUNDS_S / max(2 * spent, 1e-9))))


def in_worker(step: str, cell: dict[str, Any], **more: Any) -> Any:  # JSON in, JSON out
    """Run one step of a measurement; what a worker process is asked to call.

    Args:
        step: `footprint`, `floor` or `rounds`.
        cell: the cell as JSON data.
        more: `runner` for a footprint; `floor`, `rounds` and `turn_s` for rounds.
    """
    here = Cell(**{**cell, "hidden": tuple(cell["hidden"])})
    if step == "footprint":
        case = Case(here, more["runner"])
        agreement = check(case)
        return {"worst_error": agreement.worst, "footprint": dataclasses.asdict(footprint(call_of(case)))}
    if step == "floor":
        return choices_to_json(fastest_floor(here))
    arms = {runner: call_of(Case(here, runner)) for runner in RUNNERS}
    arms[FLOOR] = floor_call(here, choices_from_json(more["floor"]))
    times = take_turns(arms, affordable_rounds(arms, more["rounds"]), more["turn_s"], more["singles_s"])
    return {name: dataclasses.asdict(each) for name, each in times.items()}


Step = Callable[[str], None]
Arms = dict[str, list[ArmTimes]]


def silent(what: str) -> None:
    """Tell nobody."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a cell; `measurements` hold what was measured of it, marked as interrupted."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        super().__init__("interrupted")
        self.measurements = tuple(measurements)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured, and how.

    Attributes:
        processes: fresh processes; each is one replicate.
        rounds: ABBA rounds in each process.
        turn_s: length of a turn, in seconds.
        singles_s: time for single calls in each process, in seconds.
        heap: `fresh` or `kept`, see `mlbench.measure.worker`.
    """

    processes: int = PROCESSES
    rounds: int = ROUNDS
    turn_s: float = TURN_S
    singles_s: float = SINGLES_S
    heap: str = FRESH_HEAP


def find_floor(cell: Cell) -> Choices:
    """Find the floor of a cell in a process of its own.

    Raises:
        WorkerError: when the worker fails.
    """
    with Worker(cell.threads) as worker:
        return choices_from_json(worker.call(_IN_WORKER, step="floor", cell=dataclasses.asdict(cell)))


def judge(cell: Cell, judged: dict[str, tuple[float, Footprint]]) -> Choices:
    """In a process of its own, check both runners, take their footprints, and find the floor.

    Args:
        cell: the cell.
        judged: where error / tolerance and the footprint of each runner go, as soon as they are there.

    Returns:
        the floor.

    Raises:
        WorkerError: when the worker fails; a wrong result is among the reasons.
    """
    data = dataclasses.asdict(cell)
    with Worker(cell.threads) as worker:
        for runner in RUNNERS:
            answer = worker.call(_IN_WORKER, step="footprint", cell=data, runner=runner)
            judged[runner] = (float(answer["worst_error"]), Footprint(**answer["footprint"]))
        return choices_from_json(worker.call(_IN_WORKER, step="floor", cell=data))


def compare(cell: Cell, floor: Choices, effort: Effort, arms: Arms, step: Step = silent) -> None:
    """Time the cell's arms (both runners and the floor), interleaved, in fresh processes, one after the other.

    Args:
        cell: the cell.
        floor: how the bare products run.
        effort: how much.
        arms: where each process's times go, arm by arm, as soon as they are there, so that an interrupt loses none.
        step: told after each process.

    Raises:
        WorkerError: when a worker fails.
    """
    what = {"step": "rounds", "cell": dataclasses.asdict(cell), "floor": choices_to_json(floor)}
    for _ in range(effort.processes):
        time_in_process(_IN_WORKER, what, cell.threads, effort, arms)
        step(cell.id)


def time_in_process(function: str, arguments: Mapping[str, Any], threads: int, effort: Effort, arms: Arms) -> None:
    """Let one fresh process time arms, and add its times to `arms`.

    Args:
        function: what the process calls, `module:name`; it takes `rounds`, `turn_s` and `singles_s` besides the arguments, and returns
            arm to `ArmTimes` as JSON data.
        arguments: its arguments, JSON data.
        threads: BLAS threads of the process.
        effort: how much.
        arms: where the times go.

    Raises:
        WorkerError: when the worker fails.
    """
    how = {"rounds": effort.rounds, "turn_s": effort.turn_s, "singles_s": effort.singles_s}
    with Worker(threads, effort.heap) as worker:
        times = worker.call(function, **arguments, **how)
    for name, each in times.items():
        found = ArmTimes(tuple(each["rounds_s"]), tuple(each["singles_s"]), each["minor_faults_per_call"])
        arms.setdefault(name, []).append(found)


def compare_kept(cell: Cell, floor: Choices, effort: Effort, fresh: Mapping[str, Sequence[ArmTimes]]) -> dict[str, list[ArmTimes]]:
    """Time the arms once more with a kept heap, if the baseline faulted in the fresh one; else return nothing.

    Most of a speed-up over a runner that faults in every call is the kernel's work. A process that has freed larger blocks before does
    not pay for it, so both numbers are true, and the reader gets both.
    """
    faults = [times.minor_faults_per_call or 0.0 for times in fresh.get(BASELINE, ())]
    kept: Arms = {}
    if effort.heap == FRESH_HEAP and faults and max(faults) >= 1:
        compare(cell, floor, dataclasses.replace(effort, heap=KEPT_HEAP, singles_s=0.0), kept)
    return kept


def measurement(
    case: Case,
    times: Mapping[str, Sequence[ArmTimes]],
    worst_error: float | None,
    found: Footprint | None,
    kept: Mapping[str, Sequence[ArmTimes]] | None = None,
    status: str = COMPLETE,
) -> Measurement:
    """Put together what the steps measured of a case; `kept` are times with a kept heap, where they were taken."""
    own = times.get(case.runner)
    ratios = {}
    if own:
        ratios["floor_ratio"] = ratio_interval(per_round(own, times[FLOOR]))
        if case.runner != BASELINE:
            ratios["speedup"] = ratio_interval(per_round(times[BASELINE], own))
    deaf: tuple[str, ...] = ()
    if kept and case.runner != BASELINE:
        if max(each.minor_faults_per_call or 0.0 for each in kept[BASELINE]) < 1:
            ratios["speedup_kept_heap"] = ratio_interval(per_round(kept[BASELINE], kept[case.runner]))
        else:
            deaf = (_ALLOCATOR_DEAF,)
    return Measurement(
        case=case.identity(),
        status=status,
        worst_error=worst_error,
        footprint=found,
        static=static_bytes(case),
        timing=timing_of(own) if own else None,
        ratios=ratios,
        arms={FLOOR: timing_of(times[FLOOR]).rounds_s} if own else {},
        warnings=(*doubts(ratios, found), *deaf),
        plan=plan_of(case),
    )


def measure_cell(cell: Cell, effort: Effort, step: Step = silent) -> list[Measurement]:
    """Measure both runners of a cell in worker processes: right first, then the footprint, then the rounds.

    Args:
        cell: the cell.
        effort: how much.
        step: told 1 + `effort.processes` times that something ended.

    Raises:
        WorkerError: when a worker fails; a wrong result is among the reasons.
        Interrupted: on Ctrl-C, with what is there so far.
    """
    judged: dict[str, tuple[float, Footprint]] = {}
    times: dict[str, list[ArmTimes]] = {}
    try:
        floor = judge(cell, judged)
        step(cell.id)
        compare(cell, floor, effort, times, step)
        kept = compare_kept(cell, floor, effort, times)
    except KeyboardInterrupt:
        halves = [measurement(Case(cell, runner), times, *judged[runner], status=INTERRUPTED) for runner in judged]
        raise Interrupted(halves) from None
    return [measurement(Case(cell, runner), times, *judged[runner], kept) for runner in RUNNERS]


def per_round(over: Sequence[ArmTimes], under: Sequence[ArmTimes]) -> list[list[float]]:
    """Return, for each process, the ratio of two arms in each round."""
    pairs = zip(over, under, strict=True)
    return [[one / other for one, other in zip(a.rounds_s, b.rounds_s, strict=True)] for a, b in pairs]


def doubts(ratios: Mapping[str, Any], found: Footprint | None) -> tuple[str, ...]:
    """Return what the reader should know before believing these ratios."""
    warnings = [
        f"{name}: the interval {interval.low:.2f} to {interval.high:.2f} is wide: the machine was busy; "
        "measure again, or with more processes"
        for name, interval in ratios.items()
        if (interval.high - interval.low) > SPREAD_LIMIT * interval.estimate and interval.processes != 2  # which makes it wide
    ]
    few = min((interval.processes for interval in ratios.values()), default=FEWEST_PROCESSES)
    if few < FEWEST_PROCESSES:
        why = {1: "one process: intervals hold nothing of the spread between processes and are too narrow",
               2: "two processes: they hardly show how far processes are apart, so that intervals are wide"}[few]  # fmt: skip
        warnings.append(f"{why}; take {FEWEST_PROCESSES} or more")
    if found is not None and not found.is_steady:
        warnings.append("footprint: repeats did not agree; something else allocated in this process")
    return tuple(warnings)
