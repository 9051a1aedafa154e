"""Ratios of rounds in several processes: intervals by resampling processes first and rounds within them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from mlbench.stats.plain import CONFIDENCE, Interval, Numbers, geometric_mean
from mlbench.stats.student import student_quantile

RESAMPLES = 10_000
"""The expanded limits of five processes lie at the 0.1 % quantiles, so that some ten resamples lie beyond each."""
CHUNK = 1000
_SEED = 20240607


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
