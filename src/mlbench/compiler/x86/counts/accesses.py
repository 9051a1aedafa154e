"""The accesses to memory that machine code makes, in their order, kept as the loops that make them and not one by one.

An entry is a piece of code without a jump, with the registers that its addresses are made of. Turns of a loop that are alike become one
entry with their number, and the distance that each register moves from turn to turn. `expanded` makes arrays of entries.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias, Union

import numpy as np

from mlbench.compiler.x86.counts.decoding import PREFETCH, READ, Decoded
from mlbench.compiler.x86.counts.extents import Bytes, Extents, Numbers

CHUNK = 1 << 18
"""Accesses that are expanded at a time, so that they stay in the caches while they are worked on."""
_SIGN, _MASK = 1 << 63, (1 << 64) - 1


class Piece:
    """Accesses of a piece of code without a jump, in their order.

    Args:
        touching: instructions that touch memory.

    Attributes:
        registers: that the addresses are made of.
        sizes: bytes of each access; a masked one counts as a whole vector.
        kinds: READ, WRITE or PREFETCH of each.
        first_read: which of them reads first; None where none does. What is asked for in advance is taken to be of the same array, or to
            go on behind its end, whatever really lies there.
    """

    def __init__(self, touching: Sequence[Decoded]) -> None:
        self._places = [each.touched for each in touching if each.touched is not None]
        names = (name for place in self._places for name in (place.base, place.index) if name)
        self.registers = tuple(dict.fromkeys(names))
        self.sizes = np.array([place.size_bytes for place in self._places], np.uint8)
        self.kinds = np.array([each.touches for each in touching], np.uint8)
        self.first_read = next((number for number, kind in enumerate(self.kinds) if kind == READ), None)

    @cached_property
    def shifts(self) -> Numbers:
        """What each address has beside registers: (accesses,)."""
        return np.array([place.number for place in self._places], np.int64)

    @cached_property
    def factors(self) -> Numbers:
        """How often each register is in each address: (registers, accesses)."""
        found = np.zeros((len(self.registers), len(self._places)), np.int64)
        for column, place in enumerate(self._places):
            found[self.registers.index(place.base), column] += 1
            if place.index:
                found[self.registers.index(place.index), column] += place.scale
        return found


@dataclass(frozen=True, slots=True)
class Visit:
    """A piece that was executed once.

    Attributes:
        piece: it.
        words: its registers, as numbers with a sign.
    """

    piece: Piece
    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Turns:
    """Turns of a loop that are alike.

    Attributes:
        entries: of the first of them.
        times: how many there are.
        steps: for each register of each visit inside, one behind the other, by how much it moves from turn to turn.
        size: accesses of all turns.
    """

    entries: tuple[Entry, ...]
    times: int
    steps: tuple[int, ...]
    size: int


Entry: TypeAlias = Union[Visit, Turns]  # noqa: UP007  # names that are not there yet


def piece_of(instructions: Sequence[Decoded]) -> Piece | None:
    """Return the accesses of instructions without a jump, or None where there are none."""
    touching = [each for each in instructions if each.touched is not None]
    return Piece(touching) if touching else None


def size_of(entries: Sequence[Entry]) -> int:
    """Return how many accesses there are."""
    return sum(len(each.piece.sizes) if isinstance(each, Visit) else each.size for each in entries)


def further_turns(turns: Sequence[Sequence[Entry]], times: int) -> Turns | None:
    """Return the turns that follow some that are alike, or None where the entries of these are not.

    Args:
        turns: entries of the last turns, two or more.
        times: how many follow.
    """
    if any(_form(each) != _form(turns[0]) for each in turns[1:]):
        return None
    words = [_words(each) for each in turns]
    steps = [tuple(_signed(b - a) for a, b in zip(*each, strict=True)) for each in itertools.pairwise(words)]
    if any(each != steps[0] for each in steps):
        return None
    entries, _ = _moved(turns[-1], steps[0], 0)
    return Turns(entries, times, steps[0], times * size_of(entries))


def _signed(number: int) -> int:
    return ((number + _SIGN) & _MASK) - _SIGN


def _words(entries: Sequence[Entry]) -> list[int]:
    """Return the registers of all visits; of turns those of the first one."""
    found: list[int] = []
    for each in entries:
        found += each.words if isinstance(each, Visit) else _words(each.entries)
    return found


def _form(entries: Sequence[Entry]) -> list[object]:
    """Return all of entries but their registers."""
    return [each.piece if isinstance(each, Visit) else (each.times, each.steps, _form(each.entries)) for each in entries]


def _moved(entries: Sequence[Entry], steps: Sequence[int], at: int) -> tuple[tuple[Entry, ...], int]:
    """Return entries whose registers have moved by steps, from the one at `at` on, and where the steps of what follows begin."""
    found: list[Entry] = []
    for each in entries:
        if isinstance(each, Visit):
            end = at + len(each.words)
            found.append(Visit(each.piece, tuple(_signed(a + b) for a, b in zip(each.words, steps[at:end], strict=True))))
            at = end
        else:
            inner, at = _moved(each.entries, steps, at)
            found.append(Turns(inner, each.times, each.steps, each.size))
    return tuple(found), at


def expanded(entries: Sequence[Entry], extents: Extents) -> Iterator[tuple[Numbers, Bytes, Bytes]]:
    """Give places, bytes and kinds of accesses in their order, about CHUNK at a time; `extents` says what places are."""
    waiting: list[Entry] = []
    for each in _cut(entries):
        if waiting and size_of(waiting) + size_of([each]) > CHUNK:
            yield _flat(waiting, extents)
            waiting = []
        waiting.append(each)
    if waiting:
        yield _flat(waiting, extents)


def _cut(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Give entries of at most CHUNK accesses each, unless one visit has more."""
    for each in entries:
        if isinstance(each, Visit) or each.size <= CHUNK:
            yield each
            continue
        turn = each.size // each.times
        at_once = max(1, CHUNK // turn)
        for first in range(0, each.times, at_once):
            times = min(at_once, each.times - first)
            inner, _ = _moved(each.entries, [first * step for step in each.steps], 0)
            if times == 1:
                yield from _cut(inner)
            else:
                yield Turns(inner, times, each.steps, times * turn)


def _flat(entries: Sequence[Entry], extents: Extents) -> tuple[Numbers, Bytes, Bytes]:
    places, sizes, kinds = _rows(entries, np.array([_words(entries)], np.int64), (), extents)
    places, is_known = extents.placed(places[0], kinds)
    return places[is_known], sizes[is_known], kinds[is_known]


def _rows(entries: Sequence[Entry], words: Numbers, around: tuple[int, ...], extents: Extents) -> tuple[Numbers, Bytes, Bytes]:
    """Return addresses, bytes and kinds; what lies in one extent in all turns of the loops around has its place instead of an address.

    Args:
        entries: that make the accesses.
        words: (1 + loops, registers): registers, and by how much they move from turn to turn of each loop around, outermost first.
        around: turns of these loops.
        extents: where the arrays lie.
    """
    parts, at = [], 0
    for each in entries:
        if isinstance(each, Visit):
            end = at + len(each.words)
            rows = words[:, at:end] @ each.piece.factors
            rows[0] += each.piece.shifts
            ways = rows[1:] * (np.array(around, np.int64)[:, np.newaxis] - 1)
            low, high = rows[0] + np.minimum(ways, 0).sum(axis=0), rows[0] + np.maximum(ways, 0).sum(axis=0)
            shifts = extents.shift(low, high)
            if each.piece.first_read is not None:
                shifts[each.piece.kinds == PREFETCH] = shifts[each.piece.first_read]
            rows[0] += shifts
            parts.append((rows, each.piece.sizes, each.piece.kinds))
        else:
            end = at + len(each.steps)
            inside = np.vstack([words[:, at:end], np.array([each.steps], np.int64)])
            inner, sizes, kinds = _rows(each.entries, inside, (*around, each.times), extents)
            rows = np.tile(inner[:-1], each.times)
            rows[0] += (np.arange(each.times)[:, np.newaxis] * inner[-1]).ravel()
            parts.append((rows, np.tile(sizes, each.times), np.tile(kinds, each.times)))
        at = end
    if len(parts) == 1:
        return parts[0]
    rows, sizes, kinds = zip(*parts, strict=True)
    return np.concatenate(rows, axis=1), np.concatenate(sizes), np.concatenate(kinds)
