"""Numbers in, frozen answers out. Pure functions; each names the source of its formula.

Latencies are skewed and correlated, so everything here rests on medians, quantiles and resampling, never on a mean and a
standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
"""The expanded limits of five processes lie at the 0.1 % quantiles, so that some ten resamples lie beyond each."""
CHUNK = 1000
CONFIDENCE = 0.95
_SEED = 20240607

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where it may lie.

    Attributes:
        estimate: the point estimate.
        low: lower end of the interval.
        high: upper end.
        confidence: of the interval, such as 0.95.
        processes: fresh processes the numbers come from; one process hides its own bias.
        rounds: rounds in all processes together.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    processes: int
    rounds: int


def median(values: Sequence[float]) -> float:
    """Return the median.

    Raises:
        ValueError: for no values.
    """
    if len(values) == 0:
        raise ValueError("the median of no values")
    return float(np.median(np.asarray(values, dtype=np.float64)))


def quantile(values: Sequence[float], q: float) -> float:
    """Return the sample quantile by linear interpolation (Hyndman and Fan, 1996, definition 7).

    Raises:
        ValueError: for no values or q outside [0, 1].
    """
    if len(values) == 0 or not 0 <= q <= 1:
        raise ValueError(f"the {q} quantile of {len(values)} values")
    return float(np.quantile(np.asarray(values, dtype=np.float64), q))


def fewest_values_for(q: float, confidence: float = CONFIDENCE) -> int:
    """Return how many values support the quantile q: enough that one of them lies above it with this confidence.

    All n values lie below the q quantile with the probability q**n, so n >= log(1 - confidence) / log(q) (David and Nagaraja,
    Order Statistics, 3rd ed., 2003, section 7.1).

    >>> fewest_values_for(0.99)
    299
    """
    return math.ceil(math.log(1 - confidence) / math.log(q))


def tail_ratio(values: Sequence[float], q: float = 0.99) -> float | None:
    """Return quantile / median, or None where too few values support the quantile."""
    if len(values) < fewest_values_for(q):
        return None
    return quantile(values, q) / median(values)


def geometric_mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean of positive ratios.

    It is the only mean that does not depend on which side is divided by which (Fleming and Wallace, "How not to lie with
    statistics", CACM 29(3), 1986).

    Raises:
        ValueError: for no ratios or one that is not positive.
    """
    logs = _log(ratios)
    return float(np.exp(logs.mean()))


def ratio_interval(ratios: Sequence[Sequence[float]], confidence: float = CONFIDENCE, seed: int = _SEED) -> Interval:
    """Return the median of per-round ratios with an interval that respects the processes they come from.

    A process has a bias of its own, which its rounds share. So the resampling draws processes first and rounds within them (two-stage
    bootstrap: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). Percentile limits of few processes are
    too narrow, so they are expanded as a t interval is over a normal one (Hesterberg, "What Teachers Should Know About the Bootstrap",
    The American Statistician 69(4), 2015, section 5.3). In simulations the 95 % interval of five processes of 15 rounds covers
    the truth in 98 % of the runs (89 % without the expansion), of three in 96 %, of two in 91 %.

    One process has no spread between processes to measure: its interval speaks of its rounds alone, and is too narrow.

    Args:
        ratios: for each process, its per-round ratios.
        confidence: of the interval.
        seed: of the resampling; the same numbers give the same interval.

    Raises:
        ValueError: for no process or a process without rounds.
    """
    padded, lengths = _pad(ratios)
    random = np.random.default_rng(seed)
    return _interval(_resampled_medians(padded, lengths, random), float(np.median(_flat(ratios))), ratios, confidence, len(ratios))


