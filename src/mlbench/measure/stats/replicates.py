"""Ratios of rounds in several processes: the process is the replicate, whatever the number of its rounds.

A process has a bias of its own, 2 to 3 % of a ratio, which its rounds share and no number of them removes. So a process counts with one
number, the median of its rounds, which a busy moment cannot move far; and what these numbers differ by is all that is known of the bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from mlbench.measure.stats.binomial import median_rank
from mlbench.measure.stats.plain import CONFIDENCE, Interval, Numbers
from mlbench.measure.stats.student import student_quantile

_WIDEST = 1e9
"""Ends of an interval lie between its inverse and itself: one that wide says nothing, and its ends are numbers that a file can hold."""

Ratios = Sequence[Sequence[float]]


def ratio_interval(ratios: Ratios, confidence: float = CONFIDENCE) -> Interval:
    """Return the geometric mean of the processes' median ratios, with Student's interval over their logarithms.

    With m the logarithms of the medians of n processes and s their standard deviation, the interval is
    exp(mean(m) +- t(n - 1) s / sqrt(n)) (Student, "The probable error of a mean", Biometrika 6(1), 1908). The estimate always lies inside.
    With processes that are normally biased a 95 % interval covers the truth in 95 % of the runs, of two processes as of five; resampling
    two or three covers it in 56 to 86 %. The price of two is width: t(1) is 12.7, t(2) 4.3, t(4) 2.8.

    One process shows nothing of the spread between processes. Its interval speaks of its rounds alone, and is too narrow: the order
    statistics that hold their median with this confidence (David and Nagaraja, Order Statistics, 3rd ed., 2003, section 7.1), or all
    rounds where there are too few.

    Args:
        ratios: for each process, its per-round ratios.
        confidence: of the interval.

    Raises:
        ValueError: for no process, a process without rounds, or one whose median is not positive and finite.
    """
    logs = _log_medians(ratios)
    if len(logs) == 1:
        low, high = _median_bounds(ratios[0], confidence)
        return _interval(float(logs[0]), math.log(low), math.log(high), confidence, ratios)
    mean = float(logs.mean())
    half = _student_factor(len(logs) - 1, confidence) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return _interval(mean, mean - half, mean + half, confidence, ratios)


def typical(rounds: Ratios) -> float:
    """Return what `ratio_interval` estimates, of anything positive: the geometric mean of the processes' medians.

    Times are told by it as well, so that the quotient of two of them is the ratio that stands next to them, but for what the rounds'
    pairing adds.

    >>> typical([[1.0, 2.0, 9.0], [8.0]])
    4.0

    Raises:
        ValueError: for no process, a process without rounds, or one whose median is not positive and finite.
    """
    return math.exp(float(_log_medians(rounds).mean()))


def geometric_mean_interval(cells: Sequence[Ratios], confidence: float = CONFIDENCE) -> Interval:
    """Return the geometric mean over cells of what `ratio_interval` estimates of each.

    Process i of one cell may be process i of another, as where a set of processes goes through all cells, so that their biases may go
    together. So the sets are the replicates: the variance of the mean is n / (n - 1) times the sum over the sets of the squares of what
    each brings to the mean beyond its cells' own means (the cluster-robust variance: Liang and Zeger, Biometrika 73(1), 1986), with n - 1
    degrees of freedom, where n is the fewest processes of a cell. Where all cells have the same sets that is Student's interval over the
    sets' geometric means; where each cell has processes of its own it is valid as well, and somewhat wider than need be.

    Where a cell has one process its interval is of its rounds alone, and so is that of the mean: the cells' widths are added as those of
    independent cells.

    Args:
        cells: for each cell, for each process, its per-round ratios; a process without rounds is one that the cell lacks.
        confidence: of the interval.

    Raises:
        ValueError: for no cell, a cell without a process, or what `ratio_interval` refuses.
    """
    if not cells:
        raise ValueError("the geometric mean of no cells")
    present = [[process for process in cell if len(process)] for cell in cells]
    every = [process for cell in present for process in cell]
    found = [ratio_interval(cell, confidence) for cell in present]
    mean = sum(math.log(each.estimate) for each in found) / len(found)
    fewest = min(each.processes for each in found)
    if fewest == 1:
        half = math.hypot(*(math.log(each.high / each.low) / 2 for each in found)) / len(found)
    else:
        brought = np.zeros(max(len(cell) for cell in cells))
        for cell, own in zip(cells, present, strict=True):
            logs, is_there = _log_medians(own), [len(process) > 0 for process in cell]
            brought[: len(cell)][is_there] += (logs - logs.mean()) / (len(logs) * len(cells))
        half = _student_factor(fewest - 1, confidence) * math.sqrt(fewest / (fewest - 1) * float((brought**2).sum()))
    return _interval(mean, mean - half, mean + half, confidence, every, fewest)


def _log_medians(ratios: Ratios) -> Numbers:
    if not ratios or any(len(process) == 0 for process in ratios):
        raise ValueError("an interval needs one process or more, each with one round or more")
    medians = np.array([np.median(np.asarray(process, dtype=np.float64)) for process in ratios])
    if not (np.isfinite(medians) & (medians > 0)).all():
        raise ValueError(f"found processes with median ratios of {medians.tolist()}; an interval needs positive, finite ones")
    logs: Numbers = np.log(medians)
    return logs


def _median_bounds(rounds: Sequence[float], confidence: float) -> tuple[float, float]:
    """Return the order statistics of a process's rounds between which their median lies."""
    ordered = np.clip(np.sort(np.asarray(rounds, dtype=np.float64)), 1 / _WIDEST, _WIDEST)
    left_out = median_rank(len(ordered), (1 - confidence) / 2)
    return float(ordered[left_out]), float(ordered[-1 - left_out])


@cache
def _student_factor(freedom: int, confidence: float) -> float:
    return student_quantile((1 + confidence) / 2, freedom)


def _interval(mean: float, low: float, high: float, confidence: float, ratios: Ratios, processes: int | None = None) -> Interval:
    estimate, widest = math.exp(mean), math.log(_WIDEST)
    ends = min(estimate, math.exp(max(low, -widest))), max(estimate, math.exp(min(high, widest)))
    rounds = sum(len(process) for process in ratios)
    return Interval(estimate, *ends, confidence, len(ratios) if processes is None else processes, rounds)
