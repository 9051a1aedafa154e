"""What was measured of each case: a file of `mlbench run --json`, or what KEY holds in `extra_info` of pytest-benchmark's files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from mlbench.errors import FileError
from mlbench.measure import ArmTimes, Environment, Footprint
from mlbench.measure.stats import Interval, median, tail_ratio, thinned, typical
from mlbench.results import older, storage
from mlbench.results.code import CodeCounts
from mlbench.results.network import NetworkFields
from mlbench.results.run import COMPLETE, INTERRUPTED, Run, now
from mlbench.results.schema import MAY_LACK, Amount, As, Bounds, Count, Duration, Error, Name, Rounds, Schema, Size

KEY = "mlbench"
"""Under which a measurement stands in the `extra_info` of pytest-benchmark."""
BASELINE, OPTIMIZED = RUNNERS = "baseline", "optimized"
SPREAD_LIMIT = 0.25
"""An interval wider than this share of its estimate is warned about."""
RUNNER, OBJECTS, STATED = "runner", "objects", "stated"
"""By what bytes held between calls were counted: runners of ours said them, all that an object refers to was, or the test said them."""
FASTEST_ROUNDS = 5
"""Of an arm that is a yardstick so many rounds of each process are kept, the fastest."""
MOST_ROUNDS = 20
"""Rounds kept for each process, arm and case; a sweep's file stays below 1 MB."""
FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StaticBytes:
    """Bytes that are held between calls, beyond one set of weights, which is the model's.

    Attributes:
        arena: all intermediates and the output.
        operands: operands made to avoid an allocation.
        staging: the copy of an input that cannot be read where it lies, as far as it exists.
        staging_if_needed: what that copy takes, or would take.
        weight_copies: weights in another form.
        objects: what was named in a test and is no runner of ours.
    """

    arena: Size = 0
    operands: Size = 0
    staging: Size = 0
    staging_if_needed: Size = 0
    weight_copies: Size = 0
    objects: Size = 0

    @property
    def total(self) -> int:
        """What counts as memory of the runner: all of it."""
        return self.without_copies + self.weight_copies

    @property
    def without_copies(self) -> int:
        """The same without copies of weights."""
        return self.arena + self.operands + self.staging + self.objects


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a call took, in several processes.

    Attributes:
        median_s: median of the rounds, in seconds per call.
        p99_ratio: 99th percentile of single calls / their median; None where too few calls support it.
        singles: single calls behind it.
        minor_faults_per_call: page faults; None where the system does not count them.
        rounds_s: for each process, seconds per call in each round, thinned to MOST_ROUNDS.
    """

    median_s: Duration
    p99_ratio: Annotated[float, Bounds(gt=0, le=1e12)] | None
    singles: Size
    minor_faults_per_call: Amount | None
    rounds_s: Rounds


@dataclass(frozen=True, slots=True)
class CaseFields:
    """What a file says of a case; others may add to it. An MLP has sizes, a network in a file has none."""

    id: Name
    cell: Name
    runner: Name
    batch: Annotated[Count, MAY_LACK]
    hidden: Annotated[list[Count], Bounds(min_length=1), MAY_LACK]
    inputs: Annotated[Count, MAY_LACK]
    outputs: Annotated[Count, MAY_LACK]
    threads: Annotated[Count, MAY_LACK]
    model: Annotated[str, MAY_LACK]
    tuned: Annotated[bool, MAY_LACK]
    network: Annotated[dict[str, Any], As(NetworkFields), MAY_LACK]


@dataclass(frozen=True, slots=True)
class OpFields:
    """What a file says of one operation of a plan; others may add to it."""

    layout: Annotated[str, MAY_LACK]
    order: Annotated[str, MAY_LACK]
    parts: Annotated[Count, MAY_LACK]
    packed: Annotated[bool, MAY_LACK]
    generated: Annotated[bool, MAY_LACK]


@dataclass(frozen=True, slots=True)
class PlanFields:
    """What a file says of a plan."""

    tile_rows: Count | None
    ops: list[Annotated[dict[str, Any], As(OpFields, is_open=True)]]
    threading: str
    passes: list[str]
    code: Annotated[str | None, MAY_LACK]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that was measured of one case.

    Attributes:
        case: identifies it: `id`, `cell` (the id without the runner), `runner`, and the sizes; where pytest measured it also `test`.
        status: `complete`, `interrupted` when measuring was broken off, or `failed` when its test or its check failed.
        worst_error: error / tolerance against the float64 reference, or None where nothing judged it.
        footprint: of one call.
        reference_footprint: of one call of the reference callable, where there is one.
        static: bytes held between calls.
        counted: by what they were counted, RUNNER, OBJECTS or STATED; None where nobody knows what is held.
        timing: of the interleaved rounds.
        ratios: name to interval: `speedup` (baseline / this), `speedup_kept_heap` (the same without the page faults of a fresh process,
            where there are any), `floor_ratio` (this / floor), `products_ratio` (this / NumPy's bare products, with a warm heap),
            `reference_ratio` (reference / this); `generated_floor_ratio` of files before version 3.
        floor_s: the least time of a call, see `mlbench.studies.floor`; None where it is not known.
        arms: rounds that took turns, as in `Timing.rounds_s`. Of a case `this`, `products` and, of the compiled runner, `baseline`,
            all with a warm heap: of each process the fastest, ascending. Of a callable `reference`, which took turns with the timing's.
        runs: where the arms are of several runs, how many processes of each; empty where they are of one.
        warnings: what the reader should know before believing a number.
        code: what generated code executes in a call; None where there is none, or NumPy or several threads have a part in the call.
        plan: what was chosen for the compiled runner, as `schedule_to_json` writes it, and the names of its passes; None
            where there is no plan or none was recorded.
        error: what failed, in one line; None where nothing did.
    """

    case: Annotated[dict[str, Any], As(CaseFields, is_open=True)]
    status: Annotated[str, Bounds(one_of=(COMPLETE, INTERRUPTED, FAILED))] = COMPLETE
    worst_error: Error | None = None
    footprint: Footprint | None = None
    reference_footprint: Footprint | None = None
    static: StaticBytes = StaticBytes()
    counted: Annotated[str | None, Bounds(one_of=(RUNNER, OBJECTS, STATED, None))] = None
    timing: Timing | None = None
    floor_s: Duration | None = None
    ratios: dict[str, Interval] = field(default_factory=dict)
    arms: dict[str, Rounds] = field(default_factory=dict)
    runs: tuple[Count, ...] = ()
    warnings: tuple[str, ...] = ()
    plan: Annotated[dict[str, Any], As(PlanFields)] | None = None
    error: str | None = None
    code: Annotated[CodeCounts | None, MAY_LACK] = None

    @property
    def memory_bytes(self) -> int | None:
        """Peak of the call plus everything held between calls; None without a footprint."""
        return None if self.footprint is None else self.footprint.peak_bytes + self.static.total

    @property
    def memory_without_copies_bytes(self) -> int | None:
        """The same without copies of weights."""
        return None if self.footprint is None else self.footprint.peak_bytes + self.static.without_copies


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row that became worse or is gone, and was taken into a baseline all the same, by name.

    Attributes:
        id: of the row.
        why: what the gate said of it.
        reason: what the person said who accepted it.
        date: ISO 8601 with the offset.
    """

    id: str
    why: str
    reason: Name
    date: str


@dataclass(frozen=True, slots=True)
class Result(Run):
    """A run, with what was measured.

    Attributes:
        measurements: one for each case.
        accepted: what was taken into it although the gate was red; empty but in a baseline.
    """

    measurements: Annotated[tuple[Measurement, ...], Bounds(min_length=1)]
    accepted: Annotated[tuple[Accepted, ...], MAY_LACK] = ()


def _trouble(result: Result) -> Iterator[tuple[str, str]]:
    for number, each in enumerate(result.measurements):
        lacking = {"batch", "network" if "network" in each.case else "hidden"} - each.case.keys()
        if len(lacking) == 1:
            yield f"$.measurements[{number}].case", f"found no field {lacking.pop()!r}; expected both of batch and hidden, or neither"


RESULT_FILE = Schema(
    "mlbench-result",
    older.SCHEMA_VERSION,
    Result,
    "result",
    older.HISTORY,
    items="measurements",
    key=KEY,
    old_versions=older.OLD_VERSIONS,
    upgrade=older.upgrade,
    trouble=_trouble,
)


def timing_of(processes: Sequence[ArmTimes]) -> Timing:
    """Put together what several processes measured of one arm."""
    singles = [value for times in processes for value in times.singles_s]
    faults = [times.minor_faults_per_call for times in processes if times.minor_faults_per_call is not None]
    return Timing(
        median_s=median([value for times in processes for value in times.rounds_s]),
        p99_ratio=tail_ratio(singles) if singles else None,
        singles=len(singles),
        minor_faults_per_call=median(faults) if faults else None,
        rounds_s=tuple(tuple(thinned(times.rounds_s, MOST_ROUNDS)) for times in processes),
    )


def fastest_rounds(processes: Sequence[ArmTimes]) -> tuple[tuple[float, ...], ...]:
    """Return the fastest rounds of each process, ascending."""
    return tuple(tuple(sorted(times.rounds_s)[:FASTEST_ROUNDS]) for times in processes)


def new_result(environment: Environment, command: str, measurements: Iterable[Measurement], status: str = COMPLETE) -> Result:
    """Make a result of today."""
    return Result(environment, command, now(), status, tuple(measurements))


def with_run(baseline: Result, more: Result) -> Result:
    """Return a result that holds the arms of one more run of the same code; all else stays as it was measured first.

    Raises:
        FileError: when the two do not have the same rows, or a row has no arms that a run could be added to.
    """
    rows = {each.case["id"]: each for each in more.measurements}
    if list(rows) != [each.case["id"] for each in baseline.measurements]:
        raise FileError("the two do not have the same rows in the same order; measure the same sizes")
    return dataclasses.replace(baseline, measurements=tuple(_with_run(each, rows[each.case["id"]]) for each in baseline.measurements))


def _with_run(row: Measurement, more: Measurement) -> Measurement:
    if row.arms.keys() != more.arms.keys() or "this" not in row.arms:
        raise FileError(f"{row.case['id']}: there are no rounds with yardsticks to add to; both must be cases, measured by this version")
    runs = tuple(count for each in (row, more) for count in each.runs or (len(each.arms["this"]),))
    return dataclasses.replace(row, arms={name: (*rounds, *more.arms[name]) for name, rounds in row.arms.items()}, runs=runs)


def to_json(value: Measurement | Result) -> dict[str, Any]:
    """Return a measurement or a result as JSON data, with the schema's version."""
    if isinstance(value, Result):
        return storage.to_json(value, RESULT_FILE)
    return {"schema": RESULT_FILE.version, **storage.plain(dataclasses.asdict(value))}


def save(result: Result, path: str | Path) -> Path:
    """Write a result file, whole or not at all."""
    return storage.write(result, path, RESULT_FILE)


def load(path: str | Path) -> Result:
    """Read a result file, or a file that pytest-benchmark saved with our measurements in it.

    Raises:
        FileError: when it is missing, damaged, foreign, or of a version this mlbench does not read.
        MissingExtraError: without msgspec.
    """
    return storage.read(path, RESULT_FILE)


def time_of(measured: Measurement | None) -> float | None:
    """Return the seconds of a call as they are told everywhere: of the rounds, as the ratios are made; None where it was not timed."""
    if measured is None or measured.timing is None:
        return None
    return typical(measured.timing.rounds_s) if measured.timing.rounds_s else measured.timing.median_s
