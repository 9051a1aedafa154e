"""Operator fusion: a Linear, or other arithmetic, and the element-wise arithmetic behind it become one node.

The matrix product writes its result, and the bias and the activation then run on it in place, as the node's epilogue. What
that buys in NumPy: two intermediates fewer, and an epilogue that can go strip by strip while a strip is in the first cache
(see `mlbench.compiler.passes.strips`) instead of walking the whole activation once per operation. Behind a sum of two values, a
LayerNorm or an element-wise op that follows no product, the same is done.

The value between two nodes must be nobody else's: neither an output nor read by a third node.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.passes.base import graph_pass
from mlbench.ir import Graph, Node, Step, op_named


def apply(graph: Graph) -> Graph:
    """Move every element-wise node into the epilogue of the node that it follows."""
    fused: dict[str, Node] = {}
    for node in graph.nodes:
        before = fused.get(node.values[0])
        if before is not None and _extends(graph, before, node):
            step = Step(node.op, node.operands)
            longer = replace(before, output=node.output, epilogue=(*before.epilogue, step))
            fused = {each.output: each for each in (longer if each is before else each for each in fused.values())}
        else:
            fused[node.output] = node
    return graph if len(fused) == len(graph.nodes) else graph.with_nodes(tuple(fused.values()))


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    moved = len(before.nodes) - len(after.nodes)
    if not moved:
        return "Nothing to fuse: no element-wise node follows a node that can take it in."
    return (
        f"{moved} element-wise nodes moved into the epilogue of the node before them: "
        f"{len(before.nodes)} nodes became {len(after.nodes)}, and {moved} intermediates are gone."
    )


def _extends(graph: Graph, before: Node, node: Node) -> bool:
    op = op_named(before.op)
    takes = op.is_product or op.is_pointwise or op.is_row_wise
    is_private = before.output not in graph.outputs and len(graph.readers_of(before.output)) == 1
    return takes and is_private and op_named(node.op).elementwise


PASS = graph_pass("fuse", "make a Linear, or other arithmetic, and the element-wise arithmetic behind it one node", apply, explain)
