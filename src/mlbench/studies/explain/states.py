"""A program as a record: its nodes, its buffers, and what a call of it moves."""

from __future__ import annotations

from mlbench.compiler.memory import plan_memory
from mlbench.compiler.memory.traffic import arrays_of, traffic_of
from mlbench.compiler.pipeline import Compiled
from mlbench.compiler.schedule.program import COLUMNS, FEATURES, Program, plain_program
from mlbench.ir import Node, call_text
from mlbench.results.explanation import GraphNode, PlacedBuffer, State


def state_of(program: Program) -> State:
    """Return the record of a program."""
    plan = plan_memory(program)
    return State(
        dict(program.graph.inputs),
        tuple(program.graph.outputs),
        tuple(_node(program, node) for node in program.graph.nodes),
        tuple(PlacedBuffer(each.values, each.first, each.last, each.offset, each.size_bytes) for each in plan.buffers),
        plan.arena_bytes,
        plan.lower_bound_bytes,
        program.schedule.is_static,
        arrays_of(program),
        _facts(program),
    )


def written(compiled: Compiled) -> Program:
    """Return the program before the first pass."""
    schedule = compiled.program.schedule
    return plain_program(compiled.source, schedule.max_batch, schedule.threads)


def _node(program: Program, node: Node) -> GraphNode:
    graph, moved = program.graph, traffic_of(program, node)
    return GraphNode(
        node.output,
        node.op,
        node.values,
        (*(_constant(program, name) for name in node.operands), *map(str, node.attributes)),
        node.columns,
        tuple(call_text(graph, step) for step in node.epilogue),
        _how(program, node),
        moved.read_bytes,
        moved.written_bytes,
    )


def _constant(program: Program, name: str) -> str:
    array = program.graph.constants[name]
    order = ", Fortran order" if array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous else ""
    return f"{name}: {' x '.join(map(str, array.shape)) or 'scalar'}{order}"


def _how(program: Program, node: Node) -> tuple[str, ...]:
    """Return how a node runs, in clauses."""
    schedule = program.of(node)
    found = []
    if schedule.is_generated:
        inside = f", {schedule.inner} of {len(node.epilogue)} steps inside" if node.epilogue else ""
        found.append(f"generated code{inside}")
    if schedule.in_place:
        found.append(f"in place of {node.values[schedule.taken]}")
    if schedule.within:
        found.append(f"within columns of {schedule.within}")
    if schedule.layout == FEATURES:
        found.append("feature-major")
    if schedule.parts > 1:
        found.append(f"in {schedule.parts} parts")
    return tuple(found)


def _facts(program: Program) -> tuple[str, ...]:
    """Return how the whole of a program runs, in clauses."""
    schedule = program.schedule
    found = ["static buffers"] if schedule.is_static else []
    if schedule.is_tiled:
        found.append(f"tiles of {schedule.tile_rows} rows")
    if schedule.workers > 1:
        found.append(f"{schedule.workers} threads share {'each product' if schedule.shared == COLUMNS else 'the rows'}")
    if schedule.blas_threads:
        found.append(f"BLAS on {schedule.blas_threads} thread{'s' * (schedule.blas_threads != 1)}")
    return tuple(found)
