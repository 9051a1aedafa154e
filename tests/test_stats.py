"""Statistics against known answers, degenerate input, and a seeded simulation of what the intervals promise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mlbench.stats import (
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

BIAS = 0.025
"""Standard deviation of a process's own log bias: 2 to 3 % were measured (the design's table of spreads)."""
NOISE = 0.03
"""Standard deviation of the log ratio of a round within a process."""
EXPERIMENTS = 1000


def experiment(random: np.random.Generator, processes: int, rounds: int = 5, bias: float = BIAS) -> list[list[float]]:
    """Return made-up ratios whose true median is 1, with a bias for each process."""
    logs = random.normal(0, bias, (processes, 1)) + random.normal(0, NOISE, (processes, rounds))
    return [[float(value) for value in row] for row in np.exp(logs)]


def covered(processes: int, rounds: int) -> int:
    """Return how many of the experiments have the truth in their interval."""
    random = np.random.default_rng(processes)
    found = [ratio_interval(experiment(random, processes, rounds), seed=number) for number in range(EXPERIMENTS)]
    return sum(each.low <= 1 <= each.high for each in found)


def binomial(successes: range, trials: int, chance: float) -> float:
    """Return the exact probability that the number of successes is in the range."""
    return sum(math.comb(trials, count) * chance**count * (1 - chance) ** (trials - count) for count in successes)


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


def test_the_estimate_is_the_median_of_all_rounds() -> None:
    """Every round counts once, whatever process it comes from."""
    assert ratio_interval([[1.0, 2.0, 3.0, 4.0], [10.0]]).estimate == 3.0


def test_the_interval_of_two_extreme_processes_reaches_both() -> None:
    """Of two processes that disagree, a quarter of the resamples holds only one and a quarter only the other."""
    found = ratio_interval([[1.0] * 9, [2.0] * 9])
    assert (found.low, found.high) == (1.0, 2.0)


def test_a_ragged_process_is_resampled_from_its_own_rounds_only() -> None:
    """The padding of a shorter process never gets into a resample: nothing lies below the smallest ratio."""
    found = ratio_interval([[5.0], [5.0, 6.0, 7.0, 8.0, 9.0]], confidence=0.999)
    assert found.low >= 5.0
    assert found.high <= 9.0


def test_a_single_infinite_round_leaves_the_interval_finite() -> None:
    """One round in 75 whose reference took no measurable time does not spoil the median nor its interval."""
    ratios = [[1.0, 1.1, 1.2, 1.3, 1.4] * 3 for _ in range(5)]
    ratios[0][0] = math.inf
    found = ratio_interval(ratios)
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)


def test_the_same_seed_gives_the_same_interval() -> None:
    """Resampling is seeded: the same numbers always give the same answer."""
    ratios = experiment(np.random.default_rng(0), 5)
    assert ratio_interval(ratios) == ratio_interval(ratios)
    assert ratio_interval(ratios, seed=1) == ratio_interval(ratios, seed=1)


def test_another_seed_resamples_anew() -> None:
    """The seed reaches the resampling: limits differ by a little, and the estimate not at all."""
    ratios = experiment(np.random.default_rng(0), 2, rounds=100)
    found = [ratio_interval(ratios, seed=seed) for seed in range(8)]
    assert len({each.estimate for each in found}) == 1
    assert len({each.high for each in found}) > 1


def test_the_interval_widens_with_the_spread_between_processes() -> None:
    """The same rounds within each process, but processes farther apart: the interval grows at least as much as they do."""

    def width(apart: float) -> float:
        rounds = np.random.default_rng(3).normal(0, 0.01, (5, 15))
        found = ratio_interval([list(np.exp(row + apart * place)) for row, place in zip(rounds, (-2, -1, 0, 1, 2), strict=True)])
        return math.log(found.high / found.low)

    assert width(0.0) < width(0.02) < width(0.05)
    assert width(0.05) > 2 * 0.05


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


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resample 2,000 times instead of 10,000: the coverage is the same within a fraction of a per cent, in a fifth of the time."""
    monkeypatch.setattr("mlbench.stats.bootstrap.RESAMPLES", 2000)


@pytest.mark.parametrize(("processes", "rounds"), [(3, 15), (5, 15), (20, 5)], ids=["3-processes", "default-effort", "20-processes"])
def test_what_is_called_95_per_cent_covers_as_often(few_resamples: None, processes: int, rounds: int) -> None:
    """The interval holds the truth in 95 % of the runs or more, from three processes on.

    The band is exact: with a chance of 95 %, 1,000 experiments have fewer successes than this less than once in 1,000 times.
    """
    fewest = next(count for count in range(EXPERIMENTS) if binomial(range(count + 1), EXPERIMENTS, 0.95) > 1e-3)
    assert covered(processes, rounds) >= fewest


def test_the_interval_is_not_all_there_is(few_resamples: None) -> None:
    """It is no interval of everything: the default effort misses the truth sometimes, and knows 5 % from nothing."""
    random = np.random.default_rng(0)
    assert covered(5, 15) < EXPERIMENTS
    widths = [found.high / found.low for found in (ratio_interval(experiment(random, 5, 15)) for _ in range(100))]
    assert median(widths) < 1.12


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042)],
)
def test_student_quantile(freedom: int, expected: float) -> None:
    """The 97.5 % quantiles of Student's t, from Fisher and Yates, Statistical Tables, 1963, table III; 0.2 % off at most."""
    assert student_quantile(0.975, freedom) == pytest.approx(expected, rel=2e-3)


def test_one_process_hides_its_own_bias(few_resamples: None) -> None:
    """The interval of one process holds the truth in less than 80 % of runs, which is why an interval names its processes."""
    assert binomial(range(covered(1, 15) + 1), EXPERIMENTS, 0.8) < 1e-4


def test_geometric_mean_interval_of_one_cell_is_its_ratio_interval() -> None:
    """One cell is the ordinary case: the same resampling, the same answer."""
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
