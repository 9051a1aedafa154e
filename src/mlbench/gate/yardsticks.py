"""Findings on the time of a case: its fastest rounds / those of two yardsticks that took turns with it, with a warm heap.

The yardsticks are the eager runner and NumPy's bare products. The second contains no code of ours at all. What slows down the compiled
runner shows against both; where one yardstick drifts, the other does not follow. A slowdown of what both runners use shows against the
products alone.

The fastest round of all processes counts, because whatever disturbs a round makes it longer: a neighbour on the same core makes vector code
1.4 times slower and the interpreter 1.8 times, so that medians of runs with more and with less of it differ by a quarter. That the
fastest round is no luck shows where the ratio stays as it is without the process that holds it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

from mlbench.gate.policy import (
    BASELINE_RATIO,
    CONFIDENCE,
    FREE_SHIFT,
    LEAST_RUN_SPREAD,
    LONE_LUCK,
    LUCK_SHARE,
    PRODUCTS_RATIO,
    RUN_SPREAD,
    RUNS_THAT_SHOW_THEIR_SPREAD,
    Bounds,
    percent,
)
from mlbench.gate.verdict import IMPROVED, INCONCLUSIVE, PASS, REGRESSION, Finding
from mlbench.measure.stats import Interval, median, student_quantile
from mlbench.results import Measurement
from mlbench.units import format_share

THIS = "this"
YARDSTICKS = {BASELINE_RATIO: "baseline", PRODUCTS_RATIO: "products"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A case beside a yardstick in one run.

    Attributes:
        ratio: fastest of the case / fastest of the yardstick, its logarithm.
        variance: that luck adds: how far the ratio would be off without the process that holds the fastest round.
        yardstick: the yardstick's own fastest.
    """

    ratio: float
    variance: float
    yardstick: float


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a ratio, its logarithm, and what it is known by.

    Attributes:
        before: geometric mean of the baseline's runs, time / that of the yardstick.
        after: of what is judged.
        log: of after / before.
        variance: of that.
        freedom: degrees of freedom of the variance; 0 where it is assumed.
        shift: what the yardstick's own movement adds to either side of the interval.
        processes: the fewer of either side.
    """

    before: float
    after: float
    log: float
    variance: float
    freedom: int
    shift: float
    processes: int

    @property
    def interval(self) -> Interval:
        """After / before."""
        tail = (1 + CONFIDENCE) / 2
        factor = student_quantile(tail, self.freedom) if self.freedom else NormalDist().inv_cdf(tail)
        half = factor * math.sqrt(self.variance) + self.shift
        low, high = (0.0, math.inf) if half > 300 else (math.exp(self.log - half), math.exp(self.log + half))
        return Interval(math.exp(self.log), low, high, CONFIDENCE, self.processes, 2 * self.processes)


def fastest_of(processes: Sequence[Sequence[float]]) -> list[float]:
    """Return the logarithm of each process's fastest round.

    Raises:
        ValueError: for a time that is not positive and finite.
    """
    if not processes or not all(rounds and all(0 < value < math.inf for value in rounds) for rounds in processes):
        raise ValueError(f"found {[list(each) for each in processes]}; comparing two runs needs positive, finite numbers")
    return [math.log(min(rounds)) for rounds in processes]


def seen_in_run(own: Sequence[float], yardstick: Sequence[float]) -> Seen:
    """Return what a run saw, from the fastest round of each of its processes.

    >>> seen_in_run([0.0, 0.1, 0.2], [1.0, 1.1, 1.3])
    Seen(ratio=-1.0, variance=0.0, yardstick=1.0)
    """
    ratio = min(own) - min(yardstick)
    luck = LONE_LUCK
    if len(own) > 1:
        places = {each.index(min(each)) for each in (own, yardstick)}
        luck = max(abs(_ratio_without(place, own, yardstick) - ratio) for place in places)
    return Seen(ratio, (LUCK_SHARE * luck) ** 2, min(yardstick))


def _ratio_without(place: int, own: Sequence[float], yardstick: Sequence[float]) -> float:
    left = [min([*each[:place], *each[place + 1 :]]) for each in (own, yardstick)]
    return left[0] - left[1]


def seen(measured: Measurement, yardstick: str) -> list[Seen] | None:
    """Return a case beside a yardstick in each run of a result; None where they did not take turns."""
    own, other = measured.arms.get(THIS), measured.arms.get(yardstick)
    if own is None or other is None:
        return None
    found, first, (mine, theirs) = [], 0, map(fastest_of, (own, other))
    for count in measured.runs or (len(own),):
        found.append(seen_in_run(mine[first : first + count], theirs[first : first + count]))
        first += count
    return found


def spread_between(runs: Sequence[Seen]) -> float | None:
    """Return the standard deviation between runs, of the logarithm; None of too few."""
    if len(runs) < RUNS_THAT_SHOW_THEIR_SPREAD:
        return None
    mean = math.fsum(each.ratio for each in runs) / len(runs)
    return math.sqrt(math.fsum((each.ratio - mean) ** 2 for each in runs) / (len(runs) - 1))


def usual_spread(rows: Sequence[Sequence[Seen]]) -> float:
    """Return the spread between runs of a result's median row; what is assumed where it holds too few runs."""
    found = [each for each in map(spread_between, rows) if each is not None]
    return max(LEAST_RUN_SPREAD, median(found)) if found else RUN_SPREAD


