"""Interleaved pairs of processes: their common shift by signed ranks, which an odd pair cannot move far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from mlbench.measure.stats.plain import CONFIDENCE, Interval


def signed_rank_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the centre of symmetrically spread values, with an interval that outliers cannot move far.

    The estimate is the median of the means of all pairs of values (Hodges and Lehmann, "Estimates of location based on rank tests", Annals
    of Mathematical Statistics 34(2), 1963); the interval holds the centres that Wilcoxon's signed-rank test does not reject (Hollander,
    Wolfe and Chicken, Nonparametric Statistical Methods, 3rd ed., 2014, section 3.2 and 3.3). The test is exact for any symmetric
    distribution, however heavy its tails; the difference of two exchangeable measurements, as of the same code in two processes, is one.

    Too few values cannot support the confidence (five for 95 % are too few): the interval is infinite then, and says so.

    Args:
        values: one of each independent replicate; `processes` of the interval is their number.
        confidence: of the interval, at least; the steps of the distribution make it more for few values.

    Raises:
        ValueError: for no values, or one that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"found {list(values)}; an interval needs one finite value or more")
    first, second = np.triu_indices(array.size)
    means = np.sort((array[first] + array[second]) / 2)
    left_out = signed_rank_quantile(array.size, (1 - confidence) / 2)
    low, high = (-math.inf, math.inf) if left_out < 0 else (float(means[left_out]), float(means[-1 - left_out]))
    return Interval(float(np.median(means)), low, high, confidence, array.size, array.size)


@cache
def signed_rank_quantile(count: int, tail: float) -> int:
    """Return the largest w with P(W <= w) <= tail for Wilcoxon's signed-rank statistic W of `count` values, or -1 where there is none.

    Counted: of the 2**count choices of signs, those whose positive ranks add up to w; exactly up to 2**53.

    >>> signed_rank_quantile(8, 0.025), signed_rank_quantile(5, 0.025)
    (3, -1)
    """
    ways = np.zeros(count * (count + 1) // 2 + 1)
    ways[0] = 1
    for rank in range(1, count + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    return int(np.searchsorted(np.cumsum(ways), tail * 2.0**count, side="right")) - 1
