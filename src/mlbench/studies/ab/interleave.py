"""One set of live processes goes through all rows: base, head, and the base once more as control, interleaved.

Only one of them runs at any moment of a turn. The turns of a round go forwards and backwards (ABBA), and another arm starts each round.
While a row is set up the arms work at the same time: nothing is timed then.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlbench.measure import interleaved
from mlbench.results.samples import DIED, FAILED, PASSED, UNLIKE, UNUSED, Collected, Effort, Memory, Visit
from mlbench.studies.ab.process import START_S, Arm, ArmError, ArmProcess

LEAST_ROUNDS = 1
_CALLS_OF_A_FOOTPRINT = 10
_MOST_FOLLOWING = 200
"""Turns in which the other arms follow one whose test ended."""
_REPLACEABLE = 6
"""Planned rounds from which on a disturbed one is made up for; with fewer the calls are long, most are disturbed, and all of them count."""


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
        known: arm to the tests that are known to be hidden benchmarks; none to find out by running what may be one.

    Raises:
        ArmError: when one cannot collect its suite; all are ended then.
    """

    def __init__(
        self, arms: Sequence[Arm], arguments: Sequence[str], logs: Path, first: int = 0, known: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.processes: dict[str, ArmProcess] = {}
        self._made: dict[str, int] = {}
        self._asked = 0
        self._first = self._place = first
        self._cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.collected: dict[str, Collected] = {}
        try:
            seed = _seed(os.environ.get("PYTHONHASHSEED", ""))
            for number, arm in enumerate(arms):
                variables = {"PYTHONHASHSEED": str(seed), "TMPDIR": str(_folder(logs / f"t{number}"))}
                log = logs / f"{arm.name}.log"
                self.processes[arm.name] = ArmProcess(arm, arguments, log, variables, None if known is None else known[arm.name])
            for arm in arms:
                found = self.processes[arm.name].answer(START_S)
                if found["outside"]:
                    name, file = next(iter(found["outside"].items()))
                    raise ArmError(arm.name, f"it imports {name} from {file}, which is not in its checkout {arm.home}: both arms would run "
                                             "the same code; install the project in an environment of its own (no --same-env)")  # fmt: skip
                self.collected[arm.name] = Collected(
                    tuple(found["collected"]),
                    found["errors"],
                    found["versions"],
                    found["skipped"],
                    tuple(found["hidden"]),
                    tuple(found["marked"]),
                )
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

    def visit(self, rows: Sequence[str], effort: Effort, footprints: Collection[str] = (), spared: Collection[str] = ()) -> Iterator[Visit]:
        """Go through rows in this order and give what was measured of each; with an arm that died, that row is the last one.

        Args:
            rows: tests that every arm collected.
            effort: how much.
            footprints: rows of which the footprint is taken too.
            spared: rows whose targets are called no more often than their tests foresee, and of which no footprint is taken.
        """

        def act(done: Visit, ready: Ready) -> None:
            if done.id in footprints and not done.once and done.id not in spared:
                self._footprints(done, effort)
            if not done.ends and not done.exhausted:
                self._rounds(done, ready, effort, is_spared=done.id in spared)

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
                message = None if done.once else self._ask(done, name, timeout_s, _CALLS_OF_A_FOOTPRINT, graph=page)
                if message is None:
                    return
                drawn[name] = message["graph"] or page

        for done in self._each(rows, timeout_s, act):
            yield done.id, dict(drawn)
            drawn.clear()

    def _each(self, rows: Sequence[str], timeout_s: float, act: Callable[[Visit, Ready], None]) -> Iterator[Visit]:
        for process in self.processes.values():
            process.tell(test="", order=list(rows))
        for row in rows:
            for process in self.processes.values():
                process.tell(test=row, run=True)
            done = Visit(row)
            self._row(done, timeout_s, act)
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
            done.coroutine = any(each["coroutine"] for each in ready.values())
            if not unlike:
                self._made = {name: each["calls"] for name, each in ready.items()}
                act(done, ready)
                self._follow(done, timeout_s)
        for name in ready:
            if name not in done.ends:
                self.processes[name].tell(test=done.id, go=True)
        for name in ready:
            if name not in done.ends:
                try:
                    done.ends[name] = self._outcome(done.id, name, timeout_s)
                except ArmError as error:
                    done.ends[name] = (DIED, str(error))
        done.ends |= {name: (UNLIKE, "") for name in unlike if done.ends[name][0] == PASSED}

    def _ready(self, done: Visit, timeout_s: float) -> Ready:
        """Return what the arms said whose test has come to `benchmark`, and keep how it ended in the others."""
        ready: Ready = {}
        for name, process in self.processes.items():
            try:
                message = process.answer(timeout_s, done.id)
            except ArmError as error:  # how the test ends in the others decides whether that is news
                done.ends[name] = (DIED, str(error))
                continue
            if "ended" in message:
                self._end(done, name, message)
            else:
                ready[name] = message
        return ready

    def _outcome(self, row: str, name: str, timeout_s: float) -> tuple[str, str]:
        """Return how a test ended that was told to go on; one that a plugin begins again is let go each time."""
        process = self.processes[name]
        while "outcome" not in (message := process.answer(timeout_s, row)):
            process.tell(test=row, go=True)
        return message["outcome"], message["text"]

    def _ask(self, done: Visit, name: str, timeout_s: float, calls: int, **request: Any) -> dict[str, Any] | None:
        """Return the answer to a request of so many calls, or None where the test ended instead, or its target has no more data."""
        process = self.processes[name]
        process.tell(test=done.id, **request)
        self._asked = calls
        try:
            message = process.answer(timeout_s, done.id)
        except ArmError as error:
            done.ends[name] = (DIED, str(error))
            return None
        if "ready" in message:  # it failed, and a plugin began it again
            process.tell(test=done.id, go=True)
            try:
                done.ends[name] = (FAILED, self._outcome(done.id, name, timeout_s)[1] or "and was begun again by a plugin")
            except ArmError as error:
                done.ends[name] = (DIED, str(error))
            return None
        if "ended" in message:
            self._end(done, name, message)
            return None
        self._made[name] = message["calls"]
        if "exhausted" in message:
            done.exhausted = message["exhausted"]
            return None
        return message

    def _follow(self, done: Visit, timeout_s: float) -> None:
        """Let the other arms make as many calls as one whose test ended in the midst of them: they may all end there, for one reason."""
        if not done.ends:
            return
        most = self._made[next(iter(done.ends))] + self._asked
        for name in self.processes:
            for _ in range(_MOST_FOLLOWING):
                if name in done.ends or self._made[name] > most or done.exhausted:
                    break
                self._ask(done, name, timeout_s, self._asked, turn=self._asked, warm_up=False)

    def _footprints(self, done: Visit, effort: Effort) -> None:
        for name in self.processes:
            message = self._ask(done, name, _CALLS_OF_A_FOOTPRINT * effort.timeout_s, _CALLS_OF_A_FOOTPRINT, footprint=True)
            if message is None:
                return
            found = message["footprint"]
            counts, held = found["allocations"], found["held_bytes"]
            done.memory[name] = Memory(
                found["instrument"],
                tuple(found["peak_bytes"]),
                None if counts is None else tuple(counts),
                None if held is None else (held, held),
            )

    def _rounds(self, done: Visit, ready: Ready, effort: Effort, *, is_spared: bool) -> None:
        names = list(self.processes)
        calls, rounds, warm_up = 1, 1, False
        if not done.once:
            longest, whole = (max(each[part] for each in ready.values()) for part in ("cost_s", "whole_s"))
            turns = 2 * len(names)
            calls = max(1, min(int(effort.turn_s / longest), int(effort.row_s / (turns * effort.rounds * whole))))
            warm_up = longest < effort.turn_s
            rounds = min(effort.rounds, max(LEAST_ROUNDS, int(effort.row_s / (turns * whole * calls))))
        left = min((each["left"] for each in ready.values() if each["left"] is not None), default=None) if is_spared else None
        is_single = done.once
        if left is not None and not done.once:
            calls, warm_up = max(1, min(calls, left // (2 * rounds))), False
            rounds, is_single = min(rounds, left // (2 * calls)) or left, left == 1
        found: list[Round] = []
        most = 2 * rounds if rounds >= _REPLACEABLE else rounds
        for order in interleaved(names, most, self._first):
            round_ = self._round(done, order[: len(names)] if is_single else order, effort, calls, warm_up=warm_up)
            if round_ is None:
                break
            found.append(round_)
            if sum(each.is_quiet for each in found) == rounds:
                break
            if not round_.is_quiet:
                self._place += 1
        if found and not done.ends:
            counted = undisturbed(found) if rounds >= _REPLACEABLE else found
            done.rounds_s = {name: [each.spent_s[name] for each in counted] for name in names}

    def _round(self, done: Visit, order: Sequence[str], effort: Effort, calls: int, *, warm_up: bool) -> Round | None:
        """Let arms run in this order on one core; return what each took for a turn, or None where the measuring ended instead."""
        where = {"core": self._cores[self._place % len(self._cores)]} if self._cores else {}
        took: dict[str, list[float]] = {}
        interrupted = 0
        for name in order:
            message = self._ask(done, name, effort.timeout_s, calls + warm_up, turn=calls, warm_up=warm_up, **where)
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


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _seed(given: str) -> int:
    """Return the seed of hashes for all arms of a set: the user's, or one of chance, so that sets differ and arms do not."""
    return int(given) if given.isdigit() else random.randrange(2**32)  # noqa: S311  # no secret
