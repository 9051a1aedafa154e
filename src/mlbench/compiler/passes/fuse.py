"""Operator fusion: a Linear, or other arithmetic, and the element-wise arithmetic behind it become one node.

The matrix product writes its result, and the bias and the activation then run on it in place, as the node's epilogue. What
that buys in NumPy: two intermediates fewer, and an epilogue that can go strip by strip while a strip is in the first cache
(see `mlbench.compiler.passes.strips`) instead of walking the whole activation once per operation. Behind a sum of two values, a
LayerNorm or an element-wise op that follows no product, the same is done.

The value between two nodes must be nobody else's: neither an output nor read by a third node.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.passes.base import Decision, Decisions, graph_pass, private_reason
from mlbench.compiler.schedule.program import Program
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


def decide(before: Program, after: Program) -> Decisions:
    """Return for each element-wise node whether it moved into the node before it, and why."""
    graph = before.graph
    heads = {node.output: node for node in graph.nodes}
    found = []
    for node in graph.nodes:
        if not op_named(node.op).elementwise:
            continue
        source = node.values[0]
        head = heads.get(source)
        reason = private_reason(graph, source) or ("" if head is None or _takes(head) else f"{head.op} takes no epilogue")
        if head is not None and not reason:
            heads[node.output] = head
        found.append(Decision(node.output, not reason, reason or f"{source} is read by nobody else"))
    if found:
        return tuple(found)
    what = "a matrix product" if all(op_named(node.op).is_product for node in graph.nodes) else "one that is not element-wise"
    return (Decision("", is_done=False, reason=f"every node left is {what}"),)


def _takes(node: Node) -> bool:
    op = op_named(node.op)
    return op.is_product or op.is_pointwise or op.is_row_wise


def _extends(graph: Graph, before: Node, node: Node) -> bool:
    is_private = before.output not in graph.outputs and len(graph.readers_of(before.output)) == 1
    return _takes(before) and is_private and op_named(node.op).elementwise


PASS = graph_pass(
    "fuse",
    "make a Linear, or other arithmetic, and the element-wise arithmetic behind it one node",
    apply,
    explain,
    rule="An element-wise node moves into the node that binds what it reads, if nobody else reads that value and the node is a matrix "
    "product, arithmetic or a function of rows.",
    decide=decide,
)
