"""How long calls take: interleaved arms, and single calls for the tail.

Sequential timing compares two moments of a noisy machine. Here the arms have turns of about a millisecond, forwards and then
backwards (ABBA), and another one starts each round, so that a drift and a neighbour hit all of them alike. The answer is a ratio
within a round.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mlbench.measure.rounds import interleaved

Call = Callable[[], object]
Clock = Callable[[], float]

ROUNDS = 15
TURN_S = 1e-3
"""Long against the clock's tick (some 50 ns) and short against what disturbs a shared machine (10 ms and more)."""
SINGLES_S = 0.25
"""Time for single calls in each process; enough for a p99 of calls up to about a millisecond in five processes."""
MOST_SINGLES = 400
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
        count_faults: count page faults too, which takes some calls more.
    """
    with _quiet_collector():
        costs = {name: _cost_s(call, clock) for name, call in arms.items()}
        calls = {name: 1 if before is not None else max(1, int(turn_s / cost)) for name, cost in costs.items()}
        durations = _rounds(arms, calls, rounds, clock, before)
        singles = _singles(arms, min(MOST_SINGLES, int(singles_s / sum(costs.values()))), clock, before)
        fault_calls = {name: max(1, min(FAULT_CALLS, int(FAULTS_S / cost))) for name, cost in costs.items()}
        faults = {name: _minor_faults(call, fault_calls[name]) if count_faults else None for name, call in arms.items()}
    return {name: ArmTimes(tuple(durations[name]), tuple(singles[name]), faults[name]) for name in arms}


def _rounds(arms: Mapping[str, Call], calls: Mapping[str, int], rounds: int, clock: Clock, before: Call | None) -> dict[str, list[float]]:
    durations: dict[str, list[float]] = {name: [] for name in arms}
    for turns in interleaved(list(arms), rounds):
        spent = dict.fromkeys(arms, 0.0)
        for name in turns:
            if before is not None:
                before()
            spent[name] += _turn_s(arms[name], calls[name], clock)
        for name in arms:
            durations[name].append(spent[name] / (2 * calls[name]))
    return durations


def _turn_s(call: Call, calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        call()
    return clock() - start


def _singles(arms: Mapping[str, Call], calls: int, clock: Clock, before: Call | None) -> dict[str, list[float]]:
    """Time single calls; each is preceded by an untimed one, or by `before`, so that no arm inherits the other's caches."""
    singles: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(calls):
        for name, call in arms.items():
            (before or call)()
            start = clock()
            call()
            singles[name].append(clock() - start)
    return singles


def _cost_s(call: Call, clock: Clock) -> float:
    """Warm up and return about how long a call takes, in seconds."""
    call()
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
