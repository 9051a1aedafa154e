"""Statistics against known answers, degenerate input, and a seeded simulation of what the intervals promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mlbench.measure.stats import (
    CONFIDENCE,
    Interval,
    fewest_values_for,
    geometric_mean,
    geometric_mean_interval,
    median,
    quantile,
    ratio_interval,
    student_quantile,
    tail_ratio,
    thinned,
)
from support.exhaustive import tries

BIAS = 0.025
"""Standard deviation of a process's own log bias: 2 to 3 % were measured (the design's table of spreads)."""
NOISE = 0.03
"""Standard deviation of the log ratio of a round within a process."""
EXPERIMENTS = tries(300, 1000)


def experiment(random: np.random.Generator, processes: int, rounds: int = 5, noise: float = NOISE) -> list[list[float]]:
    """Return made-up ratios whose true median is 1, with a bias for each process."""
    logs = random.normal(0, BIAS, (processes, 1)) + random.normal(0, noise, (processes, rounds))
    return [[float(value) for value in row] for row in np.exp(logs)]


def band(chance: float) -> range:
    """Return the numbers of successes that EXPERIMENTS have but once in 1,000 times on either side, exactly."""
    shares = [math.exp(math.lgamma(EXPERIMENTS + 1) - math.lgamma(count + 1) - math.lgamma(EXPERIMENTS - count + 1)
                       + count * math.log(chance) + (EXPERIMENTS - count) * math.log1p(-chance))
              for count in range(EXPERIMENTS + 1)]  # fmt: skip
    below = np.cumsum(shares)
    return range(int(np.searchsorted(below, 1e-3)), int(np.searchsorted(below, 1 - 1e-3)) + 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], 3.0), ([1.0, 9.0, 2.0], 2.0), ([4.0, 1.0, 3.0, 2.0], 2.5), ([1.0, math.inf, 2.0], 2.0)],
    ids=["one", "odd", "even", "infinite"],
)
def test_median(values: list[float], expected: float) -> None:
    """The median is the middle value, or the mean of the two in the middle; one infinite value does not move it far."""
    assert expected == median(values)


@pytest.mark.parametrize(
    ("q", "expected"),
    [(0.0, 15.0), (0.05, 16.0), (0.30, 23.0), (0.40, 29.0), (0.50, 35.0), (1.0, 50.0)],
    ids=lambda value: f"{value:g}",
)
def test_quantile_of_a_known_list(q: float, expected: float) -> None:
    """Definition 7 of Hyndman and Fan: position 1 + (n - 1) q, linear in between. By hand for 15, 20, 35, 40, 50."""
    assert expected == pytest.approx(quantile([50.0, 15.0, 40.0, 20.0, 35.0], q))


@pytest.mark.parametrize(("q", "expected"), [(0.99, 299), (0.95, 59), (0.5, 5), (0.999, 2995)], ids=["p99", "p95", "median", "p999"])
def test_fewest_values_for(q: float, expected: int) -> None:
    """Wilks (1941): 59 values for the 95th percentile with 95 % confidence, and 299 for the 99th."""
    assert expected == fewest_values_for(q)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99, 0.999])
def test_fewest_values_are_the_fewest(q: float) -> None:
    """With that many values one lies above the quantile with 95 % confidence; with one fewer it is less."""
    fewest = fewest_values_for(q)
    assert 1 - q**fewest >= CONFIDENCE > 1 - q ** (fewest - 1)


def test_tail_ratio_needs_enough_values() -> None:
    """298 values support no 99th percentile, 299 do."""
    assert tail_ratio([1.0] * 298) is None
    assert tail_ratio([1.0] * 299) == 1.0


def test_tail_ratio_is_the_quantile_over_the_median() -> None:
    """Of 0, 1, ..., 1000 the 99th percentile is 990 and the median 500."""
    assert tail_ratio([float(value) for value in range(1001)]) == pytest.approx(990 / 500)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [([2.0, 8.0], 4.0), ([1.0, 3.0, 9.0], 3.0), ([0.5, 2.0], 1.0), ([7.0], 7.0)],
    ids=["two", "three", "inverse", "one"],
)
def test_geometric_mean(ratios: list[float], expected: float) -> None:
    """The n-th root of the product: 4 for 2 and 8, and exactly 1 for a ratio and its inverse."""
    assert expected == pytest.approx(geometric_mean(ratios))


def test_geometric_mean_does_not_depend_on_the_direction() -> None:
    """The mean of the inverses is the inverse of the mean (Fleming and Wallace, 1986, rule 2)."""
    ratios = [0.8, 1.7, 3.1, 12.0]
    assert 1 / geometric_mean(ratios) == pytest.approx(geometric_mean([1 / ratio for ratio in ratios]))


@pytest.mark.parametrize(
    "refused",
    [
        lambda: median([]),
        lambda: quantile([], 0.5),
        lambda: quantile([1.0], 1.01),
        lambda: quantile([1.0], -0.01),
        lambda: geometric_mean([]),
        lambda: geometric_mean([1.0, 0.0]),
        lambda: geometric_mean([1.0, -1.0]),
        lambda: geometric_mean([1.0, math.nan]),
        lambda: ratio_interval([]),
        lambda: ratio_interval([[1.0], []]),
        lambda: ratio_interval([[1.0], [math.inf]]),
        lambda: ratio_interval([[1.0], [0.0]]),
        lambda: geometric_mean_interval([]),
        lambda: geometric_mean_interval([[]]),
    ],
    ids=[
        "median-empty",
        "quantile-empty",
        "quantile-above",
        "quantile-below",
        "mean-empty",
        "mean-zero",
        "mean-negative",
        "mean-nan",
        "interval-no-process",
        "interval-no-round",
        "interval-infinite",
        "interval-zero",
        "cells-empty",
        "cells-no-process",
    ],
)
def test_nothing_to_compute_is_an_error(refused: Callable[[], object]) -> None:
    """What has no answer raises ValueError and gives no number."""
    with pytest.raises(ValueError, match=r"."):
        refused()


@pytest.mark.parametrize(
    ("ratios", "processes", "rounds"),
    [([[1.5]], 1, 1), ([[1.5, 1.5, 1.5]], 1, 3), ([[1.5]] * 4, 4, 4), ([[1.5], [1.5, 1.5]], 2, 3)],
    ids=["one-round", "one-process", "one-round-each", "ragged"],
)
def test_equal_ratios_give_a_point(ratios: list[list[float]], processes: int, rounds: int) -> None:
    """Without any spread the interval is its estimate, and it says from how many processes and rounds."""
    assert Interval(1.5, 1.5, 1.5, 0.95, processes, rounds) == ratio_interval(ratios)


def test_the_estimate_is_the_geometric_mean_of_the_processes_medians() -> None:
    """Every process counts once, however many rounds it has."""
    assert ratio_interval([[1.0, 2.0, 3.0], [8.0]]).estimate == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("medians", "half"),
    [((0.0, 0.02), 12.7062 * 0.01), ((0.0, 0.01, 0.02), 4.3027 * 0.01 / 3**0.5), ((0.0, 0.0, 0.05, 0.1, 0.1), 2.7764 * 0.05 / 5**0.5)],
    ids=["two", "three", "five"],
)
def test_the_interval_is_students(medians: tuple[float, ...], half: float) -> None:
    """By hand: standard deviations 0.01 sqrt(2), 0.01 and 0.05, and the 97.5 % quantiles of Student's t (Fisher and Yates, table III)."""
    found = ratio_interval([[math.exp(value)] * 3 for value in medians])
    mean = sum(medians) / len(medians)
    expected = (math.exp(mean), math.exp(mean - half), math.exp(mean + half))
    assert (found.estimate, found.low, found.high) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("rounds", "ends"), [(5, (1.0, 5.0)), (6, (1.0, 6.0)), (9, (2.0, 8.0)), (15, (4.0, 12.0))])
