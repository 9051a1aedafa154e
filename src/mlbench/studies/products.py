"""The matrix products of a graph by themselves: which they are, and where each finds its operand when nothing runs between them.

Bare products are a yardstick and a part of the time breakdown. In an MLP each product reads what the one before wrote, so its operand is
still in the caches; bare products keep that. Elsewhere a chain would change the numbers: a scale that is left out may let them grow to
infinity or sink to subnormals, whose products take longer. So a product behind anything but a bias and an activation reads an array of its
own.
"""

from __future__ import annotations

from mlbench.ir import Graph, Node, op_named

CARRIED = ("add", "relu", "leaky_relu", "sigmoid", "tanh")
"""What lies between the products of a `Model`."""


def product_sources(graph: Graph) -> tuple[tuple[Node, str], ...]:
    """Return each matrix product with the value whose storage it reads when products run alone.

    That value is an input, the result of another product, or one that neither is and so needs an array of its own.
    """
    carried = {name: name for name in graph.inputs}
    found = []
    for node in graph.nodes:
        if op_named(node.op).is_product:
            found.append((node, carried[node.values[0]]))
        source = node.values[0]
        carried[node.output] = carried[source] if is_carried(graph, node) else node.output
    return tuple(found)


def is_carried(graph: Graph, node: Node) -> bool:
    """Whether a node is left out when products run alone, and its reader reads what it would have read."""
    return node.op in CARRIED and len(node.values) == 1 and graph.columns_of(node.values[0]) == node.columns
