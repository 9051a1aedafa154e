"""What a compiled program needs in order to run: who runs it, where its outputs go, and the checks around both.

`OptimizedRunner` is the front of it. An engine knows nothing of that front, so that the function a user calls can hold the engine and
nothing holds itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from mlbench.arrays import aligned_bytes
from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.pipeline import Compiled
from mlbench.compiler.x86 import IS_READABLE, Guard
from mlbench.errors import InputError
from mlbench.ir import FloatArray
from mlbench.runtime.dispatch import F32, Call, Floats
from mlbench.runtime.executors import Bound, executor_of
from mlbench.runtime.lane import drop_oldest, held_bytes, must_be_staged
from mlbench.runtime.validation import checked, checked_all, checked_out
from mlbench.runtime.x86_backend import chain_text


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
class _Batch:
    """What an engine keeps for one batch size.

    Attributes:
        bound: what runs it.
        outputs: where the results go unless the caller says; none where each call makes new ones.
        rows: their rows for each tile, of a graph with several inputs or outputs.
    """

    bound: Bound
    outputs: tuple[FloatArray, ...]
    rows: tuple[tuple[FloatArray, ...], ...]


class Engine:
    """Runs one program.

    Args:
        compiled: the program.
        plan: where its buffers lie.

    Attributes:
        compiled: the program.
        calls: shape of x to what runs a float32 x of that shape where it lies, or returns that x when it cannot read it.
        guard: says whether a call is under way; whoever calls `run` has taken it.
    """

    def __init__(self, compiled: Compiled, plan: MemoryPlan) -> None:
        self.calls: dict[tuple[int, ...], Call] = {}
        self.guard = Guard()
        self.compiled = compiled
        self._program = program = compiled.program
        self._executor = executor_of(program, plan)
        lane, *others = self._executor.lanes
        homes = [plan.buffer_of(name) for name in program.graph.outputs] if program.schedule.is_static else []
        # Threads with rows of their own have arenas without the output, which they share.
        self._arena = aligned_bytes(homes[0].size_bytes) if others and homes else lane.arena
        flat = [self._arena.view(np.float32)] if others and homes else [lane.storage[home.name] for home in homes]
        self._outputs = tuple(each.reshape(home.rows, home.columns) for each, home in zip(flat, homes, strict=True))
        self._output_columns = tuple(program.graph.columns_of(name) for name in program.graph.outputs)
        self._input_columns = next(iter(program.graph.inputs.values()))
        self._batches: dict[int, _Batch] = {}

    @property
    def memory(self) -> StaticMemory:
        """The bytes held between calls."""
        graph, lanes = self._program.graph, self._executor.lanes
        names = self._program.read_constants - set(self.compiled.source.constants)
        made = {name: graph.constants[name].nbytes for name in names}
        weights = {name for node in graph.nodes for name in node.operands[:1]}
        is_operand = {name: graph.constants[name].ndim == 2 and name not in weights for name in made}
        packed_bytes = sum(array.nbytes for array in self._program.schedule.packed.values())
        arenas = {id(arena): held_bytes(arena) for arena in (self._arena, *(lane.arena for lane in lanes))}
        code_bytes = sum(kept.bound.code_bytes for kept in self._batches.values())
        return StaticMemory(
            sum(arenas.values()),
            sum(size for name, size in made.items() if is_operand[name]) + sum(lane.operand_bytes for lane in lanes) + code_bytes,
            sum(lane.staging_bytes for lane in lanes),
            sum(size for name, size in made.items() if not is_operand[name]) + packed_bytes,
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """What runs, for each form that the batch sizes so far have needed: Python, or what generated code does."""
        if self._program.is_generated:
            sizes = {batch: kept.bound.code_bytes for batch, kept in self._batches.items() if kept.bound.code_bytes}
            return tuple(chain_text(self._program, batch, size) for batch, size in sizes.items())
        return self._executor.lanes[0].binder.sources

    def reserve_staging(self) -> None:
        """Make the staging buffers now, so that the first float64 or strided input allocates nothing either."""
        for lane in self._executor.lanes:
            lane.reserve_staging()

    def is_apart(self, x: FloatArray) -> bool:
        """Whether x certainly lies outside the arena and can be read where it lies, for an x that is a view of something."""
        base = x.base
        is_foreign = base.__class__ is np.ndarray and base is not self._arena.base and base.flags.owndata
        return bool(is_foreign) and x.flags.num & IS_READABLE == IS_READABLE

    def run(self, x: object, out: object) -> FloatArray:
        """Run with whatever the caller gave: check it, stage it if need be."""
        source = checked(x, self._input_columns, self._program.schedule.max_batch)
        batch = source.shape[0]
        kept = self._batches.get(batch) or self._bind(batch)
        target = self._target(kept, out, batch)
        staged = must_be_staged(source)
        if batch and np.may_share_memory(source, self._arena):
            staged = True
            own = target if out is None or not self._outputs else self._outputs[0][:batch]
            self._check_alias(source, own, batch, "x overlaps the arena of this runner")
        if out is not None and batch and np.may_share_memory(source, target):
            staged = True
            self._check_alias(source, target, batch, "x overlaps out")
        if staged and len(self._executor.lanes) > 1:
            source, staged = np.array(source, F32, order="C"), False  # each thread would overwrite what the others still read
        kept.bound.run(source, target, staged=staged)
        return target

    def run_all(self, xs: object) -> tuple[FloatArray, ...]:
        """Run with one array for each input, whatever the caller gave, and return one for each output.

        An array that cannot be read where it lies is copied, and one that lies in the arena as well.
        """
        sources = checked_all(xs, self._program.graph.inputs, self._program.schedule.max_batch)
        batch, (lane,) = len(sources[0]), self._executor.lanes
        sources = tuple(np.array(x, F32, order="C") if must_be_staged(x) or np.may_share_memory(x, self._arena) else x for x in sources)
        kept = self._batches.get(batch) or self._bind(batch)
        targets, rows = kept.outputs, kept.rows
        if not targets:
            targets = tuple(np.empty((batch, columns), np.float32) for columns in self._output_columns)
            rows = lane.rows_of(batch, targets)
        self._executor.run_one(partial(lane.run_all, sources, rows))
        return targets

    def _target(self, kept: _Batch, out: object, batch: int) -> FloatArray:
        """Return where the result goes."""
        shape = (batch, self._output_columns[0])
        if out is None:
            return kept.outputs[0] if kept.outputs else np.empty(shape, np.float32)
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
        if batch > self._program.schedule.tile_rows and not same_rows and len(self._executor.lanes) == 1:
            raise InputError(f"{what}, and later rows would be overwritten before they are read; pass x.copy()")

    def _bind(self, batch: int) -> _Batch:
        """Ask the executor for what runs a batch size, and keep it."""
        drop_oldest(self._batches)
        for shape in [shape for shape in self.calls if shape[0] not in self._batches]:
            del self.calls[shape]
        outputs = tuple(own[:batch] for own in self._outputs)
        bound = self._executor.bind(batch, outputs, self.guard)
        rows = () if self._program.graph.is_single else self._executor.lanes[0].rows_of(batch, outputs)
        self._batches[batch] = kept = _Batch(bound, outputs, rows)
        if bound.call is not None:
            self.calls[batch, self._input_columns] = bound.call
        return kept
