"""Which rows of a comparison get a slowdown or an allocation that the gate has to find.

Slowdowns are planted in several rows at once, so that a sitting yields enough of them; those that the targets speak of most often. A
planted slowdown of 5 % makes every turn of the head last 5 % longer than its own work took; a planted array is held while the target runs,
and a planted allocation is freed at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

FRACTIONS = (0.02, 0.03, 0.05, 0.10, 0.20)
PLANTED_BYTES = 4096
_SHARES = ((0.05, 8), (0.10, 6), (0.03, 3), (0.02, 3), (0.20, 2))
"""How many of 26 rows get which slowdown."""
_ROWS = 26


def plants(rows: Sequence[str], chance: random.Random) -> dict[str, dict[str, float]]:
    """Return row to what is planted in it; a few rows get nothing.

    Args:
        rows: of the suite.
        chance: chooses.

    Returns:
        `{"slower": fraction}`, `{"bytes": size}` for an array, or `{"allocation": size}`.
    """
    left = list(rows)
    chance.shuffle(left)
    found: dict[str, dict[str, float]] = {}
    memory: tuple[dict[str, float], ...] = ({"bytes": PLANTED_BYTES}, {"allocation": PLANTED_BYTES})
    for plant in memory:
        if len(left) > 1:
            found[left.pop()] = plant
    for fraction, share in _SHARES:
        for _ in range(max(1, round(share * len(rows) / _ROWS))):
            if len(left) > 1:
                found[left.pop()] = {"slower": fraction}
    return found
