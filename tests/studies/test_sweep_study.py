"""Measuring a cell: the order of the steps, what an interrupt leaves, and one tiny cell for real."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from mlbench.errors import WorkerError
from mlbench.measure import FRESH_HEAP, WARM_HEAP, ArmTimes, Footprint
from mlbench.measure.peaks import Floor
from mlbench.measure.stats import Interval
from mlbench.results import BASELINE, COMPLETE, FASTEST_ROUNDS, INTERRUPTED, OPTIMIZED, RUNNERS, SPREAD_LIMIT, Measurement
from mlbench.studies.cases import Case, inputs_of, mlp_cell, model_of, static_bytes
from mlbench.studies.sweep import (
    LEAST_ROUNDS,
    PRODUCTS,
    ROUNDS_S,
    THIS,
    Arms,
    Effort,
    Interrupted,
    affordable_rounds,
    ballast,
    checked_footprint,
    compare,
    compare_warm,
    doubts,
    measure_cell,
    measure_cells,
    measurement,
    per_round,
    products_call,
    times_of_cell,
)

TINY = mlp_cell(2, (8,))
LOW = Floor(1e-9, "arithmetic")
HALF = Floor(0.5, "arithmetic")
EFFORT = Effort(processes=2, rounds=2, singles_s=0.01)
FOOTPRINTS = {BASELINE: Footprint(4096, 5, "memray"), OPTIMIZED: Footprint(0, 0, "memray")}


class Workers:
    """What stands for `Worker`: canned answers, a diary, and Ctrl-C at a chosen call."""

    def __init__(self, interrupt_at: int = 0, faults: float | None = 2.0) -> None:
        self.interrupt_at = interrupt_at
        self.faults = faults
        self.started: list[tuple[int, str]] = []
        self.stopped = 0
        self.asked: list[tuple[Any, ...]] = []

    def __call__(self, threads: int = 1, heap: str = FRESH_HEAP) -> Workers:
        """Start one."""
        self.started.append((threads, heap))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped += 1

    def call(self, function: Callable[..., object], *arguments: Any) -> Any:
        """Answer, or be interrupted."""
        self.asked.append((function, *arguments))
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        if function is checked_footprint:
            return 0.5, FOOTPRINTS[arguments[0].runner]
        rounds = {BASELINE: 4.0, OPTIMIZED: 2.0, PRODUCTS: 1.0}
        return {name: ArmTimes((each,) * 2, (each,), self.faults) for name, each in rounds.items()}

    @property
    def steps(self) -> list[Callable[..., object]]:
        """What was asked, in order."""
        return [function for function, *_ in self.asked]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workers]:
    """Return what puts stand-ins in the place of the worker processes."""

    def use(**how: Any) -> Workers:
        made = Workers(**how)
        monkeypatch.setattr("mlbench.studies.sweep.Worker", made)
        return made

    return use


@pytest.fixture(scope="module")
def measured() -> dict[str, Measurement]:
    """A tiny cell, measured for real in worker processes."""
    return {each.case["runner"]: each for each in measure_cell(TINY, EFFORT, LOW)}


def times(*rounds_s: float, faults: float | None = 0.0) -> ArmTimes:
    """Return an arm's rounds in one process."""
    return ArmTimes(rounds_s, (), faults)


def test_both_runners_are_measured_completely(measured: dict[str, Measurement]) -> None:
    """A real cell gives two complete measurements with an error, a footprint, rounds of every process, and static bytes."""
    assert list(measured) == list(RUNNERS)
    for runner, each in measured.items():
        assert each.status == COMPLETE
        assert each.case == Case(TINY, runner).identity()
        assert each.worst_error is not None
        assert 0 <= each.worst_error <= 1
        assert each.timing is not None
        assert [len(process) for process in each.timing.rounds_s] == [2, 2]
        assert each.timing.singles > 0
        assert each.static == static_bytes(Case(TINY, runner))


def test_ratios_of_a_real_cell(measured: dict[str, Measurement]) -> None:
    """Both have their distance to the floor and to NumPy's products; the optimized one has the speed-up and both yardsticks' rounds."""
    assert set(measured[BASELINE].ratios) == {"floor_ratio", "products_ratio"}
    assert {"floor_ratio", "products_ratio", "speedup"} <= set(measured[OPTIMIZED].ratios)
    assert set(measured[BASELINE].arms) == {THIS, PRODUCTS}
    assert set(measured[OPTIMIZED].arms) == {THIS, PRODUCTS, BASELINE}
    assert [len(process) for process in measured[OPTIMIZED].arms[PRODUCTS]] == [2, 2]
    for interval in measured[OPTIMIZED].ratios.values():
        assert 0 < interval.low <= interval.estimate <= interval.high
        assert (interval.processes, interval.rounds) == (2, 4)


