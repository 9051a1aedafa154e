"""A body on a team: its threads share the rows of a call, or each stage.

Threads that share rows have an arena each, and meet at the end alone. The code is there once: a thread brings its arena and its first and
last row, which follow from the number of rows.

Threads that share each stage have one arena, and meet after each of them. Of a product, a thread computes some of the panels, or, where
these cannot be shared evenly, some of the rows of the tile; of another stage, some of the rows. The blocks' code is there once.

Waking a team and meeting it takes longer than little work does, so a call of few rows is computed by the calling thread alone.

The calling thread copies what the others need to know of a call, because they may look at it late, when the call is over and the team
closed.
"""

from __future__ import annotations

import math

from mlbench.compiler.x86.encoding.abi import restore, save
from mlbench.compiler.x86.encoding.assembler import R8, RAX, RBX, RCX, RDI, RDX, RSI, RSP, Label, Mem
from mlbench.compiler.x86.products.gemm import panels_of
from mlbench.compiler.x86.products.product import Product
from mlbench.compiler.x86.stages import ARENA_BASE, CLOSED, FIRST, FRAME_BASE, MINE, ROWS, Stage, Writer, argument
from mlbench.compiler.x86.team.threads import Team, emit_done, emit_job, emit_look, emit_wait
from mlbench.compiler.x86.tiles import Plan, emit_result, emit_tiles, forget_refusal

UNEVEN = 1.1
"""Panels are shared where the largest share is at most so many times the mean; else rows, where there are some for everybody."""
LEAST_SHARED_ROWS = 4
MEETING_FLOP = 36_000
"""Floating point operations that a core does in the time that a team of two takes to start together and to meet: 0.6 us (Zen 3)."""


def few_rows(flop: int, threads: int) -> int:
    """Return the rows up to which one thread alone is faster than a team, where a row takes so many operations."""
    return int(MEETING_FLOP * threads / (threads - 1) / flop)


def handed_words(plan: Plan) -> int:
    """Return the size of what a call hands over to the other threads, in words of 64 bits: the rows, and the arguments' addresses."""
    return 1 + len(plan.strides)


def emit_shared_body(writer: Writer, plan: Plan, team: Team, handed: int) -> None:
    """Put the function, and the parts of the other threads.

    Args:
        writer: of the body.
        plan: what it runs.
        team: the threads.
        handed: address of `handed_words` words.
    """
    a = writer.a
    closed = Label()
    write = _SharedRows if plan.other_arenas else _SharedStages
    parts = write(writer, plan, team, handed)
    save(a, plan.frame_bytes)
    a.mov(FRAME_BASE, RSP)
    emit_look(a, team.address, closed)
    forget_refusal(writer, plan)
    a.mov_number(R8, handed)
    a.store(Mem(R8), RSI)
    for index in range(len(plan.strides)):
        a.load(RAX, Mem(RDI, 8 * index))
        a.store(Mem(R8, 8 + 8 * index), RAX)
    together, end = Label(), Label()
    a.cmp_number(RSI, plan.alone_rows)
    a.jump_if("a", together)
    a.lea_label(RAX, parts.alone)
    a.call(RAX)
    a.jump(end)
    a.put(together)
    parts.emit_call(closed)
    a.put(end)
    emit_result(writer, plan)
    restore(a, plan.frame_bytes)
    a.put(closed)
    a.vzeroupper()
    a.mov_number(RAX, CLOSED)
    restore(a, plan.frame_bytes)
    parts.emit_parts()


class _Parts:
    """What both ways of sharing have in common.

    Attributes:
        starts: for each thread the place of its part.
        alone: the place of what the calling thread does without the others.
    """

    def __init__(self, writer: Writer, plan: Plan, team: Team, handed: int) -> None:
        self._writer, self._a = writer, writer.a
        self._plan, self._team, self._handed = plan, team, handed
        self.starts = {member: Label() for member in range(team.threads)}
        self.alone = Label()

    def _emit_job(self) -> None:
        emit_job(self._a, self._team.address, {member: part for member, part in self.starts.items() if member})

    def _emit_meeting(self, member: int, closed: Label) -> None:
        """Say that this thread is done with its part, and wait for the others."""
        emit_done(self._a, self._team.address, member)
        emit_wait(self._a, member, self._team, closed)

    def _emit_start(self, place: Label) -> None:
        """Put what the code of a part begins with: the service calls it, or the calling thread. R8 has what was handed over."""
        a = self._a
        a.align(16)
        a.put(place)
        a.sub_number(RSP, self._plan.frame_bytes)
        a.mov(FRAME_BASE, RSP)
        a.mov_number(R8, self._handed)

    def _emit_values(self) -> None:
        """Load what `emit_tiles` takes, for all rows."""
        a, plan = self._a, self._plan
        for index in range(len(plan.strides)):
            a.load(RAX, Mem(R8, 8 + 8 * index))
            a.store(argument(index), RAX)
        a.mov_number(ARENA_BASE, plan.arena)
        a.load(RAX, Mem(R8))

    def _emit_end(self) -> None:
        """Put what it ends with."""
        a = self._a
        a.vzeroupper()
        a.add_number(RSP, self._plan.frame_bytes)
        a.ret()

    def _emit_share(self, number: Mem, member: int) -> None:
        """Load this thread's first of some rows into rbx, and how many of them it has into rax; takes rcx and rdx."""
        a, threads = self._a, self._team.threads
        for part, register in ((member, RBX), (member + 1, RAX)):
            a.multiply_number(RAX, number, part)
            a.mov_number(RDX, 0)
            a.mov_number(RCX, threads)
            a.divide(RCX)
            a.mov(register, RAX)
        a.sub(RAX, RBX)


