"""A look-up: the stage that copies entries of a table, whose indices are numbers of a value.

An index is truncated to a whole number, and counts from the end below 0, as NumPy has it. One that the table does not have, or NaN, reads
entry 0 in its place, so that no code reads elsewhere, and is noted: the body then returns REFUSED, and its caller raises. No jump depends
on an index, so that all threads of a team meet where they would have met anyway.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from mlbench.compiler.x86.encoding.assembler import R8, R9, R10, R11, RAX, RBX, RCX, RDI, RDX, RSI, Label, Mem
from mlbench.compiler.x86.encoding.isa import AT_LEAST, LESS, NOT_EQUAL, TOWARDS_ZERO, Vectors
from mlbench.compiler.x86.stages import FRAME_BASE, REFUSED, SCRATCH, View, Writer

FLOAT_BYTES = 4
MOST_ENTRIES = 1 << 24
"""Whole numbers of float32 are exact up to here."""
_UNROLLED, _CHUNK, _FEW = 16, 8, 4
"""Vectors of an entry that are copied without a loop, vectors in one turn of that loop, and numbers that are copied one by one."""
_GIVEN, _INDEX, _MASK, _OTHER_MASK, _REFUSED, _ZERO, _ENTRIES, _COPIED = range(8)
"""Vector registers; from _COPIED on there are some that hold what is copied."""
_COPIES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """A stage that copies entries of a table.

    Attributes:
        columns: indices in a row.
        entries: of the table; MOST_ENTRIES at most.
        width: numbers of an entry.
        table: address of the entries, one behind the other.
        source: where the indices lie.
        target: where the entries go, those of a row one behind the other.
    """

    columns: int
    entries: int
    width: int
    table: int
    source: View
    target: View

    def emit(self, writer: Writer) -> None:
        """Put the code."""
        _LookupWriter(self, writer).emit()

    def fits(self, _: Vectors) -> bool:
        """Whether there are registers for all of it."""
        return True


class _LookupWriter:
    """Writes the code of a look-up.

    Rcx has the rows that are left, r8 the indices of a row that are left, r9 their address, rdi that of the result, r10 that of the table.
    Rows whose indices and results follow each other are one long row.
    """

    def __init__(self, stage: Lookup, writer: Writer) -> None:
        self._stage, self._writer, self._a = stage, writer, writer.a
        self._lanes = self._a.vectors.lanes
        self._vector_bytes = FLOAT_BYTES * self._lanes
        self._entry_bytes = FLOAT_BYTES * stage.width
        self._is_masked = _FEW < stage.width < self._lanes and self._a.vectors.has_masks
        read, written = FLOAT_BYTES * stage.columns, self._entry_bytes * stage.columns
        self._gaps = stage.source.stride_bytes - read, stage.target.stride_bytes - written

    def emit(self) -> None:
        a, stage, writer = self._a, self._stage, self._writer
        row, many, single, next_row, constants, end = (Label() for _ in range(6))
        is_flat = self._gaps == (0, 0)
        writer.rows(RCX)
        writer.address(R9, stage.source)
        writer.address(RDI, stage.target)
        a.mov_number(R10, stage.table)
        if self._is_masked:
            a.set_mask(stage.width, writer.masks)
        a.lea_label(RBX, constants)
        a.vbroadcast(_ENTRIES, Mem(RBX))
        a.vzero(_ZERO)
        a.vzero(_REFUSED)
        if is_flat:
            a.multiply_number(RCX, RCX, stage.columns)
        a.put(row)
        if is_flat:
            a.mov(R8, RCX)
        else:
            a.mov_number(R8, stage.columns)
        a.align(16)
        a.put(many)
        a.cmp_number(R8, self._lanes)
        a.jump_if("b", single)
        a.vload(_GIVEN, Mem(R9))
        self._entries(self._lanes)
        a.jump(many)
        a.put(single)
        a.cmp_number(R8, 0)
        a.jump_if("e", next_row)
        a.vbroadcast(_GIVEN, Mem(R9))
        self._entries(1)
        a.jump(single)
        a.put(next_row)
        if not is_flat:
            for register, gap in zip((R9, RDI), self._gaps, strict=True):
                a.add_distance(register, gap)
            a.sub_number(RCX, 1)
            a.jump_if("ne", row)
        self._note(end)
        a.align(FLOAT_BYTES)
        a.put(constants)
        a.put_data(struct.pack("<f", stage.entries))
        a.put(end)

    def _entries(self, count: int) -> None:
        """Copy the entries of some indices, which are in a vector, and go on behind them."""
        a = self._a
        self._check()
        a.vstore(Mem(FRAME_BASE, SCRATCH), _INDEX)
        a.lea(RSI, Mem(FRAME_BASE, SCRATCH))
        again = Label()
        if count > 1:
            a.mov_number(RDX, count)
            a.align(16)
            a.put(again)
        a.vtruncated(RAX, Mem(RSI))
        a.multiply_number(R11, RAX, self._entry_bytes)
        a.add(R11, R10)
        self._copy()
        if count > 1:
            a.add_number(RSI, FLOAT_BYTES)
            a.sub_number(RDX, 1)
            a.jump_if("ne", again)
        a.add_number(R9, FLOAT_BYTES * count)
        a.sub_number(R8, count)

    def _check(self) -> None:
        """Make indices of what is given: from 0 on, 0 where there is no such entry, which keeps what is given in its lane."""
        a = self._a
        a.vround(_INDEX, _GIVEN, TOWARDS_ZERO)
        a.vcompare(_MASK, _INDEX, _ZERO, LESS)
        a.vand(_MASK, _MASK, _ENTRIES)
        a.vadd(_INDEX, _INDEX, _MASK)
        a.vcompare(_MASK, _INDEX, _ZERO, AT_LEAST)
        a.vcompare(_OTHER_MASK, _INDEX, _ENTRIES, LESS)
        a.vand(_MASK, _MASK, _OTHER_MASK)
        a.vand(_INDEX, _INDEX, _MASK)
        a.vblend(_REFUSED, _GIVEN, _REFUSED, _MASK)

    def _copy(self) -> None:
        """Copy the entry whose address is in r11."""
        a, stage = self._a, self._stage
        full, left = divmod(stage.width, self._lanes)
        moved = 0
        if not full:
            self._copy_short()
        elif full > _UNROLLED:
            turns, full = divmod(full, _CHUNK)
            moved = turns * _CHUNK * self._vector_bytes
            again = Label()
            a.mov_number(RAX, turns)
            a.align(16)
            a.put(again)
            self._vectors([number * self._vector_bytes for number in range(_CHUNK)])
            a.add_number(R11, _CHUNK * self._vector_bytes)
            a.add_number(RDI, _CHUNK * self._vector_bytes)
            a.sub_number(RAX, 1)
            a.jump_if("ne", again)
        if full or moved:
            last = [self._entry_bytes - moved - self._vector_bytes] if left else []
            self._vectors([*(number * self._vector_bytes for number in range(full)), *last])
        a.add_number(RDI, self._entry_bytes - moved)

    def _copy_short(self) -> None:
        a, width = self._a, self._stage.width
        if self._is_masked:
            a.vload(_COPIED, Mem(R11), masked=True)
            a.vstore(Mem(RDI), _COPIED, masked=True)
            return
        for number in range(width):
            a.vbroadcast(_COPIED + number % _COPIES, Mem(R11, FLOAT_BYTES * number))
            a.vstore_first(Mem(RDI, FLOAT_BYTES * number), _COPIED + number % _COPIES)

    def _vectors(self, shifts: list[int]) -> None:
        """Copy vectors, each so many bytes behind the address; two of them may overlap."""
        a = self._a
        for first in range(0, len(shifts), _COPIES):
            some = shifts[first : first + _COPIES]
            for number, shift in enumerate(some):
                a.vload(_COPIED + number, Mem(R11, shift))
            for number, shift in enumerate(some):
                a.vstore(Mem(RDI, shift), _COPIED + number)

    def _note(self, end: Label) -> None:
        """Note an index that was refused, with the entries of the table, as one word: threads may find some at the same time."""
        a = self._a
        lanes = self._lanes // 2
        while lanes:
            a.vswap(_GIVEN, _REFUSED, lanes)
            a.vcompare(_MASK, _REFUSED, _ZERO, NOT_EQUAL)
            a.vblend(_REFUSED, _GIVEN, _REFUSED, _MASK)
            lanes //= 2
        a.mov_number(RAX, 0)
        a.store(Mem(FRAME_BASE, SCRATCH), RAX)
        a.vstore_first(Mem(FRAME_BASE, SCRATCH), _REFUSED)
        a.load(RAX, Mem(FRAME_BASE, SCRATCH))
        a.cmp_number(RAX, 0)
        a.jump_if("e", end)
        a.mov_number(RCX, self._stage.entries << 32)
        a.add(RAX, RCX)
        a.mov_number(RCX, self._writer.refusal)
        a.store(Mem(RCX, 8), RAX)
        a.mov_number(RAX, REFUSED)
        a.store(Mem(RCX), RAX)
        a.jump(end)
