"""Stages: what a body of generated code is made of. Each one is the code for the rows of one tile.

A body (`mlbench.compiler.x86.body`) reads the number of rows at run time, and runs its stages tile after tile. A stage knows its columns
and not its rows. It may change every vector register and every general register but those of STAY, and leaves nothing behind but what it
writes to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mlbench.compiler.x86.caches import Caches, find_caches
from mlbench.compiler.x86.encoding.assembler import R15, RBP, RSP, Label, Mem
from mlbench.compiler.x86.encoding.isa import LOOP_BYTES, VectorAssembler, Vectors

FRAME_BASE, ARENA_BASE = RBP, R15
STAY = (RSP, FRAME_BASE, ARENA_BASE)
"""Registers that a stage gives back as they were: the stack, the frame of the body, and the arena of the thread."""
LEFT, ROWS, FIRST, MINE, SCRATCH = 0, 8, 16, 24, 32
"""Offsets in the frame, 64 bits each: rows that are left, rows of this tile, and where threads share a stage by rows, the first row of this
thread in the tile, and how many it has. From SCRATCH on a stage may keep what it likes until its end."""
SCRATCH_WORDS = 24
ARGUMENTS = SCRATCH + 8 * SCRATCH_WORDS
"""Offset in the frame of the addresses of the arguments' first rows of this tile."""
DONE, CLOSED, REFUSED = 0, 1, 2
"""What a body returns: the results are there; or its team is closed, or an index was in no table, and what lies in the results means
nothing."""
MASKS = np.array([-1] * 8 + [0] * 8, np.int32)
"""What AVX2 takes its masks from; it lives as long as the process."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An array that comes with a call: the `index`-th of its places."""

    index: int


@dataclass(frozen=True, slots=True)
class Arena:
    """Memory of the thread's own: `offset` bytes behind the base of its arena."""

    offset: int


@dataclass(frozen=True, slots=True)
class View:
    """Where the rows of a value lie.

    Attributes:
        base: an address that is the same in each call and for each thread, memory in the arena, or an array that comes with a call.
        stride_bytes: from row to row.
        shift_bytes: from the base to the first column.
    """

    base: int | Arena | Argument
    stride_bytes: int
    shift_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Family:
    """Routines that share code.

    Attributes:
        code: of all of them. It jumps within itself alone, and lies at a multiple of LOOP_BYTES.
        begins: where in it each one begins.
    """

    code: bytes
    begins: tuple[int, ...]


class Stage(Protocol):
    """The code for the rows of one tile."""

    def emit(self, writer: Writer) -> None:
        """Put the code."""


def argument(index: int) -> Mem:
    """Return where the frame has the address of an argument's first row of this tile."""
    return Mem(FRAME_BASE, ARGUMENTS + 8 * index)


class Writer:
    """Writes the code of a body; stages put theirs by it.

    Args:
        vectors: the instructions.
        most_rows: rows of a tile at most.
        refusal: address of two words of 64 bits, which a stage writes where it cannot compute what it should: REFUSED, and what it found.
        caches: of the processor; None for this one.
        weights_bytes: size of the weights of all products of the body.

    Attributes:
        a: the code so far.
        masks: address of the table for `VectorAssembler.set_mask`.
        most_rows: rows that a stage has to compute at most.
        refusal: see there.
        shares_rows: a stage has to compute some rows of the tile, from `FIRST` on, and not all of them.
    """

    def __init__(
        self, vectors: Vectors, most_rows: int, refusal: int = 0, caches: Caches | None = None, weights_bytes: int = 0
    ) -> None:  # fmt: skip
        self.a = VectorAssembler(vectors)
        self.caches = caches or find_caches()
        self.weights_bytes = weights_bytes
        self.masks = int(MASKS.ctypes.data)
        self.most_rows = most_rows
        self.refusal = refusal
        self.shares_rows = False
        self._families: dict[Hashable, tuple[Callable[[tuple[int, ...]], Family], dict[int, Label]]] = {}
        self._tables: dict[tuple[int, ...], tuple[Label, Sequence[Label]]] = {}

    @contextmanager
    def sharing_rows(self, threads: int) -> Iterator[None]:
        """Let the stages that are put inside compute a share of the tile's rows, which the frame has: `FIRST` and `MINE`."""
        rows = self.most_rows
        self.shares_rows, self.most_rows = True, -(-rows // threads)
        yield
        self.shares_rows, self.most_rows = False, rows

    def rows(self, register: int) -> None:
        """Load how many rows this stage has to compute: 1 to `most_rows`."""
        self.a.load(register, Mem(FRAME_BASE, MINE if self.shares_rows else ROWS))

    def address(self, register: int, view: View) -> None:
        """Load the address of a view's first row that this stage has to compute; changes nothing but that register and the flags."""
        a, base, shift = self.a, view.base, view.shift_bytes
        if isinstance(base, Argument):
            a.load(register, argument(base.index))
        elif isinstance(base, Arena):
            a.mov(register, ARENA_BASE)
            shift += base.offset
        else:
            a.mov_number(register, base + shift)
            shift = 0
        if self.shares_rows:
            with self._added(register):
                a.multiply_number(register, Mem(FRAME_BASE, FIRST), view.stride_bytes)
        if shift >= 2**31:
            with self._added(register):
                a.mov_number(register, shift)
        elif shift:
            a.add_number(register, shift)

    @contextmanager
    def _added(self, register: int) -> Iterator[None]:
        """Let a register be the sum of what it is and of what is loaded into it inside."""
        a = self.a
        a.push(register)
        yield
        a.add(register, Mem(RSP))
        a.lea(RSP, Mem(RSP, 8))

    def routines(self, key: Hashable, heights: Sequence[int], code: Callable[[tuple[int, ...]], Family]) -> list[Label]:
        """Return the places of routines, which are called and end with a return.

        Args:
            key: what their code depends on beside the height. The code for equal keys is there once, for all heights that were asked for,
                and so is code that turns out to be equal.
            heights: which ones of the family.
            code: makes the code for some heights, in rising order.
        """
        _, labels = self._families.setdefault(key, (code, {}))
        return [labels.setdefault(height, Label()) for height in heights]

    def table(self, entries: Sequence[Label]) -> Label:
        """Return the place of a table of distances to routines; see `Assembler.put_distance`."""
        key = tuple(map(id, entries))
        return self._tables.setdefault(key, (Label(), entries))[0]

    def finish(self) -> bytes:
        """Return the code, with its tables and routines behind it."""
        a = self.a
        a.align(8)
        for label, entries in self._tables.values():
            a.put(label)
            for entry in entries:
                a.put_distance(entry)
        begins: dict[Family, int] = {}
        for code, labels in self._families.values():
            family = code(tuple(sorted(labels)))
            if family not in begins:
                a.align(LOOP_BYTES)
                begins[family] = len(a.code)
                a.code.extend(family.code)
            for (_, label), at in zip(sorted(labels.items(), key=lambda each: each[0]), family.begins, strict=True):
                label.at = begins[family] + at
        return a.finish()
