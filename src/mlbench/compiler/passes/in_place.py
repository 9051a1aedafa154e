"""In-place operations: a result takes the storage of a value that nobody reads afterwards.

Fusion makes the epilogue of a matrix product in place already. This pass does it for the nodes that stay nodes of their own, such as a
softmax, and for every element-wise node when nothing was fused. A sum of two values takes the storage of either.
"""

from __future__ import annotations

from dataclasses import replace

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
    return program.scheduled(nodes=nodes)


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    marked = [node.output for node in after.graph.nodes if after.of(node).in_place]
    if not marked:
        return "Nothing to do: no node left may write over a value that it reads; a matrix product never may."
    return f"{', '.join(marked)} written over the value each one reads, which is dead afterwards."


def decide(before: Program, after: Program) -> Decisions:
    """Return for each node whether it writes over a value, and why."""
    graph = after.graph
    found = []
    for position, node in enumerate(graph.nodes):
        schedule = after.of(node)
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