def test_footprints_of_a_real_cell(measured: dict[str, Measurement]) -> None:
    """A call of the optimized runner allocates nothing in the worker; one of the baseline does."""
    baseline, optimized = measured[BASELINE].footprint, measured[OPTIMIZED].footprint
    assert baseline is not None
    assert optimized is not None
    assert baseline.peak_bytes > 0
    if optimized.instrument == "memray":
        assert (optimized.peak_bytes, optimized.allocations, optimized.is_steady) == (0, 0, True)


def test_the_order_of_the_steps(workers: Callable[..., Workers]) -> None:
    """Right first, footprints, then the rounds in processes with a fresh heap and with a kept one in turn; every process is stopped."""
    made = workers()
    measure_cell(dataclasses.replace(TINY, threads=3), EFFORT, LOW)
    assert made.steps == [checked_footprint, checked_footprint, *[times_of_cell] * 4]
    assert made.started == [(3, FRESH_HEAP), *[(3, FRESH_HEAP), (3, WARM_HEAP)] * 2]
    assert made.stopped == 5


def test_processes_of_several_cells_take_turns(workers: Callable[..., Workers]) -> None:
    """Each cell has a process before any has its second one, so that those of a cell are spread over the whole time."""
    made = workers(faults=0.0)
    found = measure_cells({TINY: LOW, mlp_cell(3, (8,)): LOW}, EFFORT)
    assert [(step, cell.batch) for step, cell, _ in made.asked[4:]] == [(times_of_cell, batch) for batch in (2, 3, 2, 3)]
    assert [each.case["id"] for each in found] == [f"{runner}-b{batch}-h8" for batch in (2, 3) for runner in RUNNERS]


def test_a_cell_that_faults_late_has_as_many_processes_with_a_kept_heap(workers: Callable[..., Workers]) -> None:
    """Where the first process did not fault and the second one does, what is missing is measured at the end."""
    made = workers(faults=0.0)
    answer = made.call

    def late(function: Callable[..., object], *arguments: Any) -> Any:
        made.faults = 2.0 if made.steps.count(times_of_cell) else 0.0
        return answer(function, *arguments)

    made.call = late  # type: ignore[method-assign]
    measure_cell(TINY, EFFORT, LOW)
    assert [heap for _, heap in made.started].count(WARM_HEAP) == EFFORT.processes


def test_rounds_are_asked_for_with_the_effort(workers: Callable[..., Workers]) -> None:
    """Rounds, turns and singles are those of the effort."""
    made = workers(faults=0.0)
    measure_cell(TINY, Effort(processes=1, rounds=7, turn_s=0.5, singles_s=0.25), LOW)
    _, _, asked = made.asked[-1]
    assert (asked.rounds, asked.turn_s, asked.singles_s) == (7, 0.5, 0.25)


def test_progress_is_told_after_the_judging_and_after_each_process(workers: Callable[..., Workers]) -> None:
    """A cell has 1 + processes steps."""
    workers()
    told: list[str] = []
    measure_cell(TINY, Effort(processes=3), LOW, told.append)
    assert told == ["b2-h8"] * 4


@pytest.mark.parametrize(
    ("interrupt_at", "judged", "processes"),
    [
        (1, [], 0),
        (2, [BASELINE], 0),
        (3, [BASELINE, OPTIMIZED], 0),
        (4, [BASELINE, OPTIMIZED], 1),
        (5, [BASELINE, OPTIMIZED], 1),
        (6, [BASELINE, OPTIMIZED], 2),
    ],
    ids=["first-footprint", "second-footprint", "first-rounds", "first-kept", "second-rounds", "second-kept"],
)
def test_an_interrupt_carries_what_was_measured(
    workers: Callable[..., Workers], interrupt_at: int, judged: list[str], processes: int
) -> None:
    """Ctrl-C at any step loses nothing of the steps before it, and everything it leaves is marked as interrupted."""
    made = workers(interrupt_at=interrupt_at)
    with pytest.raises(Interrupted) as caught:
        measure_cell(TINY, EFFORT, LOW)
    halves = caught.value.measurements
    assert judged == [each.case["runner"] for each in halves]
    for each in halves:
        assert each.status == INTERRUPTED
        assert each.footprint == FOOTPRINTS[each.case["runner"]]
        assert each.worst_error == 0.5
        assert processes == (0 if each.timing is None else len(each.timing.rounds_s))
    assert made.stopped == len(made.started)


