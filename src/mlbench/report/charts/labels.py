"""Labels that tell rows apart: what is cut where it does not fit must not look like something else that is cut there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST = 32
"""Characters of a label that have room next to a chart."""
_CUT = "\u2026"


def row_labels(ids: Iterable[str], most: int = MOST) -> dict[str, str]:
    """Return a label for each row: a test's parameters, its name or its whole id, the shortest that tells all of them apart."""
    names = list(dict.fromkeys(ids))
    tests = [name.rpartition("::")[2] for name in names]
    parameters = [test.partition("[")[2].removesuffix("]") or test for test in tests]
    shortest = next((each for each in (parameters, tests) if len(set(each)) == len(names)), names)
    return dict(zip(names, _distinct(shortest, most), strict=True))


def labels(names: Iterable[str], most: int = MOST) -> dict[str, str]:
    """Return a label for each name, `most` characters long where it can be, so that no two are the same.

    >>> labels(["history/2026-01-02.json", "history/2026-01-03.json"], 12)
    {'history/2026-01-02.json': '…-01-02.json', 'history/2026-01-03.json': '…-01-03.json'}
    """
    every = list(dict.fromkeys(names))
    return dict(zip(every, _distinct(every, most), strict=True))


def told_apart(titles: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Return titles; of those that occur more than once each with its source, and with a number where that is the same too."""
    named = [title if titles.count(title) == 1 else f"{title} ({source})" for title, source in zip(titles, sources, strict=True)]
    return [title if named.count(title) == 1 else f"{title} #{1 + named[:place].count(title)}" for place, title in enumerate(named)]


def _distinct(names: Sequence[str], most: int) -> list[str]:
    """Return names cut to `most` characters, at the front or else in the middle, so that they differ; else with a number each."""
    for cut in (_without_front, _without_middle):
        short = [cut(name, most) for name in names]
        if len(set(short)) == len(names):
            return short
    return [f"{_without_middle(name, most - 5)} #{number}" for number, name in enumerate(names, start=1)]


def _without_front(name: str, most: int) -> str:
    return name if len(name) <= most else _CUT + name[-(most - 1) :]


def _without_middle(name: str, most: int) -> str:
    head = most // 2
    return name if len(name) <= most else name[:head] + _CUT + name[len(name) - (most - 1 - head) :]
