"""One set of live processes goes through all rows: base, head, and the base once more as control, which take turns.

Only one of them runs at any moment of a turn. The turns of a round go forwards and backwards (ABBA), and another arm starts each round.
While a row is set up the arms work at the same time: nothing is timed then.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlbench.ab.process import START_S, Arm, ArmError, ArmProcess

ARMS = ("base", "head", "control")
ROUNDS = 20
"""What 20 rounds leave in a set's ratio is less than what sets differ by: more sets say more than more rounds."""
LEAST_ROUNDS = 1
TURN_S = 1e-3
ROW_S = 1.0
"""Time for the rounds of a row in one set of processes; rows with long calls get fewer rounds."""
TIMEOUT_S = 120.0
_CALLS_OF_A_FOOTPRINT = 10
_REPLACEABLE = 6
"""Planned rounds from which on a disturbed one is made up for; with fewer the calls are long, most are disturbed, and all of them count."""
PASSED, FAILED, SKIPPED, DIED, UNUSED, UNLIKE = "passed", "failed", "skipped", "died", "unused", "unlike"


@dataclass(frozen=True, slots=True)
class Memory:
    """What one call allocated: the least and the most of its repeats, which are equal where it is steady.

    Attributes:
        instrument: memray or tracemalloc.
        peak_bytes: least and most.
        allocations: least and most; None where the instrument cannot count.
    """

    instrument: str
    peak_bytes: tuple[int, int]
    allocations: tuple[int, int] | None


@dataclass(slots=True)
class Visit:
    """What one set of processes measured of a row.

    Attributes:
        id: the test's.
        rounds_s: arm to seconds per call in each round.
        memory: arm to what a call allocated; empty where it was not asked for.
        ends: arm to how the test ended there and why: `passed`, `failed`, `skipped`, `died`, `unused` where it never measured anything, or
            `unlike` where its target may be called once only, and that of the base often, or the other way round.
        once: the target may be called once only.
    """

    id: str
    rounds_s: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    ends: dict[str, tuple[str, str]] = field(default_factory=dict)
    once: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether every arm was measured."""
        return bool(self.rounds_s) and all(how == PASSED for how, _ in self.ends.values())


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a set measures.

    Attributes:
        rounds: of each row.
        turn_s: length of a turn, in seconds.
        row_s: most time for the rounds of a row, setups included, in seconds.
        timeout_s: for the setup of a test and for a turn, in seconds.
    """

    rounds: int = ROUNDS
    turn_s: float = TURN_S
    row_s: float = ROW_S
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Collected:
    """What an arm collected.

    Attributes:
        ids: the tests that use `benchmark`.
        errors: what could not be collected, and why.
        versions: of Python and of what decides how fast it is.
        skipped: what skipped itself as a whole when it was collected, and why.
    """

    ids: tuple[str, ...]
    errors: dict[str, str]
    versions: dict[str, str]
    skipped: dict[str, str] = field(default_factory=dict)


Ready = dict[str, dict[str, Any]]
"""Arm to what it said when its test had come to `benchmark`."""


@dataclass(frozen=True, slots=True)
class Round:
    """What the arms took for their turns of one round.

    Attributes:
        spent_s: arm to seconds per call.
        is_quiet: no other process took the core away from a turn.
    """

    spent_s: dict[str, float]
    is_quiet: bool


