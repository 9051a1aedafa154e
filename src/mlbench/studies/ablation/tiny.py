"""A graph with the same operations on next to no numbers, which is what a call costs without its work.

Most values can be a single column. A concatenation cannot: it has as many columns as its parts, and what is added to it must have them too.
So every value begins with one column, values that must be alike form a group, and groups grow until all shape rules hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlbench.ir import FloatArray, Graph, Node, frozen, op_named
from mlbench.ir.graph import new_name


def tiny_graph(graph: Graph) -> Graph:
    """Return the graph with as few columns as its shape rules allow. Its constants keep their numbers, as far as there is place."""
    width = _widths(graph)
    taken, constants, nodes = {*graph.inputs, *(node.output for node in graph.nodes)}, {}, []
    for position, node in enumerate(graph.nodes):
        names = []
        for index, name in enumerate(node.operands):  # a node has its own, because another reader may have another width
            names.append(new_name(taken, f"k{position}_{index}"))
            constants[names[-1]] = _cut(graph.constants[name], node, width)
        columns = width[node.output]
        attributes = {"slice": (0, columns), "repeat_column": (columns,)}.get(node.op, ())
        nodes.append(replace(node, inputs=(*node.values, *names), columns=columns, attributes=attributes))
    return Graph({name: width[name] for name in graph.inputs}, constants, tuple(nodes), graph.outputs)


def _cut(constant: FloatArray, node: Node, width: Mapping[str, int]) -> FloatArray:
    if op_named(node.op).is_product:
        return frozen(constant[: width[node.values[0]], : width[node.output]])
    return frozen(constant[: width[node.output]] if constant.ndim else constant)


def _widths(graph: Graph) -> dict[str, int]:
    """Return the fewest columns of each value for which every shape rule holds.

    Widths only grow, and never above the graph's own, which fulfil the rules.
    """
    own = dict(graph.inputs) | {node.output: node.columns for node in graph.nodes}
    free = [node for node in graph.nodes if not op_named(node.op).is_product]
    group = _groups(free, own)
    width = dict.fromkeys(group.values(), 1)
    before: dict[str, int] = {}
    while width != before:
        before = dict(width)
        for node in free:
            _grow(node, width, group, own)
    return {name: width[group[name]] for name in own}


def _groups(nodes: Sequence[Node], own: Mapping[str, int]) -> dict[str, str]:
    """Return for each value the name of its group: what a node reads and binds in the same width is in one."""
    group = {name: name for name in own}
    for node in nodes:
        for value in node.values:
            if own[value] == node.columns:
                old, new = group[value], group[node.output]
                group = {name: new if each == old else each for name, each in group.items()}
    return group


def _grow(node: Node, width: dict[str, int], group: Mapping[str, str], own: Mapping[str, int]) -> None:
    """Let the widths around a node grow to where its shape rule may hold."""
    out, parts = group[node.output], [group[value] for value in node.values]
    if sum(own[value] for value in node.values) == node.columns:  # values side by side, or one of the same width
        width[out] = max(width[out], sum(width[part] for part in parts))
        for value in sorted(node.values, key=lambda value: -own[value]):  # the widest first, which has most place to grow
            missing = width[out] - sum(width[part] for part in parts)
            width[group[value]] += max(0, min(missing, own[value] - width[group[value]]))
    elif node.op == "slice":
        width[parts[0]] = max(width[parts[0]], width[out])
