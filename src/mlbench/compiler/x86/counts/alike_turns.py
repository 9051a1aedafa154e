"""Loops that are not executed to their end: what some turns of a loop have in common, and for how many further turns it lasts."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlbench.compiler.x86.counts.decoding import Counts

ALIKE = 3
"""Turns of a loop that are compared."""
MASK64 = 2**64 - 1
_SIGN64 = 2**63
_FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Decision:
    """What the way through the code depended on.

    Attributes:
        name: of a jump; empty for a number that was read from a table.
        address: of the instruction.
        one: the first number that was compared, or the address that was read.
        other: the second one, or the number there.
    """

    name: str
    address: int
    one: int
    other: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The interpreter at the end of a turn of a loop.

    Attributes:
        registers: by their names.
        stack: words by their addresses.
        counts: so far.
        seen: how many decisions there were.
        recorded: how many entries of accesses there were.
    """

    registers: dict[str, int]
    stack: dict[int, int]
    counts: Counts
    seen: int
    recorded: int


def add(one: Counts, other: Counts, times: int = 1) -> Counts:
    """Return counts with others added so many times."""
    return tuple(a + times * b for a, b in zip(one, other, strict=True))


def signed(number: int) -> int:
    """Return a number of 64 bits with its sign."""
    return number - 2**64 if number & _SIGN64 else number


TAKEN: dict[str, Callable[[int, int], bool]] = {
    "je": lambda a, b: a == b,
    "jne": lambda a, b: a != b,
    "jb": lambda a, b: a < b,
    "jae": lambda a, b: a >= b,
    "jbe": lambda a, b: a <= b,
    "ja": lambda a, b: a > b,
    "jl": lambda a, b: signed(a) < signed(b),
    "jge": lambda a, b: signed(a) >= signed(b),
    "jle": lambda a, b: signed(a) <= signed(b),
    "jg": lambda a, b: signed(a) > signed(b),
    "js": lambda a, b: bool((a - b) & _SIGN64),
    "jns": lambda a, b: not (a - b) & _SIGN64,
}
"""Whether a jump is taken after a comparison of two numbers of 64 bits without sign."""


def gone_on(turns: Sequence[Turn], log: Sequence[Decision]) -> tuple[Turn, int] | None:
    """Return where a loop is after as many turns as certainly do what the last ones did, and how many; None where they were not alike.

    Args:
        turns: the ends of ALIKE turns and the end before them.
        log: the decisions.
    """
    pairs = list(itertools.pairwise(turns))
    registers = [_moved(before.registers, after.registers) for before, after in pairs]
    stacks = [_moved(before.stack, after.stack) for before, after in pairs]
    counts = [add(after.counts, before.counts, -1) for before, after in pairs]
    decisions = [log[before.seen : after.seen] for before, after in pairs]
    is_alike = all(each == every[0] for every in (registers, stacks, counts) for each in every) and len({*map(len, decisions)}) == 1
    further = min(map(_same_outcomes, zip(*decisions, strict=True)), default=0) if is_alike else 0
    if further < 1 or registers[0] is None or stacks[0] is None:
        return None
    last = turns[-1]
    end = Turn(
        {name: (word + further * registers[0][name]) & MASK64 for name, word in last.registers.items()},
        {place: (word + further * stacks[0][place]) & MASK64 for place, word in last.stack.items()},
        add(last.counts, counts[0], further),
        last.seen,
        last.recorded,
    )
    return end, further


def _moved(before: Mapping[Any, int], after: Mapping[Any, int]) -> dict[Any, int] | None:
    """Return by how much each word moved, or None where there are other words."""
    if before.keys() != after.keys():
        return None
    return {name: (after[name] - before[name]) & MASK64 for name in after}


def _same_outcomes(decisions: Sequence[Decision]) -> int:
    """Return for how many further turns a decision, which was made once in each of the last turns, certainly has the same outcome."""
    first, second, *_ = decisions
    step = signed((second.one - first.one) & MASK64)
    if any(each != replace(first, one=(first.one + number * step) & MASK64) for number, each in enumerate(decisions)):
        return 0
    if not step:
        return _FOREVER
    last = decisions[-1]
    if not last.name:
        return 0
    if last.name in ("je", "jne"):
        turns, left = divmod(signed((last.other - last.one) & MASK64), step)
        return turns - 1 if turns > 0 and not left else 0 if last.one == last.other else _FOREVER
    is_signed = last.name in ("jl", "jge", "jle", "jg", "js", "jns")
    one = signed(last.one) if is_signed else last.one
    lowest, highest = (-_SIGN64, _SIGN64 - 1) if is_signed else (0, MASK64)
    wrap = (highest - one) // step if step > 0 else (one - lowest) // -step
    taken, outcome = TAKEN[last.name], TAKEN[last.name](last.one, last.other)
    turns_left = range(1, min(wrap, _FOREVER) + 1)
    return bisect.bisect_left(turns_left, 1, key=lambda turn: taken((one + turn * step) & MASK64, last.other) != outcome)
