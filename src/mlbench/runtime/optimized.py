"""The compiled runner: everything is decided before the first call of a batch size, and after it a call allocates nothing."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlbench.errors import BusyError, InputError, ModelError
from mlbench.graph import BYTES_PER_NUMBER, FloatArray, Graph
from mlbench.memory import ALIGNMENT_BYTES, Buffer, MemoryPlan, check_plan, plan_memory, scratch_names, strip_rows_of
from mlbench.models import Model
from mlbench.passes import PASSES, Compiled, Pass, compile_graph, passes_named
from mlbench.runtime.admission import checked, checked_out
from mlbench.runtime.lowering import forget, load, tile_source

_F32 = np.dtype(np.float32)
_READY = 0x0001 | 0x0100
"""NumPy's flags C_CONTIGUOUS and ALIGNED: what `dot` needs to read an array where it lies, without a copy."""
_KEPT_PROGRAMS = 32
"""Batch sizes whose views a runner keeps; each costs some hundred bytes of Python objects. The next one replaces the oldest."""

Floats = npt.NDArray[np.floating]
Tile = Callable[[FloatArray, FloatArray], None]


@dataclass(frozen=True, slots=True)
class StaticMemory:
    """The bytes a runner holds between calls.

    Attributes:
        arena_bytes: all intermediates and the output, and what their alignment costs.
        operand_bytes: operands that were made to avoid an allocation, such as strips of a bias.
        staging_bytes: the copy of an input that cannot be read where it lies; 0 until one comes.
        weight_copy_bytes: weights and biases in another form than the model's own; counted by itself.
    """

    arena_bytes: int
    operand_bytes: int
    staging_bytes: int
    weight_copy_bytes: int

    @property
    def total_bytes(self) -> int:
        """What counts as the runner's memory: everything but copies of weights."""
        return self.arena_bytes + self.operand_bytes + self.staging_bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Program:
    """What runs for one batch size: tiles of the batch, with the rows each one takes."""

    tiles: tuple[tuple[Tile, int, int], ...]
    output: FloatArray
    single: Tile | None


