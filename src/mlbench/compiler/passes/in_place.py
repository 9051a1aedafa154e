"""In-place operations: a result takes the storage of a value that nobody reads afterwards.

Fusion makes the epilogue of a matrix product in place already. This pass does it for the nodes that stay nodes of their own, such as a
softmax, and for every element-wise node when nothing was fused. A sum of two values takes the storage of either.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.passes.base import Pass
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


def _taken(graph: Graph, position: int, node: Node) -> int | None:
    """Return which of its values a node may write over: the first that is dead afterwards and has the result's columns."""
    if not op_named(node.op).in_place:
        return None
    fits = (graph.dies_at(value, position) and graph.columns_of(value) == node.columns for value in node.values)
    return next((index for index, each in enumerate(fits) if each), None)


PASS = Pass("in_place", "let a node write over a value that dies there", explain, apply=apply)
