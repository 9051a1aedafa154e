"""Operator fusion: a Linear and the arithmetic around it become one node.

The matrix product writes its result, and the bias and the activation then run on it in place, as the node's epilogue. What
that buys in NumPy: two intermediates fewer, and an epilogue that can go strip by strip while a strip is in the first cache
(see `mlbench.compiler.passes.strips`) instead of walking the whole activation once per operation.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.passes.base import graph_pass
from mlbench.ir import Graph, Node, Step, op_named


def apply(graph: Graph) -> Graph:
    """Move every element-wise node into the epilogue of the matrix product it follows."""
    fused: list[Node] = []
    for node in graph.nodes:
        if fused and _extends(graph, fused[-1], node):
            product = fused.pop()
            step = Step(node.op, node.operands)
            fused.append(replace(product, output=node.output, epilogue=(*product.epilogue, step)))
        else:
            fused.append(node)
    return graph if len(fused) == len(graph.nodes) else graph.with_nodes(tuple(fused))


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    moved = len(before.nodes) - len(after.nodes)
    if not moved:
        return "Nothing to fuse: no element-wise node follows a matrix product."
    return (
        f"{moved} element-wise nodes moved into the epilogue of the matrix product before them: "
        f"{len(before.nodes)} nodes became {len(after.nodes)}, and {moved} intermediates are gone."
    )


def _extends(graph: Graph, product: Node, node: Node) -> bool:
    follows = node.values[0] == product.output and product.output not in graph.outputs
    return follows and op_named(product.op).is_product and op_named(node.op).elementwise and len(graph.readers_of(product.output)) == 1


PASS = graph_pass("fuse", "make a Linear and the element-wise arithmetic behind it one node", apply, explain)
