"""The body: machine code for all stages of a run, with the C ABI and no Python object in it.

    int body(const void *const *places, int64_t rows)

`places` are the addresses of the arrays that come with a call. `rows` is read at run time, so that one code serves every number of rows
from 1 on. The stages run on a tile of rows from the first to the last, so that what lies between them stays in the second cache, and then
on the next tile. The result is DONE.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlbench.compiler.x86.abi import restore, save
from mlbench.compiler.x86.assembler import RAX, RCX, RDI, RSI, RSP, Label, Mem
from mlbench.compiler.x86.executable import Code
from mlbench.compiler.x86.isa import Vectors
from mlbench.compiler.x86.stages import ARENA_BASE, ARGUMENTS, FRAME_BASE, LEFT, ROWS, Stage, Writer

DONE, CLOSED = 0, 1
"""What a body returns: the results are there; or its team is closed, and what lies in the results means nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a body runs.

    Attributes:
        stages: in order.
        strides: for each array that comes with a call, the bytes from row to row.
        tile_rows: rows of a tile at most.
        arena: address of the memory that the stages use in between; 0 where they use none.
    """

    stages: tuple[Stage, ...]
    strides: tuple[int, ...]
    tile_rows: int
    arena: int = 0


class Body:
    """The code of a run, for as long as this object lives.

    Args:
        vectors: the instructions.
        plan: what it runs.
        kept: what lives as long as the body, because its code has the address.

    Attributes:
        address: of the function.
        size_bytes: of the code.
        code: where it lies.
        kept: what lives as long.

    Raises:
        CodeError: when the system gives no memory that code may run in.
    """

    def __init__(self, vectors: Vectors, plan: Plan, *kept: object) -> None:
        code = code_of_plan(vectors, plan)
        self.code = Code(code)
        self.address = self.code.address
        self.size_bytes = len(code)
        self.kept = kept


def code_of_plan(vectors: Vectors, plan: Plan) -> bytes:
    """Return the code of a body on one thread."""
    writer = Writer(vectors, plan.tile_rows)
    a = writer.a
    frame = _frame_bytes(plan)
    save(a, frame)
    a.mov(FRAME_BASE, RSP)
    for index in range(len(plan.strides)):
        a.load(RAX, Mem(RDI, 8 * index))
        a.store(Mem(FRAME_BASE, ARGUMENTS + 8 * index), RAX)
    a.mov_number(ARENA_BASE, plan.arena)
    emit_tiles(writer, plan)
    a.vzeroupper()
    a.mov_number(RAX, DONE)
    restore(a, frame)
    return writer.finish()


def emit_tiles(writer: Writer, plan: Plan) -> None:
    """Put the stages, tile after tile; rsi has the rows, and the frame the addresses of the arguments."""
    a = writer.a
    again, part, end = Label(), Label(), Label()
    a.mov(RAX, RSI)
    a.align(16)
    a.put(again)
    a.store(Mem(FRAME_BASE, LEFT), RAX)
    a.cmp_number(RAX, plan.tile_rows)
    a.jump_if("be", part)
    a.mov_number(RAX, plan.tile_rows)
    a.put(part)
    a.store(Mem(FRAME_BASE, ROWS), RAX)
    for stage in plan.stages:
        stage.emit(writer)
    a.load(RAX, Mem(FRAME_BASE, LEFT))
    a.sub_number(RAX, plan.tile_rows)
    a.jump_if("be", end)
    for index, stride in enumerate(plan.strides):
        slot = Mem(FRAME_BASE, ARGUMENTS + 8 * index)
        a.mov_number(RCX, stride * plan.tile_rows)
        a.add(RCX, slot)
        a.store(slot, RCX)
    a.jump(again)
    a.put(end)


def _frame_bytes(plan: Plan) -> int:
    """Return the size of the frame: 8 more than a multiple of 16, see `save`."""
    size: int = ARGUMENTS + 8 * len(plan.strides)
    return size + (8 if size % 16 == 0 else 0)
