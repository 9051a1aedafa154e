"""The way of a body through its rows: all stages for a tile, then the next tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlbench.compiler.x86.encoding.assembler import RAX, RCX, Label, Mem
from mlbench.compiler.x86.stages import ARGUMENTS, DONE, FRAME_BASE, LEFT, ROWS, Stage, Writer, argument
from mlbench.compiler.x86.sweeps.lookup import Lookup


@dataclass(frozen=True, slots=True)
class Plan:
    """What a body runs.

    Attributes:
        stages: in order.
        strides: for each array that comes with a call, the bytes from row to row.
        tile_rows: rows of a tile at most.
        arena: address of the memory that the stages use in between; 0 where they use none.
        other_arenas: of a team whose threads have rows of their own, the arena of each thread but the calling one.
        alone_rows: of a team, the rows up to which the calling thread computes all of them, and wakes nobody.
    """

    stages: tuple[Stage, ...]
    strides: tuple[int, ...]
    tile_rows: int
    arena: int = 0
    other_arenas: tuple[int, ...] = ()
    alone_rows: int = 1

    @property
    def frame_bytes(self) -> int:
        """The size of the frame: 8 more than a multiple of 16, because of what `save` pushes."""
        size: int = ARGUMENTS + 8 * len(self.strides)
        return size + (8 if size % 16 == 0 else 0)

    @property
    def may_refuse(self) -> bool:
        """Whether a stage may be unable to compute what it should."""
        return any(isinstance(stage, Lookup) for stage in self.stages)


def forget_refusal(writer: Writer, plan: Plan) -> None:
    """Forget what a call before could not compute; takes rax and rcx."""
    if plan.may_refuse:
        writer.a.mov_number(RCX, writer.refusal)
        writer.a.mov_number(RAX, DONE)
        writer.a.store(Mem(RCX), RAX)


def emit_result(writer: Writer, plan: Plan) -> None:
    """Load what a body returns that computed all: DONE or REFUSED."""
    if plan.may_refuse:
        writer.a.mov_number(RCX, writer.refusal)
        writer.a.load(RAX, Mem(RCX))
    else:
        writer.a.mov_number(RAX, DONE)


def emit_tiles(writer: Writer, plan: Plan, emit: Callable[[Stage], None] | None = None, between: Callable[[], None] | None = None) -> None:
    """Put the stages, tile after tile. Rax has the rows, 1 or more, and the frame the addresses of the arguments.

    Args:
        writer: of the body.
        plan: what it runs.
        emit: puts a stage; None for all of it.
        between: puts what has to happen after each stage but the last one of the last tile.
    """
    a = writer.a
    again, part, end = Label(), Label(), Label()
    a.align(16)
    a.put(again)
    a.store(Mem(FRAME_BASE, LEFT), RAX)
    a.cmp_number(RAX, plan.tile_rows)
    a.jump_if("be", part)
    a.mov_number(RAX, plan.tile_rows)
    a.put(part)
    a.store(Mem(FRAME_BASE, ROWS), RAX)
    for index, stage in enumerate(plan.stages):
        if index and between is not None:
            between()
        if emit is None:
            stage.emit(writer)
        else:
            emit(stage)
    a.load(RAX, Mem(FRAME_BASE, LEFT))
    a.cmp_number(RAX, plan.tile_rows)
    a.jump_if("be", end)
    if between is not None:
        between()
    for index, stride in enumerate(plan.strides):
        a.mov_number(RCX, stride * plan.tile_rows)
        a.add(RCX, argument(index))
        a.store(argument(index), RCX)
    a.load(RAX, Mem(FRAME_BASE, LEFT))
    a.sub_number(RAX, plan.tile_rows)
    a.jump(again)
    a.put(end)
