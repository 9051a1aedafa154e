"""Widening: a value of one column is repeated before it meets a value of more columns.

A mean or a norm along a row has one column, and what it is subtracted from or divides has many. NumPy broadcasts such an operand, for
which it mallocs an iterator and a buffer in each call. A copy broadcasts without both. So the column is copied next to itself into a
matrix of as many columns, which has its place in the arena, and all who need that width share it.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.passes.base import Decision, Decisions, graph_pass
from mlbench.compiler.schedule.program import Program
from mlbench.ir import Graph, Node, new_name, op_named


def apply(graph: Graph) -> Graph:
    """Repeat every value of one column that an op of two values reads beside a wider one."""
    taken = {*graph.inputs, *graph.constants, *(node.output for node in graph.nodes)}
    columns = {**graph.inputs, **{node.output: node.columns for node in graph.nodes}}
    made: dict[tuple[str, int], str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        narrow = [name for name in node.values if _is_narrow(node, columns[name])]
        for name in dict.fromkeys(narrow):
            if (name, node.columns) not in made:
                made[name, node.columns] = wide = new_name(taken, f"{name}_wide")
                taken.add(wide)
                nodes.append(Node("repeat_column", (name,), wide, node.columns, attributes=(node.columns,)))
        inputs = (made[name, node.columns] if name in narrow else name for name in node.values)
        nodes.append(replace(node, inputs=(*inputs, *node.operands)) if narrow else node)
    return graph.with_nodes(tuple(nodes)) if made else graph


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    made = [node for node in after.nodes if node.output not in {each.output for each in before.nodes}]
    if not made:
        return "Nothing to do: no value of one column meets a wider one."
    return f"{', '.join(f'{node.values[0]} repeated to {node.columns} columns' for node in made)}, by a copy that allocates nothing."


def _is_narrow(node: Node, columns: int) -> bool:
    op = op_named(node.op)
    return op.is_pointwise and not op.elementwise and columns == 1 < node.columns


def decide(before: Program, after: Program) -> Decisions:
    """Return the values that were repeated and who reads them."""
    known = {node.output for node in before.graph.nodes}
    found = []
    for node in after.graph.nodes:
        if node.output not in known:
            readers = [after.graph.nodes[position].output for position in after.graph.readers_of(node.output)]
            found.append(Decision(node.values[0], is_done=True, reason=f"{' and '.join(readers)} reads it with {node.columns} columns"))
    return tuple(found) or (Decision("", is_done=False, reason="no value of one column meets a wider one"),)


PASS = graph_pass(
    "widen",
    "repeat a value of one column where it meets a wider one",
    apply,
    explain,
    rule="A value of one column is copied to the width of the value that it meets, because NumPy allocates a buffer for broadcasting it.",
    decide=decide,
)
