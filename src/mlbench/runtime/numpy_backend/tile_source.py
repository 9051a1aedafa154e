"""The Python that runs one tile: straight-line code made of the kernel lines of the op table, and what each of its names stands for.

`tile(x, y)` computes the rows of `x` into `y`; with several inputs or outputs it is `tile(x0, x1, ..., y0, y1, ...)`. Its other names are
bound once for each number of rows: views of the arena, operands, and the functions of generated code.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mlbench.compiler.memory import MemoryPlan, scratch_names
from mlbench.compiler.schedule.program import FEATURES, ROWS, Program
from mlbench.ir import Node, Op, Step, op_named
from mlbench.runtime.numpy_backend.lowering import argument_names, attribute_fields, check_names, value_fields
from mlbench.runtime.x86_backend import Run, runs_of

MOST_NAMES = 32
"""Words in one function. A frame that a profiler looks at becomes an object, and Python mallocs one of more than 512 bytes: 64 words,
with its locals and its stack."""
_ONE_WEIGHT = ("multiply({x}, {0}[0, 0], out={out})",)
"""A product with one weight. `dot` leaves it to BLAS as a sum of multiples, which skips one of 0, so that NaN becomes 0."""


class Kind(Enum):
    """What a name of the generated code stands for, for some number of rows."""

    VIEW = "the buffer's rows, as they lie in memory"
    TRANSPOSED = "the same, transposed"
    SHAPE = "the shape of the buffer's rows"
    CONSTANT = "the constant"
    CONSTANT_TRANSPOSED = "the constant, transposed"
    OPERAND = "what an element-wise kernel reads, rows by rows"
    BROADCAST = "the same for a value that lies feature after feature"
    STRIPS = "for each strip of a node's result: the place, operands, scratch"
    PARTS = "for each part of a node's features: the place, the weight, operands, scratch"
    GENERATED = "generated code for the run of products that begins at a node"


@dataclass(frozen=True, slots=True)
class Argument:
    """What one name stands for.

    Attributes:
        kind: what it is.
        of: name of a buffer or a constant; empty where the node says it.
        position: of the node.
        is_bound: places of strips and parts are views of the arena, and not where they begin and end in a result that comes with the call.
    """

    kind: Kind
    of: str = ""
    position: int = 0
    is_bound: bool = False


@dataclass(frozen=True, slots=True)
class TileSource:
    """The source of `bind(...)`, which returns the tile function.

    Attributes:
        text: Python.
        arguments: what `bind` takes, name by name.
    """

    text: str
    arguments: dict[str, Argument]


def tile_source(program: Program, plan: MemoryPlan, stripped: frozenset[int], *, one_row: bool = False) -> TileSource:
    """Return the code of a tile.

    Args:
        program: what runs.
        plan: names the buffers; a value in an output's buffer is called by that output's argument.
        stripped: positions of the nodes whose epilogue needs more than one strip for the rows that are bound.
        one_row: the rows that are bound are one, so that a value of one column is a single element.
    """
    writer = _Writer(program, plan, stripped, one_row=one_row)
    check_names([*program.graph.constants, *(each.name for each in plan.buffers if each.values and each.name not in writer.outputs)])
    ends = [0]
    for position in range(len(program.graph.nodes)):
        writer.write(position)
        ends.append(len(writer.lines))
    call = ", ".join([*writer.inputs.values(), *writer.outputs.values()])
    nodes = [writer.lines[first:end] for first, end in itertools.pairwise(ends)]
    parts = _parts(nodes) if program.schedule.is_static else [writer.lines]
    lines = [f"def bind({', '.join(writer.arguments)}):"]
    for number, part in enumerate(parts if len(parts) > 1 else []):
        lines += [f"    def part{number}({call}):", *(f"        {line}" for line in part)]
    lines.append(f"    def tile({call}):")
    lines += [f"        {line}" for line in parts[0]] if len(parts) == 1 else [f"        part{n}({call})" for n in range(len(parts))]
    return TileSource("\n".join([*lines, "    return tile"]) + "\n", writer.arguments)


def _parts(nodes: Sequence[list[str]]) -> list[list[str]]:
    """Return the lines of the nodes in parts of at most MOST_NAMES words each, unless a node alone uses more."""
    parts: list[list[str]] = [[]]
    used: set[str] = set()
    for lines in nodes:
        mine = {word for line in lines for word in re.findall(r"[a-z]\w*", line)}
        if parts[-1] and len(used | mine) > MOST_NAMES:
            parts.append([])
            used = set()
        parts[-1] += lines
        used |= mine
    return [part for part in parts if part] or [["pass"]]


class _Writer:
    """Writes the lines of a tile.

    Attributes:
        lines: those so far.
        arguments: what they have bound so far.
        inputs: name of each input to what it is called.
        outputs: name of each output's buffer to what it is called.
    """

    def __init__(self, program: Program, plan: MemoryPlan, stripped: frozenset[int], *, one_row: bool) -> None:
        graph = program.graph
        self.lines: list[str] = []
        self.arguments: dict[str, Argument] = {}
        self.inputs = dict(zip(graph.inputs, argument_names("x", len(graph.inputs), is_single=graph.is_single), strict=True))
        homes = [plan.buffer_of(name).name for name in graph.outputs]
        self.outputs = dict(zip(homes, argument_names("y", len(homes), is_single=graph.is_single), strict=True))
        self._program = program
        self._graph = graph
        self._plan = plan
        self._stripped = stripped
        self._one_row = one_row
        self._runs = {run.first: run for run in runs_of(program, plan)}

    def write(self, position: int) -> None:
        """Write the lines of one node."""
        node = self._graph.nodes[position]
        op = op_named(node.op)
        self._allocate(position)
        if self._program.of(node).is_generated:
            if position in self._runs:
                self._write_run(self._runs[position])
            self._write_epilogue(position)
        elif self._program.of(node).parts > 1:
            self._write_parts(position)
        elif op.is_product:
            self._write_product(node, op)
            self._write_epilogue(position)
        elif position in self._stripped:
            self._write_strips(position)
        else:
            scratch = tuple(self._view(name) for name in scratch_names(self._program, node))
            operands = tuple(self._name(f"{name}_rows", Argument(Kind.OPERAND, name)) for name in node.operands)
            values = [self._storage(name) for name in node.values]
            single = self._one_row and node.columns == 1
            step, result = Step(node.op, operands), self._storage(node.output)
            self.lines += kernel_lines(step, values, result, scratch, single=single, attributes=node.attributes)
            self._write_epilogue(position)
        self._release(position)

    def _write_run(self, run: Run) -> None:
        """Write the call of generated code, with the arrays that it reads and writes."""
        arrays = self.inputs | self.outputs
        function = self._name(f"generated{run.first}", Argument(Kind.GENERATED, position=run.first))
        self.lines.append(f"{function}({', '.join(arrays[name] for name in run.arrays)})")

    def _write_strips(self, position: int) -> None:
        """Write a loop over strips of rows, in which a node without a product runs and its epilogue too."""
        node = self._graph.nodes[position]
        scratch = scratch_names(self._program, node)
        local = self._local_operands(node)
        result = self._storage(node.output)
        places = {result: "z"}
        for value in node.values:
            places.setdefault(self._storage(value), f"z{len(places)}")
        is_bound = all(self._is_bound(place) for place in places)
        loop = self._name(f"strips{position}", Argument(Kind.STRIPS, position=position, is_bound=is_bound))
        self._write_loop(loop, places, [*local.values(), *scratch], is_bound=is_bound)
        own = Step(node.op, tuple(local[name] for name in node.operands))
        lines = kernel_lines(own, [places[self._storage(value)] for value in node.values], "z", scratch, single=False)
        self.lines += [f"    {line}" for line in lines]
        self._write_steps(node, local, scratch)

    def _write_product(self, node: Node, op: Op) -> None:
        (value,), (weight,) = node.values, node.operands
        is_transposed = self._program.of(node).layout == FEATURES
        lines = op.transposed if is_transposed else op.into
        if self._graph.constants[weight].size == 1:
            lines = _ONE_WEIGHT
        name, kind = (f"{weight}_transposed", Kind.CONSTANT_TRANSPOSED) if is_transposed else (weight, Kind.CONSTANT)
        x = self._transposed(value) if is_transposed else self._rows_of(value)
        operand = self._name(name, Argument(kind, weight))
        self.lines += [line.format(operand, x=x, out=self._storage(node.output)) for line in lines]

    def _write_parts(self, position: int) -> None:
        """Write a loop over parts of the features: product and epilogue of a part while it is in the first cache."""
        node = self._graph.nodes[position]
        scratch = scratch_names(self._program, node)
        local = self._local_operands(node)
        result = self._storage(node.output)
        loop = self._name(f"parts{position}", Argument(Kind.PARTS, position=position, is_bound=self._is_bound(result)))
        self._write_loop(loop, {result: "z"}, ["part", *local.values(), *scratch], is_bound=self._is_bound(result))
        transposed = self._transposed(node.values[0])
        self.lines += [f"    {line.format('part', x=transposed, out='z')}" for line in op_named(node.op).transposed]
        self._write_steps(node, local, scratch)

    def _write_epilogue(self, position: int) -> None:
        node = self._graph.nodes[position]
        outer = self._program.outer_steps(node)
        if not outer:
            return
        result, scratch = self._storage(node.output), scratch_names(self._program, node)
        if position not in self._stripped:
            is_transposed = self._program.of(node).layout == FEATURES
            kind, ending = (Kind.BROADCAST, "_broadcast") if is_transposed else (Kind.OPERAND, "_rows")
            single = self._one_row and node.columns == 1
            places = tuple(self._view(name) for name in scratch)
            for step in outer:
                names = tuple(self._name(f"{name}{ending}", Argument(kind, name)) for name in step.operands)
                self.lines += kernel_lines(Step(step.op, names), [result], result, places, single=single)
            return
        local = self._local_operands(node)
        loop = self._name(f"strips{position}", Argument(Kind.STRIPS, position=position, is_bound=self._is_bound(result)))
        self._write_loop(loop, {result: "z"}, [*local.values(), *scratch], is_bound=self._is_bound(result))
        self._write_steps(node, local, scratch)

    def _write_loop(self, loop: str, places: dict[str, str], names: list[str], *, is_bound: bool) -> None:
        """Write the head of a loop over places in values: views that are bound, or cut in each call where a value is not known."""
        if is_bound:
            self.lines.append(f"for {', '.join([*places.values(), *names])} in {loop}:")
            return
        self.lines.append(f"for {', '.join(['first', 'last', *names])} in {loop}:")
        self.lines += [f"    {name} = {value}[first:last]" for value, name in places.items()]

    def _is_bound(self, storage: str) -> bool:
        return self._is_own(storage) and self._program.schedule.is_static

    def _is_own(self, storage: str) -> bool:
        """Whether a name stands for memory of the runner, and not for an argument of the tile."""
        return storage not in self.inputs.values() and storage not in self.outputs.values()

    def _write_steps(self, node: Node, local: dict[str, str], scratch: tuple[str, ...]) -> None:
        for step in self._program.outer_steps(node):
            mine = Step(step.op, tuple(local[name] for name in step.operands))
            self.lines += [f"    {line}" for line in kernel_lines(mine, ["z"], "z", scratch, single=False)]

    def _local_operands(self, node: Node) -> dict[str, str]:
        return {name: f"c{index}" for index, name in enumerate(numpy_operands(self._program, node))}

    def _allocate(self, position: int) -> None:
        """Without static buffers a value gets its storage where it is bound."""
        if self._program.schedule.is_static:
            return
        for buffer in self._plan.buffers:
            if buffer.first == position and buffer.name not in self.outputs:
                shape = self._name(f"{buffer.name}_shape", Argument(Kind.SHAPE, buffer.name))
                self.lines.append(f"{buffer.name} = empty({shape}, float32)")

    def _release(self, position: int) -> None:
        if self._program.schedule.is_static:
            return
        dead = [buffer.name for buffer in self._plan.buffers if buffer.last == position + 1 and buffer.name not in self.outputs]
        if dead and position + 1 < len(self._graph.nodes):
            self.lines.append(f"del {', '.join(dead)}")

    def _storage(self, value: str) -> str:
        """Return the name of a value as it lies in memory."""
        if value in self.inputs:
            return self.inputs[value]
        home = self._plan.buffer_of(value).name
        return self.outputs[home] if home in self.outputs else self._view(home)

    def _rows_of(self, value: str) -> str:
        """Return the name of a value as a matrix of (rows, columns)."""
        return self._storage(value) if self._program.layout_of(value) == ROWS else self._other(value)

    def _transposed(self, value: str) -> str:
        """Return the name of a value as a matrix of (columns, rows)."""
        return self._storage(value) if self._program.layout_of(value) == FEATURES else self._other(value)

    def _other(self, value: str) -> str:
        storage = self._storage(value)
        if not self._is_bound(storage):
            return f"{storage}.T"
        return self._name(f"{storage}_transposed", Argument(Kind.TRANSPOSED, storage))

    def _view(self, buffer: str) -> str:
        return self._name(buffer, Argument(Kind.VIEW, buffer)) if self._program.schedule.is_static else buffer

    def _name(self, name: str, argument: Argument) -> str:
        self.arguments[name] = argument
        return name


def numpy_operands(program: Program, node: Node) -> tuple[str, ...]:
    """Return the constants that NumPy's element-wise and row-wise work of a node reads, each once: a product's weight is none of them."""
    own = () if op_named(node.op).is_product else node.operands
    return tuple(dict.fromkeys([*own, *(name for step in program.outer_steps(node) for name in step.operands)]))


def kernel_lines(
    step: Step, values: list[str], result: str, scratch: tuple[str, ...], *, single: bool, attributes: tuple[int, ...] = ()
) -> list[str]:
    """Return the lines of a kernel.

    In place on a single element NumPy cannot tell that it may run, and mallocs; it does not when it reads the element's value instead.
    What goes through scratch is not in place.
    """
    op = op_named(step.op)
    if single and op.is_pointwise and (op.elementwise or not op.scratch):
        elements = [f"{value}[0, 0]" for value in values]
        return [f"{result}[...] = {op.eager.format(*step.operands, **value_fields(elements))}"]
    places = {f"s{index}": name for index, name in enumerate(scratch)}
    fields = {**value_fields(values), **attribute_fields(attributes), "out": result, **places}
    return [line.format(*step.operands, **fields) for line in op.into]
