"""How much the tests try: samples that meet every pair of things by default, and everything with MLBENCH_TESTS=exhaustive."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import combinations
from typing import TypeVar

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


def tries(few: int, many: int) -> int:
    """Return how often something is tried: `few` times, or `many` where everything is."""
    return many if EXHAUSTIVE else few
