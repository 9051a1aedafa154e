"""Doubts about many rows in few lines: what is said of several of them is said once, with how many they are."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_NAMED = 3
_WIDE = re.compile(r"(?P<ratio>\w+): the interval \S+ to \S+ is wide: (?P<rest>.*)")
_COLUMNS = {
    "speedup": "speed-up",
    "speedup_kept_heap": "kept heap",
    "floor_ratio": "floor ratio",
    "generated_floor_ratio": "floor ratio",
    "reference_ratio": "reference / this",
}
"""What the tables call a ratio."""


def doubt_lines(found: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each different doubt, with the rows that it is about.

    Args:
        found: name of a row and what is doubtful about it.

    >>> doubt_lines([("a", "speedup: the interval 1.0 to 2.0 is wide: busy"), ("b", "speedup: the interval 1.5 to 3.0 is wide: busy")])
    ['a, b: the interval of speed-up is wide: busy']
    """
    rows: dict[tuple[bool, str], dict[str, None]] = {}
    ratios: dict[tuple[bool, str], dict[str, None]] = {}
    for name, line in found:
        wide = _WIDE.fullmatch(line)
        key = (True, wide["rest"]) if wide else (False, line)
        rows.setdefault(key, {})[name] = None
        if wide:
            ratios.setdefault(key, {})[_COLUMNS.get(wide["ratio"], wide["ratio"])] = None
    return [
        f"{_some(list(names))}: {f'the interval of {_joined(ratios[key])} is wide: ' if key in ratios else ''}{key[1]}"
        for key, names in rows.items()
    ]


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _joined(names: Iterable[str]) -> str:
    return " and ".join(names)
