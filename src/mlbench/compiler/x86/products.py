"""A product as a stage of a body: the number of rows is known at run time alone.

The rows of a tile are cut into blocks as `mlbench.compiler.x86.gemm.split_rows` cuts them. Each height that may come has a routine, which
computes so many blocks of it as a register says. Before the first panel, the code looks up in a table which routines this number of rows
takes: at most two, whose heights differ by one. Each panel then calls them.

There are two ways through a product of many inputs or of a large weight. If the rows fit into one block, the chunks of a panel follow each
other; with more rows, all panels are computed for one chunk before the next. Otherwise one way serves any number of rows.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from mlbench.compiler.x86.assembler import R8, R9, R11, R14, RAX, RBX, RCX, RDI, RDX, RSI, Label, Mem
from mlbench.compiler.x86.gemm import AHEAD_BYTES, CHUNK_INPUTS, HUGE_BYTES, LARGE_BYTES, LINE_BYTES, most_rows
from mlbench.compiler.x86.isa import VectorAssembler, Vectors
from mlbench.compiler.x86.microkernel import FLOAT_BYTES, OPERANDS, STEPS, UNROLLED, Block, Chunk, Shape, block_code
from mlbench.compiler.x86.stages import FRAME_BASE, SCRATCH, SCRATCH_WORDS, View, Writer

SOME, MANY = 2, 4
"""Each of two or three blocks of a panel asks for half of the next panel's lines, and each of more blocks for a fourth of them."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A block that was just stored.

    Attributes:
        result: where its first number lies.
        stride_bytes: from row to row.
        rows: how many it has.
        lanes: columns it has.
        panel_bytes: where 64 bits in the frame say how many bytes the panel's first column lies behind the first column of the result.
    """

    result: Mem
    stride_bytes: int
    rows: int
    lanes: int
    panel_bytes: Mem


class Post(Protocol):
    """Code that runs after a block was stored, while it is in the first cache.

    It may change all vector registers, rax and rbx; it puts every other register back, the vector register that holds the mask included.
    """

    def emit(self, a: VectorAssembler, block: Stored) -> None:
        """Put the code; equal blocks need equal code."""


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product, with its element-wise steps, as a stage.

    Attributes:
        shape: of the product; its strides are those of the views.
        weight: address of the packed weight.
        operands: addresses of what the steps read.
        source: the value.
        target: the result.
        post: what runs after each block.
    """

    shape: Shape
    weight: int
    operands: tuple[int, ...]
    source: View
    target: View
    post: Post | None = None

    def emit(self, writer: Writer) -> None:
        """Put the code for all panels."""
        self.emit_panels(writer, 0, _Panels(self.strided, writer.a.vectors).count)

    def emit_panels(self, writer: Writer, first: int, end: int) -> None:
        """Put the code for some panels."""
        _ProductWriter(writer, self, first, end).write()

    @property
    def strided(self) -> Shape:
        """The shape with the strides of the views."""
        return replace(self.shape, value_stride=self.source.stride_bytes, result_stride=self.target.stride_bytes)


@dataclass(frozen=True, slots=True)
class _Panel:
    """A kind of panel: `width` vectors, of which the last has `last_lanes` lanes, or all where that is 0."""

    width: int
    last_lanes: int
    most: int
    row_bytes: int