def geometric_mean_interval(cells: Sequence[Sequence[Sequence[float]]], confidence: float = CONFIDENCE, seed: int = _SEED) -> Interval:
    """Return the geometric mean over cells of their median ratios, each resampled as in `ratio_interval`.

    Args:
        cells: for each cell, for each process, its per-round ratios.
        confidence: of the interval.
        seed: of the resampling.

    Raises:
        ValueError: for no cell, or what `ratio_interval` refuses.
    """
    if not cells:
        raise ValueError("the geometric mean of no cells")
    random = np.random.default_rng(seed)
    logs = np.mean([np.log(_resampled_medians(*_pad(cell), random)) for cell in cells], axis=0)
    estimate = geometric_mean([float(np.median(_flat(cell))) for cell in cells])
    every = [process for cell in cells for process in cell]
    return _interval(np.exp(logs), estimate, every, confidence, min(len(cell) for cell in cells))


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

    Counted exactly: of the 2**count choices of signs, those whose positive ranks add up to w.

    >>> signed_rank_quantile(8, 0.025), signed_rank_quantile(5, 0.025)
    (3, -1)
    """
    ways = [1] + [0] * (count * (count + 1) // 2)
    for rank in range(1, count + 1):
        for total in range(len(ways) - 1, rank - 1, -1):
            ways[total] += ways[total - rank]
    below, most = 0, int(tail * 2**count)
    for total, number in enumerate(ways):
        below += number
        if below > most:
            return total - 1
    return len(ways) - 1


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


def thinned(values: Sequence[float], most: int) -> list[float]:
    """Return at most `most` of the values, evenly spaced and in their order.

    >>> thinned([0, 1, 2, 3, 4, 5], 3)
    [0.0, 2.0, 5.0]
    """
    if len(values) <= most:
        return [float(value) for value in values]
    places = np.linspace(0, len(values) - 1, most).astype(int)
    return [float(values[place]) for place in places]


def _log(ratios: Sequence[float]) -> Numbers:
    array = np.asarray(ratios, dtype=np.float64)
    if array.size == 0 or not (array > 0).all():
        raise ValueError(f"found {list(ratios)}; a geometric mean needs positive ratios")
    return np.log(array)


def _flat(ratios: Sequence[Sequence[float]]) -> Numbers:
    return np.concatenate([np.asarray(process, dtype=np.float64) for process in ratios])


def _pad(ratios: Sequence[Sequence[float]]) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """Return the ratios as a matrix, a process a row, and how many of each row are real."""
    if not ratios or any(len(process) == 0 for process in ratios):
        raise ValueError("an interval needs one process or more, each with one round or more")
    lengths = np.array([len(process) for process in ratios])
    padded = np.zeros((len(ratios), int(lengths.max())))
    for row, process in enumerate(ratios):
        padded[row, : len(process)] = process
    return padded, lengths


def _resampled_medians(padded: Numbers, lengths: npt.NDArray[np.int64], random: np.random.Generator) -> Numbers:
    """Return RESAMPLES medians, drawn some at a time so that many rounds need no more memory than few."""
    return np.concatenate([_some_medians(padded, lengths, random, CHUNK) for _ in range(RESAMPLES // CHUNK)])


def _some_medians(padded: Numbers, lengths: npt.NDArray[np.int64], random: np.random.Generator, resamples: int) -> Numbers:
    processes, rounds = padded.shape
    drawn = random.integers(0, processes, size=(resamples, processes))
    places = (random.random((resamples, processes, rounds)) * lengths[drawn][..., np.newaxis]).astype(np.int64)
    values = padded[drawn[..., np.newaxis], places]
    if (lengths == rounds).all():
        return np.asarray(np.median(values.reshape(resamples, -1), axis=1))
    values[np.arange(rounds) >= lengths[drawn][..., np.newaxis]] = np.nan
    return np.asarray(np.nanmedian(values.reshape(resamples, -1), axis=1))


def _interval(resampled: Numbers, estimate: float, ratios: Sequence[Sequence[float]], confidence: float, processes: int) -> Interval:
    tail = _expanded_tail((1 - confidence) / 2, processes)
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), confidence, processes, sum(len(process) for process in ratios))


def _expanded_tail(tail: float, processes: int) -> float:
    """Return the tail probability whose percentile limits are as wide as a t interval of this many processes."""
    if processes == 1:
        return tail
    width = math.sqrt(processes / (processes - 1)) * student_quantile(1 - tail, processes - 1)
    return NormalDist().cdf(-width)


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
