"""The interval of a change between two runs, on known answers, degenerate input, and in simulations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from mlbench.measure.stats import change_interval, spread, student_quantile

BEFORE, AFTER = (10.0, 11.0, 12.0, 9.0), (20.0, 24.0, 19.0)


@pytest.mark.parametrize(
    ("p", "freedom", "expected"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 3, 3.182),
        (0.975, 10, 2.228),
        (0.999, 4, 7.173),
        (0.9995, 3, 12.924),
        (0.95, 120, 1.658),
    ],
)
def test_student_quantiles(p: float, freedom: int, expected: float) -> None:
    """Student's t as the tables have it: Abramowitz and Stegun, 1964, table 26.10."""
    assert student_quantile(p, freedom) == pytest.approx(expected, abs=6e-4)


def test_the_middle_of_student_is_zero() -> None:
    """Half of the distribution lies below 0."""
    assert student_quantile(0.5, 7) == pytest.approx(0, abs=1e-12)


def test_few_processes_are_compared_by_welch() -> None:
    """Of fewer than five nothing is trimmed: the difference of means, Welch's standard error, Satterthwaite's degrees rounded down."""
    one, other = np.log(BEFORE), np.log(AFTER)
    parts = one.var(ddof=1) / 4, other.var(ddof=1) / 3
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)
    half = student_quantile(0.975, int(freedom)) * math.sqrt(sum(parts))
    found = change_interval(BEFORE, AFTER)
    assert found.estimate == pytest.approx(math.exp(other.mean() - one.mean()))
    assert (found.low, found.high) == pytest.approx((found.estimate * math.exp(-half), found.estimate * math.exp(half)))
    assert (found.processes, found.rounds) == (3, 7)


def test_five_processes_are_trimmed_as_yuen_does() -> None:
    """Mean of the middle three; variance of the winsorized five, (n - 1) s^2 / (h (h - 1)) with h = 3 (Yuen, 1974)."""
    logs = np.array([0.0, 0.1, 0.2, 0.3, 5.0])
    found = change_interval(np.exp(logs), np.exp(logs))
    winsorized = np.array([0.1, 0.1, 0.2, 0.3, 0.3])
    half = student_quantile(0.975, 4) * math.sqrt(2 * 4 * winsorized.var(ddof=1) / 6)
    assert found.estimate == pytest.approx(1)
    assert math.log(found.high) == pytest.approx(half)


def test_one_spoilt_process_of_five_changes_nothing() -> None:
    """A process that a neighbour made ten times slower moves neither the estimate nor the width by much."""
    clean, spoilt = (1.0, 1.01, 0.99, 1.005, 0.995), (1.0, 1.01, 0.99, 1.005, 10.0)
    assert change_interval(clean, spoilt).high < 1.05
    assert change_interval(clean[:4], spoilt[1:]).high > 10


def test_one_process_knows_no_spread() -> None:
    """Without a spread to assume the interval is infinitely wide, on either side."""
    for sides in (((1.0,), (2.0, 2.1)), ((1.0, 1.1), (2.0,)), ((1.0,), (2.0,))):
        found = change_interval(*sides)
        assert (found.low, found.high) == (0.0, math.inf)


def test_one_process_with_a_spread_that_is_assumed() -> None:
    """Two single processes with an assumed spread are compared by the normal distribution: 1.96 sqrt(2) 0.05 to either side."""
    found = change_interval((1.0,), (2.0,), lone_spread=0.05)
    assert math.log(found.high / 2) == pytest.approx(1.959964 * math.sqrt(2) * 0.05)


def test_no_spread_is_no_certainty() -> None:
    """Processes that agree to the last digit tell of a coarse clock: infinitely wide, unless a least spread is given."""
    assert change_interval((1.0, 1.0), (2.0, 2.0)).high == math.inf
    assert change_interval((1.0, 1.0, 1.0), (2.0, 2.0, 2.0), least_spread=0.01).high == pytest.approx(
        2 * math.exp(2.776445 * 0.01 * math.sqrt(2 / 3))
    )


def test_a_huge_spread_is_an_infinite_interval() -> None:
    """Where the ends are no numbers any more they are 0 and infinity, not an overflow."""
    found = change_interval((1e-300, 1e300), (1e-300, 1e300))
    assert (found.low, found.high) == (0.0, math.inf)


@pytest.mark.parametrize(
    "broken", [(), (math.nan, 1.0), (math.inf, 1.0), (0.0, 1.0), (-1.0, 1.0)], ids=["none", "nan", "inf", "zero", "minus"]
)
def test_what_is_no_positive_number_is_refused(broken: Sequence[float]) -> None:
    """On either side, with what was found."""
    for sides in ((broken, (1.0, 2.0)), ((1.0, 2.0), broken)):
        with pytest.raises(ValueError, match="needs positive, finite numbers"):
            change_interval(*sides)
    with pytest.raises(ValueError, match="needs positive, finite numbers"):
        spread(broken)


def test_spread_leaves_out_what_lies_outside() -> None:
    """The standard deviation of the logarithms, with the outer fifths moved in."""
    assert spread([math.exp(log) for log in (0.0, 0.1, 0.2)]) == pytest.approx(0.1)
    assert spread([math.exp(log) for log in (-9.0, 0.1, 0.2, 0.3, 9.0)]) == pytest.approx(np.std([0.1, 0.1, 0.2, 0.3, 0.3], ddof=1))


@pytest.mark.parametrize("processes", [3, 5, 8])
def test_coverage_of_the_interval(processes: int) -> None:
    """Over 2,000 simulated pairs of runs the 95 % interval misses the truth in 2 to 7 % of them, on one side as often as on the other."""
    random = np.random.default_rng(7)
    runs = np.exp(random.normal(0, 0.03, (2000, 2, processes)))
    found = [change_interval(one, other) for one, other in runs]
    above, below = sum(each.low > 1 for each in found), sum(each.high < 1 for each in found)
    assert 40 <= above + below <= 140
    assert abs(above - below) < 40
