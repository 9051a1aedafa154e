"""A set-associative cache that replaces the line of a set that was used longest ago, simulated for many accesses at once.

The accesses are sorted by sets. An access is a hit at depth d of its set's stack if the line there is its own. What was at depth d - 1
before an access that comes from deeper is at depth d after it (Mattson and others, "Evaluation techniques for storage hierarchies", IBM
Systems Journal 9(2), 1970). So one pass for each way finds all hits, over the accesses that no pass before has found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WINDOW = 16
"""Accesses back in which `again` looks: some turns of the loops that products are made of."""
Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
Lines = npt.NDArray[np.int32]
_NOBODY = np.iinfo(np.int32).min
"""A line that no access has."""


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a cache holds.

    Attributes:
        lines: sorted by sets, and in each from the one used longest ago to the last one.
        changed: which of them were written since they came.
    """

    lines: Lines
    changed: Flags

    def equals(self, other: Content) -> bool:
        """Whether another one is the same."""
        return np.array_equal(self.lines, other.lines) and np.array_equal(self.changed, other.changed)


EMPTY = Content(np.zeros(0, np.int32), np.zeros(0, np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class Misses:
    """What some accesses come to.

    Attributes:
        positions: of those that miss, ascending.
        replaced: for each the line that it replaces.
        is_changed: for each whether it replaces a line, which was written since it came.
        content: of the cache after them.
    """

    positions: Positions
    replaced: Lines
    is_changed: Flags
    content: Content


@dataclass(frozen=True, slots=True)
class Cache:
    """A level.

    Attributes:
        sets: how many.
        ways: lines of a set.
    """

    sets: int
    ways: int

    def run(self, content: Content, lines: Lines, writes: Flags) -> Misses:
        """Run some accesses.

        Args:
            content: before them.
            lines: that they touch.
            writes: which of them write.
        """
        held = len(content.lines)
        end = held + len(lines)
        lines = np.concatenate([content.lines, lines])
        sets = self.set_of(lines)
        used = np.flatnonzero(np.bincount(sets, minlength=self.sets)).astype(sets.dtype)
        # Behind them come lines that nobody has, as many as replace all: the lines that these replace are the content.
        sets = np.concatenate([sets, np.repeat(used, self.ways)])
        lines = np.concatenate([lines, -1 - np.arange(len(sets) - end, dtype=np.int32)])
        order = np.argsort(sets, kind="stable")
        lines = lines[order]
        at, missed, replaced = self._missed(lines)
        replaced[(replaced < 0) | (self.set_of(replaced) != sets[order[at]])] = _NOBODY
        changed = np.zeros(len(lines), np.bool_)
        changed[:end] = np.concatenate([content.changed, writes])
        is_changed = _changed(lines, np.flatnonzero(changed[order]), at, missed, replaced)
        position = order[at]
        is_last = (replaced >= 0) & (position >= end)
        real = np.flatnonzero((position >= held) & (position < end))
        real = real[np.argsort(position[real])]
        return Misses(position[real] - held, replaced[real], is_changed[real], Content(replaced[is_last], is_changed[is_last]))

    def set_of(self, lines: Lines) -> npt.NDArray[np.integer]:
        """Return the sets of lines, as numbers of so few bits as they need; few bits are sorted fast."""
        kind = np.uint8 if self.sets <= 1 << 8 else np.uint16 if self.sets <= 1 << 16 else np.int32
        if self.sets & (self.sets - 1):
            return (lines % self.sets).astype(kind)
        return (lines & (self.sets - 1)).astype(kind)

    def _missed(self, lines: Lines) -> tuple[Positions, Lines, Lines]:
        """Return which of the lines, sorted by sets, miss; the lines again; and what each replaces, which may be of another set."""
        at = np.flatnonzero(lines != _before(lines))
        lines = lines[at]
        there = _before(lines)
        for _ in range(1, self.ways):
            there = _before(there)
            is_miss = there != lines
            at, lines, there = at[is_miss], lines[is_miss], there[is_miss]
        return at, lines, there

    def again(self, lines: Lines, writes: Flags) -> Flags:
        """Return which accesses only read the line that was used last in their set, and not long ago: without them nothing changes."""
        sets = self.set_of(lines)
        is_open = ~writes
        found = np.zeros(len(lines), np.bool_)
        for back in range(1, min(WINDOW, len(lines) - 1) + 1):
            is_same = (sets[back:] == sets[:-back]) & is_open[back:]
            at = np.flatnonzero(is_same) + back
            found[at] = lines[at] == lines[at - back]
            is_open[at] = False
        return found


def _before(numbers: Lines) -> Lines:
    """Return the number before each; of the first one, whose set holds nothing yet, a line that no access has."""
    found = np.empty_like(numbers)
    found[1:] = numbers[:-1]
    found[:1] = _NOBODY
    return found


def _changed(lines: Lines, writes: Positions, at: Positions, missed: Lines, replaced: Lines) -> Flags:
    """Return for each miss whether the line that it replaces was written since its own miss.

    Args:
        lines: sorted by sets.
        writes: positions of accesses that write.
        at: positions of misses.
        missed: their lines.
        replaced: lines that they replace; below 0 for none.
    """
    found = np.zeros(len(at), np.bool_)
    if not len(writes):
        return found
    count = len(lines)
    is_written = np.zeros(max(int(lines.max()), 0) + 1, np.bool_)
    is_written[lines[writes]] = True
    own = np.flatnonzero((missed >= 0) & is_written[np.maximum(missed, 0)])
    stays = np.sort(missed[own].astype(np.int64) * count + at[own])  # each begins with a miss, and ends where the line is replaced
    is_changed = np.zeros(len(stays), np.bool_)
    is_changed[np.searchsorted(stays, lines[writes].astype(np.int64) * count + writes, "right") - 1] = True
    which = np.flatnonzero((replaced >= 0) & is_written[np.maximum(replaced, 0)])
    found[which] = is_changed[np.searchsorted(stays, replaced[which].astype(np.int64) * count + at[which]) - 1]
    return found