class OptimizedRunner:
    """Run a compiled model: fused, in place, in one statically planned arena, without any allocation in `run`.

    The first call of a batch size makes views for it; the calls after it allocate nothing.

    A runner is used by one thread at a time; a second thread that calls `run` meanwhile gets a `BusyError`. To run on several threads,
    make one runner for each of them from the same model: weights are shared, only the arena is their own.

    Args:
        model: the model, or a graph.
        max_batch: most rows a call may have.
        passes: names of the optimisations to switch on, in any order; all of them by default. With none the runner still has static
            buffers. `mlbench explain` tells what each of them does. Passes of your own may stand here instead, and run in the order given.

    Attributes:
        compiled: the graph as written, the graph as it runs, and what each pass did.
        plan: where each buffer lies in the arena, with `arena_bytes` and `lower_bound_bytes`; `print(runner.plan)` draws it.
        max_batch: most rows a call may have.

    Raises:
        ModelError: for a max_batch below 1.

    >>> from mlbench import OptimizedRunner, mlp
    >>> import numpy as np
    >>> fast = OptimizedRunner(mlp(inputs=4, hidden=8, outputs=2), max_batch=16)
    >>> fast.run(np.ones((3, 4), np.float32)).shape
    (3, 2)
    >>> fast.plan.arena_bytes
    640
    """

    __slots__ = ("__weakref__", "_acquire", "_arena", "_binders", "_files", "_memory", "_output", "_programs", "_release", "_staging",
                 "_views", "compiled", "max_batch", "plan")  # fmt: skip

    compiled: Compiled
    plan: MemoryPlan
    max_batch: int

    def __init__(self, model: Model | Graph, max_batch: int, *, passes: Sequence[str] | Sequence[Pass] = PASSES) -> None:
        if not _is_size(max_batch):
            raise ModelError(f"max_batch is {max_batch!r}; expected a whole number of 1 or more")
        source = model.graph() if isinstance(model, Model) else model
        self.max_batch = int(max_batch)
        self.compiled = compile_graph(source, self.max_batch, _resolved(passes))
        self.plan = plan_memory(self.compiled.graph)
        check_plan(self.compiled.graph, self.plan)
        self._arena = _aligned_bytes(self.plan.arena_bytes)
        self._views = {buffer.name: _view(self._arena, buffer) for buffer in self.plan.buffers}
        self._output = self._views[self.plan.buffer_of(self.compiled.graph.output).name]
        self._staging: FloatArray | None = None
        self._programs: dict[tuple[int, ...], _Program] = {}
        self._binders: dict[tuple[frozenset[int], bool], Callable[..., Tile]] = {}
        self._files: list[str] = []
        weakref.finalize(self, _forget_all, self._files)
        lock = threading.RLock()  # the thread that a signal threw out of `run` gets in again
        self._acquire, self._release = lock.acquire, lock.release

    def run(self, x: Floats, out: FloatArray | None = None) -> FloatArray:
        """Run the model.

        Args:
            x: (batch, inputs), 0 <= batch <= max_batch. float32, C-contiguous: read where it lies. Any other layout, float16 or float64:
                copied tile by tile into a staging buffer, which is made at the first such input and kept.
            out: (batch, outputs) float32, C-contiguous: where the result goes. None: into the arena.

        Returns:
            (batch, outputs) float32: `out`, or a view of the arena that is valid until the next call.

        Raises:
            InputError: when x or out do not fit, or overlap each other or the arena in a way that would give a wrong result.
            BusyError: when another thread is running this runner.
        """
        if not self._acquire(False):  # noqa: FBT003  # the keyword costs 80 ns, 4 % of the smallest case
            raise BusyError("this runner is running on another thread; make one runner per thread from the same model, weights are shared")
        try:
            if out is None and x.__class__ is np.ndarray and x.dtype is _F32:
                program = self._programs.get(x.shape)
                if program is not None and x.flags.num & _READY == _READY and ((base := x.base) is None or self._is_foreign(base)):
                    if program.single is not None:
                        program.single(x, program.output)
                    else:
                        output = program.output
                        for tile, first, last in program.tiles:
                            tile(x[first:last], output[first:last])
                    return program.output
            return self._run_any(x, out)
        finally:
            self._release()

    @property
    def memory(self) -> StaticMemory:
        """The bytes the runner holds between calls."""
        own = {id(array) for array in self.compiled.source.constants.values()}
        made = [array for array in self.compiled.graph.constants.values() if id(array) not in own]
        operands = sum(array.nbytes for array in made if array.ndim == 2)
        copies = sum(array.nbytes for array in made if array.ndim != 2)
        return StaticMemory(_held_bytes(self._arena), operands, 0 if self._staging is None else _held_bytes(self._staging), copies)

    @property
    def sources(self) -> tuple[str, ...]:
        """The Python that runs, for each form that the batch sizes so far have needed."""
        return tuple(tile_source(self.compiled.graph, self.plan, stripped, one_row=one_row) for stripped, one_row in self._binders)

    def reserve_staging(self) -> None:
        """Make the staging buffer now, so that the first float64 or strided input allocates nothing either."""
        if self._staging is None:
            rows = self.compiled.graph.rows_at_once or self.max_batch
            self._staging = _view(_aligned_bytes(size := rows * self._columns * BYTES_PER_NUMBER),
                                  Buffer("staging", (), rows, self._columns, size, 0, 1))  # fmt: skip

    @property
    def _columns(self) -> int:
        return self.compiled.graph.input_columns

    def _is_foreign(self, base: object) -> bool:
        """Whether memory that a view is based on certainly is not the arena's: an array that owns its memory and is not ours."""
        return base.__class__ is np.ndarray and base is not self._arena.base and bool(base.flags.owndata)

    def _run_any(self, x: object, out: object) -> FloatArray:
        """Run with whatever the caller gave: check it, stage it if need be."""
        source = checked(x, self._columns, self.max_batch)
        batch = source.shape[0]
        program = self._programs.get(source.shape) or self._bind(batch)
        target = program.output
        if out is not None:
            target = checked_out(out, (batch, self._output.shape[1]))
            self._check_target(target, batch)
        staged = source.dtype != _F32 or source.flags.num & _READY != _READY
        if batch and np.may_share_memory(source, self._arena):
            staged = True
            self._check_alias(source, target if out is None else self._output[:batch], batch, "x overlaps the arena of this runner")
        if out is not None and batch and np.may_share_memory(source, target):
            staged = True
            self._check_alias(source, target, batch, "x overlaps out")
        if staged:
            self.reserve_staging()
        for tile, first, last in program.tiles:
            rows = source[first:last]
            if staged:
                assert self._staging is not None
                stage = self._staging[: last - first]
                np.copyto(stage, rows, casting="same_kind")
                rows = stage
            tile(rows, target[first:last])
        return target

    def _check_target(self, target: FloatArray, batch: int) -> None:
        output = self._output[:batch]
        if np.may_share_memory(target, self._arena) and target.ctypes.data != output.ctypes.data:
            raise InputError("out overlaps a buffer of this runner; pass an array of your own, or what the last call returned, or None")

    def _check_alias(self, source: Floats, target: FloatArray, batch: int, what: str) -> None:
        """Rows are staged tile by tile, so an overlap is harmless with one tile, or where row i of x lies within row i of the result."""
        width = (source.shape[1] - 1) * source.strides[1] + source.itemsize
        same_rows = (
            source.ctypes.data == target.ctypes.data
            and source.strides[0] == target.strides[0]
            and source.strides[1] >= 0
            and width <= target.strides[0]
        )
        if batch > (self.compiled.graph.rows_at_once or batch) and not same_rows:
            raise InputError(f"{what}, and later rows would be overwritten before they are read; pass x.copy()")

    def _bind(self, batch: int) -> _Program:
        """Make the views and the functions for a batch size."""
        if len(self._programs) >= _KEPT_PROGRAMS:
            self._programs.pop(next(iter(self._programs)))
        step = self.compiled.graph.rows_at_once or batch
        bound = {rows: self._bind_tile(rows) for rows in {min(step, batch - first) for first in range(0, batch, step)}}
        cuts = [(first, min(first + step, batch)) for first in range(0, batch, step)]
        tiles = tuple((bound[last - first], first, last) for first, last in cuts)
        program = _Program(tiles, self._output[:batch], tiles[0][0] if len(tiles) == 1 else None)
        self._programs[(batch, self._columns)] = program
        return program

    def _bind_tile(self, rows: int) -> Tile:
        graph = self.compiled.graph
        heights = {position: strip_rows_of(graph, node) for position, node in enumerate(graph.nodes)}
        stripped = frozenset(position for position, height in heights.items() if height is not None and height < rows)
        form = stripped, rows == 1 and any(node.columns == 1 for node in graph.nodes)
        if form not in self._binders:
            source = tile_source(graph, self.plan, stripped, one_row=form[1])
            self._binders[form], filename = load(source, "bind", "tile", graph.constants)
            self._files.append(filename)
        binder = self._binders[form]
        wanted = binder.__code__.co_varnames[: binder.__code__.co_argcount]
        return binder(**{name: self._argument(name, rows) for name in wanted})

    def _argument(self, name: str, rows: int) -> object:
        """Return what `bind` calls `name`: a buffer's rows, a constant's rows, or the strips of a node."""
        if name in self._views:
            return self._views[name][:rows]
        if name.startswith("strips"):
            return self._strips(int(name.removeprefix("strips")), rows)
        constant = self.compiled.graph.constants[name.removesuffix("_rows")]
        return _operand(constant, rows)

    def _strips(self, position: int, rows: int) -> tuple[tuple[object, ...], ...]:
        """Cut the rows of a node's result into strips: the place, then the constants, then the scratch for each."""
        graph = self.compiled.graph
        node = graph.nodes[position]
        strips = math.ceil(rows / (strip_rows_of(graph, node) or rows))
        height = math.ceil(rows / strips)
        constants = [graph.constants[name] for name in dict.fromkeys(name for step in node.epilogue for name in step.operands)]
        scratch = [self._views[name] for name in scratch_names(node)]
        home = self.plan.buffer_of(node.output)
        cut: list[tuple[object, ...]] = []
        for first in range(0, rows, height):
            last = min(first + height, rows)
            operands = [_operand(array, last - first) for array in (*constants, *scratch)]
            if home is self.plan.buffer_of(graph.output):
                cut.append((first, last, *operands))
            else:
                cut.append((self._views[home.name][first:last], *operands))
        return tuple(cut)


