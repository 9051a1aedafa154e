"""Small graphs that are no chain, written by hand: a residual sum, a concatenation, two heads, two inputs."""

from __future__ import annotations

import numpy as np

from mlbench.ir import FloatArray, Graph, Node, frozen
from mlbench.models import Network

WIDTH = 6


def _constants(*shapes: tuple[int, ...]) -> dict[str, FloatArray]:
    """Return a weight `w0`, `w1`, ... and a bias `b0`, `b1`, ... for each shape of a weight."""
    random = np.random.default_rng(7)
    made: dict[str, FloatArray] = {}
    for index, shape in enumerate(shapes):
        made |= {f"w{index}": frozen(random.standard_normal(shape) / 2), f"b{index}": frozen(random.standard_normal(shape[-1]))}
    return made


def _linear(index: int, source: str, columns: int, activation: str = "") -> tuple[Node, ...]:
    """Return a product `p`, a sum `s` and perhaps an activation `a`, each named with the index of the layer."""
    nodes = (Node("matmul", (source, f"w{index}"), f"p{index}", columns), Node("add", (f"p{index}", f"b{index}"), f"s{index}", columns))
    return (*nodes, Node(activation, (f"s{index}",), f"a{index}", columns)) if activation else nodes


RESIDUAL = Graph(
    {"x": WIDTH},
    _constants((WIDTH, 9), (9, WIDTH)),
    (*_linear(0, "x", 9, "relu"), *_linear(1, "a0", WIDTH), Node("add_values", ("x", "s1"), "y", WIDTH)),
    ("y",),
)
"""x + f(x)."""
INNER_RESIDUAL = Graph(
    {"x": WIDTH},
    _constants((WIDTH, 9), (9, 9), (9, 4)),
    (
        *_linear(0, "x", 9, "relu"),
        *_linear(1, "a0", 9, "relu"),
        Node("add_values", ("a1", "a0"), "h", 9),
        *_linear(2, "h", 4),
        Node("softmax", ("s2",), "y", 4),
    ),
    ("y",),
)
"""A sum over a layer in the middle, both sides of which are ReLUs."""
CONCATENATION = Graph(
    {"x": WIDTH},
    _constants((WIDTH, 5), (WIDTH, 3), (14, 4)),
    (
        *_linear(0, "x", 5, "relu"),
        *_linear(1, "x", 3, "tanh"),
        Node("concat", ("a0", "x", "a1"), "h", 14),
        *_linear(2, "h", 4, "sigmoid"),
    ),
    ("a2",),
)
"""Two branches and the input side by side."""
TWO_HEADS = Graph(
    {"x": WIDTH},
    _constants((WIDTH, 9), (9, 4), (9, 1)),
    (*_linear(0, "x", 9, "relu"), *_linear(1, "a0", 4), Node("softmax", ("s1",), "class", 4), *_linear(2, "a0", 1, "tanh")),
    ("class", "a2"),
)
"""One trunk, a softmax and a number."""
INNER_OUTPUT = Graph(
    {"x": WIDTH},
    _constants((WIDTH, 9), (9, 4)),
    (*_linear(0, "x", 9, "relu"), *_linear(1, "a0", 4), Node("softmax", ("s1",), "y", 4)),
    ("y", "a0", "s1"),
)
"""Values that later nodes read are outputs as well, in another order than they are bound."""
TWO_INPUTS = Graph(
    {"left": WIDTH, "right": 3},
    _constants((WIDTH, 5), (3, 5), (5, 2)),
    (
        *_linear(0, "left", 5),
        *_linear(1, "right", 5),
        Node("add_values", ("s0", "s1"), "h", 5),
        Node("relu", ("h",), "r", 5),
        *_linear(2, "r", 2),
    ),
    ("s2",),
)
"""Two inputs that meet in a sum."""
BRANCHED = {
    "residual": RESIDUAL,
    "inner-residual": INNER_RESIDUAL,
    "concatenation": CONCATENATION,
    "two-heads": TWO_HEADS,
    "inner-output": INNER_OUTPUT,
    "two-inputs": TWO_INPUTS,
}


def network_of(graph: Graph, batch: int | None = None) -> Network:
    """Return a graph as a network whose file calls its inputs and outputs as the graph does."""
    return Network("net", graph, tuple(graph.inputs), graph.outputs, batch)