class _SharedRows(_Parts):
    """Writes a body of which each thread computes rows of its own; the calling thread's part is a call as the others' are."""

    def emit_call(self, closed: Label) -> None:
        """Put what the calling thread does."""
        self._emit_job()
        self._a.lea_label(RAX, self.starts[0])
        self._a.call(RAX)
        self._emit_meeting(0, closed)

    def emit_parts(self) -> None:
        """Put the parts: each finds its rows and its arena, and goes on in the code for all."""
        a, plan, rows, end = self._a, self._plan, Label(), Label()
        for member, arena in enumerate((plan.arena, *plan.other_arenas)):
            self._emit_start(self.starts[member])
            self._emit_share(Mem(R8), member)
            a.mov_number(ARENA_BASE, arena)
            a.jump(rows)
        self._emit_start(self.alone)
        a.mov_number(RBX, 0)
        a.load(RAX, Mem(R8))
        a.mov_number(ARENA_BASE, plan.arena)
        a.put(rows)
        for index, stride in enumerate(plan.strides):
            a.multiply_number(RCX, RBX, stride)
            a.add(RCX, Mem(R8, 8 + 8 * index))
            a.store(argument(index), RCX)
        a.cmp_number(RAX, 0)
        a.jump_if("e", end)
        emit_tiles(self._writer, plan)
        a.put(end)
        self._emit_end()


class _SharedStages(_Parts):
    """Writes a body of which each thread computes a part of each stage."""

    def emit_call(self, closed: Label) -> None:
        """Put what the calling thread does."""
        self._emit_job()
        self._a.mov_number(R8, self._handed)
        self._emit_part(0, closed)
        self._emit_meeting(0, closed)
        self._a.vzeroupper()

    def emit_parts(self) -> None:
        """Put what the others do; a part of a closed team just ends."""
        for member in range(1, self._team.threads):
            closed = Label()
            self._emit_start(self.starts[member])
            self._emit_part(member, closed)
            self._a.put(closed)
            self._emit_end()
        self._emit_start(self.alone)
        self._emit_values()
        emit_tiles(self._writer, self._plan)
        self._emit_end()

    def _emit_part(self, member: int, closed: Label) -> None:
        self._emit_values()
        emit_tiles(self._writer, self._plan, lambda stage: self._emit_stage(stage, member), lambda: self._emit_meeting(member, closed))

    def _emit_stage(self, stage: Stage, member: int) -> None:
        """Put this thread's part of a stage."""
        if not isinstance(stage, Product):
            self._emit_some_rows(stage, member)
            return
        threads, panels = self._team.threads, panels_of(stage.shape, self._a.vectors)
        is_even = math.ceil(panels / threads) <= UNEVEN * panels / threads
        least = LEAST_SHARED_ROWS * threads
        by_rows, end = Label(), Label()
        both = not is_even and self._writer.most_rows >= least
        if both:
            self._writer.rows(RAX)
            self._a.cmp_number(RAX, least)
            self._a.jump_if("ae", by_rows)
        first, last = panels * member // threads, panels * (member + 1) // threads
        if first < last:
            stage.emit_panels(self._writer, (first, last))
        if both:
            self._a.jump(end)
            self._a.put(by_rows)
            self._emit_some_rows(stage, member)
        self._a.put(end)

    def _emit_some_rows(self, stage: Stage, member: int) -> None:
        a, end = self._a, Label()
        self._emit_share(Mem(FRAME_BASE, ROWS), member)
        a.store(Mem(FRAME_BASE, FIRST), RBX)
        a.store(Mem(FRAME_BASE, MINE), RAX)
        a.cmp_number(RAX, 0)
        a.jump_if("e", end)
        with self._writer.sharing_rows(self._team.threads):
            stage.emit(self._writer)
        a.put(end)
