"""How often the gate is wrong: counted in real comparisons, and in suites recombined from all the stored sets of processes.

A recombined suite draws whole sets, so that what rows of one process share stays together. The same code ran in all three arms of a set, so
that each of them could have been the base: the arms are exchanged at random, and in other suites left as they ran. Every suite is then
judged by the very function that judges real ones, with as many fresh sets as it asks for. Recombined suites share their sets, and rows
their processes: only whole real comparisons are independent, so that they alone have bounds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlbench.gate import INCONCLUSIVE, REGRESSION
from mlbench.gate.paired import Effect, may_go_on, standing
from mlbench.gate.revisions.judge import effects_of, judge
from mlbench.measure.stats import binomial_bounds
from mlbench.results.comparison import Comparison, PairedPolicy

SUITES = 10_000
ROWS = 10_000
_SEED = 20261125
_CHANGES = {"slower": "latency", "bytes": "peak bytes", "allocation": "allocations"}
"""Plant to the quantity that it changes."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened.

    Attributes:
        found: times it did.
        trials: times it could have.
    """

    found: int
    trials: int

    @property
    def share(self) -> float:
        """Return found / trials, or NaN for no trials."""
        return self.found / self.trials if self.trials else math.nan

    @property
    def bounds(self) -> tuple[float, float]:
        """Exact 95 % bounds of the probability."""
        return binomial_bounds(self.found, self.trials) if self.trials else (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Rates:
    """What the gate said of comparisons of a version with itself.

    Attributes:
        red_suites: comparisons with a red row.
        open_suites: comparisons with an inconclusive row.
        red_rows: of all comparisons.
        open_rows: of all comparisons.
        spent_s: seconds that each comparison took.
    """

    red_suites: Rate
    open_suites: Rate
    red_rows: Rate
    open_rows: Rate
    spent_s: tuple[float, ...]


Numbers = npt.NDArray[np.float64]


def rates(comparisons: Sequence[Comparison]) -> Rates:
    """Count what the gate says of real comparisons of a version with itself."""
    verdicts = [[row.verdict for row in judge(each).rows] for each in comparisons]
    rows = [verdict for suite in verdicts for verdict in suite]
    bad = [any(verdict not in ("pass", "improved", "new", INCONCLUSIVE) for verdict in suite) for suite in verdicts]
    return Rates(
        Rate(sum(bad), len(verdicts)),
        Rate(sum(INCONCLUSIVE in suite for suite in verdicts), len(verdicts)),
        Rate(rows.count(REGRESSION), len(rows)),
        Rate(rows.count(INCONCLUSIVE), len(rows)),
        tuple(each.spent_s for each in comparisons),
    )


def planted_rates(comparisons: Sequence[Comparison]) -> dict[tuple[str, float], tuple[Rate, Rate]]:
    """Return what was planted (kind and size) to how often it was found, and how often that stayed open; and what nothing was planted in.

    A plant is found by the quantity that it changes. The key of rows without one is `("nothing", 0)`, and whatever is red in them counts.
    """
    found: Counter[tuple[str, float]] = Counter()
    left_open: Counter[tuple[str, float]] = Counter()
    trials: Counter[tuple[str, float]] = Counter()
    for comparison in comparisons:
        for row in judge(comparison).rows:
            (kind, size), *_ = comparison.plants.get(row.id, {"nothing": 0.0}).items()
            said = {row.verdict} if kind == "nothing" else {each.verdict for each in row.findings if each.quantity == _CHANGES[kind]}
            trials[kind, size] += 1
            found[kind, size] += REGRESSION in said
            left_open[kind, size] += INCONCLUSIVE in said
    return {key: (Rate(found[key], trials[key]), Rate(left_open[key], trials[key])) for key in sorted(trials)}


@dataclass(frozen=True, slots=True)
class Recombined:
    """What the gate says of recombined suites.

    Attributes:
        red_suites: with a red row.
        open_suites: with an inconclusive row.
        red_rows: of all suites.
        open_rows: of all suites.
        sets: stored sets of processes they were drawn from.
        exchanged: the arms of each set were exchanged at random.
    """

    red_suites: Rate
    open_suites: Rate
    red_rows: Rate
    open_rows: Rate
    sets: int
    exchanged: bool


def recombined(
    comparisons: Sequence[Comparison], policy: PairedPolicy, suites: int = SUITES, seed: int = _SEED, *, exchanged: bool = True
) -> Recombined:
    """Judge suites recombined from the sets of real comparisons of a version with itself.

    Args:
        comparisons: that are recombined.
        policy: of the gate.
        suites: how many.
        seed: of the draws.
        exchanged: exchange the arms of each set at random; without that, what always favours one arm stays and shows.

    Raises:
        ValueError: when too few whole sets are stored for one suite.
    """
    whole = whole_sets(comparisons)
    if len(whole) < policy.screen + policy.batch:
        raise ValueError(f"{len(whole)} whole sets are stored; a recombined suite draws {policy.screen + policy.batch} or more")
    rows = sorted(whole[0])
    table = np.array([[each[row] for row in rows] for each in whole])
    chance = np.random.default_rng(seed)
    red_suites = open_suites = red_rows = open_rows = 0
    for _ in range(suites):
        drawn = table[chance.permutation(len(whole))[: policy.most]]
        drawn = _exchanged(drawn, chance) if exchanged else drawn
        verdicts = [_verdict(drawn[:, place], policy) for place in range(len(rows))]
        red_rows += verdicts.count(REGRESSION)
        open_rows += verdicts.count(INCONCLUSIVE)
        red_suites += REGRESSION in verdicts
        open_suites += INCONCLUSIVE in verdicts
    every = suites * len(rows)
    counts = (Rate(red_suites, suites), Rate(open_suites, suites), Rate(red_rows, every), Rate(open_rows, every))
    return Recombined(*counts, len(whole), exchanged)


def recombined_power(
    comparisons: Sequence[Comparison], policy: PairedPolicy, fraction: float, rows: int = ROWS, seed: int = _SEED
) -> tuple[Rate, Rate]:
    """Return how often a slowdown added to recombined rows is found, and how often it stays open.

    Raises:
        ValueError: as `recombined`.
    """
    whole = whole_sets(comparisons)
    if len(whole) < policy.screen + policy.batch:
        raise ValueError(f"{len(whole)} whole sets are stored; a recombined row draws {policy.screen + policy.batch} or more")
    names = sorted(whole[0])
    table = np.array([[each[row] for row in names] for each in whole])
    chance = np.random.default_rng(seed)
    verdicts: Counter[str] = Counter()
    for number in range(rows):
        drawn = _exchanged(table[chance.permutation(len(whole))[: policy.most], number % len(names)][:, np.newaxis], chance)[:, 0]
        drawn[:, 1] += math.log1p(fraction)
        verdicts[_verdict(drawn, policy)] += 1
    return Rate(verdicts[REGRESSION], rows), Rate(verdicts[INCONCLUSIVE], rows)


def whole_sets(comparisons: Iterable[Comparison]) -> list[dict[str, tuple[float, float, float]]]:
    """Return row to what was found, for each set that measured every row of its suite, but for those that were skipped or failed."""
    found = []
    for comparison in comparisons:
        rows = set(comparison.rows) - {visit.id for visits in comparison.sets for visit in visits if not visit.is_whole}
        for visits in comparison.sets:
            whole = {visit.id: effects_of([visit])[0] for visit in visits if visit.is_whole}
            if rows and rows <= set(whole):
                found.append({row: (0.0, each.head, each.control) for row, each in whole.items() if row in rows})
    if found:
        found = [each for each in found if each.keys() == found[0].keys()]
    return found


def _exchanged(drawn: Numbers, chance: np.random.Generator) -> Numbers:
    """Return the sets with their arms exchanged at random, the same way in all rows of a set.

    Args:
        drawn: (sets, rows, 3).
        chance: exchanges.
    """
    orders = chance.permuted(np.tile(np.arange(3), (len(drawn), 1)), axis=1)
    moved: Numbers = np.take_along_axis(drawn, orders[:, np.newaxis, :], axis=2)
    return np.subtract(moved, moved[..., :1])


def _verdict(drawn: Numbers, policy: PairedPolicy) -> str:
    """Return what the gate says of one row after as many sets as it asks for.

    Args:
        drawn: (sets, 3).
        policy: of the gate.
    """
    effects = [Effect(head, control) for _, head, control in drawn.tolist()]
    sets = policy.screen
    while True:
        stand = standing(effects[:sets], policy)
        if stand.verdict != INCONCLUSIVE or sets + policy.batch > len(effects) or not may_go_on(sets, policy):
            return stand.verdict
        sets += policy.batch