class _Panels:
    """How the columns of a product are cut: whole panels, and a ragged one at the end where they do not come out even."""

    def __init__(self, shape: Shape, vectors: Vectors) -> None:
        needed, last_lanes = math.ceil(shape.columns / vectors.lanes), shape.columns % vectors.lanes
        self.count = math.ceil(needed / shape.width)
        rest = needed - (self.count - 1) * shape.width

        def panel(width: int, lanes: int) -> _Panel:
            row = width * vectors.lanes - (vectors.lanes - lanes if lanes else 0)
            return _Panel(width, lanes, most_rows(width, shape.value_bytes // FLOAT_BYTES, vectors), FLOAT_BYTES * row)

        self.whole = panel(shape.width, 0)
        self.ragged = panel(rest, last_lanes) if last_lanes or rest < shape.width else None


@dataclass(frozen=True, slots=True)
class _Slots:
    """Where the frame has how a kind of panel is cut, in words of the scratch.

    First come the numbers of higher blocks and of lower ones, and then, for each kind of chunk, the routines of both.
    """

    first: int

    def count(self, which: int) -> Mem:
        """Return where a count is."""
        return Mem(FRAME_BASE, SCRATCH + 8 * (self.first + which))

    def code(self, kind: int, which: int) -> Mem:
        """Return where a routine's address is."""
        return Mem(FRAME_BASE, SCRATCH + 8 * (self.first + 2 + 2 * kind + which))


_WHOLE, _RAGGED = _Slots(0), _Slots(8)
_PANEL_BYTES = Mem(FRAME_BASE, SCRATCH + 8 * (SCRATCH_WORDS - 1))


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of chunk: `inputs` of them, after others that it adds to, or with the steps at its end."""

    adds: bool
    inputs: int
    is_last: bool


class _ProductWriter:
    """Writes the code of some panels of a product.

    As in `mlbench.compiler.x86.gemm`, rsi has the address of the value, rdi of the panel's columns of the result, rdx of the panel's
    weights, and OPERANDS those of what the steps read.
    """

    def __init__(self, writer: Writer, product: Product, first: int, end: int) -> None:
        self._writer, self._a = writer, writer.a
        self._product, self._shape = product, product.strided
        panels = _Panels(self._shape, writer.a.vectors)
        self._panel = panels.whole
        self._ragged = panels.ragged if end == panels.count else None
        self._first = first
        self._whole = end - first - (self._ragged is not None)
        self._step = panels.whole.row_bytes
        self._panel_bytes = self._step * self._shape.inputs
        self._weight_bytes = FLOAT_BYTES * self._shape.inputs * self._shape.columns
        inputs = self._shape.inputs
        starts = range(0, inputs, CHUNK_INPUTS)
        self._chunks = [(at, _Kind(at > 0, min(CHUNK_INPUTS, inputs - at), at + CHUNK_INPUTS >= inputs)) for at in starts]
        self._kinds = list(dict.fromkeys(kind for _, kind in self._chunks))
        self._has_many = writer.most_rows > self._panel.most

    def write(self) -> None:
        """Put the code."""
        a, most = self._a, self._panel.most
        many, start, end = Label(), Label(), Label()
        is_common = len(self._chunks) == 1 and self._weight_bytes <= LARGE_BYTES
        self._writer.rows(RCX)
        if self._has_many:
            a.cmp_number(RCX, most)
            a.jump_if("a", many)
        for panel, slots in self._cuts():
            self._look_up_one(panel, slots)
        if not is_common:
            self._addresses()
            self._by_panels()
        if self._has_many:
            a.jump(start if is_common else end)
            a.put(many)
            for panel, slots in self._cuts():
                self._look_up_many(panel, slots)
        if self._has_many or is_common:
            a.put(start)
            self._addresses()
            self._by_chunks()
        a.put(end)

    # Which routines this number of rows takes.

    def _cuts(self) -> Iterator[tuple[_Panel, _Slots]]:
        """Return the kinds of panels there are here, and where the frame has how they are cut."""
        if self._whole:
            yield self._panel, _WHOLE
        if self._ragged is not None:
            yield self._ragged, _RAGGED

    def _look_up_one(self, panel: _Panel, slots: _Slots) -> None:
        """Store the routine for the rows in rcx, which are one block."""
        a = self._a
        if self._has_many:
            a.mov_number(RAX, 0)
            a.store(slots.count(0), RAX)
            a.mov_number(RAX, 1)
            a.store(slots.count(1), RAX)
        heights = range(1, min(self._panel.most, self._writer.most_rows) + 1)
        for index, kind in enumerate(self._kinds):
            self._table(panel, kind, self._lines(panel, 1), heights)
            a.lea_scaled(RAX, RAX, RCX, FLOAT_BYTES, -FLOAT_BYTES * heights[0])
            self._store_routine(slots.code(index, 1), 0)

    def _look_up_many(self, panel: _Panel, slots: _Slots) -> None:
        """Store counts and routines for the rows in rcx: rows // blocks in each block, and one more in rows % blocks of them."""
        a, most = self._a, panel.most
        a.lea(RAX, Mem(RCX, most - 1))
        a.mov_number(RDX, 0)
        a.mov_number(RBX, most)
        a.divide32(RBX)
        a.mov(RBX, RAX)
        a.mov(RAX, RCX)
        a.mov_number(RDX, 0)
        a.divide32(RBX)
        a.mov(R8, RAX)
        a.store(slots.count(0), RDX)
        a.mov(RAX, RBX)
        a.sub(RAX, RDX)
        a.store(slots.count(1), RAX)
        rows = (self._panel.most + 1, self._writer.most_rows)
        ways = {self._lines(panel, blocks): blocks for blocks in (MANY, SOME)}  # of equal ones the lower number of blocks stays
        for index, kind in enumerate(self._kinds):
            chosen = Label()
            for lines, blocks in ways.items():
                end = MANY if len(ways) > 1 and blocks == SOME else 2**31
                heights = heights_of(panel.most, *rows, blocks if blocks == MANY else 1, end)
                if not heights:
                    continue
                is_sure = blocks == SOME
                if not is_sure:
                    a.cmp_number(RBX, blocks)
                self._table(panel, kind, lines, heights)
                a.lea_scaled(RAX, RAX, R8, FLOAT_BYTES, -FLOAT_BYTES * heights[0])
                if not is_sure:
                    a.jump_if("ae", chosen)
            a.put(chosen)
            self._store_routine(slots.code(index, 1), 0)
            self._store_routine(slots.code(index, 0), 1)

    def _store_routine(self, slot: Mem, entry: int) -> None:
        """Store where an entry of the table leads, counted from the one that rax points to."""
        a, at = self._a, FLOAT_BYTES * entry
        a.load_signed32(R9, Mem(RAX, at))
        a.lea_scaled(R9, RAX, R9, 1, at + FLOAT_BYTES)
        a.store(slot, R9)

    def _table(self, panel: _Panel, kind: _Kind, lines: int, heights: Sequence[int]) -> None:
        """Load into rax the table of the routines of these heights; its last entry is there for a height that is looked up and not used."""
        routines = [self._routine(panel, kind, lines, height) for height in heights]
        self._a.lea_label(RAX, self._writer.table([*routines, routines[-1]]))

    def _routine(self, panel: _Panel, kind: _Kind, lines: int, height: int) -> Label:
        """Return the routine that computes r11 blocks of a height, one below the other."""
        a = VectorAssembler(self._a.vectors)
        again = Label()
        a.put(again)
        chunk = Chunk(0, kind.inputs, kind.is_last, lines, kind.adds)
        a.code += block_code(a.vectors, self._shape, chunk, Block(height, panel.width), panel.last_lanes)
        if self._product.post is not None and kind.is_last:
            stride = self._shape.result_bytes
            result = Mem(R9, -stride * height)
            self._product.post.emit(a, Stored(result, stride, height, panel.row_bytes // FLOAT_BYTES, _PANEL_BYTES))
        a.sub_number(R11, 1)
        a.jump_if("ne", again)
        a.ret()
        return self._writer.routine(a.finish())

    def _lines(self, panel: _Panel, blocks: int) -> int:
        """Return the lines that a block asks for in each turn: one block those ahead in the stream, several those of the next panel."""
        lines = math.ceil(UNROLLED * panel.width * FLOAT_BYTES * self._a.vectors.lanes / LINE_BYTES)
        if blocks == 1:
            return lines if self._weight_bytes > HUGE_BYTES else 0
        return math.ceil(lines / blocks) if self._weight_bytes > LARGE_BYTES and panel is not self._ragged else 0

    # The panels.

    def _addresses(self) -> None:
        """Load all addresses, and the mask."""
        a, product = self._a, self._product
        if self._ragged is not None and self._ragged.last_lanes:
            a.set_mask(self._ragged.last_lanes, self._writer.masks)
        self._writer.address(RSI, product.source)
        self._writer.address(RDI, product.target)
        a.mov_number(RDX, product.weight)
        for register, address in zip(OPERANDS, product.operands, strict=False):
            a.mov_number(register, address)
        if product.post is not None:
            a.mov_number(RAX, 0)
            a.store(_PANEL_BYTES, RAX)
        self._forward(self._first, self._first * self._panel_bytes)

    def _by_panels(self) -> None:
        """Put the chunks of a panel, and then the next panel; each panel is one block."""
        with self._each_whole_panel():
            if self._whole:
                self._panel_in_chunks(self._panel, _WHOLE)
                self._forward(1, self._panel_bytes - self._chunks[-1][0] * self._panel.row_bytes)
        if self._ragged is not None:
            self._panel_in_chunks(self._ragged, _RAGGED)

    def _panel_in_chunks(self, panel: _Panel, slots: _Slots) -> None:
        a = self._a
        for at, kind in self._chunks:
            a.lea(R8, Mem(RSI, FLOAT_BYTES * at))
            a.mov(R9, RDI)
            if self._lines(panel, 1):
                a.lea(R14, Mem(RDX, AHEAD_BYTES))
            a.mov_number(R11, 1)
            a.call_at(slots.code(self._kinds.index(kind), 1))
            if not kind.is_last:
                a.add_distance(RDX, kind.inputs * panel.row_bytes)

    def _by_chunks(self) -> None:
        """Put all panels of a chunk, and then the next chunk."""
        a = self._a
        for at, kind in self._chunks:
            with self._each_whole_panel():
                if self._whole:
                    self._blocks(self._panel, _WHOLE, kind)
                    self._forward(1, self._panel_bytes)
            back = -self._whole * self._panel_bytes + kind.inputs * self._panel.row_bytes
            if self._ragged is not None:
                apart = at * (self._ragged.row_bytes - self._panel.row_bytes)
                if apart:
                    a.add_distance(RDX, apart)
                self._blocks(self._ragged, _RAGGED, kind)
                back -= apart
            if not kind.is_last:
                self._forward(-self._whole, back)
                a.add_number(RSI, FLOAT_BYTES * kind.inputs)

    def _blocks(self, panel: _Panel, slots: _Slots, kind: _Kind) -> None:
        """Put the calls for one panel."""
        a, index = self._a, self._kinds.index(kind)
        a.mov(R8, RSI)
        a.mov(R9, RDI)
        if self._has_many and self._lines(panel, SOME):
            a.lea(R14, Mem(RDX, self._panel_bytes))
        if self._has_many:
            even = Label()
            a.load(R11, slots.count(0))
            a.cmp_number(R11, 0)
            a.jump_if("e", even)
            a.call_at(slots.code(index, 0))
            a.put(even)
            a.load(R11, slots.count(1))
        else:
            a.mov_number(R11, 1)
        a.call_at(slots.code(index, 1))

    @contextmanager
    def _each_whole_panel(self) -> Iterator[None]:
        """Put what is put inside as a loop over the whole panels."""
        a, again = self._a, Label()
        if self._whole > 1:
            a.mov_number(RCX, self._whole)
            a.align(16)
            a.put(again)
        yield
        if self._whole > 1:
            a.sub_number(RCX, 1)
            a.jump_if("ne", again)

    def _forward(self, panels: int, weight_bytes: int) -> None:
        """Go some panels on, and so many bytes in the weight."""
        a, step = self._a, panels * self._step
        if weight_bytes:
            a.add_distance(RDX, weight_bytes)
        if not panels:
            return
        a.add_distance(RDI, step)
        operands = iter(OPERANDS)
        for name in self._shape.steps:
            for register in itertools.islice(operands, STEPS[name]):
                if name != "leaky_relu":
                    a.add_distance(register, step)
        if self._product.post is not None:
            a.load(RAX, _PANEL_BYTES)
            a.add_number(RAX, step)
            a.store(_PANEL_BYTES, RAX)


@functools.cache
def heights_of(most: int, first: int, last: int, least: int, end: int) -> range:
    """Return the heights that blocks may have, for `first` to `last` rows that are cut into `least` to `end` - 1 blocks.

    Args:
        most: rows of a block at most.
        first: of the numbers of rows, 1 or more.
        last: of them.
        least: blocks.
        end: of the numbers of blocks.
    """
    found: set[int] = set()
    for rows in range(first, min(last, first + 2 * most * (most + MANY)) + 1):  # beyond, no others come
        blocks = math.ceil(rows / most)
        if least <= blocks < end:
            found |= {rows // blocks, math.ceil(rows / blocks)}
    return range(min(found), max(found) + 1) if found else range(0)
