"""Findings on the reference ratio of a callable and on latency, each from the medians of its processes.

The unit is the process: its rounds share a bias, so that many rounds of one process say no more about the next run than few.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlbench.gate.policy import (
    CONFIDENCE,
    LATENCY,
    LEAST_SPREAD,
    LONE_LATENCY_SPREAD,
    LONE_SPREAD,
    Bounds,
    decide,
    percent,
)
from mlbench.gate.verdict import IMPROVED, INCONCLUSIVE, MISSING, PASS, REGRESSION, Finding
from mlbench.measure.stats import Interval, change_interval, median, spread, trimmed_center
from mlbench.results import Measurement
from mlbench.units import format_duration, format_share

MOST_PROCESSES = 60
"""More than these nobody waits for."""
Rounds = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Series:
    """A number for each process of a run, smaller being better.

    Attributes:
        values: medians over the rounds of each process.
        unit: `s` or `ratio`.
    """

    values: tuple[float, ...]
    unit: str


def latency_of(measured: Measurement) -> Series | None:
    """Return seconds per call."""
    return None if measured.timing is None else Series(tuple(median(rounds) for rounds in measured.timing.rounds_s), "s")


def reference_ratio_of(measured: Measurement) -> Series | None:
    """Return the time of a callable / that of its reference; of a file without the reference's rounds, what it says of all of them."""
    if "reference" in measured.arms:
        return _ratio_to(measured, measured.arms["reference"])
    stated = measured.ratios.get("reference_ratio")
    return None if stated is None else Series((1 / stated.estimate,), "ratio")


def _ratio_to(measured: Measurement, arm: Rounds) -> Series | None:
    """Return the time of a call / the time of another arm that took turns with it."""
    if measured.timing is None or len(arm) != len(measured.timing.rounds_s):
        return None
    return Series(tuple(_median_ratio(own, other) for own, other in zip(measured.timing.rounds_s, arm, strict=True)), "ratio")


def _median_ratio(own: Sequence[float], other: Sequence[float]) -> float:
    if len(own) != len(other):
        own, other = (median(own),), (median(other),)
    return median([one / two if two else math.nan for one, two in zip(own, other, strict=True)])


def compare_series(
    quantity: str, before: Series | None, after: Series | None, bounds: Bounds, noise: float = LEAST_SPREAD
) -> Finding | None:
    """Return what the gate says of two runs' series; None where the baseline has none.

    Args:
        quantity: what it is.
        before: of the baseline.
        after: of what is judged.
        bounds: how much is tolerated.
        noise: spread between processes that is assumed at least, of the logarithm.
    """
    if before is None:
        return None
    if after is None:
        return Finding(quantity, MISSING, f"the baseline has a {quantity}, this run has none", median(before.values), unit=before.unit)
    lone = LONE_LATENCY_SPREAD if quantity == LATENCY else LONE_SPREAD
    try:
        change = change_interval(before.values, after.values, CONFIDENCE, noise, lone)
    except ValueError as error:
        return Finding(quantity, REGRESSION, f"{quantity}: cannot be compared ({error})", unit=before.unit)
    verdict = decide(change, bounds)
    told = f"{quantity} {_shown(before)} -> {_shown(after)}, {_change(change)}{_assumed(change, lone)}"
    return Finding(
        quantity,
        verdict,
        f"{told}: {_reason(verdict, bounds, before, after)}",
        trimmed_center(before.values),
        trimmed_center(after.values),
        before.unit,
        change,
        bounds.tolerance,
    )


def _change(change: Interval) -> str:
    low, high = percent(change.low - 1), percent(change.high - 1)
    return f"{percent(change.estimate - 1)} ({100 * change.confidence:.0f} % interval {low} to {high})"


def _assumed(change: Interval, lone: float) -> str:
    return f", one process, whose spread is taken to be {100 * lone:.0f} %" if change.processes == 1 else ""


def _shown(series: Series) -> str:
    number = trimmed_center(series.values)  # as in the change, which stands next to it
    return format_duration(number) if series.unit == "s" else format_share(number)


def _reason(verdict: str, bounds: Bounds, before: Series, after: Series) -> str:
    tolerated = f"{percent(bounds.tolerance)} is tolerated"
    if verdict == REGRESSION:
        return f"all of it lies beyond what is tolerated, {percent(bounds.tolerance)}"
    if verdict == INCONCLUSIVE:
        return f"{percent(bounds.limit)} or more cannot be excluded, {tolerated}; {what_settles(before, after, bounds)}"
    if verdict == IMPROVED:
        return "all of it lies below what counts as unchanged"
    assert verdict == PASS
    return tolerated


def what_settles(before: Series, after: Series, bounds: Bounds) -> str:
    """Return in words what would settle an inconclusive comparison."""
    if min(len(before.values), len(after.values)) == 1:
        return "measure again, when the machine is idle; a callable has one process"
    needed = processes_needed(before.values, after.values, bounds)
    if needed is None:
        return f"not even {MOST_PROCESSES} processes of each would settle it: measure both again, when the machine is idle"
    there = f"{len(before.values)} and {len(after.values)}"
    return f"some {needed} processes of each, instead of {there}, would settle it, if they spread as these did"


def processes_needed(before: Sequence[float], after: Sequence[float], bounds: Bounds) -> int | None:
    """Return how many processes on each side would make the answer conclusive, if estimate and spread stayed; None for too many.

    The processes there are stand in turn for those to come, as in a bootstrap without the chance.
    """
    for count in range(max(len(before), len(after)) + 1, MOST_PROCESSES + 1):
        one, other = ([values[place % len(values)] for place in range(count)] for values in (before, after))
        if decide(change_interval(one, other, CONFIDENCE, LEAST_SPREAD), bounds) != INCONCLUSIVE:
            return count
    return None


def noise_of(runs: Sequence[Iterable[Series | None]]) -> float:
    """Return the spread between processes of the noisier run's median row, LEAST_SPREAD at least; what is no number says nothing of it."""
    spreads = [[spread(each.values) for each in run if each is not None and _has_spread(each)] for run in runs]
    return max([LEAST_SPREAD, *(median(each) for each in spreads if each)])


def _has_spread(series: Series) -> bool:
    return len(series.values) > 1 and all(0 < value < math.inf for value in series.values)