def _resolved(passes: Sequence[str] | Sequence[Pass]) -> Sequence[Pass]:
    named = [each for each in passes if isinstance(each, str)]
    own = [each for each in passes if not isinstance(each, str)]
    return passes_named(named) if named or not own else own


def _is_size(number: object) -> bool:
    return isinstance(number, (int, np.integer)) and int(number) >= 1


def _aligned_bytes(size: int) -> npt.NDArray[np.uint8]:
    """Return `size` bytes that start at a cache line."""
    raw = np.zeros(size + ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[start : start + size]


def _held_bytes(view: npt.NDArray[np.generic]) -> int:
    """Return the bytes of the allocation behind a view."""
    return view.base.nbytes if isinstance(view.base, np.ndarray) else view.nbytes


def _operand(array: FloatArray, rows: int) -> FloatArray:
    """Return what an element-wise kernel reads: a strip's rows, a row as a matrix of one row, a scalar as it is."""
    if array.ndim == 1:
        return array[np.newaxis]
    return array[:rows] if array.ndim == 2 else array


def _view(arena: npt.NDArray[np.uint8], buffer: Buffer) -> FloatArray:
    flat = arena[buffer.offset : buffer.offset + buffer.size_bytes].view(np.float32)
    return flat.reshape(buffer.rows, buffer.columns)


def _forget_all(filenames: list[str]) -> None:
    for filename in filenames:
        forget(filename)
