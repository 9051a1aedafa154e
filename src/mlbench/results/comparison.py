"""A comparison as it is kept: everything that was measured, set by set, so that it can be judged again and gone on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlbench.errors import FileError
from mlbench.measure.stats import signed_rank_quantile
from mlbench.results import COMPLETE, INTERRUPTED
from mlbench.results.documents import Form, check_document, plain, read_json, write_document
from mlbench.results.samples import ARMS, Effort, Memory, Visit

MOST_SETS = 500
"""Of processes, that a comparison may ask for; its schema says so as well. Intervals of many more take long to compute."""
FORM = Form("mlbench-ab", 3, "ab.json", "comparison")


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

    tolerance: float = 0.02
    limit: float = 0.04
    screen: int = 8
    batch: int = 4
    most: int = 96
    confidence: float = 0.95
    red_confidence: float = 0.99

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

    machine: dict[str, Any]
    command: str
    date: str
    arguments: tuple[str, ...]
    base: Version
    head: Version
    policy: PairedPolicy = field(default_factory=PairedPolicy)
    effort: Effort = field(default_factory=Effort)
    sets: list[list[Visit]] = field(default_factory=list)
    status: str = INTERRUPTED
    plants: dict[str, dict[str, float]] = field(default_factory=dict)
    spent_s: float = 0.0
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


def save_comparison(comparison: Comparison, path: str | Path) -> Path:
    """Write a comparison, whole or not at all."""
    return write_document(path, FORM, plain(dataclasses.asdict(comparison)))


def has_comparison(data: Any) -> bool:  # whatever JSON holds
    """Whether JSON data say that they hold a comparison."""
    return isinstance(data, dict) and data.get("kind") == FORM.kind


def load_comparison(path: str | Path) -> Comparison:
    """Read a comparison.

    Raises:
        FileError: when it is missing, damaged, foreign, of a version this mlbench does not read, or holds what no set can measure.
        MissingExtraError: without jsonschema.
    """
    data = read_json(path)
    check_document(path, data, FORM)
    found = _comparison(data)
    if found.policy.tolerance >= found.policy.limit:
        raise FileError(f"{path}: its tolerance is {found.policy.tolerance:g}; expected less than its limit of {found.policy.limit:g}")
    for number, visits in enumerate(found.sets):
        for visit in visits:
            if len({len(rounds) for rounds in visit.rounds_s.values()}) > 1:
                raise FileError(f"{path}: set {number + 1} has {visit.id} with different numbers of rounds in its arms; measure anew")
            if visit.is_whole and not visit.rounds_s.keys() == visit.ends.keys() == set(ARMS):
                raise FileError(f"{path}: set {number + 1} has {visit.id} without {', '.join(ARMS)} in its rounds and ends; measure anew")
    return found


def _comparison(data: dict[str, Any]) -> Comparison:
    return Comparison(
        machine=data["machine"],
        command=data["command"],
        date=data["date"],
        arguments=tuple(data["arguments"]),
        base=_version(data["base"]),
        head=_version(data["head"]),
        policy=PairedPolicy(**data["policy"]),
        effort=Effort(**data["effort"]),
        sets=[[_visit(each) for each in visits] for visits in data["sets"]],
        status=data["status"],
        plants=data["plants"],
        spent_s=data["spent_s"],
        trouble=data["trouble"],
        install=tuple(data["install"]),
    )


def _version(data: dict[str, Any]) -> Version:
    names = ("ids", "hidden", "marked", "unstable")
    return Version(**{**data, **{name: tuple(data[name]) for name in names}})


def _visit(data: dict[str, Any]) -> Visit:
    memory = {arm: _memory(each) for arm, each in data["memory"].items()}
    ends = {arm: (how, why) for arm, (how, why) in data["ends"].items()}
    return Visit(**{**data, "memory": memory, "ends": ends})


def _memory(data: dict[str, Any]) -> Memory:
    peak, counts, held = (_pair(data[name]) for name in ("peak_bytes", "allocations", "held_bytes"))
    assert peak is not None
    return Memory(data["instrument"], peak, counts, held)


def _pair(data: Sequence[int] | None) -> tuple[int, int] | None:
    return None if data is None else (data[0], data[1])
