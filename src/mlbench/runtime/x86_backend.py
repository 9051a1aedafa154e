"""From nodes of generated code to the callables that run them: what the layers are, and where their operands lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.x86 import MOST_OPERANDS, STEPS, Layer, Rows, Shape, Vectors, X, Y, chain, code_of, described, find
from mlbench.errors import GraphError
from mlbench.ir import COLUMNS, ROWS, FloatArray, Graph


@dataclass(frozen=True, slots=True)
class Run:
    """Nodes that follow each other and become one function.

    Attributes:
        first: position of the first node.
        last: their end.
    """

    first: int
    last: int


def runs_of(graph: Graph) -> tuple[Run, ...]:
    """Return the runs of a graph; NumPy's steps in an epilogue end one."""
    found: list[Run] = []
    goes_on = False
    for position, node in enumerate(graph.nodes):
        if node.width:
            if goes_on:
                found[-1] = Run(found[-1].first, position + 1)
            else:
                found.append(Run(position, position + 1))
        goes_on = node.is_generated
    return tuple(found)


def instructions() -> Vectors:
    """Return the instructions of this machine.

    Raises:
        GraphError: where there are none that code could be generated for.
    """
    vectors, why = find()
    if vectors is None:
        raise GraphError(f"the graph has generated code, and this process cannot run it: {why}")
    return vectors


def layers_of(graph: Graph, plan: MemoryPlan, storage: Mapping[str, FloatArray], run: Run) -> tuple[Layer, ...]:
    """Return the layers of a run, whose values lie in the arena, but for x and the output."""
    home = plan.buffer_of(graph.output)

    def place(value: str) -> int | str:
        if value == graph.input:
            return X
        buffer = plan.buffer_of(value)
        return Y if buffer is home else int(storage[buffer.name].ctypes.data)

    layers = []
    vectors = instructions()
    for node in graph.nodes[run.first : run.last]:
        if node.lanes != vectors.lanes:
            raise GraphError(
                f"{node.output} is packed for vectors of {node.lanes} lanes; this machine's {vectors.name} has {vectors.lanes}"
            )
        weight = graph.constants[node.inputs[1]]
        steps = node.epilogue[: node.inner]
        unknown = [step.op for step in steps if step.op not in STEPS]
        if unknown or sum(len(step.operands) for step in steps) > MOST_OPERANDS:
            raise GraphError(f"{node.output}: there is no code for {unknown or 'so many operands'} inside a product")
        operands = tuple(int(graph.constants[name].ctypes.data) for step in steps for name in step.operands)
        inputs, columns = weight.shape
        shape = Shape(inputs, columns, node.width, tuple(step.op for step in steps))
        layers.append(Layer(shape, int(weight.ctypes.data), operands, place(node.inputs[0]), place(node.output)))
    return tuple(layers)


def tile_function(graph: Graph, plan: MemoryPlan, storage: Mapping[str, FloatArray], run: Run, rows: int) -> Callable[..., Any]:
    """Return `function(x, y)` for the rows of one tile."""
    return chain(instructions(), layers_of(graph, plan, storage, run), Rows(0, rows, rows), None, graph, storage)


def whole_run(graph: Graph) -> Run:
    """Return the run of a graph that is all generated."""
    return Run(0, len(graph.nodes))


def chain_text(graph: Graph, batch: int, size_bytes: int) -> str:
    """Return in words what the code for a batch does."""
    vectors = instructions()
    mine = -(-batch // graph.workers) if graph.workers and graph.shared == ROWS else batch
    rows = min(graph.rows_at_once or mine, mine)
    tiles, left = divmod(mine, rows)
    cut = f"{tiles} tile{'s' * (tiles != 1)} of {rows} rows" + (f" and one of {left}" if left else "")
    shared = {None: "", ROWS: f"; the rows shared by {graph.workers} threads", COLUMNS: f"; each product shared by {graph.workers} threads"}
    how = shared[graph.shared if graph.workers else None]
    lines = [f"machine code ({vectors.name}, {size_bytes:,} bytes) for {batch} rows{how}: {cut}; in each tile of {rows}"]
    for node in graph.nodes:
        inputs, columns = graph.constants[node.inputs[1]].shape
        shape = Shape(inputs, columns, node.width, tuple(step.op for step in node.epilogue))
        steps = "".join(f", {step.op}" for step in node.epilogue)
        lines.append(f"  {node.output}: {described(shape, rows, vectors)}{steps}")
    return "\n".join(lines) + "\n"


def code_bytes(function: Callable[..., Any]) -> int:
    """Return the memory that a function's code takes."""
    return code_of(function).size_bytes
