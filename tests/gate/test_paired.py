"""The rule of the A/B on known effects: each verdict, its boundaries, and how often it is wrong in simulations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from mlbench.gate import IMPROVED, INCONCLUSIVE, PASS, REGRESSION
from mlbench.gate.paired import Effect, effect, may_go_on, standing
from mlbench.results.comparison import PairedPolicy

POLICY = PairedPolicy()
WAVE = (-0.003, 0.002, -0.001, 0.003, 0.001, -0.002, 0.0005, -0.0005)
"""A spread of 0.3 % around zero."""
EDGE = 1e-9


def effects(heads: Sequence[float], controls: Sequence[float] | None = None) -> list[Effect]:
    """Return sets from changes of the head, and of the control, as fractions."""
    controls = [0.0] * len(heads) if controls is None else controls
    return [Effect(math.log1p(head), math.log1p(control)) for head, control in zip(heads, controls, strict=True)]


def around(change: float, sets: int, spread: Sequence[float] = WAVE) -> list[float]:
    """Return so many changes around one."""
    return [change + spread[number % len(spread)] for number in range(sets)]


def verdict(heads: Sequence[float], controls: Sequence[float] | None = None, policy: PairedPolicy = POLICY) -> str:
    """Return the verdict of sets."""
    return standing(effects(heads, controls), policy).verdict


@pytest.mark.parametrize(
    ("change", "sets", "expected"),
    [
        (0.0, 8, PASS),
        (0.03, 8, PASS),
        (-0.10, 8, IMPROVED),
        (0.10, 8, INCONCLUSIVE),
        (0.10, 12, INCONCLUSIVE),
        (0.10, 16, REGRESSION),
        (0.05, 16, REGRESSION),
    ],
)
def test_each_verdict_on_a_known_change(change: float, sets: int, expected: str) -> None:
    """A small change passes and a gain is seen when screened; a slowdown stays open until eight fresh sets support 99 %."""
    assert verdict(around(change, sets)) == expected


@pytest.mark.parametrize(
    ("change", "expected"), [(POLICY.limit - EDGE, PASS), (POLICY.limit, INCONCLUSIVE), (POLICY.limit + EDGE, INCONCLUSIVE)]
)
def test_a_row_passes_below_the_limit(change: float, expected: str) -> None:
    """With zero spread the interval is the change, and it must end below the limit."""
    assert verdict([change] * 8) == expected


@pytest.mark.parametrize(("change", "expected"), [(0.02 + EDGE, REGRESSION), (0.02, PASS), (0.02 - EDGE, PASS)])
def test_a_row_is_red_above_the_tolerance(change: float, expected: str) -> None:
    """The fresh sets must lie wholly beyond the tolerance; at the tolerance they do not."""
    assert verdict([change] * 16) == expected


@pytest.mark.parametrize(("change", "expected"), [(-EDGE, IMPROVED), (EDGE, PASS)])
def test_a_gain_is_beyond_the_tolerance_too(change: float, expected: str) -> None:
    """Head must be faster by more than 1 / (1 + tolerance)."""
    assert verdict([1 / (1 + POLICY.tolerance) - 1 + change] * 8) == expected


def test_a_gain_within_the_noise_of_the_control_passes() -> None:
    """Where the base differs from itself by 15 %, 10 % faster is no gain."""
    assert verdict([-0.10] * 8, [0.15] * 8) == PASS


def test_fresh_sets_alone_decide_red() -> None:
    """The sets that raised the suspicion do not count against a row, however slow they were."""
    assert verdict([0.5] * 8 + [0.0] * 8) == INCONCLUSIVE
    assert verdict([0.0] * 8 + [0.1] * 8) != PASS
    assert standing(effects([0.5] * 8 + around(0.1, 8)), POLICY).verdict == REGRESSION


def test_red_needs_the_estimate_of_all_sets_too() -> None:
    """Fresh sets that are slow cannot turn a row red whose estimate over all sets is not."""
    assert verdict([0.0] * 30 + [0.1] * 8, policy=PairedPolicy(screen=30)) == INCONCLUSIVE


def test_the_noise_of_the_control_blocks_red() -> None:
    """Where the base differs from itself by as much, a slowdown is not sure; where it does not, it is."""
    assert verdict([0.10] * 16, [0.12] * 16) == INCONCLUSIVE
    assert verdict([0.10] * 16, [-0.12] * 16) == INCONCLUSIVE
    assert verdict([0.10] * 16, [0.08] * 16) == REGRESSION


@pytest.mark.parametrize(("sets", "counted", "fresh"), [(8, 8, 0), (11, 8, 0), (12, 12, 4), (15, 12, 4), (16, 16, 8)])
def test_no_look_between_batches(sets: int, counted: int, fresh: int) -> None:
    """Sets that do not fill a batch do not count yet."""
    found = standing(effects([0.1] * sets), POLICY)
    assert (found.sets, found.fresh) == (counted, fresh)


def test_one_odd_process_does_not_make_red() -> None:
    """A set that is off by 25 %, when screened or among the fresh ones, leaves the row green."""
    for place in (0, 9):
        heads = around(0.0, 16)
        heads[place] = 0.25
        assert verdict(heads) == PASS


def test_one_odd_process_does_not_hide_red() -> None:
    """A set that is off by -25 % among the screened ones does not hide a slowdown of 10 %."""
    assert verdict([-0.25, *around(0.1, 15)]) == REGRESSION


@pytest.mark.parametrize("sets", [1, 5])
def test_too_few_sets_stay_open(sets: int) -> None:
    """Their interval is infinite, and so is the noise; the rest of the screening is asked for."""
    found = standing(effects([0.0] * sets), POLICY)
    assert (found.verdict, found.noise, found.missing) == (INCONCLUSIVE, math.inf, POLICY.screen - sets)
    assert (found.change.low, found.change.high) == (0.0, math.inf)


@pytest.mark.parametrize(("sets", "expected", "missing"), [(7, INCONCLUSIVE, 1), (8, PASS, 0)])
def test_a_row_is_open_until_it_is_screened(sets: int, expected: str, missing: int) -> None:
    """Seven equal sets would settle it, and are not looked at: every look is a chance to be wrong."""
    found = standing(effects([0.0] * sets), POLICY)
    assert (found.verdict, found.missing) == (expected, missing)


def test_ratios_are_told_not_logarithms() -> None:
    """The change of a standing is head / base."""
    found = standing(effects([0.1] * 8, [0.01] * 8), POLICY)
    assert (found.change.low, found.change.estimate, found.change.high) == pytest.approx((1.1, 1.1, 1.1))
    assert found.noise == pytest.approx(0.01)


def test_wider_intervals_need_more_sets() -> None:
    """What would settle an open row grows with the square of its spread; one that is slower lacks the fresh sets that confirm it."""
    narrow, wide = (standing(effects(around(0.05, 8, [scale * each for each in WAVE])), POLICY).missing for scale in (1, 30))
    assert narrow == POLICY.least - 8
    assert wide > 5 * POLICY.batch


@pytest.mark.parametrize(
    ("policy", "least"),
    [(PairedPolicy(), 16), (PairedPolicy(screen=2), 10), (PairedPolicy(batch=3), 17), (PairedPolicy(red_confidence=0.5), 12)],
)
def test_the_least_sets_of_a_red_row(policy: PairedPolicy, least: int) -> None:
    """Whole batches of fresh sets, enough for the confidence: eight values support 99 %; with fewer no slowdown can be red."""
    assert policy.least == least
    fresh, batch = policy.least - policy.screen, policy.batch
    assert standing(effects([0.3] * policy.least), policy).verdict == REGRESSION
    assert standing(effects([0.3] * (policy.screen + fresh - batch)), policy).verdict == INCONCLUSIVE


def test_red_lies_beyond_the_noise_with_its_whole_interval() -> None:
    """An estimate beyond what the control shows is not enough."""
    heads = [0.06, 0.14] * 8
    assert standing(effects(heads, [0.02] * 16), POLICY).verdict == REGRESSION
    found = standing(effects(heads, [0.095] * 16), POLICY)
    assert found.change.estimate > 1 + found.noise > found.change.low
    assert found.verdict == INCONCLUSIVE


def test_a_settled_row_needs_nothing() -> None:
    """Only open rows are missing sets."""
    assert standing(effects([0.0] * 8), POLICY).missing == 0


@pytest.mark.parametrize(
    ("sets", "most", "expected"), [(7, 8, True), (8, 8, False), (8, 11, False), (8, 12, True), (12, 12, False), (44, 48, True)]
)
def test_only_whole_batches_are_begun(sets: int, most: int, expected: bool) -> None:
    """A screening goes to its end; a batch that would exceed the most sets is not begun."""
    assert may_go_on(sets, PairedPolicy(most=most)) is expected


def test_an_effect_is_the_median_of_the_rounds() -> None:
    """One odd round of three does not count."""
    found = effect([1.0, 1.0, 1.0], [1.1, 9.0, 1.1], [1.0, 1.0, 0.1])
    assert found.head == pytest.approx(math.log(1.1))
    assert found.control == 0.0


@pytest.mark.parametrize(("base", "head"), [([], []), ([0.0], [1.0]), ([1.0], [-1.0]), ([1.0], [1.0, 2.0])])
def test_impossible_times_are_refused(base: list[float], head: list[float]) -> None:
    """No rounds, times that are not positive, and rounds without a partner raise."""
    with pytest.raises(ValueError, match=r"positive|shorter|median|times"):
        effect(base, head, base)


def test_no_sets_are_refused() -> None:
    """A row that no set measured stands nowhere."""
    with pytest.raises(ValueError, match="one finite value or more"):
        standing([], POLICY)


def simulated(slower: float, rows: int, seed: int, spread: float = 0.017) -> Counter[str]:
    """Return the verdicts of rows whose sets spread by so much, and 3 % of whose processes have a bias of 10 to 25 %, on each arm alike."""
    chance = np.random.default_rng(seed)
    shape = (rows, POLICY.most, 3)
    bias = chance.normal(0, spread / math.sqrt(2), shape)
    bias += (chance.random(shape) < 0.015) * chance.uniform(0.10, 0.25, shape)
    found: Counter[str] = Counter()
    for row in bias:
        sets = [Effect(head - base + math.log1p(slower), control - base) for base, head, control in row.tolist()]
        taken = POLICY.screen
        while (stand := standing(sets[:taken], POLICY)).verdict == INCONCLUSIVE and may_go_on(taken, POLICY):
            taken += POLICY.batch
        found[stand.verdict] += 1
    return found


def test_false_alarms_are_rare() -> None:
    """Of 3000 rows in which nothing changed, at most two are red and 1 % open."""
    found = simulated(0.0, 3000, seed=1)
    assert found[REGRESSION] <= 2
    assert found[INCONCLUSIVE] <= 30


@pytest.mark.parametrize(("slower", "least"), [(0.05, 0.95), (0.10, 0.99)])
def test_a_slowdown_is_found(slower: float, least: float) -> None:
    """A slowdown of 5 % is found in 95 % of 400 rows, one of 10 % in 99 %."""
    assert simulated(slower, 400, seed=2)[REGRESSION] >= least * 400


def test_rows_whose_sets_spread_widely_are_settled_too() -> None:
    """Sets that spread by 6 %, as those of long calls on a busy machine: of 650 rows, as 25 suites have, none is open or red."""
    found = simulated(0.0, 650, seed=3, spread=0.06)
    assert found[REGRESSION] == found[INCONCLUSIVE] == 0


def test_a_slowdown_is_found_where_sets_spread_widely() -> None:
    """One of 5 % in nine of ten rows whose sets spread by 6 %."""
    found = simulated(0.05, 150, seed=3, spread=0.06)
    assert found[REGRESSION] >= 0.9 * 150
