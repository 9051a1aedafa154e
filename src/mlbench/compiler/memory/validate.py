"""The plain judge of plans. It trusts no planner and imports none; it derives from the graph what must hold."""

from __future__ import annotations

from itertools import combinations

from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.compiler.memory.plan import Buffer, MemoryPlan
from mlbench.errors import PlanError
from mlbench.ir import BYTES_PER_NUMBER, Graph, op_named


def check_plan(graph: Graph, plan: MemoryPlan) -> None:
    """Check that running `graph` in `plan` never overwrites a value that is still needed.

    Raises:
        PlanError: naming the law, the buffer, what was found and what was expected.
    """
    for buffer in plan.buffers:
        _check_place(buffer, plan)
    for one, other in combinations(plan.buffers, 2):
        _check_apart(one, other)
    homes = _homes(plan)
    for position, node in enumerate(graph.nodes):
        _check_value(graph, node.output, position, homes)
        _check_sharing(graph, position, homes)
        _check_scratch(graph, position, plan)
    _check_bound(plan)


def _check_place(buffer: Buffer, plan: MemoryPlan) -> None:
    if buffer.offset < 0 or buffer.offset + buffer.size_bytes > plan.arena_bytes:
        raise PlanError(f"place: {buffer.name} ends at {buffer.offset + buffer.size_bytes}; the arena has {plan.arena_bytes} bytes")
    if buffer.offset % ALIGNMENT_BYTES:
        raise PlanError(f"alignment: {buffer.name} lies at {buffer.offset}; expected a multiple of {ALIGNMENT_BYTES}")
    if buffer.size_bytes != buffer.rows * buffer.columns * BYTES_PER_NUMBER:
        raise PlanError(f"size: {buffer.name} has {buffer.size_bytes} bytes for {buffer.rows} x {buffer.columns} float32")


def _check_apart(one: Buffer, other: Buffer) -> None:
    apart = one.offset + one.size_bytes <= other.offset or other.offset + other.size_bytes <= one.offset
    if one.lives_with(other) and not apart:
        raise PlanError(f"overlap: {one.name} at {one.offset} and {other.name} at {other.offset} share bytes while both are needed")


def _homes(plan: MemoryPlan) -> dict[str, Buffer]:
    homes: dict[str, Buffer] = {}
    for buffer in plan.buffers:
        for value in buffer.values:
            if value in homes:
                raise PlanError(f"home: {value} lies in {homes[value].name} and in {buffer.name}; expected one buffer")
            homes[value] = buffer
    return homes


def _check_value(graph: Graph, value: str, position: int, homes: dict[str, Buffer]) -> None:
    if value not in homes:
        raise PlanError(f"home: {value} has no buffer")
    home = homes[value]
    is_output = value == graph.output
    last = max([position + 1, *(reader + 1 for reader in graph.readers_of(value))])
    first = 0 if is_output and graph.tile_rows is not None else position
    last = len(graph.nodes) if is_output else last
    if home.first > first or home.last < last:
        raise PlanError(f"lifetime: {value} is needed in [{first}, {last}); its buffer lives in [{home.first}, {home.last})")
    rows = graph.max_batch if is_output else graph.rows_at_once
    if home.rows < (rows or 0) or home.columns != graph.columns_of(value):
        raise PlanError(f"size: {value} needs {rows} x {graph.columns_of(value)}; its buffer has {home.rows} x {home.columns}")


def _check_sharing(graph: Graph, position: int, homes: dict[str, Buffer]) -> None:
    node = graph.nodes[position]
    source = node.inputs[0]
    if source == graph.input:
        return
    shared = homes[source] is homes[node.output]
    if shared != node.in_place:
        found = "shares" if shared else "does not share"
        raise PlanError(f"in place: {node.output} {found} the buffer of {source}; the graph says in_place={node.in_place}")


def _check_scratch(graph: Graph, position: int, plan: MemoryPlan) -> None:
    node = graph.nodes[position]
    need = max([op_named(node.op).scratch, *(op_named(step.op).scratch for step in node.epilogue[node.inner :])])
    strips = [graph.constants[name].shape[0] for name in node.constants[1:] if graph.constants[name].ndim == 2]
    rows = strips[0] if strips else graph.rows_at_once or 0
    found = [
        buffer
        for buffer in plan.buffers
        if not buffer.values and buffer.first <= position < buffer.last and buffer.columns == node.columns and buffer.rows >= rows
    ]
    if len(found) < need:
        raise PlanError(f"scratch: node {position} ({node.op}) needs {need} scratch matrices; the plan has {len(found)}")


def _check_bound(plan: MemoryPlan) -> None:
    live = [sum(b.size_bytes for b in plan.buffers if b.first <= node < b.last) for node in range(len(plan.nodes))]
    bound = max(live, default=0)
    if plan.lower_bound_bytes != bound:
        raise PlanError(f"bound: the plan says {plan.lower_bound_bytes} bytes; the most that is live at one node is {bound}")