def change_of(before: Sequence[Seen], after: Sequence[Seen], usual: float, processes: int, share: float) -> Change:
    """Return the change of a ratio between two results.

    Args:
        before: the baseline's runs.
        after: of what is judged.
        usual: spread between runs that is assumed at least.
        processes: the fewer of either side.
        share: of what the yardstick itself moved, beyond FREE_SHIFT, by which the interval grows on either side.
    """
    own = spread_between(before)
    between = max(usual, own or 0.0)
    means = [math.fsum(each.ratio for each in runs) / len(runs) for runs in (before, after)]
    variance = math.fsum(between**2 / len(runs) + math.fsum(each.variance for each in runs) / len(runs) ** 2 for runs in (before, after))
    moved = abs(math.fsum(each.yardstick for each in after) / len(after) - math.fsum(each.yardstick for each in before) / len(before))
    freedom = len(before) - 1 if own is not None and own > usual else 0
    shift = share * max(0.0, moved - FREE_SHIFT)
    return Change(math.exp(means[0]), math.exp(means[1]), means[1] - means[0], variance, freedom, shift, processes)


def findings_of(changes: Mapping[str, Change], bounds: Mapping[str, Bounds], alone: Bounds) -> list[Finding]:
    """Return what the gate says of a row's ratios to its yardsticks.

    Args:
        changes: quantity to its change.
        bounds: quantity to how much is tolerated where the other yardstick agrees.
        alone: how much the ratio to the products alone may grow.
    """
    intervals = {name: change.interval for name, change in changes.items()}
    both_red = all(intervals[name].low > 1 + bounds[name].tolerance for name in changes)
    both_open = not any(intervals[name].high <= 1 + bounds[name].limit for name in changes)
    both_better = all(intervals[name].high < 1 / (1 + bounds[name].tolerance) for name in changes)
    found = []
    for name, change in changes.items():
        interval = intervals[name]
        own = Bounds(max(alone.tolerance, bounds[name].tolerance), max(alone.limit, bounds[name].limit))
        is_alone = name == PRODUCTS_RATIO and not both_red and interval.low > 1 + own.tolerance
        is_open_alone = name == PRODUCTS_RATIO and not interval.high <= 1 + own.limit
        if both_red or is_alone:
            verdict = REGRESSION
        elif both_open or is_open_alone:
            verdict = INCONCLUSIVE
        else:
            verdict = IMPROVED if both_better else PASS
        why = _why(verdict, own if is_alone or (is_open_alone and not both_open) else bounds[name], is_alone=is_alone)
        told = f"{name} {format_share(change.before)} -> {format_share(change.after)}, {_told(interval)}: {why}"
        found.append(Finding(name, verdict, told, change.before, change.after, "ratio", interval, bounds[name].tolerance))
    return found


def mean_change(changes: Sequence[Change], usual: float) -> Change:
    """Return the mean change of several rows: what is the same in all of them shows in it that no row alone shows.

    Args:
        changes: of the rows.
        usual: spread between runs of the mean that is assumed, of the logarithm.
    """
    count = len(changes)

    def mean(values: Sequence[float]) -> float:
        return math.fsum(values) / count

    variance = 2 * usual**2 + math.fsum(each.variance for each in changes) / count**2
    before, after = (math.exp(mean([math.log(value) for value in values]))
                     for values in ([each.before for each in changes], [each.after for each in changes]))  # fmt: skip
    shift, processes = mean([each.shift for each in changes]), min(each.processes for each in changes)
    return Change(before, after, mean([each.log for each in changes]), variance, 0, shift, processes)


def shown_only(finding: Finding) -> Finding:
    """Return a finding that is told and decides nothing: of the eager runner, which is a yardstick and not the product."""
    head = finding.why.partition(": ")[0]
    return replace(finding, verdict=PASS, why=f"{head}: shown, and not judged, because the eager runner is a yardstick")


def _told(interval: Interval) -> str:
    low, high = percent(interval.low - 1), percent(interval.high - 1)
    return f"{percent(interval.estimate - 1)} ({100 * interval.confidence:.0f} % interval {low} to {high})"


def _why(verdict: str, bounds: Bounds, *, is_alone: bool) -> str:
    if is_alone:
        return f"all of it lies beyond what is tolerated for this ratio alone, {percent(bounds.tolerance)}"
    if verdict == REGRESSION:
        return f"all of it lies beyond what is tolerated, {percent(bounds.tolerance)}, and so it does by the other yardstick"
    if verdict == INCONCLUSIVE:
        return (
            f"{percent(bounds.limit)} or more cannot be excluded, {percent(bounds.tolerance)} is tolerated; measure both again, when the "
            "machine is idle, or with more processes"
        )
    if verdict == IMPROVED:
        return "all of it lies below what counts as unchanged, and so it does by the other yardstick"
    assert verdict == PASS
    return f"{percent(bounds.tolerance)} is tolerated where both yardsticks show it"