def test_one_process_has_the_order_statistics_of_its_rounds(rounds: int, ends: tuple[float, float]) -> None:
    """By binomial tables: of 6, 9 and 15 values 0, 1 and 3 are left out at either end; five are too few for 95 % and keep all."""
    found = ratio_interval([[float(value) for value in range(1, rounds + 1)]])
    assert (found.low, found.high) == pytest.approx(ends)
    assert found.processes == 1


def test_processes_that_disagree_leave_numbers_for_ends() -> None:
    """Two processes a thousand times apart say nothing, in numbers that a file can hold."""
    found = ratio_interval([[1.0], [1000.0]])
    assert (found.low, found.high) == pytest.approx((1e-9, 1e9))


def test_a_single_infinite_round_leaves_the_interval_finite() -> None:
    """One round in 75 whose reference took no measurable time does not spoil the median nor its interval."""
    ratios = [[1.0, 1.1, 1.2, 1.3, 1.4] * 3 for _ in range(5)]
    ratios[0][0] = math.inf
    found = ratio_interval(ratios)
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)


def test_more_rounds_do_not_remove_the_bias_of_processes() -> None:
    """Twenty times the rounds in the same five biased processes leave an interval of at least half the width."""

    def width(rounds: int) -> float:
        random = np.random.default_rng(7)
        biases = random.normal(0, 0.05, (5, 1))
        found = ratio_interval([list(row) for row in np.exp(biases + random.normal(0, 0.01, (5, rounds)))])
        return found.high - found.low

    assert width(200) > width(10) / 2


