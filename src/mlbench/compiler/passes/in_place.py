"""In-place operations: a result takes the storage of a value that nobody reads afterwards.

Fusion makes the epilogue of a matrix product in place already. This pass does it for the nodes that stay nodes of their own, such as a
softmax, and for every element-wise node when nothing was fused.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.passes.base import Pass
from mlbench.compiler.schedule.program import Program
from mlbench.ir import Graph, Node, op_named


def apply(program: Program) -> Program:
    """Mark every node that may write over what it reads."""
    marked = {node.output for position, node in enumerate(program.graph.nodes) if _may_overwrite(program.graph, position, node)}
    return program.scheduled(
        nodes={name: replace(each, in_place=each.in_place or name in marked) for name, each in program.schedule.nodes.items()}
    )


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    marked = [node.output for node in after.graph.nodes if after.of(node).in_place]
    if not marked:
        return "Nothing to do: every node left is a matrix product, which cannot write over what it reads."
    return f"{', '.join(marked)} written over the value each one reads, which is dead afterwards."


def _may_overwrite(graph: Graph, position: int, node: Node) -> bool:
    taken = node.values[0]
    return op_named(node.op).in_place and graph.dies_at(taken, position) and graph.columns_of(taken) == node.columns


PASS = Pass("in_place", "let a node write over a value that dies there", explain, apply=apply)
