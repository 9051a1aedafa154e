"""From nodes of generated code to the callables that run them: what the layers are, and where their operands lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.schedule.program import COLUMNS, ROWS, Program
from mlbench.compiler.x86 import MOST_OPERANDS, STEPS, Layer, Rows, Shape, Vectors, X, Y, chain, code_of, described, find
from mlbench.errors import GraphError
from mlbench.ir import FloatArray


@dataclass(frozen=True, slots=True)
class Run:
    """Nodes that follow each other and become one function.

    Its values lie in the arena, but for one array that it reads and one that it writes, which come with a call: an input or an output of
    the graph.

    Attributes:
        first: position of the first node.
        last: their end.
        source: name of the input that it reads, or of the buffer of an output; empty where all that it reads lies in the arena.
        target: name of the buffer of the output that it writes, and may read; empty where there is none.
    """

    first: int
    last: int
    source: str = ""
    target: str = ""


def runs_of(program: Program, plan: MemoryPlan) -> tuple[Run, ...]:
    """Return the runs of a program; NumPy's steps in an epilogue end one, and so does a second array to read or to write."""
    graph = program.graph
    homes = {plan.buffer_of(name).name for name in graph.outputs}
    found: list[Run] = []
    goes_on = False
    for position, node in enumerate(graph.nodes):
        if program.of(node).is_generated:
            (value,), buffer = node.values, plan.buffer_of(node.output).name
            read = value if value in graph.inputs else plan.buffer_of(value).name
            source, target = read if read in graph.inputs or read in homes else "", buffer if buffer in homes else ""
            longer = _with_arrays(found[-1], source, target) if goes_on else None
            if longer is None:
                found.append(Run(position, position + 1, source, target))
            else:
                found[-1] = replace(longer, last=position + 1)
        goes_on = program.runs_generated(node)
    return tuple(found)


def _with_arrays(run: Run, source: str, target: str) -> Run | None:
    """Return a run that reads and writes these as well, or None where it had to read two arrays or to write two."""
    target = target or run.target
    sources = {run.source, source} - {"", target}
    if run.target not in ("", target) or len(sources) > 1:
        return None
    return replace(run, source="".join(sources), target=target)


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
    """Return the layers of a run, whose values lie in the arena, but for what it reads and writes of the caller's."""
    graph = program.graph

    def place(value: str) -> int | str:
        name = value if value in graph.inputs else plan.buffer_of(value).name
        if name == run.target:
            return Y
        return X if name == run.source else int(storage[name].ctypes.data)

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


def whole_run(program: Program, plan: MemoryPlan) -> Run:
    """Return the run of a program that is all generated."""
    (run,) = runs_of(program, plan)
    return run


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
