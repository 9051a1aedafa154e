"""Measure a cell: right first, then the footprint, then the rounds; each in processes that do nothing else.

The functions that a worker runs and the ones that ask it for them are side by side here, so that both ends of a request are on one page.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.ir import FloatArray
from mlbench.measure import FRESH_HEAP, WARM_HEAP, ArmTimes, Footprint, Worker, footprint, time_interleaved
from mlbench.measure.latency import TURN_S
from mlbench.measure.peaks import Floor
from mlbench.measure.stats import FEWEST_PROCESSES, Interval, ratio_interval
from mlbench.results import (
    BASELINE,
    COMPLETE,
    INTERRUPTED,
    RUNNER,
    RUNNERS,
    SPREAD_LIMIT,
    Measurement,
    fastest_rounds,
    timing_of,
)
from mlbench.studies.cases import Case, Cell, call_of, check, inputs_of, model_of, plan_of, static_bytes
from mlbench.studies.code import code_or_doubt
from mlbench.studies.products import product_sources

PRODUCTS = "products"
"""The arm of NumPy's bare products: a yardstick that contains no code under test."""
THIS = "this"
"""The name of a case's own rounds among the interleaved arms with a warm heap."""
CASE_PROCESSES, CASE_ROUNDS, CASE_SINGLES_S = 8, 30, 0.16
"""Of a case: processes, rounds in each, and seconds of single calls in each. Among eight moments some are undisturbed, whatever the machine
does besides; with five, recombined runs on a heavily loaded machine were in doubt or red in one of eight, with eight in none of 150."""
ROUNDS_S = 1.5
"""Time for the rounds of a case in one process; cases with calls of 0.1 s and more get fewer rounds."""
LEAST_ROUNDS = 3
PROCESSES = 5
"""Of comparisons that no gate judges."""
_ALLOCATOR_DEAF = "kept heap: this allocator gives memory back even then, so there is no number without page faults"
_OPTION = "--processes, in pytest --mlbench-processes"
MOST_BALLAST_BYTES = 32 * 1024**2


def products_call(cell: Cell) -> Callable[[], None]:
    """Return a call of NumPy's bare products: pre-allocated, in plain C order, without anything between them, and without code under test.

    Each matrix product of the graph is called once. It reads the result of the product before it, where only a bias and an activation lie
    between them, as in an MLP; else an array of its own.
    """
    graph = model_of(cell).graph()
    values = dict(zip(graph.inputs, inputs_of(cell), strict=True))
    random, steps = np.random.default_rng(1), []
    for node, source in product_sources(graph):
        if source not in values:
            values[source] = random.standard_normal((cell.batch, graph.columns_of(source)), dtype=np.float32)
        weight = np.array(graph.constants[node.operands[0]], order="C")
        values[node.output] = result = np.empty((cell.batch, node.columns), np.float32)
        steps.append((values[source].dot, weight, result))

    def products() -> None:
        for dot, weight, result in steps:
            dot(weight, result)

    return products


