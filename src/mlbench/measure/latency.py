"""How long calls take: interleaved arms, and single calls for the tail.

Sequential timing compares two moments of a noisy machine. Here the arms have turns of about a millisecond, forwards and then
backwards (ABBA), and another one starts each round, so that a drift and a neighbour hit all of them alike. The answer is a ratio
within a round.

A turn measures a call among others of its kind, as a program that calls again and again has it. But another arm has just had the caches: of
a network with 8 MB of weights, the first call after that takes five times as long as the tenth (Zen 3). So a turn that follows another
arm's begins with untimed calls.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mlbench.measure.rounds import interleaved
from mlbench.measure.spinning import wait_for_threads

Call = Callable[[], object]
Clock = Callable[[], float]

ROUNDS = 15
TURN_S = 1e-3
"""Long against the clock's tick (some 50 ns) and short against what disturbs a shared machine (10 ms and more)."""
WARM_UP_S = 2e-3
"""Untimed calls at the start of a turn: after 1 to 2 ms, calls of networks with 2 to 8 MB of weights stay as they are (Zen 3)."""
LONG_TIMES = 5
"""A call that takes so many times WARM_UP_S needs no calls before it, because it fills the caches in its first few per cent."""
SINGLES_S = 0.25
"""Time for single calls in each process; enough for a p99 of calls up to about a millisecond in five processes."""
MOST_SINGLES = 400
SINGLES_IN_TURN = 20
FAULT_CALLS = 20
FAULTS_S = 0.05
"""Page faults are counted over so many calls, or over fewer that take this long."""


@dataclass(frozen=True, slots=True)
class ArmTimes:
    """What one arm took in one process.

    Attributes:
        rounds_s: seconds per call in each round.
        singles_s: seconds of single calls, clock included.
        minor_faults_per_call: page faults served without a disk; None where the system does not count them.
    """

    rounds_s: tuple[float, ...]
    singles_s: tuple[float, ...]
    minor_faults_per_call: float | None


def time_interleaved(
    arms: Mapping[str, Call],
    rounds: int = ROUNDS,
    turn_s: float = TURN_S,
    singles_s: float = SINGLES_S,
    clock: Clock = time.perf_counter,
    before: Call | None = None,
    *,
    warm_up_s: float = WARM_UP_S,
    settled: Collection[str] = (),
    count_faults: bool = True,
) -> dict[str, ArmTimes]:
    """Measure all arms together in this process.

    Args:
        arms: name to a call without arguments; each is warmed up first.
        rounds: ABBA rounds; every arm has two turns in each.
        turn_s: how long a turn should last, in seconds; a call that takes longer is a turn by itself.
        singles_s: time for single calls of all arms together, in seconds.
        clock: seconds from any origin.
        before: called, untimed, before every timed call, each of which then is a turn by itself; for measuring with cold caches.
        warm_up_s: a turn that follows another arm's begins with untimed calls for so long, in seconds, with one at least; 0 for none.
        settled: arms whose turns, where they follow another arm's, wait until no other thread of this process runs: an arm with threads
            of its own beside one on the threads of a BLAS.
        count_faults: count page faults too, which takes some calls more.
    """
    start = _Start(clock, warm_up_s, before, settled)
    with _quiet_collector():
        costs = {name: _cost_s(name, call, clock, start) for name, call in arms.items()}
        calls = {name: 1 if before is not None else max(1, int(turn_s / cost)) for name, cost in costs.items()}
        durations = _rounds(arms, costs, calls, rounds, start)
        singles = _singles(arms, min(MOST_SINGLES, int(singles_s / sum(costs.values()))), start)
        fault_calls = {name: max(1, min(FAULT_CALLS, int(FAULTS_S / cost))) for name, cost in costs.items()}
        faults = {name: _minor_faults(call, fault_calls[name]) if count_faults else None for name, call in arms.items()}
    return {name: ArmTimes(tuple(durations[name]), tuple(singles[name]), faults[name]) for name in arms}


@dataclass(frozen=True, slots=True)
class _Start:
    """How a turn starts, before it is timed.

    Attributes:
        clock: seconds.
        warm_up_s: time for untimed calls; 0 for none.
        before: called instead, for cold caches.
        settled: arms that wait until no other thread runs.
    """

    clock: Clock
    warm_up_s: float
    before: Call | None
    settled: Collection[str]

    def warm_up(self, name: str, call: Call, cost_s: float = 0.0) -> None:
        """Wait for other threads, if the arm is one that does, and call untimed, unless the call is long."""
        if name in self.settled:
            wait_for_threads()
        if not self.warm_up_s or self.before is not None or cost_s > LONG_TIMES * self.warm_up_s:
            return
        end = self.clock() + self.warm_up_s
        call()
        while self.clock() < end:
            call()


def _rounds(
    arms: Mapping[str, Call], costs_s: Mapping[str, float], calls: Mapping[str, int], rounds: int, start: _Start
) -> dict[str, list[float]]:
    durations: dict[str, list[float]] = {name: [] for name in arms}
    last = ""
    for turns in interleaved(list(arms), rounds):
        spent = dict.fromkeys(arms, 0.0)
        for name in turns:
            if start.before is not None:
                start.before()
            if name != last:
                start.warm_up(name, arms[name], costs_s[name])
            last = name
            spent[name] += _turn_s(arms[name], calls[name], start.clock)
        for name in arms:
            durations[name].append(spent[name] / (2 * calls[name]))
    return durations


def _turn_s(call: Call, calls: int, clock: Clock) -> float:
    begin = clock()
    for _ in range(calls):
        call()
    return clock() - begin


def _singles(arms: Mapping[str, Call], calls: int, start: _Start) -> dict[str, list[float]]:
    """Time single calls, several of an arm after each other; without a warm-up each is preceded by `before`, or by an untimed call."""
    singles: dict[str, list[float]] = {name: [] for name in arms}
    is_warm = start.warm_up_s > 0 and start.before is None
    in_turn = SINGLES_IN_TURN if is_warm else 1
    for first in range(0, calls, in_turn):
        for name, call in arms.items():
            if is_warm:
                start.warm_up(name, call)
            else:
                (start.before or call)()
            for _ in range(min(in_turn, calls - first)):
                begin = start.clock()
                call()
                singles[name].append(start.clock() - begin)
    return singles


def _cost_s(name: str, call: Call, clock: Clock, start: _Start) -> float:
    """Warm up and return about how long a call takes, in seconds."""
    call()
    start.warm_up(name, call)
    calls, spent = 1, 0.0
    while spent < 2e-4:
        spent = _turn_s(call, calls, clock)
        if spent < 2e-4:
            calls *= 4
    return max(spent / calls, 1e-9)


def _minor_faults(call: Call, calls: int) -> float | None:
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / calls


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Keep the garbage collector from running inside a turn."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
