"""In-place operations: a result takes the storage of a value that nobody reads afterwards, or columns of a concatenation.

Fusion makes the epilogue of a matrix product in place already. This pass does it for the nodes that stay nodes of their own, such as a
softmax, and for every element-wise node when nothing was fused. A sum of two values takes the storage of either.

Generated code can write rows that are apart. So a value whose last reader is a concatenation is written straight into its columns there,
and no copy is left, where the arena need not grow for it: the whole concatenation has its place from the first of these values on.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.memory.liveness import buffers_of, lower_bound_bytes
from mlbench.compiler.passes.base import Decision, Decisions, Pass
from mlbench.compiler.schedule.program import Program
from mlbench.ir import Graph, Node, op_named


def apply(program: Program) -> Program:
    """Mark every node that may write over what it reads."""
    graph = program.graph
    taken = {node.output: _taken(graph, position, node) for position, node in enumerate(graph.nodes)}
    nodes = {}
    for name, each in program.schedule.nodes.items():
        place = taken[name]
        nodes[name] = each if each.in_place or place is None else replace(each, in_place=True, taken=place)
    return _within_concatenations(program.scheduled(nodes=nodes))


def _within_concatenations(program: Program) -> Program:
    """Return the program with values written into the columns of concatenations, one after the other for as long as no more is live."""
    if not program.is_generated:
        return program
    graph = program.graph
    producers = {node.output: node for node in graph.nodes}
    for position, node in enumerate(graph.nodes):
        for value in node.values if node.op == "concat" else ():
            if value in producers and _fits_within(program, producers[value], position):
                nodes = program.schedule.nodes
                moved = program.scheduled(nodes={**nodes, value: replace(nodes[value], within=node.output)})
                program = moved if _live_bytes(moved) <= _live_bytes(program) else program
    return program


def _fits_within(program: Program, producer: Node, position: int) -> bool:
    """Whether a value may lie in the columns of a concatenation, at this position."""
    graph, value = program.graph, producer.output
    once = graph.nodes[position].values.count(value) == 1
    return once and graph.dies_at(value, position) and not program.of(producer).in_place and producer.op != "concat"


def _live_bytes(program: Program) -> int:
    return lower_bound_bytes(buffers_of(program), len(program.graph.nodes))


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    marked = [node.output for node in after.graph.nodes if after.of(node).in_place]
    inside = [f"{node.output} written into columns of {each}" for node in after.graph.nodes if (each := after.of(node).within)]
    if inside and not marked:
        return f"{', '.join(inside)}."
    if not marked:
        return "Nothing to do: no node left may write over a value that it reads; a matrix product never may."
    over = f"{', '.join(marked)} written over the value each one reads, which is dead afterwards"
    return f"{'; '.join([over, *inside])}."


def decide(before: Program, after: Program) -> Decisions:
    """Return for each node whether it writes over a value, and why."""
    graph = after.graph
    found = []
    for position, node in enumerate(graph.nodes):
        schedule = after.of(node)
        if schedule.within:
            found.append(Decision(node.output, is_done=True, reason=f"{schedule.within} needs it last, so it is written into its columns"))
            continue
        reason = f"{node.values[schedule.taken]} dies here" if schedule.in_place else _refusal(graph, position, node)
        found.append(Decision(node.output, schedule.in_place, reason))
    products = [node for node in graph.nodes if op_named(node.op).is_product]
    if len(products) == len(graph.nodes):
        return (*found, Decision("", is_done=False, reason="every node left is a matrix product"))
    return tuple(found)


def _refusal(graph: Graph, position: int, node: Node) -> str:
    """Return why a node may write over none of its values."""
    op = op_named(node.op)
    if op.is_product:
        return "a matrix product reads each of its inputs several times, so it cannot write over one"
    if not op.in_place:
        return f"the result of a {node.op} has another width than what it reads"
    return ", and ".join(dict.fromkeys(_kept(graph, position, node, value) for value in node.values))


def _kept(graph: Graph, position: int, node: Node, value: str) -> str:
    """Return why a node may not write over one of its values."""
    later = [graph.nodes[reader].output for reader in graph.readers_of(value) if reader > position]
    if value in graph.inputs:
        return f"{value} is an input, which belongs to the caller"
    if value in graph.outputs:
        return f"{value} is a result, which the caller reads"
    if later:
        return f"{value} is read again by {' and '.join(later)}"
    return f"{value} has {graph.columns_of(value)} columns and the result {node.columns}"


def _taken(graph: Graph, position: int, node: Node) -> int | None:
    """Return which of its values a node may write over: the first that is dead afterwards and has the result's columns."""
    if not op_named(node.op).in_place:
        return None
    fits = (graph.dies_at(value, position) and graph.columns_of(value) == node.columns for value in node.values)
    return next((index for index, each in enumerate(fits) if each), None)


PASS = Pass(
    "in_place",
    "let a node write over a value that dies there",
    explain,
    apply=apply,
    rule="A node may write over a value if no later node reads it, it is neither an input nor a result, it is as wide as the node's own "
    "value, and the op reads each element before it writes it.",
    decide=decide,
)
