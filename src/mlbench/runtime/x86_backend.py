"""From nodes of generated code to the callables that run them: what the layers are, and where their operands lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.schedule.program import COLUMNS, ROWS, Program
from mlbench.compiler.x86 import MOST_OPERANDS, STEPS, Layer, Rows, Shape, Vectors, X, Y, chain, code_of, described, find
from mlbench.errors import GraphError
from mlbench.ir import FloatArray


@dataclass(frozen=True, slots=True)
class Run:
    """Nodes that follow each other and become one function.

    Attributes:
        first: position of the first node.
        last: their end.
    """

    first: int
    last: int


def runs_of(program: Program) -> tuple[Run, ...]:
    """Return the runs of a program; NumPy's steps in an epilogue end one."""
    found: list[Run] = []
    goes_on = False
    for position, node in enumerate(program.graph.nodes):
        if program.of(node).is_generated:
            if goes_on:
                found[-1] = Run(found[-1].first, position + 1)
            else:
                found.append(Run(position, position + 1))
        goes_on = program.runs_generated(node)
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


def layers_of(program: Program, plan: MemoryPlan, storage: Mapping[str, FloatArray], run: Run) -> tuple[Layer, ...]:
    """Return the layers of a run, whose values lie in the arena, but for x and the output."""
    graph = program.graph
    (output,) = graph.outputs
    home = plan.buffer_of(output)

    def place(value: str) -> int | str:
        if value in graph.inputs:
            return X
        buffer = plan.buffer_of(value)
        return Y if buffer is home else int(storage[buffer.name].ctypes.data)

    layers = []
    vectors = instructions()
    for node in graph.nodes[run.first : run.last]:
        schedule = program.of(node)
        if schedule.lanes != vectors.lanes:
            raise GraphError(
                f"{node.output} is packed for vectors of {schedule.lanes} lanes; this machine's {vectors.name} has {vectors.lanes}"
            )
        weight = program.schedule.packed[schedule.packed]
        steps = node.epilogue[: schedule.inner]
        unknown = [step.op for step in steps if step.op not in STEPS]
        if unknown or sum(len(step.operands) for step in steps) > MOST_OPERANDS:
            raise GraphError(f"{node.output}: there is no code for {unknown or 'so many operands'} inside a product")
        operands = tuple(int(graph.constants[name].ctypes.data) for step in steps for name in step.operands)
        inputs, columns = weight.shape
        shape = Shape(inputs, columns, schedule.width, tuple(step.op for step in steps))
        layers.append(Layer(shape, int(weight.ctypes.data), operands, place(node.values[0]), place(node.output)))
    return tuple(layers)


def tile_function(program: Program, plan: MemoryPlan, storage: Mapping[str, FloatArray], run: Run, rows: int) -> Callable[..., Any]:
    """Return `function(x, y)` for the rows of one tile."""
    return chain(instructions(), layers_of(program, plan, storage, run), Rows(0, rows, rows), None, program, storage)


def whole_run(program: Program) -> Run:
    """Return the run of a program that is all generated."""
    return Run(0, len(program.graph.nodes))


def chain_text(program: Program, batch: int, size_bytes: int) -> str:
    """Return in words what the code for a batch does."""
    vectors = instructions()
    graph, schedule = program.graph, program.schedule
    workers = schedule.workers
    mine = -(-batch // workers) if schedule.shared == ROWS else batch
    rows = min(schedule.tile_rows, mine)
    tiles, left = divmod(mine, rows)
    cut = f"{tiles} tile{'s' * (tiles != 1)} of {rows} rows" + (f" and one of {left}" if left else "")
    shared = {ROWS: f"; the rows shared by {workers} threads", COLUMNS: f"; each product shared by {workers} threads"}
    how = shared[schedule.shared] if workers > 1 else ""
    lines = [f"machine code ({vectors.name}, {size_bytes:,} bytes) for {batch} rows{how}: {cut}; in each tile of {rows}"]
    for node in graph.nodes:
        inputs, columns = graph.constants[node.operands[0]].shape
        shape = Shape(inputs, columns, program.of(node).width, tuple(step.op for step in node.epilogue))
        steps = "".join(f", {step.op}" for step in node.epilogue)
        lines.append(f"  {node.output}: {described(shape, rows, vectors)}{steps}")
    return "\n".join(lines) + "\n"


def code_bytes(function: Callable[..., Any]) -> int:
    """Return the memory that a function's code takes."""
    return code_of(function).size_bytes
