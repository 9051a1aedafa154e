"""How often something happens: exact bounds of a probability, and of a median."""

from __future__ import annotations

import math
from collections.abc import Callable

from mlbench.measure.stats.plain import CONFIDENCE


def binomial_bounds(found: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return exact bounds of a probability after `found` of `trials` (Clopper and Pearson, Biometrika 26(4), 1934).

    >>> [round(bound, 3) for bound in binomial_bounds(0, 20)]
    [0.0, 0.168]

    Raises:
        ValueError: for no trials, or more found than tried.
    """
    if trials < 1 or not 0 <= found <= trials:
        raise ValueError(f"{found} of {trials}; bounds need one trial or more, and no more found than tried")
    tail = (1 - confidence) / 2
    low = 0.0 if found == 0 else _solve(lambda p: 1 - _binomial_cdf(found - 1, trials, p) - tail)
    high = 1.0 if found == trials else _solve(lambda p: tail - _binomial_cdf(found, trials, p))
    return low, high


def median_rank(count: int, tail: float) -> int:
    """Return how many of so many values to leave out at either end, so that the median lies beyond what is left with `tail` at most.

    A value lies below the median with a probability of one half. 0 where even all values are too few.

    >>> median_rank(15, 0.025), median_rank(5, 0.025)
    (3, 0)
    """
    left_out = 0
    while 2 * left_out + 2 < count and _binomial_cdf(left_out + 1, count, 0.5) <= tail:
        left_out += 1
    return left_out


def _solve(rising: Callable[[float], float]) -> float:
    """Return where a rising function of a probability crosses zero, by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _binomial_cdf(most: int, trials: int, p: float) -> float:
    """Return P(X <= most), its terms by their logarithms, so that many trials do not overflow."""
    if p <= 0 or p >= 1:
        return float(p <= 0 or most >= trials)
    whole = math.lgamma(trials + 1)
    logs = (whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * math.log(p) + (trials - k) * math.log1p(-p)
            for k in range(most + 1))  # fmt: skip
    return math.fsum(map(math.exp, logs))
