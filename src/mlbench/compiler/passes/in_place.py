"""In-place operations: a result takes the storage of a value that nobody reads afterwards.

Fusion makes the epilogue of a matrix product in place already. This pass does it for the nodes that stay nodes of their own, such as a
softmax, and for every element-wise node when nothing was fused.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.ir import Graph, Node, op_named

NAME = "in_place"
SUMMARY = "let a node write over a value that dies there"


def apply(graph: Graph) -> Graph:
    """Mark every node that may write over what it reads."""
    nodes = tuple(
        replace(node, in_place=True) if _may_overwrite(graph, position, node) else node for position, node in enumerate(graph.nodes)
    )
    return graph if nodes == graph.nodes else graph.with_nodes(nodes)


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    marked = [node.output for node in after.nodes if node.in_place]
    if not marked:
        return "Nothing to do: every node left is a matrix product, which cannot write over what it reads."
    return f"{', '.join(marked)} written over the value each one reads, which is dead afterwards."


def _may_overwrite(graph: Graph, position: int, node: Node) -> bool:
    taken = node.inputs[0]
    return (
        op_named(node.op).in_place
        and taken not in (graph.input, graph.output)
        and graph.columns_of(taken) == node.columns
        and max(graph.readers_of(taken)) == position
    )
