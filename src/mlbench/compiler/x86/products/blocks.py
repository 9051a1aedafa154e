"""Which code computes the blocks of a product, for a number of rows that is known at run time alone.

The rows of a tile are cut into blocks as `mlbench.compiler.x86.products.gemm.split_rows` cuts them. Each height that may come has a
routine, which computes so many blocks of it as a register says. Before the first panel, the code looks up in a table which routines this
number of rows takes: at most two, whose heights differ by one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mlbench.compiler.x86.caches import Caches
from mlbench.compiler.x86.encoding.assembler import R8, R9, R11, RAX, RBX, RCX, RDX, Label, Mem
from mlbench.compiler.x86.encoding.isa import LOOP_BYTES, VectorAssembler, Vectors
from mlbench.compiler.x86.products.endings import Ending
from mlbench.compiler.x86.products.gemm import AHEAD_ROWS, CHUNK_INPUTS, LINE_BYTES, is_huge, is_large, most_rows, panels_of
from mlbench.compiler.x86.products.microkernel import FLOAT_BYTES, IN_FLIGHT, UNROLLED, Block, BlockWriter, Chunk, Shape, Shared
from mlbench.compiler.x86.stages import FRAME_BASE, SCRATCH, Family, Writer

STEP = RCX
"""Register that has the bytes to go on with each k in the lines that a block asks for, where it asks for any."""
HALVED = UNROLLED // 2
TURN = 3
"""What a turn of a block's loop starts beside its steps: two additions, and a subtraction with its jump as one."""
MOST_STARTED = 3.5
"""Instructions that a loop may start in each cycle, of the four that the narrowest core with AVX-512 starts (Skylake)."""
SHARING_BLOCKS = 2
"""Blocks that share a panel at least, where there are several."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A kind of panel.

    Attributes:
        width: vectors of a row.
        last_lanes: lanes of the last of them; 0 for all.
        most: rows of a block at most.
        row_bytes: of the weight.
        is_ragged: it is the last one of the product, and narrower than the others.
    """

    width: int
    last_lanes: int
    most: int
    row_bytes: int
    is_ragged: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of chunk.

    Attributes:
        inputs: how many.
        adds: what the chunks before have come to is added; None where this is known at run time alone.
        ends: the steps follow; None where this is known at run time alone.
    """

    inputs: int
    adds: bool | None
    ends: bool | None


def _word(index: int) -> Mem:
    return Mem(FRAME_BASE, SCRATCH + 8 * index)


@dataclass(frozen=True, slots=True)
class Slots:
    """Where the frame has how a kind of panel is cut.

    First come the numbers of higher blocks and of lower ones, and then, for each kind of chunk, the routines of both.
    """

    first: int

    def count(self, which: int) -> Mem:
        """Return where a count is."""
        return _word(self.first + which)

    def code(self, kind: int, which: int) -> Mem:
        """Return where a routine's address is."""
        return _word(self.first + 2 + 2 * kind + which)


WHOLE, RAGGED = Slots(0), Slots(6)
PANELS_LEFT, ADDS, ENDS, STEP_BYTES = map(_word, range(12, 16))