def test_less_confidence_is_a_narrower_interval() -> None:
    """The 50 % interval lies inside the 95 % interval, and says which one it is."""
    ratios = experiment(np.random.default_rng(2), 5)
    wide, narrow = ratio_interval(ratios), ratio_interval(ratios, confidence=0.5)
    assert wide.low < narrow.low <= narrow.high < wide.high
    assert (wide.confidence, narrow.confidence) == (0.95, 0.5)


@pytest.mark.parametrize("noise", [0.005, 0.01])
@pytest.mark.parametrize("processes", [2, 3, 5])
def test_what_is_called_95_per_cent_covers_as_often(processes: int, noise: float) -> None:
    """With 2.5 % of bias the interval holds the truth in 95 % of the runs, neither less nor more, of two processes as of five.

    The band is exact: with a chance of 95 %, so many experiments have fewer or more successes than this once in 1,000 times each.
    """
    random = np.random.default_rng(processes)
    found = [ratio_interval(experiment(random, processes, 15, noise=noise)) for _ in range(EXPERIMENTS)]
    assert sum(each.low <= 1 <= each.high for each in found) in band(0.95)


@pytest.mark.parametrize("is_shared", [False, True], ids=["own-processes", "shared-processes"])
@pytest.mark.parametrize("processes", [2, 3, 5])
def test_the_interval_of_a_mean_covers_as_often(processes: int, *, is_shared: bool) -> None:
    """Whether each cell has processes of its own or one set goes through all of them, whose bias they share."""
    random = np.random.default_rng(processes)

    def runs() -> list[list[list[float]]]:
        bias = random.normal(0, BIAS, (processes, 1))
        own = [bias if is_shared else random.normal(0, BIAS, (processes, 1)) for _ in range(6)]
        return [np.exp(each + random.normal(0, 0.01, (processes, 15))).tolist() for each in own]

    found = [geometric_mean_interval(runs()) for _ in range(EXPERIMENTS)]
    assert sum(each.low <= 1 <= each.high for each in found) in band(0.95)


def test_five_processes_know_ten_per_cent_from_nothing() -> None:
    """The interval of the default effort is 6 % wide in the median."""
    random = np.random.default_rng(0)
    widths = [found.high / found.low for found in (ratio_interval(experiment(random, 5, 15)) for _ in range(100))]
    assert median(widths) < 1.08


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042)],
)
def test_student_quantile(freedom: int, expected: float) -> None:
    """The 97.5 % quantiles of Student's t, from Fisher and Yates, Statistical Tables, 1963, table III; 0.2 % off at most."""
    assert student_quantile(0.975, freedom) == pytest.approx(expected, rel=2e-3)


