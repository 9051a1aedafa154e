"""From a tile's source to the tile function of one number of rows: what each of its names stands for, made from program and arena."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlbench.compiler.memory import Buffer, MemoryPlan, scratch_names, strip_rows_of
from mlbench.compiler.schedule.program import FEATURES, Program
from mlbench.ir import FloatArray, op_named
from mlbench.runtime.bodies import Generated, Memory, generated
from mlbench.runtime.numpy_backend.lowering import load
from mlbench.runtime.numpy_backend.tile_source import Argument, Kind, TileSource, numpy_operands, tile_source
from mlbench.runtime.x86_backend import runs_of

Tile = Callable[..., None]
Form = tuple[frozenset[int], bool]

_OF_CONSTANTS = (Kind.CONSTANT, Kind.CONSTANT_TRANSPOSED, Kind.OPERAND, Kind.BROADCAST)


@dataclass(frozen=True, slots=True, eq=False)
class BoundTile:
    """A tile function and what was made for it alone.

    Attributes:
        run: `tile(x, y)`.
        operand_bytes: operands that were broadcast over its rows.
    """

    run: Tile
    operand_bytes: int


class Binder:
    """Makes tile functions for one program in one arena.

    Args:
        program: what runs.
        plan: where its buffers lie.
        storage: name of a buffer to its memory, a flat array of float32; empty without static buffers.
        arena: what these are parts of.

    Raises:
        CodeError: when the system gives no memory that code may run in.
    """

    def __init__(self, program: Program, plan: MemoryPlan, storage: Mapping[str, FloatArray], arena: npt.NDArray[np.uint8]) -> None:
        self._program = program
        self._graph = program.graph
        self._plan = plan
        self._storage = storage
        self._binders: dict[Form, tuple[TileSource, Callable[..., Tile]]] = {}
        self._made_bytes = 0
        self._code = {} if program.is_generated else _code_of(program, plan, Memory(storage, arena))
        self.files: list[str] = []

    @property
    def sources(self) -> tuple[str, ...]:
        """The Python of each form that was needed so far."""
        return tuple(source.text for source, _ in self._binders.values())

    @property
    def code_bytes(self) -> int:
        """The memory that generated code takes."""
        return sum(code.size_bytes for code in self._code.values())

    @property
    def makes_operands(self) -> bool:
        """Whether operands are made for each number of rows: those of values that lie feature after feature."""
        return any(self._program.of(node).layout == FEATURES for node in self._graph.nodes)

    def bind(self, rows: int) -> BoundTile:
        """Return the tile function for this many rows."""
        source, binder = self._binder(rows)
        self._made_bytes = 0
        arguments = {name: self._value(argument, rows) for name, argument in source.arguments.items()}
        return BoundTile(binder(**arguments), self._made_bytes)

    def _binder(self, rows: int) -> tuple[TileSource, Callable[..., Tile]]:
        graph = self._graph
        heights = {position: strip_rows_of(graph, node) for position, node in enumerate(graph.nodes)}
        stripped = frozenset(position for position, height in heights.items() if height is not None and height < rows)
        form = stripped, rows == 1 and any(node.columns == 1 for node in graph.nodes)
        if form not in self._binders:
            source = tile_source(self._program, self._plan, stripped, one_row=form[1])
            binder, filename = load(source.text, "bind", "tile", graph.constants)
            self._binders[form] = source, binder
            self.files.append(filename)
        return self._binders[form]

    def _value(self, argument: Argument, rows: int) -> object:
        """Return what a name stands for."""
        if argument.kind in _OF_CONSTANTS:
            return self._constant(argument, rows)
        if argument.kind is Kind.GENERATED:
            return self._code[argument.position].function
        if argument.kind in _LOOPS:
            return tuple(_LOOPS[argument.kind](self, argument, rows))
        shape = self._shape(self._buffer(argument.of), rows)
        if argument.kind is Kind.SHAPE:
            return shape
        view = self._storage[argument.of][: shape[0] * shape[1]].reshape(shape)
        return view if argument.kind is Kind.VIEW else view.T

    def _constant(self, argument: Argument, rows: int) -> FloatArray:
        constant = self._graph.constants[argument.of]
        if argument.kind is Kind.CONSTANT:
            return constant
        if argument.kind is Kind.CONSTANT_TRANSPOSED:
            return constant.T
        return operand(constant, rows) if argument.kind is Kind.OPERAND else self._broadcast(argument.of, rows)

    def _place(self, argument: Argument, rows: int, first: int, last: int) -> tuple[object, ...]:
        """Return what a loop calls the place of a strip or a part: the view, or where it begins and ends."""
        if not argument.is_bound:
            return first, last
        node = self._graph.nodes[argument.position]
        values = () if op_named(node.op).is_product else node.values
        found = dict.fromkeys(self._plan.buffer_of(value).name for value in (node.output, *values))
        buffers = [self._buffer(name) for name in found]
        shapes = [self._shape(buffer, rows) for buffer in buffers]
        return tuple(
            self._storage[buffer.name][: shape[0] * shape[1]].reshape(shape)[first:last]
            for buffer, shape in zip(buffers, shapes, strict=True)
        )

    def _buffer(self, name: str) -> Buffer:
        return next(buffer for buffer in self._plan.buffers if buffer.name == name)

    def _shape(self, buffer: Buffer, rows: int) -> tuple[int, int]:
        """Return the shape of a buffer's rows as they lie in memory; scratch lies as the node's result does."""
        nodes = [node for node in self._graph.nodes if node.output in buffer.values or buffer.name in scratch_names(self._program, node)]
        transposed = any(self._program.of(node).layout == FEATURES for node in nodes)
        return (buffer.columns, min(rows, buffer.rows)) if transposed else (min(rows, buffer.rows), buffer.columns)

    def _broadcast(self, name: str, rows: int) -> FloatArray:
        """Return a row operand over a value that lies feature after feature: (columns, rows)."""
        constant = self._graph.constants[name]
        if constant.ndim == 0:
            return constant
        made = np.repeat(constant, rows).reshape(constant.size, rows)
        self._made_bytes += made.nbytes
        return made

    def _strips(self, argument: Argument, rows: int) -> Iterator[tuple[object, ...]]:
        """Cut the rows of a node's result into strips: the place, then the operands, then the scratch for each."""
        node = self._graph.nodes[argument.position]
        strips = math.ceil(rows / (strip_rows_of(self._graph, node) or rows))
        height = math.ceil(rows / strips)
        constants = [self._graph.constants[name] for name in numpy_operands(self._program, node)]
        for first in range(0, rows, height):
            last = min(first + height, rows)
            scratch = [self._scratch(name, (last - first, node.columns)) for name in scratch_names(self._program, node)]
            yield (*self._place(argument, rows, first, last), *(operand(array, last - first) for array in constants), *scratch)

    def _parts(self, argument: Argument, rows: int) -> Iterator[tuple[object, ...]]:
        """Cut the features of a node's result into parts: the place, the weight, then the operands, then the scratch for each."""
        node = self._graph.nodes[argument.position]
        weight = self._graph.constants[node.operands[0]].T
        arrays = [self._broadcast(name, rows) for name in numpy_operands(self._program, node)]
        parts = self._program.of(node).parts
        edges = [node.columns * part // parts for part in range(parts + 1)]
        for first, last in itertools.pairwise(edges):
            operands = [array if array.ndim == 0 else array[first:last] for array in arrays]
            scratch = [self._scratch(name, (last - first, rows)) for name in scratch_names(self._program, node)]
            yield (*self._place(argument, rows, first, last), weight[first:last], *operands, *scratch)

    def _scratch(self, name: str, shape: tuple[int, int]) -> FloatArray:
        size = shape[0] * shape[1]
        flat = self._storage[name] if name in self._storage else np.empty(size, np.float32)
        return flat[:size].reshape(shape)


def _code_of(program: Program, plan: MemoryPlan, memory: Memory) -> dict[int, Generated]:
    """Write the code of each run of generated nodes, by the position of its first one; it serves every number of rows."""
    most = program.schedule.tile_rows
    return {run.first: generated(program, plan, memory, run, most) for run in runs_of(program, plan)}


def operand(array: FloatArray, rows: int) -> FloatArray:
    """Return what an element-wise kernel reads: a strip's rows, a row as a matrix of one row, a scalar as it is."""
    if array.ndim == 1:
        return array[np.newaxis]
    return array[:rows] if array.ndim == 2 else array


_LOOPS = {Kind.STRIPS: Binder._strips, Kind.PARTS: Binder._parts}  # noqa: SLF001  # of the class above