def test_an_interrupt_is_a_keyboard_interrupt() -> None:
    """Whoever does not know about halves still sees Ctrl-C, which no `except Exception` catches."""
    assert issubclass(Interrupted, KeyboardInterrupt)
    assert not issubclass(Interrupted, Exception)


@pytest.mark.parametrize(
    ("heap", "faults", "expected"),
    [
        (FRESH_HEAP, [0.0, 1.0], True),
        (FRESH_HEAP, [0.0, 0.95], False),
        (FRESH_HEAP, [None, None], False),
        (FRESH_HEAP, [], False),
        (WARM_HEAP, [64.0], False),
    ],
    ids=["faults", "less-than-one", "not-counted", "not-measured", "kept-anyway"],
)
def test_the_kept_heap_is_measured_where_the_baseline_faults(
    workers: Callable[..., Workers], heap: str, faults: list[float | None], expected: bool
) -> None:
    """Once a call faults in some process with a fresh heap, the arms run again with a kept one; else no process is started."""
    made = workers()
    fresh = {BASELINE: [times(1.0, faults=each) for each in faults], OPTIMIZED: [times(1.0, faults=99.0)]}
    kept: Arms = {}
    compare_warm(TINY, dataclasses.replace(EFFORT, heap=heap), fresh, kept)
    assert made.started == ([(1, WARM_HEAP)] * 2 if expected else [])
    assert set(kept) == ({BASELINE, OPTIMIZED, PRODUCTS} if expected else set())


def test_the_kept_heap_has_no_singles(workers: Callable[..., Workers]) -> None:
    """The second time only ratios are wanted: no time goes into single calls."""
    made = workers()
    compare_warm(TINY, EFFORT, {BASELINE: [times(1.0, faults=5.0)]}, {})
    assert {effort.singles_s for _, _, effort in made.asked} == {0.0}


def test_compare_hands_over_each_process_at_once(workers: Callable[..., Workers]) -> None:
    """When a later process fails, the times of the earlier ones are already in the caller's hands."""
    workers(interrupt_at=3)
    arms: dict[str, list[ArmTimes]] = {}
    with pytest.raises(KeyboardInterrupt):
        compare(TINY, Effort(processes=5), arms)
    assert {name: len(processes) for name, processes in arms.items()} == {BASELINE: 2, OPTIMIZED: 2, PRODUCTS: 2}


def test_ratios_are_of_the_same_round(workers: Callable[..., Workers]) -> None:
    """A ratio divides two arms within one round of one process."""
    found = per_round([times(6.0, 8.0), times(9.0)], [times(2.0, 4.0), times(3.0)])
    assert found == [[3.0, 2.0], [3.0]]


def test_ratios_of_a_measurement() -> None:
    """Speed-up is baseline / optimized, the floor ratio this / floor, and with a kept heap there are a speed-up and this / products."""
    fresh = {BASELINE: [times(8.0)], OPTIMIZED: [times(2.0)], PRODUCTS: [times(1.0)]}
    kept = {BASELINE: [times(3.0)], OPTIMIZED: [times(2.0)], PRODUCTS: [times(1.6)]}
    found = measurement(Case(TINY, OPTIMIZED), fresh, 0.5, FOOTPRINTS[OPTIMIZED], kept, HALF)
    estimates = {name: interval.estimate for name, interval in found.ratios.items()}
    assert estimates == pytest.approx({"speedup": 4.0, "floor_ratio": 4.0, "speedup_kept_heap": 1.5, "products_ratio": 1.25})
    eager = measurement(Case(TINY, BASELINE), fresh, 0.5, None, kept, HALF)
    eager_ratios = {name: interval.estimate for name, interval in eager.ratios.items()}
    assert eager_ratios == pytest.approx({"floor_ratio": 16.0, "products_ratio": 1.875})
    assert (found.floor_s, found.arms) == (0.5, {THIS: ((2.0,),), BASELINE: ((3.0,),), PRODUCTS: ((1.6,),)})


