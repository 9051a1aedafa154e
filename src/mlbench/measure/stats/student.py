"""Two groups of processes of two runs: their difference by Student's t, trimmed against the odd process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mlbench.measure.stats.plain import CONFIDENCE, Interval, Numbers


def student_quantile(p: float, freedom: int) -> float:
    """Return the quantile of Student's t for 0.5 <= p < 1 and whole degrees of freedom.

    The distribution function is a finite sum (Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, 26.7.3 and 26.7.4), which
    is bisected.

    >>> round(student_quantile(0.975, 4), 3), round(student_quantile(0.975, 1), 3)
    (2.776, 12.706)
    """
    low, high = 0.0, math.pi / 2  # of the angle atan(t / sqrt(freedom)), in which the sum is written
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if 0.5 + _student_share(angle, freedom) / 2 < p else (low, angle)
    return math.tan((low + high) / 2) * math.sqrt(freedom)


def _student_share(angle: float, freedom: int) -> float:
    """Return the probability that |T| lies below tan(angle) * sqrt(freedom)."""
    odd, square = freedom % 2, math.cos(angle) ** 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= step / (step + 1) * square
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def change_interval(
    before: Sequence[float],
    after: Sequence[float],
    confidence: float = CONFIDENCE,
    least_spread: float = 0.0,
    lone_spread: float | None = None,
) -> Interval:
    """Return after / before with an interval that carries the spread between the processes of both runs.

    The logarithms of the processes' medians are compared as trimmed means of two samples whose variances may differ (Yuen, "The
    two-sample trimmed t for unequal population variances", Biometrika 61(1), 1974): of five processes or more the fastest and the slowest
    fifth are left out, because a neighbour that is busy for half a second spoils one process whole. Of fewer nothing is left out, and the
    test is Welch's (Biometrika 34, 1947). Degrees of freedom are Satterthwaite's (Biometrics Bulletin 2(6), 1946), rounded down.

    A run of one process does not show its spread, and without any spread on either side nothing is known of it: the interval is
    infinitely wide then, unless the caller says what to assume.

    Args:
        before: one positive number for each process of a run: its median.
        after: of the other run.
        confidence: of the interval.
        least_spread: standard deviation of the logarithm between processes that is assumed at least, however well a few of them agree.
        lone_spread: the same, assumed where a run has one process; None where nothing may be assumed.

    Raises:
        ValueError: for no process, or a number that is not positive and finite.
    """
    sides = [_side(_finite_log(values), least_spread, lone_spread) for values in (before, after)]
    difference = sides[1].mean - sides[0].mean
    half = _half_width(sides, confidence)
    low, high = (0.0, math.inf) if half > _WIDEST else (math.exp(difference - half), math.exp(difference + half))
    return Interval(math.exp(difference), low, high, confidence, min(len(before), len(after)), len(before) + len(after))


def trimmed_center(values: Sequence[float]) -> float:
    """Return what `change_interval` compares of a run: the trimmed mean of the logarithms, as a value.

    Raises:
        ValueError: for no value, or one that is not positive and finite.
    """
    return math.exp(float(_trimmed(_finite_log(values)).mean()))


TRIMMED = 0.2
"""Share of the processes that is left out at either end (Wilcox, Introduction to Robust Estimation, 3rd ed., 2012, section 3.3)."""
_WIDEST = 300.0
"""Half of an interval of logarithms whose ends are still numbers."""


@dataclass(frozen=True, slots=True)
class _Side:
    """Trimmed mean, its variance, and the degrees of freedom of that; 0 where the variance is assumed."""

    mean: float
    variance: float
    freedom: int


def _side(logs: Numbers, least_spread: float, lone_spread: float | None) -> _Side:
    if len(logs) == 1:
        return _Side(float(logs[0]), math.inf if lone_spread is None else lone_spread**2, 0)
    count, kept = len(logs), _trimmed(logs)
    assumed = max(least_spread, _winsorized_spread(logs))
    return _Side(float(kept.mean()), (count - 1) * assumed**2 / (len(kept) * (len(kept) - 1)), len(kept) - 1)


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation of the logarithms of two values or more, winsorized: the outer fifths moved in to what is kept.

    Raises:
        ValueError: for a number that is not positive and finite.
    """
    return _winsorized_spread(_finite_log(values))


def _trimmed(logs: Numbers) -> Numbers:
    cut = int(TRIMMED * len(logs))
    return np.sort(logs)[cut : len(logs) - cut]


def _winsorized_spread(logs: Numbers) -> float:
    kept = _trimmed(logs)
    return float(np.clip(logs, kept[0], kept[-1]).std(ddof=1))


def _half_width(sides: Sequence[_Side], confidence: float) -> float:
    """Return half of the interval's width, of the logarithm."""
    variance = sum(side.variance for side in sides)
    if not 0 < variance < math.inf:
        return math.inf
    tail = (1 + confidence) / 2
    of_freedom = sum(side.variance**2 / side.freedom for side in sides if side.freedom)
    factor = student_quantile(tail, max(1, int(variance**2 / of_freedom))) if of_freedom > 0 else NormalDist().inv_cdf(tail)
    return factor * math.sqrt(variance)


def _finite_log(values: Sequence[float]) -> Numbers:
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"found {list(values)}; comparing two runs needs positive, finite numbers, one or more of each")
    return np.log(array)
