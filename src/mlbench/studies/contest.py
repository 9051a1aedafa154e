"""Whether a schedule that a search found is faster than the default rules: asked anew, because a search believes its noise.

A search keeps the fastest of many candidates, and the fastest is often the luckiest. So what it found meets the default schedule in fresh
rounds, with runners that are built anew for each set of rounds, because where operands lie in memory is worth some per cent. A control
runs in every round: a second runner of the default schedule. The found schedule must beat the faster of the two, with an interval over the
sets that excludes 1. And the control says whether the machine was quiet: two runners of one schedule take the same time on a quiet
machine, round for round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlbench.measure import time_interleaved, wait_for_threads
from mlbench.measure.stats import Interval, median, quantile, ratio_interval

DEFAULT, CONTROL, FOUND = "default", "control", "found"
SETS = 5
SET_S = 0.12
"""Time for the rounds of a set; slow calls get LEAST_ROUNDS whatever they take."""
LEAST_ROUNDS, MOST_ROUNDS = 3, 15
TURN_S = 3e-4
QUIET_SPREAD = 1.1
"""On a quiet machine the middle half of the control's rounds, control / default, lies within a factor of 1.03 or less."""

Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Contest:
    """A found schedule against the default one.

    Attributes:
        gain: time of the faster default runner / time of the found one, over sets of rounds; above 1 the found one is faster.
        spread: upper / lower quartile of control / default over all rounds.
    """

    gain: Interval
    spread: float

    @property
    def is_won(self) -> bool:
        """Whether the found schedule is faster, with confidence."""
        return self.gain.low > 1

    @property
    def is_quiet(self) -> bool:
        """Whether the machine let two runners of one schedule take the same time."""
        return self.spread <= QUIET_SPREAD


def contest(makers: Mapping[str, Callable[[], Call]], *, apart: bool = False) -> Contest:
    """Let the found schedule meet the default one and its control.

    Args:
        makers: DEFAULT, CONTROL and FOUND, each to a function that builds a runner and returns its call.
        apart: time the arms one after the other with pauses, because their threads would disturb each other in turns.
    """
    sets, rounds = [], 0
    for number in range(SETS):
        arms = {name: make() for name, make in makers.items()}
        rounds = rounds or _rounds(arms)
        sets.append(_one_set(arms, rounds, number, apart=apart))
    gains = [[min(median(each[DEFAULT]), median(each[CONTROL])) / median(each[FOUND])] for each in sets]
    control = [one / other for each in sets for one, other in zip(each[CONTROL], each[DEFAULT], strict=True)]
    return Contest(ratio_interval(gains), quantile(control, 0.75) / quantile(control, 0.25))


def _rounds(arms: Mapping[str, Call]) -> int:
    """Return how many rounds, half of each to warm up, fit into the time for a set, as far as one round shows."""
    trial = time_interleaved(arms, 1, TURN_S, 0.0, warm_up_s=TURN_S, count_faults=False)
    return max(LEAST_ROUNDS, min(MOST_ROUNDS, int(SET_S / (4 * sum(max(TURN_S, each.rounds_s[0]) for each in trial.values())))))


def _one_set(arms: Mapping[str, Call], rounds: int, number: int, *, apart: bool) -> dict[str, Sequence[float]]:
    """Return the seconds of a call in each round; every other set goes backwards, because the first runner built lies elsewhere."""
    names = sorted(arms, reverse=number % 2 == 1)
    found: dict[str, Sequence[float]] = {}
    for group in [[name] for name in names] if apart else [names]:
        if apart:
            wait_for_threads()
        timed = time_interleaved({name: arms[name] for name in group}, rounds, TURN_S, 0.0, warm_up_s=TURN_S, count_faults=False)
        found |= {name: each.rounds_s for name, each in timed.items()}
    return found
