"""The policy: how much worse a quantity may become, and from where on doubt is said aloud.

A ratio of times is compared through its interval. It is red only where the whole interval lies beyond the tolerance. It is inconclusive
where the interval reaches beyond the limit: a change so large that it must not pass because the machine was too noisy to see it. Between
the two lies what passes: not shown to be worse than tolerated, shown to be better than the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlbench.gate.compatibility import ALIKE, OTHER, SAME
from mlbench.gate.verdict import IMPROVED, INCONCLUSIVE, PASS, REGRESSION
from mlbench.measure.stats import Interval

LATENCY, REFERENCE_RATIO = "latency", "reference ratio"
BASELINE_RATIO, PRODUCTS_RATIO = "baseline ratio", "products ratio"
"""Of a case: its time / the eager runner's, and / NumPy's bare products, in the same rounds, with a warm heap."""
PEAK, ALLOCATIONS = "peak bytes", "allocations"
PEAK_WITHOUT_COPIES = "peak bytes without weight copies"
INSTRUCTIONS, MOVED_BYTES = "instructions", "bytes loaded and stored"
"""Of generated code, in a call: counted, not measured."""
LEVEL_BYTES = {name: f"bytes of {name}" for name in ("L2", "L3", "memory")}
"""The same, of a level of memory: what is read, asked for in advance and written there."""
TEST = "test"

CONFIDENCE = 0.95
"""Two-sided, so that chance alone puts one row in forty beyond a tolerance, were its true change exactly that tolerance. Unchanged code
has the whole tolerance to spare: at a standard error of 2 % an estimate of +10 % is five of them away. With 99 % the intervals of five
processes are twice as wide (Student's t of 2 to 4 degrees of freedom), and the default sweep's runs had three inconclusive rows each."""
LEAST_SPREAD = 0.01
"""Between processes a ratio of two arms spreads by 0.3 to 4 % (standard deviation of the logarithm, medians of 15 rounds, five
processes). A few that happen to agree better than 1 % do not know it better; nor do they know it better than the median row of
their run, which is assumed at least."""
LONE_SPREAD = 0.05
"""Assumed for the ratio of a callable, which has one process: its own bias is 2 to 3 %, and twice that is what two of them may differ."""
LONE_LATENCY_SPREAD = 0.25
"""Assumed for the seconds of a callable, which has one process: 11 to 32 % between processes on a shared machine."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a ratio may grow.

    Attributes:
        tolerance: a growth to 1 + tolerance is tolerated.
        limit: a growth beyond 1 + limit must have been excluded.
    """

    tolerance: float
    limit: float


RATIO_BOUNDS = {SAME: Bounds(0.10, 0.25), ALIKE: Bounds(0.10, 0.25), OTHER: Bounds(1.5, 4.0)}
"""For the ratio of a callable to its reference, which has one process."""
YARDSTICK_BOUNDS = {SAME: Bounds(0.03, 0.25), ALIKE: Bounds(0.03, 0.25), OTHER: Bounds(3.0, 7.0)}
"""For the ratios of a case to its two yardsticks, where both agree. Generated code runs small batches two to three times as fast as NumPy's
calls, and kernels of BLAS differ by a factor of two; so another machine gets four times."""
ALONE_BOUNDS = {SAME: Bounds(0.15, 0.50), ALIKE: Bounds(0.15, 0.50), OTHER: Bounds(3.0, 7.0)}
"""For the ratio to the products where the eager runner does not agree, which may have become slower as well: what both runners use."""
MEAN_BOUNDS, MEAN_ALONE_BOUNDS = Bounds(0.02, 0.10), Bounds(0.05, 0.30)
"""For the mean of all rows of the compiled runner, on the same machine or one of its class."""
FEWEST_ROWS = 4
"""Of fewer rows no mean is judged."""
RUN_SPREAD, LEAST_RUN_SPREAD = 0.012, 0.005
"""Standard deviation between runs of the logarithm of a ratio of fastest rounds: assumed, and the least that is believed of a baseline of
several runs."""
MEAN_SPREAD = 0.008
"""The same for the mean of all rows."""
RUNS_THAT_SHOW_THEIR_SPREAD = 3
LUCK_SHARE = 0.5
"""Share of what a ratio of fastest rounds would change without the process that holds one of them, which counts as a standard deviation."""
LONE_LUCK = 0.10
"""Assumed of that change where there is one process."""
FREE_SHIFT, SHIFT_SHARE = 0.10, {BASELINE_RATIO: 0.5, PRODUCTS_RATIO: 0.25}
"""Where the yardstick's own fastest round moved by more than FREE_SHIFT between two runs, the machine was in another state: the interval
grows by this share of the rest on either side. Beside a process on the same core the products take 1.4 times as long and their ratio is 8 %
off; the eager runner takes 1.8 times as long and its ratio is 27 % off."""

LATENCY_BOUNDS = Bounds(1.0, 3.0)
"""For the seconds of a row that has no ratio, on the same machine alone. Two moments of a shared machine differ by 11 to 32 % in a process,
and a neighbour that takes half of a core doubles them; so twice the time is tolerated."""
BACKSTOP_BOUNDS = Bounds(2.0, math.inf)
"""For the seconds of a row whose ratio is compared: they only see what slows down the yardsticks as well. Beside a
process that kept the same core busy, seconds of unchanged code grew to three times in a row, with an interval from 1.8 times; no ratio was
red. Doubt about these seconds is not told, for the ratio guards the row."""

MEMORY_TOLERANCE, MEMORY_BYTES = 0.02, 1024
"""Where NumPy, memray or the plan differ: the eager runner's peak differs by some bytes between versions of NumPy."""
OTHER_PLAN_TOLERANCE = 2.5
"""Where the plan differs and BLAS does too, of which the rules for tiles and packing know: the same code held up to 1.8 times the bytes
with the kernels of another processor, and up to 3.1 times with those that mlbench cannot pack for."""
ALLOCATION_TOLERANCE, ALLOCATION_COUNT = 0.10, 1
"""Where NumPy, memray or the plan differ; none stays none."""


def decide(change: Interval, bounds: Bounds) -> str:
    """Return the verdict of a change whose growth is for the worse."""
    if change.low > 1 + bounds.tolerance:
        return REGRESSION
    if not change.high <= 1 + bounds.limit:
        return INCONCLUSIVE
    return IMPROVED if change.high < 1 / (1 + bounds.tolerance) else PASS


def least_bounds(tolerance: float, limit: float | None, default: Bounds) -> Bounds:
    """Return bounds of somebody's own; without a limit it stays as far above the tolerance as it was."""
    wider = (1 + tolerance) * (1 + default.limit) / (1 + default.tolerance) - 1
    return Bounds(tolerance, wider if limit is None else max(tolerance, limit))


def percent(growth: float) -> str:
    """Return a growth such as 0.123 as `+12.3 %`."""
    if not math.isfinite(growth):
        return "any amount"
    return f"{100 * growth:+.1f} %" if abs(growth) < 10 else f"{100 * growth:+,.0f} %"
