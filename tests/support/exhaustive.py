"""How much the tests try: samples that meet every pair of things by default, and everything with MLBENCH_TESTS=exhaustive."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations, product
from typing import Any, TypeVar

EXHAUSTIVE = os.environ.get("MLBENCH_TESTS") == "exhaustive"
"""Whether the tests try everything, as `tox run -e exhaustive` does."""
Item = TypeVar("Item")


def subsets(items: Sequence[Item]) -> list[tuple[Item, ...]]:
    """Return subsets, in the order of the items: all of them, or samples in which each pair of items meets in all four ways.

    The samples are those that have or lack at most one item, and for each binary digit the items whose number has that digit, and those
    whose number has it not: any two items differ in some digit, so that each is there without the other.
    """
    numbers = range(len(items))
    if EXHAUSTIVE:
        chosen = [frozenset(each) for size in range(len(items) + 1) for each in combinations(numbers, size)]
    else:
        few = [frozenset(each) for size in (0, 1) for each in combinations(numbers, size)]
        halves = [frozenset(number for number in numbers if number >> digit & 1) for digit in range(len(items).bit_length())]
        chosen = few + [frozenset(numbers) - each for each in few] + halves + [frozenset(numbers) - each for each in halves]
    return [tuple(items[number] for number in sorted(each)) for each in dict.fromkeys(chosen)]


def rows(*axes: Sequence[Any], strength: int = 2) -> list[tuple[Any, ...]]:
    """Return parameters of a test: all combinations of the axes' values, or some in which any two values of two axes meet.

    The next one is always the first of those that show most of what was not seen yet, so that they are the same every time.

    Args:
        axes: the values of each parameter.
        strength: how many axes' values meet in every way.
    """
    left = list(product(*(range(len(axis)) for axis in axes)))
    chosen = left if EXHAUSTIVE else []
    unseen = {part for row in left for part in combinations(enumerate(row), strength)}
    while unseen and not EXHAUSTIVE:
        best = max(left, key=lambda row: len(unseen.intersection(combinations(enumerate(row), strength))))
        chosen.append(best)
        unseen.difference_update(combinations(enumerate(best), strength))
    return [tuple(axis[place] for axis, place in zip(axes, row, strict=True)) for row in chosen]


def tries(few: int, many: int) -> int:
    """Return how often something is tried: `few` times, or `many` where everything is."""
    return many if EXHAUSTIVE else few
