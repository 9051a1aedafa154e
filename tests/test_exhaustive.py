"""The samples of the tests: few, and each pair of things in all four ways."""

from __future__ import annotations

import itertools

import pytest

from support.exhaustive import EXHAUSTIVE, rows, subsets


@pytest.mark.parametrize("number", [1, 2, 5, 13])
def test_each_pair_meets_in_all_four_ways(number: int) -> None:
    """Both there, both missing, and each without the other."""
    found = [set(each) for each in subsets(range(number))]
    for one, other in itertools.combinations(range(number), 2):
        assert {(one in each, other in each) for each in found} == set(itertools.product([True, False], repeat=2))


@pytest.mark.skipif(EXHAUSTIVE, reason="everything is tried")
def test_the_samples_are_few() -> None:
    """Of thirteen things there are 8192 subsets."""
    assert len(subsets(range(13))) < 40


@pytest.mark.parametrize("strength", [2, 3])
def test_any_values_of_some_axes_meet(strength: int) -> None:
    """Any two values of two axes are in one row, and any three of three where that is asked for."""
    axes = ("ab", range(5), range(3), range(4))
    found = {each for row in rows(*axes, strength=strength) for each in itertools.combinations(enumerate(row), strength)}
    assert found == {each for row in itertools.product(*axes) for each in itertools.combinations(enumerate(row), strength)}


@pytest.mark.skipif(EXHAUSTIVE, reason="everything is tried")
def test_rows_are_few() -> None:
    """Four axes of five values have 625 combinations, of which 25 are the least."""
    assert len(rows(*[range(5)] * 4)) <= 35