def test_arms_keep_the_fastest_rounds() -> None:
    """Of each process the fastest, ascending; what disturbs a round makes it longer."""
    rounds = times(*(float(number) for number in range(FASTEST_ROUNDS + 3, 0, -1)))
    found = measurement(Case(TINY, BASELINE), {BASELINE: [rounds], PRODUCTS: [rounds]}, 0.5, None)
    assert found.arms[THIS] == (tuple(range(1, FASTEST_ROUNDS + 1)),)


def test_without_a_floor_there_is_no_distance() -> None:
    """Where nobody measured the machine's peaks nothing is said of a floor."""
    found = measurement(Case(TINY, OPTIMIZED), {name: [times(1.0)] for name in (*RUNNERS, PRODUCTS)}, 0.5, None)
    assert (found.floor_s, "floor_ratio" in found.ratios) == (None, False)


def test_nothing_measured_has_no_ratios() -> None:
    """Without rounds there is no timing, no ratio and no arm, and static bytes are there all the same."""
    found = measurement(Case(TINY, OPTIMIZED), {}, None, None, status=INTERRUPTED)
    assert (found.timing, found.ratios, found.arms, found.warnings) == (None, {}, {}, ())
    assert found.static.arena > 0


STUDENT_2 = 4.3027
"""97.5 % quantile of Student's t of two degrees of freedom."""


@pytest.mark.parametrize(("spread", "warned"), [(SPREAD_LIMIT * 0.9, False), (SPREAD_LIMIT * 1.1, True)], ids=["narrow", "wide"])
def test_a_wide_interval_is_warned_about(spread: float, warned: bool) -> None:
    """An interval wider than a quarter of its estimate carries a warning that names it and says what to do."""
    half = STUDENT_2 * 1.0 / 3**0.5  # of the interval of three processes that are one apart
    three = [times(math.exp(place * math.asinh(spread / 2) / half)) for place in (-1, 0, 1)]
    fresh = {BASELINE: three, OPTIMIZED: [times(1.0)] * 3, PRODUCTS: [times(1.0)] * 3}
    warnings = measurement(Case(TINY, OPTIMIZED), fresh, 0.5, None).warnings
    assert warned == any(line.startswith("speedup: ") and "measure again" in line and "--processes" in line for line in warnings)


def test_a_callable_is_not_told_to_take_more_processes() -> None:
    """It has one, and cannot have more: what is left is to measure again."""
    (line,) = doubts({"reference_ratio": Interval(1.0, 0.5, 1.5, 0.95, 1, 15)}, None, is_lone=True)
    assert line.endswith("measure again when it is idle")
    assert doubts({"reference_ratio": Interval(1.0, 0.99, 1.01, 0.95, 1, 15)}, None, is_lone=True) == ()


@pytest.mark.parametrize(("high", "said"), [(0.99, True), (1.01, False)])
def test_a_floor_above_a_call_is_doubted(high: float, said: bool) -> None:
    """No call takes less than the least time of a call; where one seems to, the floor was wrong."""
    warnings = doubts({"floor_ratio": Interval(0.95, 0.93, high, 0.95, 5, 75)}, None)
    assert [line.startswith("floor ratio: below 1, which no call can be") for line in warnings] == [True] * said


def test_an_unsteady_footprint_is_warned_about() -> None:
    """Repeats that did not agree are said to the reader."""
    unsteady = Footprint(1, 1, "memray", is_steady=False)
    assert [line.partition(":")[0] for line in measurement(Case(TINY, BASELINE), {}, 0.5, unsteady).warnings] == ["footprint"]


def test_the_products_are_the_model_without_anything_else() -> None:
    """The yardstick is the products of the model's weights: no bias, no activation; in plain C order, written into what is there."""
    cell = mlp_cell(5, (8, 9))
    results: list[np.ndarray[Any, Any]] = []
    call = products_call(cell)
    call()
    steps = next(each.cell_contents for each in call.__closure__ or () if isinstance(each.cell_contents, list))
    for _, weight, result in steps:
        assert weight.flags.c_contiguous
        results.append(result)
    first, second, third = (array.astype(np.float64) for array in model_of(cell).graph().constants.values() if array.ndim == 2)
    np.testing.assert_allclose(results[-1], inputs_of(cell)[0] @ first @ second @ third, rtol=1e-4, atol=1e-4)


