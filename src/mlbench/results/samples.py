"""What a set of processes is to measure, and what it measured of a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from mlbench.results.schema import Bounds, Count, Duration, Instrument, Seconds, Size

ARMS = ("base", "head", "control")
ROUNDS = 20
"""What 20 rounds leave in a set's ratio is less than what sets differ by: more sets say more than more rounds."""
TURN_S = 1e-3
ROW_S = 1.0
"""Time for the rounds of a row in one set of processes; rows with long calls get fewer rounds."""
TIMEOUT_S = 120.0
PASSED, FAILED, SKIPPED, DIED, UNUSED, UNLIKE = "passed", "failed", "skipped", "died", "unused", "unlike"
ArmName = Annotated[str, Bounds(one_of=ARMS)]
Ending = Annotated[str, Bounds(one_of=(PASSED, FAILED, SKIPPED, DIED, UNUSED, UNLIKE))]


@dataclass(frozen=True, slots=True)
class Memory:
    """What one call allocated: the least and the most of its repeats, which are equal where it is steady.

    Attributes:
        instrument: memray or tracemalloc.
        peak_bytes: least and most.
        allocations: least and most; None where the instrument cannot count.
        held_bytes: what the target holds between calls, least and most; None where the test does not say.
    """

    instrument: Instrument
    peak_bytes: tuple[Size, Size]
    allocations: tuple[Size, Size] | None
    held_bytes: tuple[Size, Size] | None = None


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
        exhausted: how a call failed that the test does not foresee, as where its data had run out; empty where none did.
        coroutine: a call made a coroutine, which nobody awaited.
    """

    id: str
    rounds_s: dict[ArmName, Annotated[list[Duration], Bounds(min_length=1)]] = field(default_factory=dict)
    memory: dict[ArmName, Memory] = field(default_factory=dict)
    ends: dict[ArmName, tuple[Ending, str]] = field(default_factory=dict)
    once: bool = False
    exhausted: str = ""
    coroutine: bool = False

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

    rounds: Count = ROUNDS
    turn_s: Seconds = TURN_S
    row_s: Seconds = ROW_S
    timeout_s: Seconds = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Collected:
    """What an arm collected.

    Attributes:
        ids: the tests that use `benchmark`.
        errors: what could not be collected, and why.
        versions: of Python and of what decides how fast it is.
        skipped: what skipped itself as a whole when it was collected, and why.
        hidden: those of the tests that do not ask for `benchmark` by name, and came to it when they were run.
        marked: tests that carry the mark `benchmark` and do not use it.
    """

    ids: tuple[str, ...]
    errors: dict[str, str]
    versions: dict[str, str]
    skipped: dict[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()
