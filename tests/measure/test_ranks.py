"""Signed ranks and exact binomial bounds: published tables and examples, degenerate input, and coverage in simulations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from mlbench.measure.stats import binomial_bounds, signed_rank_interval, signed_rank_quantile

TABLE = {6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 11: 10, 12: 13, 13: 17, 14: 21, 15: 25, 20: 52, 25: 89}
"""Two-sided 0.05: Wilcoxon and Wilcox, Some rapid approximate statistical procedures, 1964, table 2."""
BEFORE = (1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30)
AFTER = (0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29)
"""Hamilton depression scale factor IV of nine patients: Hollander and Wolfe, 1973, example 3.1."""
Generator = np.random.Generator
Numbers = npt.NDArray[np.float64]


@pytest.mark.parametrize(("count", "critical"), TABLE.items())
def test_critical_values_are_those_of_the_table(count: int, critical: int) -> None:
    """The largest rank sum that is rejected on each side at 2.5 %."""
    assert signed_rank_quantile(count, 0.025) == critical


@pytest.mark.parametrize(("count", "tail", "expected"), [(5, 0.025, -1), (1, 0.5, 0), (1, 0.49, -1), (2, 0.25, 0), (3, 1.0, 6)])
def test_the_quantile_at_its_edges(count: int, tail: float, expected: int) -> None:
    """Too few values reject nothing; a tail that is exactly reached counts; the whole distribution ends at the sum of all ranks."""
    assert signed_rank_quantile(count, tail) == expected


def test_the_depression_data_of_hollander_and_wolfe() -> None:
    """The estimate is -0.46 and the 96.1 % interval (-.786, -.010), the narrowest one of at least 95 %."""
    found = signed_rank_interval([after - before for before, after in zip(BEFORE, AFTER, strict=True)])
    assert found.estimate == pytest.approx(-0.46, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((-0.786, -0.010), abs=1e-9)
    assert (found.processes, found.rounds, found.confidence) == (9, 9, 0.95)


def test_the_interval_follows_shift_scale_and_sign() -> None:
    """Adding moves it, multiplying stretches it, and the negative values have it mirrored."""
    values = np.random.default_rng(1).standard_cauchy(12)
    found = signed_rank_interval(list(values))
    moved = signed_rank_interval(list(3 * values + 2))
    mirrored = signed_rank_interval(list(-values))
    assert (moved.low, moved.estimate, moved.high) == pytest.approx((3 * found.low + 2, 3 * found.estimate + 2, 3 * found.high + 2))
    assert (mirrored.low, mirrored.estimate, mirrored.high) == pytest.approx((-found.high, -found.estimate, -found.low))


def test_one_value_has_no_interval() -> None:
    """It is the estimate, and the interval is infinite."""
    found = signed_rank_interval([0.3])
    assert (found.estimate, found.low, found.high) == (0.3, -math.inf, math.inf)


@pytest.mark.parametrize(("count", "is_finite"), [(5, False), (6, True)])
def test_six_values_are_the_fewest_for_95_percent(count: int, is_finite: bool) -> None:
    """Five can be of one sign with a probability of 1/16, which is more than 5 %."""
    assert math.isfinite(signed_rank_interval([float(each) for each in range(count)]).low) is is_finite


@pytest.mark.parametrize(("count", "is_finite"), [(7, False), (8, True)])
def test_eight_values_are_the_fewest_for_99_percent(count: int, is_finite: bool) -> None:
    """Seven can be of one sign with a probability of 1/64, which is more than 1 %."""
    assert math.isfinite(signed_rank_interval([float(each) for each in range(count)], 0.99).high) is is_finite


@pytest.mark.parametrize("value", [0.0, 1.5, -2e-300])
def test_equal_values_have_an_interval_without_length(value: float) -> None:
    """Zero spread is no error: estimate and ends are the value."""
    found = signed_rank_interval([value] * 8)
    assert (found.low, found.estimate, found.high) == (value, value, value)


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf], [1.0, 2.0, -math.inf]], ids=["none", "nan", "inf", "-inf"])
def test_what_is_no_number_is_refused(values: list[float]) -> None:
    """No values, NaN and infinities raise, with the values in the message."""
    with pytest.raises(ValueError, match="one finite value or more"):
        signed_rank_interval(values)


def test_one_odd_value_does_not_move_the_interval_far() -> None:
    """However far one of twelve values lies, the interval stays within those of the others."""
    values = [0.1 * each for each in range(11)]
    assert signed_rank_interval([*values, 1e9]).high <= 1.0


@pytest.mark.parametrize(
    "draw",
    [
        lambda chance, count: chance.normal(size=count),
        lambda chance, count: chance.standard_cauchy(count),
        lambda chance, count: 0.017 * chance.normal(size=count) + (chance.random(count) < 0.03) * chance.choice((-0.2, 0.2), count),
    ],
    ids=["normal", "cauchy", "odd-processes"],
)
@pytest.mark.parametrize("count", [8, 12])
def test_the_interval_covers_as_often_as_it_says(draw: Callable[[Generator, int], Numbers], count: int) -> None:
    """In 2000 samples of a symmetric distribution, however heavy its tails, the centre lies outside as often as the exact level says."""
    chance = np.random.default_rng(20261125)
    outside = 0
    for _ in range(2000):
        found = signed_rank_interval(list(draw(chance, count)))
        outside += not found.low <= 0 <= found.high
    exact = {8: 10 / 256, 12: 2 * 87 / 4096}[count]
    low, high = binomial_bounds(outside, 2000, 0.999)
    assert low <= exact <= high


@pytest.mark.parametrize(
    ("found", "trials", "expected"),
    [
        (0, 20, (0.0, 0.16843)),
        (10, 100, (0.04900, 0.17622)),
        (20, 20, (0.83157, 1.0)),
        (1, 1, (0.025, 1.0)),
        (0, 1, (0.0, 0.975)),
        (3, 10_000, (0.0000618735, 0.00087647)),
    ],
)
def test_bounds_are_those_of_binom_test(found: int, trials: int, expected: tuple[float, float]) -> None:
    """What R's `binom.test(found, trials)$conf.int` gives."""
    assert binomial_bounds(found, trials) == pytest.approx(expected, abs=5e-6)


def test_bounds_of_many_trials() -> None:
    """A million trials overflow nothing, and the bounds stand on both sides of the share."""
    low, high = binomial_bounds(600, 1_000_000)
    assert low < 0.0006 < high
    assert high - low < 1e-4


def test_bounds_mirror() -> None:
    """What was not found has the mirrored bounds."""
    low, high = binomial_bounds(3, 20)
    assert binomial_bounds(17, 20) == pytest.approx((1 - high, 1 - low))


def test_more_confidence_is_wider() -> None:
    """99 % bounds hold the 95 % ones."""
    (low, high), (wide_low, wide_high) = binomial_bounds(5, 50), binomial_bounds(5, 50, 0.99)
    assert wide_low < low < high < wide_high


@pytest.mark.parametrize(("found", "trials"), [(0, 0), (2, 1), (-1, 5)])
def test_impossible_counts_are_refused(found: int, trials: int) -> None:
    """No trials, more found than tried, and less than none raise."""
    with pytest.raises(ValueError, match=f"{found} of {trials}"):
        binomial_bounds(found, trials)