def ballast() -> FloatArray:
    """Touch memory of a random size, to be held while the arms live.

    The kernel hands a process the pages that the one before it has freed, so that processes after each other get the same ones, and with
    them the same conflicts in the caches: they agree with each other, and not with the next run. After a ballast of another size in each
    of them the arms lie elsewhere, and the spread between processes holds what differs between runs.
    """
    return np.ones(secrets.randbelow(MOST_BALLAST_BYTES) // 4, np.float32)


def affordable_rounds(arms: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter) -> int:
    """Return how many rounds fit into ROUNDS_S: `rounds`, or fewer where calls take long, but LEAST_ROUNDS at least."""
    spent = 0.0
    for call in arms.values():
        call()
        start = clock()
        call()
        spent += clock() - start
    return min(rounds, max(LEAST_ROUNDS, int(ROUNDS_S / max(2 * spent, 1e-9))))


def checked_footprint(case: Case) -> tuple[float, Footprint]:
    """Check a case, and return its error / tolerance and its footprint; a worker is asked for it."""
    agreement = check(case)
    return agreement.worst, footprint(call_of(case))


def times_of_cell(cell: Cell, effort: Effort) -> dict[str, ArmTimes]:
    """Time both runners of a cell and the bare products, interleaved; a worker is asked for it."""
    held = ballast()
    arms: dict[str, Callable[[], object]] = {runner: call_of(Case(cell, runner)) for runner in RUNNERS}
    arms[PRODUCTS] = products_call(cell)
    settled = [name for name in RUNNERS if name != BASELINE and cell.threads > 1]  # beside arms on the threads of a BLAS
    times = time_interleaved(arms, affordable_rounds(arms, effort.rounds), effort.turn_s, effort.singles_s, settled=settled)
    del held
    return times


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

    processes: int = CASE_PROCESSES
    rounds: int = CASE_ROUNDS
    turn_s: float = TURN_S
    singles_s: float = CASE_SINGLES_S
    heap: str = FRESH_HEAP


def judge(cell: Cell, judged: dict[str, tuple[float, Footprint]]) -> None:
    """In a process of its own, check both runners and take their footprints.

    Args:
        cell: the cell.
        judged: where error / tolerance and the footprint of each runner go, as soon as they are there.

    Raises:
        WorkerError: when the worker fails; a wrong result is among the reasons.
    """
    with Worker(cell.threads) as worker:
        for runner in RUNNERS:
            judged[runner] = worker.call(checked_footprint, Case(cell, runner))


def compare(cell: Cell, effort: Effort, arms: Arms, step: Step = silent) -> None:
    """Time the cell's arms (both runners and the bare products), interleaved, in fresh processes, one after the other.

    Args:
        cell: the cell.
        effort: how much.
        arms: where each process's times go, arm by arm, as soon as they are there, so that an interrupt loses none.
        step: told after each process.

    Raises:
        WorkerError: when a worker fails.
    """
    for _ in range(effort.processes):
        time_in_process(times_of_cell, cell, effort, arms)
        step(cell.id)


def time_in_process(times_of: Callable[[Cell, Effort], dict[str, ArmTimes]], cell: Cell, effort: Effort, arms: Arms) -> None:
    """Let one fresh process time the arms of a cell, and add its times to `arms`.

    Args:
        times_of: what the process calls.
        cell: the cell.
        effort: how much.
        arms: where the times go.

    Raises:
        WorkerError: when the worker fails.
    """
    with Worker(cell.threads, effort.heap) as worker:
        times = worker.call(times_of, cell, effort)
    for name, each in times.items():
        arms.setdefault(name, []).append(each)


def compare_warm(cell: Cell, effort: Effort, fresh: Mapping[str, Sequence[ArmTimes]], warm: Arms) -> None:
    """Time the arms once more with a warm heap, if the baseline faulted in a fresh one, and add the times to `warm`.

    Most of a speed-up over a runner that faults in every call is the kernel's work. A process that has freed larger blocks before does
    not pay for it, so both numbers are true, and the reader gets both.
    """
    faults = [times.minor_faults_per_call or 0.0 for times in fresh.get(BASELINE, ())]
    if effort.heap == FRESH_HEAP and faults and max(faults) >= 1:
        compare(cell, dataclasses.replace(effort, heap=WARM_HEAP, singles_s=0.0), warm)


def measurement(
    case: Case,
    times: Mapping[str, Sequence[ArmTimes]],
    worst_error: float | None,
    found: Footprint | None,
    warm: Mapping[str, Sequence[ArmTimes]] | None = None,
    floor: Floor | None = None,
    status: str = COMPLETE,
) -> Measurement:
    """Put together what the steps measured of a case.

    Args:
        case: the case.
        times: of the arms.
        worst_error: error / tolerance.
        found: the footprint.
        warm: times with a warm heap, where they were taken, because the baseline faulted without it.
        floor: of the cell; None where nobody measured the machine's peaks.
        status: `complete`, or `interrupted`.
    """
    own = times.get(case.runner)
    same = warm or times  # the heap in which arms are compared with yardsticks
    ratios, arms = {}, {}
    if own:
        yardsticks = (PRODUCTS,) if case.runner == BASELINE else (BASELINE, PRODUCTS)
        arms = {THIS: same[case.runner], **{name: same[name] for name in yardsticks}}
        ratios["products_ratio"] = ratio_interval(per_round(same[case.runner], same[PRODUCTS]))
        if floor is not None:
            ratios["floor_ratio"] = ratio_interval([[each / floor.seconds for each in process.rounds_s] for process in own])
        if case.runner != BASELINE:
            ratios["speedup"] = ratio_interval(per_round(times[BASELINE], own))
    deaf: tuple[str, ...] = ()
    if warm and case.runner != BASELINE:
        if max(each.minor_faults_per_call or 0.0 for each in warm[BASELINE]) < 1:
            ratios["speedup_kept_heap"] = ratio_interval(per_round(warm[BASELINE], warm[case.runner]))
        else:
            deaf = (_ALLOCATOR_DEAF,)
    code, not_counted = code_or_doubt(case) if status == COMPLETE else (None, ())
    return Measurement(
        case=case.identity(),
        status=status,
        worst_error=worst_error,
        footprint=found,
        static=static_bytes(case),
        counted=RUNNER,
        timing=timing_of(own) if own else None,
        floor_s=None if floor is None else floor.seconds,
        ratios=ratios,
        arms={name: fastest_rounds(each) for name, each in arms.items()},
        warnings=(*doubts({name: each for name, each in ratios.items() if name != "products_ratio"}, found), *deaf, *not_counted),
        plan=plan_of(case),
        code=code,
    )


def measure_cells(cells: Mapping[Cell, Floor], effort: Effort, step: Step = silent) -> list[Measurement]:
    """Measure both runners of some cells in worker processes: right first, then the footprints, then the rounds.

    The processes of the cells are interleaved, so that those of each cell are spread over the whole time: a machine is in another state for
    seconds and minutes, and processes one after the other would all be in one of them.

    Args:
        cells: each with its floor.
        effort: how much.
        step: told 1 + `effort.processes` times for each cell that something ended.

    Raises:
        WorkerError: when a worker fails; a wrong result is among the reasons.
        Interrupted: on Ctrl-C, with what is there so far.
    """
    judged: dict[Cell, dict[str, tuple[float, Footprint]]] = {cell: {} for cell in cells}
    times: dict[Cell, Arms] = {cell: {} for cell in cells}
    warm: dict[Cell, Arms] = {cell: {} for cell in cells}
    one = dataclasses.replace(effort, processes=1)

    def made(status: str) -> list[Measurement]:
        return [
            measurement(Case(cell, runner), times[cell], *judged[cell][runner], warm[cell] if status == COMPLETE else None, floor, status)
            for cell, floor in cells.items()
            for runner in judged[cell]
        ]

    try:
        for cell in cells:
            judge(cell, judged[cell])
            step(cell.id)
        for _ in range(effort.processes):
            for cell in cells:
                compare(cell, one, times[cell], step)
                compare_warm(cell, one, times[cell], warm[cell])
        for cell in cells:
            compare_warm(cell, dataclasses.replace(effort, processes=effort.processes - _count(warm[cell])), times[cell], warm[cell])
    except KeyboardInterrupt:
        raise Interrupted(made(INTERRUPTED)) from None
    return made(COMPLETE)


def measure_cell(cell: Cell, effort: Effort, floor: Floor, step: Step = silent) -> list[Measurement]:
    """Measure both runners of one cell; see `measure_cells`."""
    return measure_cells({cell: floor}, effort, step)


def _count(arms: Arms) -> int:
    """Return from how many processes there are times."""
    return len(next(iter(arms.values()), ()))


def per_round(over: Sequence[ArmTimes], under: Sequence[ArmTimes]) -> list[list[float]]:
    """Return, for each process, the ratio of two arms in each round."""
    pairs = zip(over, under, strict=True)
    return [[one / other for one, other in zip(a.rounds_s, b.rounds_s, strict=True)] for a, b in pairs]


def doubts(ratios: Mapping[str, Interval], found: Footprint | None, *, is_lone: bool = False) -> tuple[str, ...]:
    """Return what the reader should know before believing these ratios; `is_lone` of a callable, which has one process and no more."""
    again = "measure again when it is idle" + ("" if is_lone else f", or with more processes ({_OPTION})")
    warnings = [
        f"{name}: the interval {interval.low:.2f} to {interval.high:.2f} is wide: the machine was busy; {again}"
        for name, interval in ratios.items()
        if (interval.high - interval.low) > SPREAD_LIMIT * interval.estimate and interval.processes != 2  # which makes it wide
    ]
    if "floor_ratio" in ratios and ratios["floor_ratio"].high < 1:
        warnings.append(
            "floor ratio: below 1, which no call can be: the floor was measured in a slower moment, or by NumPy's calls; measure again"
        )
    few = min((interval.processes for interval in ratios.values()), default=FEWEST_PROCESSES)
    if few < FEWEST_PROCESSES and not is_lone:
        why = {1: "one process: intervals do not contain the spread between processes and are too narrow",
               2: "two processes: they hardly show how much processes differ, so intervals are wide"}[few]  # fmt: skip
        warnings.append(f"{why}; take {FEWEST_PROCESSES} or more ({_OPTION})")
    if found is not None and not found.is_steady:
        warnings.append("footprint: repeats did not agree; something else allocated in this process")
    return tuple(warnings)
