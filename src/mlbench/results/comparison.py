"""A comparison as it is kept: everything that was measured, set by set, so that it can be judged again and gone on with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from mlbench.measure.stats import signed_rank_quantile
from mlbench.results.run import COMPLETE, INTERRUPTED
from mlbench.results.samples import ARMS, Effort, Visit
from mlbench.results.schema import Amount, As, Bounds, Count, Schema, Status

MOST_SETS = 500
"""Of processes, that a comparison may ask for; its schema says so as well. Intervals of many more take long to compute."""
HISTORY = """\
3: two versions, how they were compared, and the rounds of every row in every set of processes. Since version 2 a version says which tests
are hidden, marked and unstable, a memory what is held between calls, and a visit whether its target's data had run out and whether its
calls make coroutines. Versions 1 and 2 are not read."""
Sets = Annotated[int, Bounds(ge=1, le=MOST_SETS)]
Confidence = Annotated[float, Bounds(gt=0, le=0.999999)]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a file says of the machine."""

    cpu: str
    cores: Count
    system: str
    governor: str | None
    cpu_limit: Annotated[float, Bounds(gt=0, le=2**53 - 1)] | None


@dataclass(frozen=True, slots=True)
class PairedPolicy:
    """How sure the gate must be.

    Attributes:
        tolerance: a slowdown that is tolerated, as a fraction.
        limit: a row passes when its interval ends below this slowdown; larger ones are to be found.
        screen: sets of processes that every row gets.
        batch: fresh sets that an open row gets at a time.
        most: sets of a row in all.
        confidence: of the intervals.
        red_confidence: of the interval of the fresh sets that makes a row red.
    """

    tolerance: Annotated[float, Bounds(ge=0, le=1000)] = 0.02
    limit: Annotated[float, Bounds(gt=0, le=1000)] = 0.04
    screen: Sets = 8
    batch: Sets = 4
    most: Sets = 96
    confidence: Confidence = 0.95
    red_confidence: Confidence = 0.99

    @property
    def least(self) -> int:
        """Sets after which a row can be red at the earliest: the screening, and whole batches that are enough for the confidence."""
        fresh = self.batch
        while signed_rank_quantile(fresh, (1 - self.red_confidence) / 2) < 0:
            fresh += self.batch
        return self.screen + fresh


@dataclass(frozen=True, slots=True)
class Version:
    """One side of a comparison.

    Attributes:
        revision: what the user called it.
        commit: what it was.
        ids: tests that use `benchmark`, as they were collected.
        errors: what could not be collected, and why.
        versions: of Python and packages in its environment.
        skipped: what skipped itself as a whole when it was collected, and why.
        hidden: those of its tests that do not ask for `benchmark` by name, and came to it when they were run.
        marked: tests that carry the mark `benchmark` and do not use the fixture.
        unstable: tests that one process of the version collected and another one did not.
    """

    revision: str
    commit: str
    ids: tuple[str, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()
    unstable: tuple[str, ...] = ()


@dataclass(slots=True)
class Comparison:
    """Two versions and what was measured of them.

    Attributes:
        machine: what it was measured on.
        command: what was run.
        date: ISO 8601 with the offset, of its beginning.
        arguments: for pytest.
        base: the version that is compared with.
        head: the version that is judged.
        policy: how sure the gate must be.
        effort: how much a set measures.
        sets: what each set of processes measured, a visit for each row.
        status: `complete`, or `interrupted` while rows are open that could still be measured.
        plants: test to a planted slowdown or allocation of the head; for calibration alone.
        spent_s: seconds of measuring.
        trouble: why the last set could not be measured; empty where it could.
        install: what was installed for each version; empty where both ran in the environment of mlbench.
    """

    machine: Annotated[dict[str, Any], As(Machine)]
    command: str
    date: str
    arguments: tuple[str, ...]
    base: Version
    head: Version
    policy: PairedPolicy = field(default_factory=PairedPolicy)
    effort: Effort = field(default_factory=Effort)
    sets: Annotated[list[list[Visit]], Bounds(max_length=1000)] = field(default_factory=list)
    status: Status = INTERRUPTED
    plants: dict[str, dict[str, Amount]] = field(default_factory=dict)
    spent_s: Annotated[float, Bounds(ge=0, le=1e12)] = 0.0
    trouble: str = ""
    install: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[str, ...]:
        """The tests that both versions have."""
        theirs = set(self.head.ids)
        return tuple(each for each in self.base.ids if each in theirs)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be measured."""
        return self.status == COMPLETE


def visits_by_row(comparison: Comparison) -> dict[str, list[Visit]]:
    """Return the visits of each row, in the order of the sets."""
    found: dict[str, list[Visit]] = {}
    for each in (visit for visits in comparison.sets for visit in visits):
        found.setdefault(each.id, []).append(each)
    return found


def _trouble(found: Comparison) -> Iterator[tuple[str, str]]:
    policy = found.policy
    if policy.tolerance >= policy.limit:
        yield "$.policy", f"its tolerance is {policy.tolerance:g}; expected less than its limit of {policy.limit:g}"
    for row, visits in enumerate(found.sets):
        for column, visit in enumerate(visits):
            place = f"$.sets[{row}][{column}]"
            if visit.rounds_s and visit.rounds_s.keys() != set(ARMS):
                yield f"{place}.rounds_s", f"found rounds of {' and '.join(visit.rounds_s)}; expected all of {', '.join(ARMS)}, or none"
            if len({len(rounds) for rounds in visit.rounds_s.values()}) > 1:
                yield f"{place}.rounds_s", f"{visit.id} has different numbers of rounds in its arms; measure anew"
            if visit.memory and not {"base", "head"} <= visit.memory.keys():
                yield f"{place}.memory", f"found that of {' and '.join(visit.memory)}; expected that of base and head, or none"
            if visit.is_whole and visit.ends.keys() != set(ARMS):
                yield f"{place}.ends", f"{visit.id} lacks some of {', '.join(ARMS)}; measure anew"


COMPARISON_FILE = Schema("mlbench-ab", 3, Comparison, "comparison", HISTORY, trouble=_trouble)
