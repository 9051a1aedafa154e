"""What a compiled graph needs in order to run: its arena, its tile functions, and the checks around them.

`OptimizedRunner` is the front of it. An engine knows nothing of that front, so that the function a user calls can hold the engine and
nothing holds itself. A crew of threads is some engines, one for each thread, behind one more that owns the output.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from mlbench.arrays import aligned_bytes, aligned_floats
from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.pipeline import Compiled
from mlbench.compiler.x86 import IS_READABLE, Guard, Layer, Own, Rows, Team, chain, columns_shared_chain, rows_shared_chain
from mlbench.errors import InputError
from mlbench.ir import FloatArray
from mlbench.runtime.dispatch import F32, Call, Cut, Floats, call_of_tiles
from mlbench.runtime.numpy_backend.binding import Binder
from mlbench.runtime.numpy_backend.lowering import forget
from mlbench.runtime.threads import Crew
from mlbench.runtime.validation import checked, checked_out
from mlbench.runtime.x86_backend import chain_text, code_bytes, instructions, layers_of, whole_run

_KEPT_PROGRAMS = 32
"""Batch sizes whose views an engine keeps; each costs some hundred bytes of Python objects. The next one replaces the oldest."""


@dataclass(frozen=True, slots=True)
class StaticMemory:
    """The bytes a runner holds between calls, beyond the model's own weights.

    Attributes:
        arena_bytes: all intermediates and the output, and what their alignment costs; of several threads, all their arenas.
        operand_bytes: operands that were made to avoid an allocation, such as strips of a bias, and generated code.
        staging_bytes: the copy of an input that cannot be read where it lies; 0 until one comes.
        weight_copy_bytes: weights and biases in another form than the model's own; those that several runners share count in each.
    """

    arena_bytes: int
    operand_bytes: int
    staging_bytes: int
    weight_copy_bytes: int

    @property
    def total_bytes(self) -> int:
        """What counts as the runner's memory: all of it."""
        return self.without_copies_bytes + self.weight_copy_bytes

    @property
    def without_copies_bytes(self) -> int:
        """The same without copies of weights."""
        return self.arena_bytes + self.operand_bytes + self.staging_bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Program:
    """What runs for one batch size.

    Attributes:
        batch: its rows.
        cuts: the tiles; None until somebody needs them, where generated code runs them all.
        whole: generated code for all tiles, `whole(x, y)`; None where NumPy has a part in it.
        output: where the result goes unless the caller says; None where each call makes a new one.
        operand_bytes: operands and code that were made for it.
    """

    batch: int
    cuts: tuple[Cut, ...] | None
    whole: Callable[..., FloatArray] | None
    output: FloatArray | None
    operand_bytes: int


