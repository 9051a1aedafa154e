"""Machine code for a whole chain of products, tile after tile: the function that a call runs.

A chain is a few layers. It runs on a tile of rows from its first layer to its last, so that what lies between them stays in the second
cache, and then on the next tile. All sizes and addresses are in the code, but for those of the caller's input and result.

The function is called with `(x)` or `(x, y)`, arrays that the caller has checked but for one thing: an x that is not contiguous cannot be
read by it, and then it returns that x instead of y. So it does where a team is closed, and, called with x alone, where the word of its
guard says that somebody is using the memory it works in; whoever calls it with y has taken the guard.

For work of more than RELEASED_FLOP or RELEASED_BYTES of weights it gives the interpreter's lock away meanwhile, as NumPy's products do;
below, that would cost more than it brings. So does a team, whatever the work: a thread that it waits for may be slow to come. Then, called
with x alone, it takes the guard itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlbench.compiler.x86.abi import FOUND, GIVEN, RESULT, STATE, TILES, restore, save
from mlbench.compiler.x86.assembler import R8, R9, R15, RAX, RBP, RCX, RDI, RDX, RSI, RSP, Label, Mem
from mlbench.compiler.x86.executable import Code, builtin, interpreter_address
from mlbench.compiler.x86.gemm import Floats, emit_product, panels_of
from mlbench.compiler.x86.guard import Guard
from mlbench.compiler.x86.isa import VectorAssembler, Vectors
from mlbench.compiler.x86.layout import ARRAY_DATA, ARRAY_FLAGS, IS_READABLE
from mlbench.compiler.x86.microkernel import FLOAT_BYTES, OPERANDS, Shape
from mlbench.compiler.x86.shared import at
from mlbench.compiler.x86.threads import Team, emit_done, emit_job, emit_look, emit_part_end, emit_part_start, emit_wait

X, Y = "x", "y"
"""The places that come with a call: the input, and the result."""
RELEASED_FLOP, RELEASED_BYTES = 4e6, 2 * 1024 * 1024
UNEVEN = 1.1
"""Panels are shared where the largest share is at most so many times the mean; else rows, where there are some for everybody."""
LEAST_SHARED_ROWS = 4
_MASKS = np.array([-1] * 8 + [0] * 8, np.int32)


@dataclass(frozen=True, slots=True)
class Layer:
    """A product and where its operands lie.

    Attributes:
        shape: of the product.
        weight: address of the packed weight.
        operands: addresses of what start and steps read.
        source: where the value lies: X, Y, or an address that is the same in each call.
        target: where the result goes: Y or an address.
    """

    shape: Shape
    weight: int
    operands: tuple[int, ...]
    source: int | str
    target: int | str


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a batch.

    Attributes:
        first: the first of them.
        last: their end.
        tile: rows of a tile.
    """

    first: int
    last: int
    tile: int


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """What a call with x alone uses.

    Attributes:
        y: its result.
        guard: keeps everybody else away from that, and from what lies between x and y.
    """

    y: Floats
    guard: Guard


def chain(vectors: Vectors, layers: Sequence[Layer], rows: Rows, own: Own | None, *kept: object) -> Callable[..., Any]:
    """Return the function that runs a chain on the calling thread.

    Args:
        vectors: the instructions.
        layers: in order.
        rows: of a call.
        own: what a call with x alone uses; None where there is none such.
        kept: what lives as long as the function, because the code has its address.
    """
    writer = _ChainWriter(vectors)
    long = _is_long(layers, rows.last - rows.first)
    writer.enter(own, gives_lock=long)
    writer.rows(layers, rows)
    writer.leave(own, gives_lock=long)
    return builtin("chain", Code(writer.a.finish()), own, _MASKS, *kept)


def rows_shared_chain(
    vectors: Vectors, parts: Sequence[tuple[Sequence[Layer], Rows]], team: Team, own: Own | None, *kept: object
) -> Callable[..., Any]:
    """Return the function that runs a chain on a team, of which each thread computes rows of its own.

    Args:
        vectors: the instructions.
        parts: for each thread the layers, whose values between x and y are its own, and its rows.
        team: the threads.
        own: what a call with x alone uses; None where there is none such.
        kept: what lives as long as the function, because the code has its address.
    """

    def write(writer: _ChainWriter, member: int) -> None:
        writer.rows(*parts[member])

    return _shared(vectors, team, write, own, *kept)


