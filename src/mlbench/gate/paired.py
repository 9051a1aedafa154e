"""Latency of two live versions that took turns: from what each set of processes found to a verdict, or to the wish for more sets.

The unit of replication is the set of processes, not the round: a process has a bias of its own of some per cent, now and then of 25 %,
which its rounds share and which more rounds do not remove. So a set counts once, by the median of its rounds' ratios, and intervals come
from Wilcoxon's signed-rank test over sets, which no single odd process can move far.

A row is screened with few sets. Where the interval ends below the limit, it has passed: a slowdown that must be found would have shown. All
other rows are measured again in fresh sets, some at a time, until one of two things is sure:

- red: the fresh sets alone, without those that raised the suspicion, lie wholly beyond the tolerance, with more confidence, and all sets
  together lie wholly beyond what the control, the base against itself in the same sets, shows as noise;
- pass: all sets together lie below the limit.

The tolerance is less than the limit, so that with enough sets every row is one or the other. That a row must be beyond the tolerance on
fresh processes is also the correction for many rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.gate.verdict import IMPROVED, INCONCLUSIVE, PASS, REGRESSION
from mlbench.measure.stats import Interval, median, signed_rank_interval
from mlbench.results.comparison import PairedPolicy


@dataclass(frozen=True, slots=True)
class Effect:
    """What one set of processes found of a row: natural logarithms of ratios of times.

    Attributes:
        head: head / base.
        control: base once more / base.
    """

    head: float
    control: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a row stands.

    Attributes:
        verdict: pass, improved, regression, or inconclusive while it is open.
        change: head / base, of all sets.
        noise: how far the control lies from 1 at most, as a fraction; infinite with too few sets.
        sets: of processes behind it.
        fresh: of these, the sets that were measured because the row was open.
        missing: about how many more would settle it; 0 where it is settled.
    """

    verdict: str
    change: Interval
    noise: float
    sets: int
    fresh: int
    missing: int = 0


def effect(base_s: Sequence[float], head_s: Sequence[float], control_s: Sequence[float]) -> Effect:
    """Return what one set found, from the seconds per call of each arm in each round.

    Raises:
        ValueError: for no rounds, or a time that is not positive.
    """
    return Effect(_shift(head_s, base_s), _shift(control_s, base_s))


def standing(effects: Sequence[Effect], policy: PairedPolicy) -> Standing:
    """Return where a row stands after these sets, the first `policy.screen` of which screened it.

    A row is open until it is screened. Fresh sets count in whole batches: a row is looked at after each batch, not after each set, because
    every look is a chance to be wrong.

    Raises:
        ValueError: for no sets.
    """
    looks = max(0, len(effects) - policy.screen) // policy.batch
    effects = effects[: policy.screen + looks * policy.batch]
    change = signed_rank_interval([each.head for each in effects], policy.confidence)
    control = signed_rank_interval([each.control for each in effects], policy.confidence)
    noise = max(abs(control.low), abs(control.high))
    fresh = [each.head for each in effects[policy.screen :]]
    tolerance, limit = math.log1p(policy.tolerance), math.log1p(policy.limit)
    is_red = bool(fresh) and signed_rank_interval(fresh, policy.red_confidence).low > tolerance and change.low > max(noise, tolerance)
    if len(effects) < policy.screen:
        verdict = INCONCLUSIVE
    elif is_red:
        verdict = REGRESSION
    elif change.high < -max(noise, tolerance):
        verdict = IMPROVED
    elif change.high < limit:
        verdict = PASS
    else:
        verdict = INCONCLUSIVE
    missing = _missing(change, policy) if verdict == INCONCLUSIVE else 0
    return Standing(verdict, _as_ratio(change), math.expm1(noise), len(effects), len(fresh), missing)


def may_go_on(sets: int, policy: PairedPolicy) -> bool:
    """Whether a row with so many sets may be measured again: to the end of its screening, then by whole batches."""
    return sets < policy.screen or sets + policy.batch <= policy.most


def _missing(change: Interval, policy: PairedPolicy) -> int:
    """Return about how many more sets would settle a row: its interval shrinks with the square root of their number.

    It must become shorter than what is left between its centre and the farther of the two lines, the tolerance from above and the limit
    from below.
    """
    if change.processes < policy.screen:
        return policy.screen - change.processes
    if not math.isfinite(change.high):
        return policy.batch
    if change.low > math.log1p(policy.tolerance):  # slower, and what is missing is that fresh sets alone say so
        return max(policy.batch, policy.least - change.processes)
    half = (change.high - change.low) / 2
    room = max(math.log1p(policy.limit) - change.estimate, change.estimate - math.log1p(policy.tolerance))
    return max(policy.batch, math.ceil(change.processes * ((half / room) ** 2 - 1)))


def _shift(over: Sequence[float], under: Sequence[float]) -> float:
    if not all(0 < each < math.inf for each in (*over, *under)):
        raise ValueError(f"found {min((*over, *under), default=math.nan)} s; a ratio needs times that are positive")
    return median([math.log(one / other) for one, other in zip(over, under, strict=True)])


def _as_ratio(logs: Interval) -> Interval:
    high = math.inf if logs.high == math.inf else math.exp(logs.high)
    return Interval(math.exp(logs.estimate), math.exp(logs.low), high, logs.confidence, logs.processes, logs.rounds)