class Engine:
    """Runs one compiled graph.

    Args:
        compiled: the graph.
        plan: where its buffers lie.
        members: an engine for each thread that runs rows of its own, the calling thread's first; none leaves all rows to this one.
        crew: threads that run the members, and BLAS's threads meanwhile; None leaves both as they are.
        team: threads that run generated code.
        owns_output: the result has a place in the arena; else it lies behind all else in the plan, is not allocated, and `run_rows` is the
            only way to run.

    Attributes:
        compiled: the graph.
        calls: shape of x to what runs a float32 x of that shape where it lies, or returns that x when it cannot read it.
        guard: says whether a call is under way; whoever calls `run` has taken it.
        binder: makes the tile functions.
    """

    def __init__(
        self,
        compiled: Compiled,
        plan: MemoryPlan,
        members: Sequence[Engine] = (),
        *,
        crew: Crew | None = None,
        team: Team | None = None,
        owns_output: bool = True,
    ) -> None:
        self.calls: dict[tuple[int, ...], Call] = {}
        self.guard = Guard()
        self.compiled = compiled
        self._graph = graph = compiled.graph
        self._crew, self._team = crew, team
        self._members = tuple(members)
        home = plan.buffer_of(graph.output)
        arena_bytes = home.size_bytes if self._members else plan.arena_bytes
        self._arena = aligned_bytes((arena_bytes if owns_output else home.offset) if graph.is_static else 0)
        places = {buffer.name: (0 if self._members else buffer.offset, buffer.size_bytes) for buffer in plan.buffers}
        storage = {name: self._arena[first : first + size].view(np.float32) for name, (first, size) in places.items() if graph.is_static}
        self.binder = Binder(graph, plan, storage)
        self._output = storage[home.name].reshape(home.rows, home.columns) if graph.is_static and owns_output else None
        self._plan, self._storage = plan, storage
        self._staging: FloatArray | None = None
        self._programs: dict[tuple[int, ...], _Program] = {}
        weakref.finalize(self, _forget_all, self.binder.files)

    @property
    def memory(self) -> StaticMemory:
        """The bytes held between calls."""
        graph = self._graph
        own = {id(array) for array in self.compiled.source.constants.values()}
        made = {name: array.nbytes for name, array in graph.constants.items() if id(array) not in own}
        weights = {name for node in graph.nodes for name in node.inputs[1:2]}
        is_operand = {name: graph.constants[name].ndim == 2 and name not in weights for name in made}
        parts = [member.memory for member in self._members]
        return StaticMemory(
            held_bytes(self._arena) + sum(part.arena_bytes for part in parts),
            sum(size for name, size in made.items() if is_operand[name]) + sum(each.spread_bytes for each in (self, *self._members)),
            (0 if self._staging is None else held_bytes(self._staging)) + sum(part.staging_bytes for part in parts),
            sum(size for name, size in made.items() if not is_operand[name]),
        )

    @property
    def spread_bytes(self) -> int:
        """The bytes of operands that were made for the batch sizes so far; what the graph holds is the same for all threads."""
        return sum(program.operand_bytes for program in self._programs.values())

    @property
    def sources(self) -> tuple[str, ...]:
        """What runs, for each form that the batch sizes so far have needed: Python, or what generated code does."""
        if self._graph.is_generated:
            return tuple(
                chain_text(self._graph, program.batch, code_bytes(program.whole)) for program in self._programs.values() if program.whole
            )
        return self.binder.sources or (self._members[0].sources if self._members else ())

    def reserve_staging(self) -> None:
        """Make the staging buffer now, so that the first float64 or strided input allocates nothing either."""
        for member in self._members:
            member.reserve_staging()
        if self._staging is None and not self._members:
            rows, columns = self._graph.rows_at_once or 1, self._graph.input_columns
            self._staging = aligned_floats((rows, columns))

    def is_apart(self, x: FloatArray) -> bool:
        """Whether x certainly lies outside the arena and can be read where it lies, for an x that is a view of something."""
        base = x.base
        is_foreign = base.__class__ is np.ndarray and base is not self._arena.base and base.flags.owndata
        return bool(is_foreign) and x.flags.num & IS_READABLE == IS_READABLE

    def run(self, x: object, out: object) -> FloatArray:
        """Run with whatever the caller gave: check it, stage it if need be."""
        graph = self._graph
        source = checked(x, graph.input_columns, graph.max_batch)
        batch = source.shape[0]
        program = self._programs.get(source.shape) or self._bind(batch)
        target = self._target(program, out, batch)
        staged = source.dtype != F32 or source.flags.num & IS_READABLE != IS_READABLE
        if batch and np.may_share_memory(source, self._arena):
            staged = True
            own = target if out is None or self._output is None else self._output[:batch]
            self._check_alias(source, own, batch, "x overlaps the arena of this runner")
        if out is not None and batch and np.may_share_memory(source, target):
            staged = True
            self._check_alias(source, target, batch, "x overlaps out")
        if self._members and staged:
            source = np.array(source, F32, order="C")  # each thread would overwrite what the others still read
        self._run(program, source, target, staged=staged and not self._members)
        return target

    def _target(self, program: _Program, out: object, batch: int) -> FloatArray:
        """Return where the result goes."""
        shape = (batch, self._graph.columns_of(self._graph.output))
        if out is None:
            return np.empty(shape, np.float32) if program.output is None else program.output
        target = checked_out(out, shape)
        if self._output is not None and np.may_share_memory(target, self._arena) and target.ctypes.data != self._output.ctypes.data:
            raise InputError("out overlaps a buffer of this runner; pass an array of your own, or what the last call returned, or None")
        return target

    def _check_alias(self, source: Floats, target: FloatArray, batch: int, what: str) -> None:
        """Rows are staged tile by tile, so an overlap is harmless with one tile, or where row i of x lies within row i of the result."""
        width = (source.shape[1] - 1) * source.strides[1] + source.itemsize
        same_rows = (
            source.ctypes.data == target.ctypes.data
            and source.strides[0] == target.strides[0]
            and source.strides[1] >= 0
            and width <= target.strides[0]
        )
        if batch > (self._graph.rows_at_once or batch) and not same_rows and not self._members:
            raise InputError(f"{what}, and later rows would be overwritten before they are read; pass x.copy()")

    def _run(self, program: _Program, source: Floats, target: FloatArray, *, staged: bool) -> None:
        if self._team is not None:
            self._team.check()
        if self._crew is None:
            self._run_tiles(program, source, target, staged=staged)
        elif not self._members:
            self._crew.run([partial(self._run_tiles, program, source, target, staged=staged)])
        elif len(source):
            share = -(-len(source) // len(self._members))
            cuts = [(first, min(first + share, len(source))) for first in range(0, len(source), share)]
            work = [partial(member.run_rows, source[first:last], target[first:last])
                    for member, (first, last) in zip(self._members, cuts, strict=False)]  # fmt: skip
            self._crew.run(work)

    def run_rows(self, x: Floats, out: FloatArray) -> None:
        """Run the rows of one thread of a crew, which were checked already."""
        program = self._programs.get(x.shape) or self._bind(x.shape[0])
        self._run_tiles(program, x, out, staged=x.dtype != F32 or x.flags.num & IS_READABLE != IS_READABLE)

    def _run_tiles(self, program: _Program, source: Floats, target: FloatArray, *, staged: bool) -> None:
        if staged:
            self.reserve_staging()
        elif program.whole is not None:
            done = program.whole(source, target)
            if self._team is not None and done is not target:
                self._team.check()  # it was closed meanwhile
            return
        for tile, first, last in self._cuts(program):
            rows = source[first:last]
            if staged:
                assert self._staging is not None
                stage = self._staging[: last - first]
                np.copyto(stage, rows, casting="same_kind")
                rows = stage
            tile(rows, target[first:last])

    def _bind(self, batch: int) -> _Program:
        """Make the views and the functions for a batch size."""
        if len(self._programs) >= _KEPT_PROGRAMS:
            oldest = next(iter(self._programs))
            self._programs.pop(oldest)
            self.calls.pop(oldest, None)
        output = None if self._output is None else self._output[:batch]
        shape = (batch, self._graph.input_columns)
        if self._graph.is_generated and batch:
            whole = self._whole(batch, output)
            program = self._programs[shape] = _Program(batch, None, whole, output, code_bytes(whole))
            if output is not None:
                self.calls[shape] = whole
            return program
        program = self._with_cuts(_Program(batch, None, None, output, 0))
        if self._crew is None and output is not None and batch:
            has_code = any(node.width for node in self._graph.nodes)
            self.calls[shape] = call_of_tiles(self._cuts(program), output, self.guard.word, has_code=has_code)
        return program

    def _whole(self, batch: int, output: FloatArray | None) -> Callable[..., FloatArray]:
        """Return the code that runs all tiles of a batch, on one thread or on a team."""
        vectors, kept = instructions(), (self._graph, self._storage)
        rows = Rows(0, batch, self._graph.rows_at_once or batch)
        own = None if output is None else Own(output, self.guard)
        if self._team is None:
            return chain(vectors, self.layers(), rows, own, *kept)
        if not self._members:
            return columns_shared_chain(vectors, self.layers(), rows, self._team, own, *kept)
        members = len(self._members)
        edges = [batch * member // members for member in range(members + 1)]
        parts = [
            (member.layers(), Rows(first, last, member.rows_at_once or batch))
            for member, (first, last) in zip(self._members, itertools.pairwise(edges), strict=True)
        ]
        return rows_shared_chain(vectors, parts, self._team, own, *kept, self._members)

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers of a graph that is all generated code."""
        return layers_of(self._graph, self._plan, self._storage, whole_run(self._graph))

    @property
    def rows_at_once(self) -> int | None:
        """Most rows that run together."""
        return self._graph.rows_at_once

    def _cuts(self, program: _Program) -> tuple[Cut, ...]:
        return program.cuts if program.cuts is not None else self._cuts(self._with_cuts(program))

    def _with_cuts(self, program: _Program) -> _Program:
        """Return the program with its tiles, and keep it."""
        batch = program.batch
        step = self._graph.rows_at_once or batch
        places = [] if self._members else [(first, min(first + step, batch)) for first in range(0, batch, step)]
        bound = {rows: self.binder.bind(rows) for rows in {last - first for first, last in places}}
        made_bytes = sum(each.operand_bytes for each in bound.values())
        cuts = tuple((bound[last - first].run, first, last) for first, last in places)
        cut = replace(program, cuts=cuts, operand_bytes=program.operand_bytes + made_bytes)
        self._programs[batch, self._graph.input_columns] = cut
        return cut


def held_bytes(view: npt.NDArray[np.generic]) -> int:
    """Return the bytes of the allocation behind a view."""
    base = view
    while isinstance(base.base, np.ndarray):
        base = base.base
    return base.nbytes


def _forget_all(filenames: list[str]) -> None:
    for filename in filenames:
        forget(filename)