def test_one_process_hides_its_own_bias() -> None:
    """The interval of one process holds the truth in less than 80 % of runs, which is why an interval names its processes."""
    random = np.random.default_rng(1)
    found = [ratio_interval(experiment(random, 1, 15)) for _ in range(EXPERIMENTS)]
    assert sum(each.low <= 1 <= each.high for each in found) < band(0.8).start


def test_geometric_mean_interval_of_one_cell_is_its_ratio_interval() -> None:
    """One cell is the ordinary case: the same sets, the same answer."""
    cell = experiment(np.random.default_rng(4), 5)
    found, expected = geometric_mean_interval([cell]), ratio_interval(cell)
    numbers = (found.estimate, found.low, found.high)
    assert (expected.estimate, expected.low, expected.high) == pytest.approx(numbers, rel=1e-9)
    assert (found.processes, found.rounds) == (5, 25)


def test_geometric_mean_interval_of_cells_without_spread() -> None:
    """Cells of 2x and 8x have the mean 4x, without any doubt where nothing varies; the fewest processes of a cell are named."""
    found = geometric_mean_interval([[[2.0], [2.0]], [[8.0], [8.0], [8.0]]])
    assert (found.estimate, found.low, found.high) == pytest.approx((4.0, 4.0, 4.0))
    assert (found.confidence, found.processes, found.rounds) == (0.95, 2, 5)


def test_geometric_mean_interval_is_that_of_the_sets() -> None:
    """Where a set of processes goes through all cells it is Student's interval over the sets' own geometric means."""
    cells = [[[1.0], [1.1], [1.3]], [[2.0], [2.1], [2.4]]]
    sets = [[geometric_mean([one[0], other[0]])] for one, other in zip(*cells, strict=True)]
    found, expected = geometric_mean_interval(cells), ratio_interval(sets)
    assert (found.estimate, found.low, found.high) == pytest.approx((expected.estimate, expected.low, expected.high))


def test_a_cell_that_lacks_a_process_counts_with_the_others() -> None:
    """Its own mean is of the processes it has, and the fewest of a cell are named."""
    found = geometric_mean_interval([[[2.0], [2.0], [2.0]], [[8.0], [], [8.0]]])
    assert (found.estimate, found.low, found.high) == pytest.approx((4.0, 4.0, 4.0))
    assert found.processes == 2


def test_geometric_mean_interval_of_single_processes() -> None:
    """Four cells of one process have the mean's interval half as wide as each cell's own, and say that it is of one process."""
    cell = [[float(value) for value in np.exp(np.linspace(-0.1, 0.1, 15))]]
    one, four = geometric_mean_interval([cell]), geometric_mean_interval([cell] * 4)
    assert math.log(four.high / four.low) == pytest.approx(math.log(one.high / one.low) / 2)
    assert four.processes == 1


def test_geometric_mean_interval_narrows_with_cells() -> None:
    """Sixteen cells with independent processes bound their mean more closely than one."""
    random = np.random.default_rng(5)
    cells = [experiment(random, 5) for _ in range(16)]
    one, many = geometric_mean_interval(cells[:1]), geometric_mean_interval(cells)
    assert many.high - many.low < (one.high - one.low) / 2


@pytest.mark.parametrize(
    ("values", "most", "expected"),
    [
        ([1, 2, 3], 4, [1.0, 2.0, 3.0]),
        ([1, 2, 3], 3, [1.0, 2.0, 3.0]),
        ([0, 1, 2, 3, 4, 5], 3, [0.0, 2.0, 5.0]),
        ([0, 1, 2, 3], 2, [0.0, 3.0]),
        ([4, 5, 6], 1, [4.0]),
        ([], 2, []),
    ],
    ids=["fewer", "as-many", "more", "ends", "first", "none"],
)
def test_thinned(values: Sequence[float], most: int, expected: list[float]) -> None:
    """At most so many are kept, evenly spaced, in order, the first and the last among them."""
    assert expected == thinned(values, most)


def test_thinned_keeps_no_value_twice() -> None:
    """One value too many loses exactly one."""
    values = [float(value) for value in range(21)]
    kept = thinned(values, 20)
    assert len(set(kept)) == 20
    assert kept == sorted(kept)