def test_the_products_contain_no_code_under_test() -> None:
    """What the call runs is NumPy's own function, on arrays of nobody else."""
    cell = mlp_cell(5, (8,))
    steps = next(each.cell_contents for each in products_call(cell).__closure__ or () if isinstance(each.cell_contents, list))
    weights = [array for array in model_of(cell).graph().constants.values() if array.ndim == 2]
    for (dot, weight, result), own in zip(steps, weights, strict=True):
        assert type(dot).__name__ == "builtin_function_or_method"
        assert type(dot.__self__) is np.ndarray
        assert not np.shares_memory(weight, own)
        assert result.flags.owndata


def test_each_process_lies_elsewhere() -> None:
    """Ballasts differ in size, so that the pages behind them do."""
    assert len({ballast().nbytes for _ in range(8)}) > 1


@pytest.mark.parametrize(
    ("cost_s", "expected"),
    [(0.0, 15), (ROUNDS_S / 200, 15), (ROUNDS_S / 42, 10), (ROUNDS_S / 8, LEAST_ROUNDS), (ROUNDS_S * 9, LEAST_ROUNDS)],
    ids=["nothing", "short", "ten", "least", "long"],
)
def test_affordable_rounds(cost_s: float, expected: int) -> None:
    """As many rounds as asked for, or as fit when two arms take this long; under a fake clock, without the first calls."""
    now = itertools.count()
    clock_s = [0.0]

    def call() -> None:
        clock_s[0] += 1000.0 if next(now) % 2 == 0 else cost_s

    assert expected == affordable_rounds({"a": call, "b": call}, 15, clock=lambda: clock_s[0])


def test_fewer_rounds_than_the_least_are_kept() -> None:
    """Who asks for one round gets one round."""
    assert affordable_rounds({"a": lambda: None}, 1) == 1


def test_what_a_worker_answers() -> None:
    """The far end of a request: the footprint of a runner, with its error against float64."""
    worst, found = checked_footprint(Case(TINY, BASELINE))
    assert 0 <= worst <= 1
    assert found.peak_bytes > 0


def test_a_wrong_runner_is_never_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong result in the worker ends the cell with a WorkerError that names WrongResultError, before anything is timed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import mlbench.studies.cases as cases\n"
        "class Off(cases.OptimizedRunner):\n"
        "    __slots__ = ()\n"
        "    def __init__(self, *arguments, **options):\n"
        "        super().__init__(*arguments, **options)\n"
        "        right = self.run\n"
        "        self.run = lambda x: right(x) + 0.01\n"
        "cases.OptimizedRunner = Off\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told: list[str] = []
    with pytest.raises(WorkerError, match="WrongResultError: optimized-b2-h8 gave"):
        measure_cell(TINY, EFFORT, LOW, told.append)
    assert told == []


@pytest.mark.parametrize(("faults", "has_number"), [(0.9, True), (1.0, False)])
def test_a_kept_heap_that_still_faults_gives_no_number(faults: float, has_number: bool) -> None:
    """An allocator that gives memory back all the same leaves no speed-up "without page faults", and the reader is told."""
    fresh = {BASELINE: [times(4.0, faults=50.0)], OPTIMIZED: [times(1.0)], PRODUCTS: [times(0.5)]}
    kept = {BASELINE: [times(3.0, faults=faults)], OPTIMIZED: [times(2.0)], PRODUCTS: [times(1.0)]}
    found = measurement(Case(TINY, OPTIMIZED), fresh, 0.5, FOOTPRINTS[OPTIMIZED], kept)
    assert ("speedup_kept_heap" in found.ratios) is has_number
    assert any(line.startswith("kept heap: ") for line in found.warnings) is not has_number


@pytest.mark.parametrize(("processes", "said"), [(1, "one process: "), (2, "two processes: "), (3, None)])
def test_few_processes_are_warned_about(processes: int, said: str | None) -> None:
    """An interval of fewer than three processes is too narrow or very wide, and the row says which."""
    fresh = {name: [times(seconds)] * processes for name, seconds in ((BASELINE, 4.0), (OPTIMIZED, 1.0), (PRODUCTS, 0.5))}
    warnings = measurement(Case(TINY, OPTIMIZED), fresh, 0.5, None).warnings
    few = [line for line in warnings if "take 3 or more" in line]
    assert [line.startswith(str(said)) for line in few] == [True] * (said is not None)
