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
    """Return subsets, in the order of the items: all of them, or those that have or lack at most two.

    Each pair of items then meets in all four ways: both there, both missing, and either alone, among few others and among most.
    """
    sizes = range(len(items) + 1)
    return [each for size in sizes if EXHAUSTIVE or min(size, len(items) - size) <= 2 for each in combinations(items, size)]


def tries(few: int, many: int) -> int:
    """Return how often something is tried: `few` times, or `many` where everything is."""
    return many if EXHAUSTIVE else few