def columns_shared_chain(
    vectors: Vectors, layers: Sequence[Layer], rows: Rows, team: Team, own: Own | None, *kept: object
) -> Callable[..., Any]:
    """Return the function that runs a chain on a team, of which each thread computes a part of each product; see `rows_shared_chain`."""

    def write(writer: _ChainWriter, member: int) -> None:
        writer.member, writer.team = member, team
        writer.rows(layers, rows)

    return _shared(vectors, team, write, own, *kept)


def _shared(vectors: Vectors, team: Team, write: Callable[[_ChainWriter, int], None], own: Own | None, *kept: object) -> Callable[..., Any]:
    writer = _ChainWriter(vectors)
    a = writer.a
    parts = {member: Label() for member in range(1, team.threads)}
    writer.enter(own, team, gives_lock=True)
    a.mov_number(R8, team.address)
    a.store(at("x"), RBP)
    a.store(at("y"), R15)
    emit_job(a, team.address, parts)
    write(writer, 0)
    emit_done(a, team.address, 0)
    emit_wait(a, 0, team, writer.closed)
    writer.leave(own, gives_lock=True, may_close=True)
    for member, label in parts.items():
        a.align(16)
        a.put(label)
        emit_part_start(a, team.address)
        writer.closed = Label()
        write(writer, member)
        a.put(writer.closed)
        a.vzeroupper()
        emit_part_end(a)
    return builtin("chain", Code(a.finish()), own, team, _MASKS, *kept)


def _is_long(layers: Sequence[Layer], rows: int) -> bool:
    """Whether others should run meanwhile."""
    size = sum(layer.shape.inputs * layer.shape.columns for layer in layers)
    return 2 * rows * size > RELEASED_FLOP or FLOAT_BYTES * size > RELEASED_BYTES


