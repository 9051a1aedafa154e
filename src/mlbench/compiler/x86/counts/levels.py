"""The bytes that a call moves between the levels of memory, by a model of the caches: exact for the model, and without noise.

The model is simpler than a processor:

- Each level has sets of lines, and replaces the line of a set that was used longest ago. The set of a line is its number modulo the number
  of sets; the arrays lie as `mlbench.compiler.x86.counts.extents` says.
- A store reads its line first (write-allocate). A changed line goes to the next level when it is replaced (write-back). If the next level
  does not have it then, it is put there without reading it from beyond.
- A miss puts the line into every level on its way. A level that replaces a line leaves the other levels as they are: the caches are neither
  inclusive nor exclusive.
- An instruction that asks for a line in advance (prefetcht1) brings it into the second level, and not into the first. What it brings is
  counted apart.
- The processor asks for nothing in advance by itself. No other process and no other core takes part: all of a shared cache counts.
- The stack, the instructions, and the constants and tables between them are left out. A masked access touches a whole vector, as far as its
  array goes.

A call is counted that follows an equal one. `tests/compiler/test_levels.py` compares the counts with a plain simulation of what a processor
touches, step by step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.compiler.x86.caches import Caches
from mlbench.compiler.x86.counts.accesses import CHUNK, Entry, expanded, size_of
from mlbench.compiler.x86.counts.decoding import PREFETCH, READ, WRITE
from mlbench.compiler.x86.counts.extents import Bytes, Extents
from mlbench.compiler.x86.counts.lru import EMPTY, Cache, Content, Lines

MOST_ACCESSES = 1 << 26
"""Accesses of a call that are modelled: some ten seconds of work."""


@dataclass(frozen=True, slots=True)
class LevelBytes:
    """What a call moves between a level of memory and the one before it.

    Attributes:
        name: `L2`, `L3` or `memory`.
        read_bytes: of lines that a load or a store needed.
        prefetched_bytes: of lines that were asked for in advance.
        written_bytes: of changed lines that were replaced.
    """

    name: str
    read_bytes: int
    prefetched_bytes: int
    written_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Some accesses to lines, in their order.

    Attributes:
        lines: of each access.
        kinds: READ, WRITE or PREFETCH.
    """

    lines: Lines
    kinds: Bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A part of a call at a level.

    Attributes:
        onward: what goes to the next level.
        moved: lines that are read, prefetched and written there.
        content: of the level after it.
    """

    onward: Stream
    moved: tuple[int, int, int]
    content: Content


def moved_bytes(entries: Sequence[Entry], extents: Extents, caches: Caches) -> tuple[LevelBytes, ...]:
    """Return what the second of two equal calls moves from and to each level behind the first; nothing above MOST_ACCESSES.

    Args:
        entries: accesses of a call.
        extents: the arrays that they touch.
        caches: what is modelled.

    Raises:
        CountingError: where an access is in no array.
    """
    if size_of(entries) > MOST_ACCESSES:
        return ()
    size = caches.line_bytes
    levels = [(caches.l1d_bytes, caches.l1d_ways), (caches.l2_bytes, caches.l2_ways), (caches.l3_bytes, caches.l3_ways)]
    first, *others = (Cache(each // (ways * size), ways) for each, ways in levels if each)
    found = moved_lines(_Streams(entries, extents, size), first, others)
    names = (*("L2", "L3")[: len(others)], "memory")
    return tuple(LevelBytes(name, *(size * lines for lines in each)) for name, each in zip(names, found, strict=True))


def moved_lines(call: Iterable[Stream], first: Cache, others: Sequence[Cache]) -> list[tuple[int, int, int]]:
    """Return how many lines the second of two equal calls reads, prefetches and writes behind each level.

    Args:
        call: accesses, in parts; it can be gone through twice.
        first: the level of the core.
        others: those behind it, from the core outwards.
    """
    one = _call(first, call, EMPTY, is_first=True)
    two = _call(first, call, one[-1].content, one, is_first=True)
    moved = [_total(two)]
    for cache in others:
        ends = _ends(one)
        inputs, again = _joined(one, ends), _joined(two, ends)
        differ = [number for number, (a, b) in enumerate(zip(one, two, strict=True)) if a is not b]
        same_from = sum(end <= differ[-1] for end in ends) + 1 if differ else 0
        one = _call(cache, inputs, EMPTY)
        two = _call(cache, again, one[-1].content, one, same_from)
        moved.append(_total(two))
    return moved


def _call(
    cache: Cache, inputs: Iterable[Stream], content: Content, known: Sequence[_Part] = (), same_from: int = 0, *, is_first: bool = False
) -> list[_Part]:
    """Run a call at a level.

    Args:
        cache: the level.
        inputs: what comes to it, in parts.
        content: of the level before.
        known: the call before. Once the level holds what it held there, the rest of the call is the same.
        same_from: first of the parts from which on all are the same as in the call before.
        is_first: nothing is in front of the level.
    """
    parts: list[_Part] = []
    for stream in inputs:
        parts.append(_run(cache, content, stream, is_first=is_first))
        content = parts[-1].content
        if known and len(parts) >= same_from and content.equals(known[len(parts) - 1].content):
            return [*parts, *known[len(parts) :]]
    return parts


def _run(cache: Cache, content: Content, stream: Stream, *, is_first: bool) -> _Part:
    """Run accesses at a level; the first one lets pass what is asked for in advance, and writes lines that it has to read."""
    is_passing = (stream.kinds == PREFETCH) & is_first
    passing = np.flatnonzero(is_passing)
    mine = np.flatnonzero(~is_passing)
    if is_first:
        mine = mine[~cache.again(stream.lines[mine], stream.kinds[mine] == WRITE)]
    lines, kinds = stream.lines[mine], stream.kinds[mine]
    found = cache.run(content, lines, kinds == WRITE)
    fills = found.positions[(kinds[found.positions] != WRITE) | is_first]
    fill_kinds = np.where(kinds[fills] == PREFETCH, PREFETCH, READ).astype(np.uint8)
    backs = found.replaced[found.is_changed]
    order = np.argsort(np.concatenate([2 * mine[fills], 2 * mine[found.positions[found.is_changed]] + 1, 2 * passing]))
    onward = Stream(
        np.concatenate([lines[fills], backs, stream.lines[passing]])[order],
        np.concatenate([fill_kinds, np.full(len(backs), WRITE, np.uint8), np.full(len(passing), PREFETCH, np.uint8)])[order],
    )
    prefetched = int((fill_kinds == PREFETCH).sum())
    return _Part(onward, (len(fills) - prefetched, prefetched, len(backs)), found.content)


def _total(parts: Sequence[_Part]) -> tuple[int, int, int]:
    read, prefetched, written = (sum(each) for each in zip(*(part.moved for part in parts), strict=True))
    return read, prefetched, written


def _ends(parts: Sequence[_Part]) -> list[int]:
    """Return where to cut parts, so that about CHUNK accesses go to the next level at a time."""
    ends, size = [], 0
    for number, part in enumerate(parts):
        size += len(part.onward.lines)
        if size >= CHUNK or number + 1 == len(parts):
            ends.append(number + 1)
            size = 0
    return ends


def _joined(parts: Sequence[_Part], ends: Sequence[int]) -> Iterator[Stream]:
    """Give what goes to the next level, cut there."""
    for first, end in itertools.pairwise([0, *ends]):
        found = [part.onward for part in parts[first:end]]
        yield Stream(np.concatenate([each.lines for each in found]), np.concatenate([each.kinds for each in found]))


class _Streams:
    """The lines that accesses touch, made anew each time they are gone through; of an access that crosses the end of a line, both."""

    def __init__(self, entries: Sequence[Entry], extents: Extents, line_bytes: int) -> None:
        self._entries, self._extents, self._line_bytes = entries, extents, line_bytes

    def __iter__(self) -> Iterator[Stream]:
        for places, sizes, kinds in expanded(self._entries, self._extents):
            lines = (places // self._line_bytes).astype(np.int32)
            ends = ((places + (sizes - 1)) // self._line_bytes).astype(np.int32)
            crossing = np.flatnonzero(ends > lines)
            crossing = crossing[self._extents.is_line[ends[crossing]]]
            if len(crossing):
                yield Stream(np.insert(lines, crossing + 1, ends[crossing]), np.insert(kinds, crossing + 1, kinds[crossing]))
            else:
                yield Stream(lines, kinds)
