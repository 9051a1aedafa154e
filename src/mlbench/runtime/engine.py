"""What a program needs in order to run: its arena, its tile functions, and the checks around them.

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
from mlbench.runtime.validation import checked, checked_all, checked_out
from mlbench.runtime.x86_backend import chain_text, code_bytes, instructions, layers_of, whole_run

_KEPT_BATCHES = 32
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
class _Bound:
    """What runs for one batch size.

    Attributes:
        batch: its rows.
        cuts: the tiles; None until somebody needs them, where generated code runs them all.
        whole: generated code for all tiles, `whole(x, y)`; None where NumPy has a part in it.
        outputs: where the results go unless the caller says; none where each call makes new ones.
        operand_bytes: operands and code that were made for it.
        output_rows: the rows of `outputs` of each tile.
    """

    batch: int
    cuts: tuple[Cut, ...] | None
    whole: Callable[..., FloatArray] | None
    outputs: tuple[FloatArray, ...]
    operand_bytes: int
    output_rows: tuple[tuple[FloatArray, ...], ...] = ()


class Engine:
    """Runs one program.

    Args:
        compiled: the program.
        plan: where its buffers lie.
        members: an engine for each thread that runs rows of its own, the calling thread's first; none leaves all rows to this one.
        crew: threads that run the members, and BLAS's threads meanwhile; None leaves both as they are.
        team: threads that run generated code.
        owns_output: the result has a place in the arena; else it lies behind all else in the plan, is not allocated, and `run_rows` is the
            only way to run.

    Attributes:
        compiled: the program.
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
        self._program = program = compiled.program
        graph, is_static = program.graph, program.schedule.is_static
        self._tile_rows = program.schedule.tile_rows
        self._columns = next(iter(graph.inputs.values()))
        self._crew, self._team = crew, team
        self._members = tuple(members)
        homes = [plan.buffer_of(name) for name in graph.outputs]
        arena_bytes = homes[0].size_bytes if self._members else plan.arena_bytes
        self._arena = aligned_bytes((arena_bytes if owns_output else homes[0].offset) if is_static else 0)
        places = {buffer.name: (0 if self._members else buffer.offset, buffer.size_bytes) for buffer in plan.buffers}
        storage = {name: self._arena[first : first + size].view(np.float32) for name, (first, size) in places.items() if is_static}
        self.binder = Binder(program, plan, storage)
        outputs = [storage[home.name].reshape(home.rows, home.columns) for home in homes] if is_static and owns_output else []
        self._outputs = tuple(outputs)
        self._plan, self._storage = plan, storage
        self._staging: FloatArray | None = None
        self._bound: dict[int, _Bound] = {}
        weakref.finalize(self, _forget_all, self.binder.files)

    @property
    def memory(self) -> StaticMemory:
        """The bytes held between calls."""
        graph = self._program.graph
        own = {id(array) for array in self.compiled.source.constants.values()}
        made = {name: array.nbytes for name, array in graph.constants.items() if id(array) not in own}
        weights = {name for node in graph.nodes for name in node.operands[:1]}
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
        return sum(bound.operand_bytes for bound in self._bound.values())

    @property
    def sources(self) -> tuple[str, ...]:
        """What runs, for each form that the batch sizes so far have needed: Python, or what generated code does."""
        if self._program.is_generated:
            return tuple(chain_text(self._program, bound.batch, code_bytes(bound.whole)) for bound in self._bound.values() if bound.whole)
        return self.binder.sources or (self._members[0].sources if self._members else ())

    def reserve_staging(self) -> None:
        """Make the staging buffer now, so that the first float64 or strided input allocates nothing either."""
        for member in self._members:
            member.reserve_staging()
        if self._staging is None and not self._members:
            self._staging = aligned_floats((self._tile_rows, self._columns))

    def is_apart(self, x: FloatArray) -> bool:
        """Whether x certainly lies outside the arena and can be read where it lies, for an x that is a view of something."""
        base = x.base
        is_foreign = base.__class__ is np.ndarray and base is not self._arena.base and base.flags.owndata
        return bool(is_foreign) and x.flags.num & IS_READABLE == IS_READABLE

    def run(self, x: object, out: object) -> FloatArray:
        """Run with whatever the caller gave: check it, stage it if need be."""
        source = checked(x, self._columns, self._program.schedule.max_batch)
        batch = source.shape[0]
        bound = self._bound.get(batch) or self._bind(batch)
        target = self._target(bound, out, batch)
        staged = _must_be_staged(source)
        if batch and np.may_share_memory(source, self._arena):
            staged = True
            own = target if out is None or not self._outputs else self._outputs[0][:batch]
            self._check_alias(source, own, batch, "x overlaps the arena of this runner")
        if out is not None and batch and np.may_share_memory(source, target):
            staged = True
            self._check_alias(source, target, batch, "x overlaps out")
        if self._members and staged:
            source = np.array(source, F32, order="C")  # each thread would overwrite what the others still read
        self._run(bound, source, target, staged=staged and not self._members)
        return target

    def run_all(self, xs: object) -> tuple[FloatArray, ...]:
        """Run with one array for each input, whatever the caller gave, and return one for each output.

        An array that cannot be read where it lies is copied, and one that lies in the arena as well.
        """
        sources = checked_all(xs, self._program.graph.inputs, self._program.schedule.max_batch)
        batch = len(sources[0])
        bound = self._bound.get(batch) or self._bind(batch)
        sources = tuple(np.array(x, F32, order="C") if _must_be_staged(x) or np.may_share_memory(x, self._arena) else x for x in sources)
        columns = map(self._program.graph.columns_of, self._program.graph.outputs)
        targets = bound.outputs or tuple(np.empty((batch, each), np.float32) for each in columns)
        cuts = self._cuts(bound)
        rows = bound.output_rows or tuple(tuple(each[first:last] for each in targets) for _, first, last in cuts)
        work = partial(_run_all_tiles, cuts, sources, rows)
        if self._crew is None:
            work()
        else:
            self._crew.run([work])
        return targets

    def _target(self, bound: _Bound, out: object, batch: int) -> FloatArray:
        """Return where the result goes."""
        shape = (batch, self._program.graph.columns_of(self._program.graph.outputs[0]))
        if out is None:
            return bound.outputs[0] if bound.outputs else np.empty(shape, np.float32)
        target = checked_out(out, shape)
        if self._outputs and np.may_share_memory(target, self._arena) and target.ctypes.data != self._outputs[0].ctypes.data:
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
        if batch > self._tile_rows and not same_rows and not self._members:
            raise InputError(f"{what}, and later rows would be overwritten before they are read; pass x.copy()")

    def _run(self, bound: _Bound, source: Floats, target: FloatArray, *, staged: bool) -> None:
        if self._team is not None:
            self._team.check()
        if self._crew is None:
            self._run_tiles(bound, source, target, staged=staged)
        elif not self._members:
            self._crew.run([partial(self._run_tiles, bound, source, target, staged=staged)])
        elif len(source):
            share = -(-len(source) // len(self._members))
            cuts = [(first, min(first + share, len(source))) for first in range(0, len(source), share)]
            work = [partial(member.run_rows, source[first:last], target[first:last])
                    for member, (first, last) in zip(self._members, cuts, strict=False)]  # fmt: skip
            self._crew.run(work)

    def run_rows(self, x: Floats, out: FloatArray) -> None:
        """Run the rows of one thread of a crew, which were checked already."""
        bound = self._bound.get(x.shape[0]) or self._bind(x.shape[0])
        self._run_tiles(bound, x, out, staged=_must_be_staged(x))

    def _run_tiles(self, bound: _Bound, source: Floats, target: FloatArray, *, staged: bool) -> None:
        if staged:
            self.reserve_staging()
        elif bound.whole is not None:
            done = bound.whole(source, target)
            if self._team is not None and done is not target:
                self._team.check()  # it was closed meanwhile
            return
        for tile, first, last in self._cuts(bound):
            rows = source[first:last]
            if staged:
                assert self._staging is not None
                stage = self._staging[: last - first]
                np.copyto(stage, rows, casting="same_kind")
                rows = stage
            tile(rows, target[first:last])

    def _bind(self, batch: int) -> _Bound:
        """Make the views and the functions for a batch size."""
        if len(self._bound) >= _KEPT_BATCHES:
            oldest = next(iter(self._bound))
            self._bound.pop(oldest)
            self.calls.pop((oldest, self._columns), None)
        outputs = tuple(own[:batch] for own in self._outputs)
        shape = (batch, self._columns)
        if self._program.is_generated and batch:
            whole = self._whole(batch, outputs)
            bound = self._bound[batch] = _Bound(batch, None, whole, outputs, code_bytes(whole))
            if outputs:
                self.calls[shape] = whole
            return bound
        bound = self._with_cuts(_Bound(batch, None, None, outputs, 0))
        if self._crew is None and outputs and batch and self._program.graph.is_single:
            self.calls[shape] = call_of_tiles(self._cuts(bound), outputs[0], self.guard.word, has_code=self._program.has_code)
        return bound

    def _whole(self, batch: int, outputs: tuple[FloatArray, ...]) -> Callable[..., FloatArray]:
        """Return the code that runs all tiles of a batch, on one thread or on a team."""
        vectors, kept = instructions(), (self._program, self._storage)
        rows = Rows(0, batch, self._tile_rows)
        own = Own(outputs[0], self.guard) if outputs else None
        if self._team is None:
            return chain(vectors, self.layers(), rows, own, *kept)
        if not self._members:
            return columns_shared_chain(vectors, self.layers(), rows, self._team, own, *kept)
        members = len(self._members)
        edges = [batch * member // members for member in range(members + 1)]
        parts = [
            (member.layers(), Rows(first, last, member._tile_rows))  # noqa: SLF001  # another engine
            for member, (first, last) in zip(self._members, itertools.pairwise(edges), strict=True)
        ]
        return rows_shared_chain(vectors, parts, self._team, own, *kept, self._members)

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers of a program that is all generated code."""
        return layers_of(self._program, self._plan, self._storage, whole_run(self._program))

    def _cuts(self, bound: _Bound) -> tuple[Cut, ...]:
        return bound.cuts if bound.cuts is not None else self._cuts(self._with_cuts(bound))

    def _with_cuts(self, bound: _Bound) -> _Bound:
        """Return the same with its tiles, and keep it."""
        batch, step = bound.batch, self._tile_rows
        places = [] if self._members else [(first, min(first + step, batch)) for first in range(0, batch, step)]
        tiles = {rows: self.binder.bind(rows) for rows in {last - first for first, last in places}}
        made_bytes = sum(each.operand_bytes for each in tiles.values())
        cuts = tuple((tiles[last - first].run, first, last) for first, last in places)
        rows = tuple(tuple(own[first:last] for own in bound.outputs) for _, first, last in cuts if bound.outputs)
        self._bound[batch] = replace(bound, cuts=cuts, operand_bytes=bound.operand_bytes + made_bytes, output_rows=rows)
        return self._bound[batch]


def _must_be_staged(x: Floats) -> bool:
    """Whether an array cannot be read where it lies."""
    return x.dtype != F32 or x.flags.num & IS_READABLE != IS_READABLE


def _run_all_tiles(cuts: Sequence[Cut], sources: Sequence[Floats], rows: Sequence[tuple[FloatArray, ...]]) -> None:
    for (tile, first, last), targets in zip(cuts, rows, strict=True):
        tile(*(source[first:last] for source in sources), *targets)


def held_bytes(view: npt.NDArray[np.generic]) -> int:
    """Return the bytes of the allocation behind a view."""
    base = view
    while isinstance(base.base, np.ndarray):
        base = base.base
    return base.nbytes


def _forget_all(filenames: list[str]) -> None:
    for filename in filenames:
        forget(filename)