class _ChainWriter:
    """Writes the code of a chain.

    Within it, rbp has the address of the tile's rows of x, and r15 of its rows of y.

    Attributes:
        a: the code so far.
        team: the threads that share each product; None where each one has rows of its own.
        member: which of them this code is for.
        closed: where it goes on when the team turns out to be closed.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.a = VectorAssembler(vectors)
        self.team: Team | None = None
        self.member = 0
        self.closed = Label()
        self._refused = Label()

    def enter(self, own: Own | None, team: Team | None = None, *, gives_lock: bool) -> None:
        """Put what a builtin function begins with: the object of x is in rax until the call is admitted."""
        a = self.a
        save(a)
        a.load(RAX, Mem(RSI))
        a.load(RBP, Mem(RAX, ARRAY_DATA))
        a.load32(RCX, Mem(RAX, ARRAY_FLAGS))
        a.and_number(RCX, IS_READABLE)
        a.cmp_number(RCX, IS_READABLE)
        a.jump_if("ne", self._refused)
        if team is not None:
            a.store(Mem(RSP, GIVEN), RAX)
            emit_look(a, team.address, self._refused)
        if own is None:
            a.load(RAX, Mem(RSI, 8))
        else:
            self._pass_guard(own, takes=gives_lock)
        a.store(Mem(RSP, RESULT), RAX)
        a.load(R15, Mem(RAX, ARRAY_DATA))
        if gives_lock:
            a.mov_number(RAX, interpreter_address("PyEval_SaveThread"))
            a.call(RAX)
            a.store(Mem(RSP, STATE), RAX)

    def _pass_guard(self, own: Own, *, takes: bool) -> None:
        """Load the object of y into rax: of a call with x alone its own one, if the guard is free, and take that if others may come."""
        a = self.a
        given, bound = Label(), Label()
        a.mov_number(R9, own.guard.address)
        a.load32(RCX, Mem(R9))
        if takes:
            a.store(Mem(RSP, FOUND), RCX)
        a.cmp_number(RDX, 2)
        a.jump_if("ae", given)
        a.cmp_number(RCX, 0)
        a.jump_if("ne", self._refused)
        if takes:
            a.mov_number(RAX, 1)
            a.store32(Mem(R9), RAX)
        a.mov_number(RAX, id(own.y))
        a.jump(bound)
        a.put(given)
        a.load(RAX, Mem(RSI, 8))
        a.put(bound)

    def leave(self, own: Own | None, *, gives_lock: bool, may_close: bool = False) -> None:
        """Put what it ends with: the guard is as it was found."""
        a = self.a
        end = Label()
        a.put(end)
        a.vzeroupper()
        if gives_lock:
            a.load(RDI, Mem(RSP, STATE))
            a.mov_number(RAX, interpreter_address("PyEval_RestoreThread"))
            a.call(RAX)
        if gives_lock and own is not None:
            a.mov_number(R9, own.guard.address)
            a.load(RCX, Mem(RSP, FOUND))
            a.store32(Mem(R9), RCX)
        a.load(RAX, Mem(RSP, RESULT))
        a.put(self._refused)
        self._give()
        if may_close:
            a.put(self.closed)
            a.load(RAX, Mem(RSP, GIVEN))
            a.store(Mem(RSP, RESULT), RAX)
            a.jump(end)

    def rows(self, layers: Sequence[Layer], rows: Rows) -> None:
        """Put the layers for some rows of the batch."""
        a = self.a
        self._forward(layers, rows.first)
        tiles, left = divmod(rows.last - rows.first, rows.tile)
        if tiles > 1:
            a.mov_number(RAX, tiles)
            a.store(Mem(RSP, TILES), RAX)
            again = Label()
            a.put(again)
        if tiles:
            self._tile(layers, rows.tile, is_last=tiles == 1 and not left)
        if tiles and (left or tiles > 1):
            self._forward(layers, rows.tile)
        if tiles > 1:
            a.load(RAX, Mem(RSP, TILES))
            a.sub_number(RAX, 1)
            a.store(Mem(RSP, TILES), RAX)
            a.jump_if("ne", again)
        if left:
            self._tile(layers, left, is_last=True)

    def _tile(self, layers: Sequence[Layer], rows: int, *, is_last: bool) -> None:
        """Put the layers for the rows of one tile; threads that share a product meet before the next one."""
        for index, layer in enumerate(layers):
            if self.team is None:
                self._layer(layer, 0, rows, None)
                continue
            self._part(layer, rows)
            if not is_last or index + 1 < len(layers):
                emit_done(self.a, self.team.address, self.member)
                emit_wait(self.a, self.member, self.team, self.closed)

    def _part(self, layer: Layer, rows: int) -> None:
        """Put this thread's part of a layer: some panels, or some rows."""
        assert self.team is not None
        threads = self.team.threads
        panels = panels_of(layer.shape, self.a.vectors)
        is_even = math.ceil(panels / threads) <= UNEVEN * panels / threads
        if is_even or rows < LEAST_SHARED_ROWS * threads:
            first, last = _share(panels, self.member, threads)
            if first < last:
                self._layer(layer, 0, rows, (first, last))
        else:
            first, last = _share(rows, self.member, threads)
            self._layer(layer, first, last, None)

    def _layer(self, layer: Layer, first: int, last: int, panels: tuple[int, int] | None) -> None:
        a = self.a
        shape = layer.shape
        for register, place, columns in ((RSI, layer.source, shape.inputs), (RDI, layer.target, shape.columns)):
            shift = FLOAT_BYTES * columns * first
            if isinstance(place, int):
                a.mov_number(register, place + shift)
            else:
                a.mov(register, RBP if place == X else R15)
                if shift:
                    a.add_distance(register, shift)
        a.mov_number(RDX, layer.weight)
        for register, address in zip(OPERANDS, layer.operands, strict=False):
            a.mov_number(register, address)
        emit_product(a, shape, last - first, _MASKS.ctypes.data, panels)

    def _give(self) -> None:
        """Return the object that rax points to, with a reference for the caller."""
        a = self.a
        a.load(RCX, Mem(RAX))
        a.add_number(RCX, 1)
        a.store(Mem(RAX), RCX)
        restore(a)

    def _forward(self, layers: Sequence[Layer], rows: int) -> None:
        """Go some rows on in x and y."""
        if rows:
            self.a.add_distance(RBP, FLOAT_BYTES * rows * layers[0].shape.inputs)
            self.a.add_distance(R15, FLOAT_BYTES * rows * layers[-1].shape.columns)


def _share(number: int, member: int, threads: int) -> tuple[int, int]:
    return number * member // threads, number * (member + 1) // threads
