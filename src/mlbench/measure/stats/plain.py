"""Medians, quantiles and means, and what an interval is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
FEWEST_PROCESSES = 3
"""An interval of fewer is marked wherever it is shown: one process shows nothing of the spread between processes, and two of them so little
that their interval is four times as wide as that of three."""

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

    @property
    def doubt(self) -> str:
        """What marks an interval of fewer than FEWEST_PROCESSES wherever it is shown; empty where they are enough."""
        return "" if self.processes >= FEWEST_PROCESSES else f", {self.processes} process{'es' * (self.processes > 1)}"


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
