"""What a compiled program needs in order to run: who runs it, where its outputs go, and the checks around both.

`OptimizedRunner` is the front of it. An engine knows nothing of that front, so that the function a user calls can hold the engine and
nothing holds itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np

from mlbench.arrays import aligned_bytes, aligned_floats
from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.pipeline import Compiled
from mlbench.compiler.x86 import DTYPES, IS_READABLE, Guard, Own, Results, Whole, known_of
from mlbench.compiler.x86.caches import Caches
from mlbench.compiler.x86.counts.decoding import InstructionCounts
from mlbench.compiler.x86.counts.levels import LevelBytes
from mlbench.errors import InputError
from mlbench.ir import FloatArray, op_named
from mlbench.runtime.dispatch import F32, Call, Floats
from mlbench.runtime.executors import executor_of
from mlbench.runtime.lane import drop_oldest, held_bytes, must_be_staged
from mlbench.runtime.validation import Signature, checked_all, checked_one, checked_out, checked_outs
from mlbench.runtime.x86_backend import chain_text

_OWN_BUFFER = "out overlaps a buffer of this runner; pass an array of your own, or what the last call returned, or None"


@dataclass(frozen=True, slots=True)
class StaticMemory:
    """The bytes a runner holds between calls, beyond the model's own weights.

    Attributes:
        arena_bytes: all intermediates and the output, and what their alignment costs; of several threads, all their arenas.
        operand_bytes: operands that were made to avoid an allocation, such as strips of a bias, and generated code.
        staging_bytes: the copy of an input that cannot be read where it lies; 0 until one comes, unless whole numbers are expected.
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


