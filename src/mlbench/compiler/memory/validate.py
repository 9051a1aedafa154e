"""The plain judge of plans. It trusts no planner and imports none; it derives from the program what must hold."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.compiler.memory.plan import Buffer, MemoryPlan
from mlbench.compiler.schedule.program import Program
from mlbench.errors import PlanError
from mlbench.ir import BYTES_PER_NUMBER, op_named


def check_plan(program: Program, plan: MemoryPlan) -> None:
    """Check that running `program` in `plan` never overwrites a value that is still needed.

    Raises:
        PlanError: naming the law, the buffer, what was found and what was expected.
    """
    for buffer in plan.buffers:
        _check_place(buffer, plan)
    for one, other in combinations(plan.buffers, 2):
        _check_apart(one, other)
    homes = _homes(plan)
    for position, node in enumerate(program.graph.nodes):
        _check_value(program, node.output, position, homes)
        _check_sharing(program, position, homes)
        _check_scratch(program, position, plan)
    for buffer in plan.buffers:
        _check_shared(program, buffer)
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


def _check_value(program: Program, value: str, position: int, homes: Mapping[str, Buffer]) -> None:
    graph, schedule = program.graph, program.schedule
    if value not in homes:
        raise PlanError(f"home: {value} has no buffer")
    home = homes[value]
    is_output = value in graph.outputs
    last = max([position + 1, *(reader + 1 for reader in graph.readers_of(value))])
    first = 0 if is_output and schedule.is_tiled else position
    last = len(graph.nodes) if is_output else last
    if home.first > first or home.last < last:
        raise PlanError(f"lifetime: {value} is needed in [{first}, {last}); its buffer lives in [{home.first}, {home.last})")
    rows = schedule.max_batch if is_output else schedule.tile_rows
    columns = graph.columns_of(program.home_of(value)[0])
    if home.rows < rows or home.columns != columns:
        raise PlanError(f"size: {value} needs {rows} x {columns}; its buffer has {home.rows} x {home.columns}")


def _check_sharing(program: Program, position: int, homes: Mapping[str, Buffer]) -> None:
    node = program.graph.nodes[position]
    in_place, taken = program.of(node).in_place, node.values[program.of(node).taken]
    for source in node.values:
        if source in program.graph.inputs:
            continue
        if program.of(next(each for each in program.graph.nodes if each.output == source)).within == node.output:
            _check_within(program, source, node.output, homes)
            continue
        shared = homes[source] is homes[node.output] and _columns(program, source, node.output)
        if shared != (in_place and source == taken):
            found = "shares" if shared else "does not share"
            raise PlanError(f"in place: {node.output} {found} the buffer of {source}; the schedule says in_place={in_place}")


def _columns(program: Program, one: str, other: str) -> bool:
    """Whether two values of one buffer share columns."""
    spans = []
    for name in (one, other):
        first = program.home_of(name)[1]
        spans.append(range(first, first + program.graph.columns_of(name)))
    return spans[0].start < spans[1].stop and spans[1].start < spans[0].stop


def _check_within(program: Program, value: str, concatenation: str, homes: Mapping[str, Buffer]) -> None:
    if homes[value] is not homes[concatenation]:
        raise PlanError(f"within: {value} lies in {homes[value].name}; expected {homes[concatenation].name}, which has {concatenation}")


def _check_shared(program: Program, buffer: Buffer) -> None:
    """Check that at most one value of a buffer came there otherwise than in place of another one."""
    nodes = [node for node in program.graph.nodes if node.output in buffer.values]
    first = [
        node.output
        for node in nodes
        if not program.of(node).within and not (program.of(node).in_place and node.values[program.of(node).taken] in buffer.values)
    ]
    if len(first) > 1:
        raise PlanError(f"in place: {' and '.join(first)} lie in {buffer.name}, and neither is in place of the other")


def _check_scratch(program: Program, position: int, plan: MemoryPlan) -> None:
    graph = program.graph
    node = graph.nodes[position]
    need = program.scratch_of(node)
    operands = node.constants[1:] if op_named(node.op).is_product else node.constants
    strips = [graph.constants[name].shape[0] for name in operands if graph.constants[name].ndim == 2]
    rows = strips[0] if strips else program.schedule.tile_rows
    columns = max([node.columns, *(graph.columns_of(value) for value in node.values if op_named(node.op).scratch)])
    found = [
        buffer
        for buffer in plan.buffers
        if not buffer.values and buffer.first <= position < buffer.last and buffer.columns == columns and buffer.rows >= rows
    ]
    if len(found) < need:
        raise PlanError(f"scratch: node {position} ({node.op}) needs {need} scratch matrices; the plan has {len(found)}")


def _check_bound(plan: MemoryPlan) -> None:
    live = [sum(b.size_bytes for b in plan.buffers if b.first <= node < b.last) for node in range(len(plan.nodes))]
    bound = max(live, default=0)
    if plan.lower_bound_bytes != bound:
        raise PlanError(f"bound: the plan says {plan.lower_bound_bytes} bytes; the most that is live at one node is {bound}")
