"""A plain simulation of caches, access by access, that knows nothing of the code that it judges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

READ, WRITE, PREFETCH = "read", "write", "prefetch"


@dataclass
class Level:
    """A level of memory that keeps lines for the levels before it; the last one, which has no sets, keeps all."""

    sets: int
    ways: int
    behind: Level | None
    moved: dict[str, int] = field(default_factory=lambda: dict.fromkeys((READ, PREFETCH, WRITE), 0))
    """Lines that went between this level and the one behind it."""
    held: dict[int, dict[int, bool]] = field(default_factory=dict)
    """Set to its lines, the one used longest ago first, each with whether it was changed."""

    def bring(self, line: int, what: str) -> None:
        """Have a line here, and use it: for a load, in advance, or to put a changed line here."""
        lines = self.held.setdefault(line % self.sets, {})
        was_changed = lines.pop(line, None)
        replaced = None
        if was_changed is None:
            if what != WRITE:
                self.moved[what] += 1
                if self.behind is not None:
                    self.behind.bring(line, what)
            if len(lines) == self.ways:
                oldest = next(iter(lines))
                replaced = oldest if lines.pop(oldest) else None
        lines[line] = bool(was_changed) or what == WRITE
        if replaced is not None:
            self.moved[WRITE] += 1
            if self.behind is not None:
                self.behind.bring(replaced, WRITE)

    def store(self, line: int) -> None:
        """Write to a line: read it, and change it."""
        self.bring(line, READ)
        self.held[line % self.sets][line] = True


def moved_lines(call: Sequence[tuple[int, str]], levels: Iterable[tuple[int, int]], times: int = 2) -> list[tuple[int, int, int]]:
    """Return what the last of some equal calls reads, prefetches and writes behind each level.

    Args:
        call: lines, and what is done with each.
        levels: sets and ways of each, from the core outwards.
        times: how many calls.
    """
    found: list[Level] = []
    for sets, ways in reversed(list(levels)):
        found.insert(0, Level(sets, ways, found[0] if found else None))
    for _ in range(times):
        for each in found:
            each.moved = dict.fromkeys(each.moved, 0)
        for line, what in call:
            if what == PREFETCH:
                found[1].bring(line, what)
            elif what == WRITE:
                found[0].store(line)
            else:
                found[0].bring(line, what)
    return [(each.moved[READ], each.moved[PREFETCH], each.moved[WRITE]) for each in found]