class Engine:
    """Runs one program.

    Args:
        compiled: the program.
        plan: where its buffers lie.
        signature: what a caller may give.

    Attributes:
        compiled: the program.
        calls: shape of x to what runs a float32 x of that shape where it lies, or returns that x when it cannot read it; for several inputs
            a tuple of their shapes to what runs a tuple.
        guard: says whether a call is under way; whoever calls `run` has taken it.
        generated: the code that runs all rows of a call; None where NumPy has a part in it.
        own: what such a call uses; None where there is none.
        entry_bytes: memory of the function in front of that code; whoever makes it says so here.
        signature: what a caller may give.
    """

    def __init__(self, compiled: Compiled, plan: MemoryPlan, signature: Signature) -> None:
        self.calls: dict[tuple[Any, ...], Call] = {}
        self.guard = Guard()
        self.compiled = compiled
        self.signature = signature
        self._program = program = compiled.program
        self._executor = executor_of(program, plan)
        lane, *others = self._executor.lanes
        homes = [plan.buffer_of(name) for name in program.graph.outputs] if program.schedule.is_static else []
        # Threads with rows of their own have arenas without the output, which they share.
        self._arena = aligned_bytes(homes[0].size_bytes) if others and homes else lane.arena
        flat = [self._arena.view(np.float32)] if others and homes else [lane.storage[home.name] for home in homes]
        self._outputs = tuple(each.reshape(home.rows, home.columns) for each, home in zip(flat, homes, strict=True))
        self._output_columns = program.graph.columns_of(program.graph.outputs[0])
        self._input_columns = tuple(program.graph.inputs.values())
        self._is_single = program.graph.is_single
        self.generated = self._executor.generated
        self._copies: dict[int, FloatArray] = {}
        self.own: Own | None = None
        self.entry_bytes = 0
        if self.generated is not None:
            self.own = Own(Results(self._outputs, signature.batch or 1), self._arena, self.guard, self._whole_inputs())
        self._batches: dict[int, tuple[FloatArray, ...]] = {}

    @property
    def memory(self) -> StaticMemory:
        """The bytes held between calls."""
        graph, lanes = self._program.graph, self._executor.lanes
        names = self._program.read_constants - set(self.compiled.source.constants)
        made = {name: graph.constants[name].nbytes for name in names}
        weights = {node.operands[0] for node in graph.nodes if op_named(node.op).is_product}
        is_operand = {name: graph.constants[name].ndim == 2 and name not in weights for name in made}
        packed_bytes = sum(array.nbytes for array in self._program.schedule.packed.values())
        arenas = {id(arena): held_bytes(arena) for arena in (self._arena, *(lane.arena for lane in lanes))}
        code_bytes = 0
        if self.generated is not None and self.own is not None:
            code_bytes += self.generated.size_bytes + self.own.results.table_bytes + self.entry_bytes
        return StaticMemory(
            sum(arenas.values()),
            sum(size for name, size in made.items() if is_operand[name]) + sum(lane.operand_bytes for lane in lanes) + code_bytes,
            sum(lane.staging_bytes for lane in lanes) + sum(held_bytes(copy) for copy in self._copies.values()),
            sum(size for name, size in made.items() if not is_operand[name]) + packed_bytes,
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """What runs: what generated code does, or the Python of each form that the batch sizes so far have needed."""
        if self.generated is not None:
            return (chain_text(self._program, self._program.schedule.max_batch, self.generated.size_bytes),)
        return self._executor.lanes[0].binder.sources

    def counts(self, rows: int) -> InstructionCounts | None:
        """Return what generated code executes in a call; None where NumPy or several threads have a part in the call."""
        found = self._executor.generated
        return None if found is None else found.counts(rows)

    def _whole_inputs(self) -> tuple[Whole | None, ...]:
        """Return for each input the memory that it is converted into where a call may bring whole numbers, or None."""
        dtypes = [np.dtype(self.signature.whole[name].dtype) if name in self.signature.whole else None for name in self.signature.inputs]
        return tuple(Whole(dtype, self._copy_of(index)) if dtype in DTYPES else None for index, dtype in enumerate(dtypes))

    def level_bytes(self, rows: int, caches: Caches) -> tuple[LevelBytes, ...]:
        """Return what generated code moves between the levels of memory in a call; nothing where `counts` has none."""
        found = self._executor.generated
        return () if found is None else found.level_bytes(rows, caches)

    def reserve_staging(self) -> None:
        """Make the staging buffers now, so that the first float64 or strided input allocates nothing either."""
        if not self._is_single:
            for index in range(len(self._input_columns)):
                self._copy_of(index)
            return
        for lane in self._executor.lanes:
            lane.reserve_staging()

    def is_apart(self, x: FloatArray) -> bool:
        """Whether x certainly lies outside the arena and can be read where it lies, for an x that is a view of something."""
        base = x.base
        is_foreign = base.__class__ is np.ndarray and base is not self._arena.base and base.flags.owndata
        return bool(is_foreign) and x.flags.num & IS_READABLE == IS_READABLE

    def run(self, x: object, out: object) -> Any:
        """Run with whatever the caller gave: check it, stage it if need be.

        Args:
            x: the input; for a program of several inputs the tuple of all that the caller gave.
            out: where the result goes, a tuple of them for several outputs, or None.

        Raises:
            InputError: when one of them does not fit.
        """
        if not self._is_single:
            return self._run_several(x if len(self._input_columns) > 1 else (x,), out)
        source = checked_one(x, self.signature)
        batch = source.shape[0]
        target = self._target(self._own_outputs(batch), out, batch)
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
        self._executor.run(source, target, staged=staged)
        return target

    def _run_several(self, xs: Any, out: object) -> FloatArray | tuple[FloatArray, ...]:
        """Run with one array for each input and each output.

        An input that cannot be read where it lies is copied whole before anything is written, and so is one that lies in the arena or in a
        place for a result.
        """
        sources = checked_all(xs, self.signature)
        batch, (lane,) = len(sources[0]), self._executor.lanes
        mine = self._own_outputs(batch)
        targets = mine if out is None and mine else self._places(out, batch)
        sources = tuple(self._readable(index, x, targets) for index, x in enumerate(sources))
        self._executor.run_one(partial(lane.run_all, sources, targets))
        return targets if len(targets) > 1 else targets[0]

    def _places(self, out: object, batch: int) -> tuple[FloatArray, ...]:
        """Return where the results go, for a caller who says so or a program that makes new arrays."""
        if out is None:
            return tuple(np.empty((batch, columns), np.float32) for columns in self.signature.outputs.values())
        places = checked_outs(out, self.signature, batch)
        for index, place in enumerate(places):
            is_own = bool(self._outputs) and place.ctypes.data == self._outputs[index].ctypes.data
            if np.may_share_memory(place, self._arena) and not is_own:
                raise InputError(_OWN_BUFFER)
        return places

    def _readable(self, index: int, x: Floats, targets: tuple[FloatArray, ...]) -> Floats:
        """Return an input, or a copy of it where it cannot be read where it lies, or would be overwritten before it is read."""
        if not (must_be_staged(x) or np.may_share_memory(x, self._arena) or any(np.may_share_memory(x, each) for each in targets)):
            return x
        copy = self._copy_of(index)[: len(x)]
        np.copyto(copy, x, casting="same_kind")
        return copy

    def _copy_of(self, index: int) -> FloatArray:
        """Return the memory for a copy of one of several inputs, which is made at the first one that needs it."""
        if index not in self._copies:
            self._copies[index] = aligned_floats((self._program.schedule.max_batch, self._input_columns[index]))
        return self._copies[index]

    def _target(self, mine: tuple[FloatArray, ...], out: object, batch: int) -> FloatArray:
        """Return where the result goes."""
        shape = (batch, self._output_columns)
        if out is None:
            return mine[0] if mine else np.empty(shape, np.float32)
        target = checked_out(out, shape)
        if self._outputs and np.may_share_memory(target, self._arena) and target.ctypes.data != self._outputs[0].ctypes.data:
            raise InputError(_OWN_BUFFER)
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

    def _own_outputs(self, batch: int) -> tuple[FloatArray, ...]:
        """Return where the results of a batch size go unless the caller says; nothing where each call makes new arrays.

        A batch size that is new gets its shortest way, and replaces the oldest one, unless machine code has one way for all of them.
        """
        if self.own is not None and batch:
            found: FloatArray | tuple[FloatArray, ...] = self.own.results.of(batch)
            return found if isinstance(found, tuple) else (found,)
        if batch not in self._batches:
            for oldest in drop_oldest(self._batches, self._executor.lanes[0].kept_batches):
                self.calls.pop(self._shapes(oldest), None)
            outputs = tuple(own[:batch] for own in self._outputs)
            call = self._executor.call_of(batch, outputs, self.guard)
            self._batches[batch] = outputs
            if call is not None:
                self.calls[self._shapes(batch)] = call
        return self._batches[batch]

    def _shapes(self, batch: int) -> tuple[Any, ...]:
        """Return what `calls` has for a batch size: the shape of the input, or a tuple of those of all inputs."""
        shapes = tuple((batch, columns) for columns in self._input_columns)
        return shapes if len(shapes) > 1 else shapes[0]


def engine_of(run: object) -> Engine | None:
    """Return what a compiled runner's `run` runs with; None of anything else."""
    found = run.__dict__.get("engine") if isinstance(run, FunctionType) else known_of(run)
    return found if isinstance(found, Engine) else None