class Cut:
    """How the columns and the inputs of a product are cut.

    Args:
        shape: of the product.
        vectors: the instructions.
        caches: of the processor.
        weights_bytes: size of the weights of all products of the body.

    Attributes:
        shape: of the product.
        panels: how many.
        panel: each of them.
        ragged: the last of them, where it is narrower; None where it is not.
        chunks: the first input of each, and its kind.
        kinds: of the chunks, each once.
        is_large: the lines of the next panel are asked for, where a panel has several blocks.
    """

    def __init__(self, shape: Shape, vectors: Vectors, caches: Caches, weights_bytes: int) -> None:
        self.shape = shape
        needed, last_lanes = math.ceil(shape.columns / vectors.lanes), shape.columns % vectors.lanes
        self.panels = panels_of(shape, vectors)
        rest = needed - (self.panels - 1) * shape.width

        def panel(width: int, lanes: int, *, is_ragged: bool) -> Panel:
            row = width * vectors.lanes - (vectors.lanes - lanes if lanes else 0)
            most = most_rows(width, shape.value_bytes // FLOAT_BYTES, vectors, caches)
            return Panel(width, lanes, most, FLOAT_BYTES * row, is_ragged)

        self.panel = panel(shape.width, 0, is_ragged=False)
        self.ragged = panel(rest, last_lanes, is_ragged=True) if last_lanes or rest < shape.width else None
        self._vector_bytes = FLOAT_BYTES * vectors.lanes
        self.is_large, self._is_huge = is_large(weights_bytes, caches), is_huge(weights_bytes, caches)
        full, left = divmod(shape.inputs, CHUNK_INPUTS)
        kind = Kind(CHUNK_INPUTS, None if full > 1 else False, None if full > 1 and not left else not left)
        self.chunks = [(CHUNK_INPUTS * index, kind) for index in range(full)]
        self.chunks += [(CHUNK_INPUTS * full, Kind(left, full > 0, ends=True))] if left else []
        self.kinds = list(dict.fromkeys(each for _, each in self.chunks))

    def asked_bytes(self, panel: Panel, rows: int | None = None) -> int:
        """Return the bytes of the lines that a block asks for with each k: one of so many rows that is all of its panel, or one of several.

        There is no next panel behind a ragged one. Where there are several blocks, each asks for half of what a k has, because two share
        the next panel at least.
        """
        asks = self.is_large if rows is None else self._is_huge and rows >= AHEAD_ROWS
        shares = SHARING_BLOCKS if rows is None else 1
        return panel.width * self._vector_bytes // shares if asks and not panel.is_ragged else 0


class Routines:
    """The routines of a product, and the code that looks up which ones a number of rows takes.

    Args:
        writer: of the body.
        cut: of the product.
    """

    def __init__(self, writer: Writer, cut: Cut) -> None:
        self._writer, self._cut = writer, cut
        self._most_rows = writer.most_rows
        self.has_many = writer.most_rows > cut.panel.most

    def look_up_one(self, panel: Panel, slots: Slots) -> None:
        """Store the routine for the rows in rcx, which are one block; of the words of `slots`, `count` is stored if there may be more."""
        a = self._writer.a
        if self.has_many:
            a.mov_number(RAX, 0)
            a.store(slots.count(0), RAX)
            a.mov_number(RAX, 1)
            a.store(slots.count(1), RAX)
        heights = range(1, min(self._cut.panel.most, self._most_rows) + 1)
        for index, kind in enumerate(self._cut.kinds):
            self._load_table(panel, kind, heights, is_one=True)
            a.lea_scaled(RAX, RAX, RCX, FLOAT_BYTES, -FLOAT_BYTES)
            self._store_routine(slots.code(index, 1), 0)

    def look_up_many(self, panel: Panel, slots: Slots) -> None:
        """Store counts and routines for the rows in rcx: rows // blocks in each block, and one more in rows % blocks of them."""
        a, most = self._writer.a, panel.most
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
        heights = heights_of(most, self._cut.panel.most + 1, self._most_rows)
        for index, kind in enumerate(self._cut.kinds):
            self._load_table(panel, kind, heights, is_one=False)
            a.lea_scaled(RAX, RAX, R8, FLOAT_BYTES, -FLOAT_BYTES * heights[0])
            self._store_routine(slots.code(index, 1), 0)
            self._store_routine(slots.code(index, 0), 1)
        asked = self._cut.asked_bytes(panel)
        if asked:
            a.lea(RAX, Mem(RBX, SHARING_BLOCKS * asked - 1))  # rounded up, so that they come to the end of the panel
            a.mov_number(RDX, 0)
            a.divide32(RBX)
            a.store(STEP_BYTES, RAX)

    def _store_routine(self, slot: Mem, entry: int) -> None:
        """Store where an entry of the table leads, counted from the one that rax points to."""
        a, at = self._writer.a, FLOAT_BYTES * entry
        a.load_signed32(R9, Mem(RAX, at))
        a.lea_scaled(R9, RAX, R9, 1, at + FLOAT_BYTES)
        a.store(slot, R9)

    def _load_table(self, panel: Panel, kind: Kind, heights: Sequence[int], *, is_one: bool) -> None:
        """Load into rax the table of the routines of these heights; its last entry is looked up and not used."""
        vectors, routines = self._writer.a.vectors, []
        for height in heights:
            asked = self._cut.asked_bytes(panel, height if is_one else None)
            key = _Key(vectors, self._cut.shape, panel, kind, asked)
            routines += self._writer.routines(key, [height], partial(_family, key))
        self._writer.a.lea_label(RAX, self._writer.table([*routines, routines[-1]]))


@dataclass(frozen=True, slots=True)
class _Key:
    """What the code of routines depends on beside their height; `asked` is what `Cut.asked_bytes` says."""

    vectors: Vectors
    shape: Shape
    panel: Panel
    kind: Kind
    asked: int


@functools.lru_cache(maxsize=256)
def _family(key: _Key, heights: tuple[int, ...]) -> Family:
    """Return the code of routines for some heights.

    Blocks of many accumulators share what lies before and behind their loops. That takes two calls a block, and half of the code is there.
    """
    a, panel = VectorAssembler(key.vectors), key.panel
    large = [each for each in heights if each * panel.width >= IN_FLIGHT] if (key.kind.adds, key.kind.ends) == (False, True) else []
    ending = Ending(a, key.shape, panel.width, panel.last_lanes, large)
    begins = []
    for height in heights:
        a.align(LOOP_BYTES)
        begins.append(len(a.code))
        _put_routine(a, key, height, ending.shared if ending.is_possible and height in large else None)
    if ending.is_possible:
        ending.put()
    return Family(a.finish(), tuple(begins))


def _put_routine(a: VectorAssembler, key: _Key, height: int, shared: Shared | None) -> None:
    """Put the code that computes r11 blocks of a height, one below the other."""
    shape, panel, kind = key.shape, key.panel, key.kind
    again = Label()
    a.put(again)
    unrolled = unrolled_for(a.vectors, height, panel.width)
    lines = math.ceil(unrolled * key.asked / LINE_BYTES)
    adds = ADDS if kind.adds is None else kind.adds
    ends = ENDS if kind.ends is None else kind.ends
    chunk = Chunk(kind.inputs, adds, ends, lines, STEP, unrolled)
    BlockWriter(a, shape, chunk, Block(height, panel.width), panel.last_lanes, shared).write()
    a.sub_number(R11, 1)
    a.jump_if("ne", again)
    a.ret()


@functools.cache
def unrolled_for(vectors: Vectors, rows: int, width: int) -> int:
    """Return the steps of k in one turn of a block's loop.

    With AVX2, 6 rows by 2 vectors lose 2 % with half the steps (Zen 3). With AVX-512, two multiply-adds take a cycle and 16 lanes each, and
    a block takes half of the steps where these leave them the slowest part of its loop. Fewer than IN_FLIGHT accumulators are there several
    times, for one k each.
    """
    accumulators = rows * width
    if not vectors.has_masks or accumulators < IN_FLIGHT:
        return UNROLLED
    broadcasts = rows if width > 1 else 0
    step, cycles = accumulators + width + broadcasts, accumulators / 2
    return HALVED if step + TURN / HALVED <= MOST_STARTED * cycles else UNROLLED


@functools.cache
def heights_of(most: int, first: int, last: int) -> range:
    """Return the heights that blocks of at most `most` rows may have, for `first` to `last` rows.

    >>> heights_of(6, 7, 64)
    range(3, 7)
    """
    found: set[int] = set()
    for rows in range(first, min(last, first + most * (most + 1)) + 1):  # more rows are cut into heights that came before
        blocks = math.ceil(rows / most)
        found |= {rows // blocks, math.ceil(rows / blocks)}
    return range(min(found), max(found) + 1)