class Arms:
    """Live processes of several arms.

    Args:
        arms: which.
        arguments: for pytest.
        logs: folder for what they print.
        first: number of the arm that begins, modulo how many there are; it moves on from set to set.

    Raises:
        ArmError: when one cannot collect its suite; all are ended then.
    """

    def __init__(self, arms: Sequence[Arm], arguments: Sequence[str], logs: Path, first: int = 0) -> None:
        self.processes: dict[str, ArmProcess] = {}
        self._first = self._place = first
        self._cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.collected: dict[str, Collected] = {}
        try:
            for arm in arms:
                self.processes[arm.name] = ArmProcess(arm, arguments, logs / f"{arm.name}.log")
            for arm in arms:
                found = self.processes[arm.name].answer(START_S)
                if found["outside"]:
                    name, file = next(iter(found["outside"].items()))
                    raise ArmError(arm.name, f"it imports {name} from {file}, which is not in its checkout {arm.home}: both arms would run "
                                             "the same code; install the project in an environment of its own (no --same-env)")  # fmt: skip
                self.collected[arm.name] = Collected(tuple(found["collected"]), found["errors"], found["versions"], found["skipped"])
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            process.stop()

    def visit(self, rows: Sequence[str], effort: Effort, weighed: Collection[str] = ()) -> Iterator[Visit]:
        """Go through rows in this order and give what was measured of each; with an arm that died, that row is the last one.

        Args:
            rows: tests that every arm collected.
            effort: how much.
            weighed: rows of which the footprint is taken too.
        """

        def act(done: Visit, ready: Ready) -> None:
            if done.id in weighed and not done.once:
                self._weigh(done, effort)
            if not done.ends:
                self._rounds(done, ready, effort)

        return self._each(rows, effort.timeout_s, act)

    def draw(self, rows: Sequence[str], pages: Mapping[str, Path], timeout_s: float) -> Iterator[tuple[str, dict[str, str]]]:
        """Let each arm draw the flame graph of a call of each row; give row and arm to the page, or to why there is none.

        Args:
            rows: tests that every arm collected.
            pages: row to the path of its pages, without the arm.
            timeout_s: for each page.
        """
        drawn: dict[str, str] = {}

        def act(done: Visit, ready: Ready) -> None:
            for name in self.processes:
                page = f"{pages[done.id]}-{name}.html"
                message = None if done.once else self._ask(done, name, timeout_s, graph=page)
                if message is None:
                    return
                drawn[name] = message["graph"] or page

        for done in self._each(rows, timeout_s, act):
            yield done.id, dict(drawn)
            drawn.clear()

    def _each(self, rows: Sequence[str], timeout_s: float, act: Callable[[Visit, Ready], None]) -> Iterator[Visit]:
        for process in self.processes.values():
            process.tell(order=list(rows))
        for row in rows:
            done = Visit(row)
            try:
                self._row(done, timeout_s, act)
            except ArmError as error:
                done.ends[error.arm] = (DIED, str(error))
            yield done
            if any(how == DIED for how, _ in done.ends.values()):
                return

    def _row(self, done: Visit, timeout_s: float, act: Callable[[Visit, Ready], None]) -> None:
        self._place += 1
        ready = self._ready(done, timeout_s)
        if any(how == DIED for how, _ in done.ends.values()):
            return
        unlike = [name for name, each in ready.items() if each["once"] != next(iter(ready.values()))["once"]]
        if len(ready) == len(self.processes):
            done.once = any(each["once"] for each in ready.values())
            if not unlike:
                act(done, ready)
        for name in ready:
            if name not in done.ends:
                self.processes[name].tell(go=True)
        for name in ready:
            if name not in done.ends:
                done.ends[name] = self._outcome(name, timeout_s)
        done.ends |= {name: (UNLIKE, "") for name in unlike if done.ends[name][0] == PASSED}

    def _ready(self, done: Visit, timeout_s: float) -> Ready:
        """Return what the arms said whose test has come to `benchmark`, and keep how it ended in the others."""
        ready: Ready = {}
        for name, process in self.processes.items():
            try:
                message = process.answer(timeout_s)
            except ArmError as error:  # how the test ends in the others decides whether that is news
                done.ends[name] = (DIED, str(error))
                continue
            if "ended" in message:
                self._end(done, name, message)
            else:
                ready[name] = message
        return ready

    def _outcome(self, name: str, timeout_s: float) -> tuple[str, str]:
        """Return how a test ended that was told to go on; one that a plugin begins again is let go each time."""
        process = self.processes[name]
        while "outcome" not in (message := process.answer(timeout_s)):
            process.tell(go=True)
        return message["outcome"], message["text"]

    def _ask(self, done: Visit, name: str, timeout_s: float, **request: Any) -> dict[str, Any] | None:
        """Return the answer, or None where the test ended instead."""
        process = self.processes[name]
        process.tell(**request)
        message = process.answer(timeout_s)
        if "ready" in message:  # it failed, and a plugin began it again
            process.tell(go=True)
            done.ends[name] = (FAILED, self._outcome(name, timeout_s)[1] or "and was begun again by a plugin")
            return None
        if "ended" not in message:
            return message
        self._end(done, name, message)
        return None

    def _weigh(self, done: Visit, effort: Effort) -> None:
        for name in self.processes:
            message = self._ask(done, name, _CALLS_OF_A_FOOTPRINT * effort.timeout_s, footprint=True)
            if message is None:
                return
            found = message["footprint"]
            counts = found["allocations"]
            done.memory[name] = Memory(found["instrument"], tuple(found["peak_bytes"]), None if counts is None else tuple(counts))

    def _rounds(self, done: Visit, ready: Ready, effort: Effort) -> None:
        names = list(self.processes)
        calls, rounds, warm_up = 1, 1, False
        if not done.once:
            longest, whole = (max(each[part] for each in ready.values()) for part in ("cost_s", "wall_s"))
            turns = 2 * len(names)
            calls = max(1, min(int(effort.turn_s / longest), int(effort.row_s / (turns * effort.rounds * whole))))
            warm_up = longest < effort.turn_s
            rounds = min(effort.rounds, max(LEAST_ROUNDS, int(effort.row_s / (turns * whole * calls))))
        found: list[Round] = []
        most = 2 * rounds if rounds >= _REPLACEABLE else rounds
        while len(found) < most and sum(each.is_quiet for each in found) < rounds:
            first = (self._first + len(found)) % len(names)
            order = names[first:] + names[:first]
            round_ = self._round(done, order if done.once else (*order, *order[::-1]), effort, turn=calls, warm_up=warm_up)
            if round_ is None:
                return
            found.append(round_)
            if not round_.is_quiet:
                self._place += 1
        counted = undisturbed(found) if rounds >= _REPLACEABLE else found
        done.rounds_s = {name: [each.spent_s[name] for each in counted] for name in names}

    def _round(self, done: Visit, order: Sequence[str], effort: Effort, **request: Any) -> Round | None:
        """Let arms take turns in this order on one core; return what each took for a turn, or None where the test ended instead."""
        where = {"core": self._cores[self._place % len(self._cores)]} if self._cores else {}
        took: dict[str, list[float]] = {}
        interrupted = 0
        for name in order:
            message = self._ask(done, name, effort.timeout_s, **request, **where)
            if message is None:
                return None
            took.setdefault(name, []).append(message["s"])
            interrupted += message["interrupted"]
        return Round({name: sum(spent) / len(spent) for name, spent in took.items()}, not interrupted)

    def _end(self, done: Visit, name: str, message: dict[str, Any]) -> None:
        """Keep how a test ended that should have come to `benchmark`, or was asked to do something there."""
        outcome = message["outcome"]
        done.ends[name] = (UNUSED if outcome == PASSED else outcome, message["text"])


def undisturbed(rounds: Sequence[Round]) -> list[Round]:
    """Return the rounds that no other process disturbed; all of them where that is less than half.

    What interrupts most rounds may be the target itself, as where it starts more threads than there are cores.
    """
    quiet = [each for each in rounds if each.is_quiet]
    return quiet if 2 * len(quiet) >= len(rounds) else list(rounds)


def shuffled(rows: Sequence[str], chance: random.Random) -> list[str]:
    """Return the rows in random order, those of one file together, so that fixtures of a module are made once."""
    files: dict[str, list[str]] = {}
    for row in rows:
        files.setdefault(row.partition("::")[0], []).append(row)
    groups = list(files.values())
    chance.shuffle(groups)
    for group in groups:
        chance.shuffle(group)
    return [row for group in groups for row in group]
