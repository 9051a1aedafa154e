"""Bias folding: a hidden bias moves through the ReLU into the next layer, and one pass over the activation disappears.

    relu(z + b) = max(z, -b) + b

so the layer only computes m = max(z, -b), and the next one adds b @ W to its own bias, once, at compile time:

    relu(z + b) @ W + c  =  m @ W + (b @ W + c)

The folded bias is computed in float64 and rounded once.

**What it costs in accuracy.** With u = 2**-24 the unit roundoff of float32 and gamma(n) = n u / (1 - n u), a matrix product over k terms
errs by at most gamma(k) sum_i |h_i| |W_ij| (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002, section 3.5).
Here |m_i| <= h_i + |b_i|, so the fold adds at most

    extra_j <= gamma(k + 1) sum_i |b_i| |W_ij| + u |c_j|.

A hidden bias of -1e8 therefore turns an 8 into a 0, and an infinite one gives NaN. So the fold is refused, layer by layer, unless

    sum_i |b_i| |W_ij|  <=  GROWTH * sum_i (a @ |V|)_i |W_ij|   for every output j,

where V is the weight before the bias and `a` bounds the magnitudes of its input when the model's inputs are at most 1: the fold may
add at most GROWTH times the rounding error that inputs of that size cause anyway. Activations other than ReLU do not allow the
rewrite and are left alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlbench.graph import FloatArray, Graph, Node, frozen, new_name

NAME = "fold_bias"
SUMMARY = "move hidden biases through the ReLU into the next layer's bias"
GROWTH = 4.0
_AT_MOST_ONE = ("sigmoid", "tanh", "softmax")

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Match:
    """Linear -> ReLU -> Linear as five consecutive nodes, the first at `position`."""

    position: int
    product: Node
    add: Node
    relu: Node
    next_product: Node
    next_add: Node


def apply(graph: Graph) -> Graph:
    """Fold every bias that may be folded, first layer first."""
    position = 0
    while (match := _next_match(graph, position)) is not None:
        position = match.position + 1
        if _is_accurate(graph, match):
            graph = _folded(graph, match)
    return graph


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    folded = [node.output for node in after.nodes if node.op == "maximum"]
    relus = sum(node.op == "relu" for node in before.nodes)
    if not folded:
        return f"Nothing folded: {relus} ReLU, none between two Linears with biases small enough to fold without losing accuracy."
    return (
        f"{len(folded)} of {relus} ReLU became max(z, -b), and the bias b moved into the next layer's bias as b @ W, "
        f"computed once in float64. A call makes {len(folded)} fewer passes over a hidden activation."
    )


def _next_match(graph: Graph, start: int) -> _Match | None:
    pattern = ("matmul", "add", "relu", "matmul", "add")
    for position in range(start, len(graph.nodes) - len(pattern) + 1):
        window = graph.nodes[position : position + len(pattern)]
        ops_fit = tuple(node.op for node in window) == pattern
        chained = all(later.inputs[0] == node.output for node, later in itertools.pairwise(window))
        private = all(len(graph.readers_of(node.output)) == 1 and node.output != graph.output for node in window[:-1])
        rows = all(graph.constants[node.inputs[1]].ndim == 1 for node in (window[1], window[4]) if ops_fit)
        if ops_fit and chained and private and rows:
            return _Match(position, *window)
    return None


def _is_accurate(graph: Graph, match: _Match) -> bool:
    """Whether the fold adds at most GROWTH times the rounding error that is there anyway."""
    names = (match.add.inputs[1], match.next_product.inputs[1], match.next_add.inputs[1])
    if not all(np.isfinite(graph.constants[name]).all() for name in names):
        return False
    bias, weight = _size_of(graph, names[0]), _size_of(graph, names[1])
    product = _magnitude(graph, match.product.inputs[0]) @ _size_of(graph, match.product.inputs[1])
    return bool(np.all(bias @ weight <= GROWTH * (product @ weight)))


def _magnitude(graph: Graph, value: str) -> Wide:
    """Bound |value| column by column for inputs of at most 1."""
    bound = {graph.input: np.ones(graph.input_columns)}
    for node in graph.nodes:
        if value in bound:
            break
        source = bound[node.inputs[0]]
        if node.op == "matmul":
            bound[node.output] = source @ _size_of(graph, node.inputs[1])
        elif node.op in ("add", "maximum"):
            bound[node.output] = source + _size_of(graph, node.inputs[1])
        elif node.op in ("relu", "leaky_relu"):
            bound[node.output] = source
        else:  # of an op that is not known here nothing is known, and nothing is folded behind it
            bound[node.output] = np.full(node.columns, 1.0 if node.op in _AT_MOST_ONE else np.nan)
    return bound[value]


def _size_of(graph: Graph, name: str) -> Wide:
    return np.abs(graph.constants[name].astype(np.float64))


def _folded(graph: Graph, match: _Match) -> Graph:
    bias: FloatArray = graph.constants[match.add.inputs[1]]
    weight = graph.constants[match.next_product.inputs[1]].astype(np.float64)
    own = graph.constants[match.next_add.inputs[1]].astype(np.float64)
    folded = bias.astype(np.float64) @ weight + own
    negated_name = new_name(graph.constants, f"{match.add.inputs[1]}_negated")
    folded_name = new_name(graph.constants, f"{match.next_add.inputs[1]}_folded")
    constants = {**graph.constants, negated_name: frozen(-bias), folded_name: frozen(folded)}
    maximum = Node("maximum", (match.product.output, negated_name), match.relu.output, match.relu.columns)
    add = Node("add", (match.next_product.output, folded_name), match.next_add.output, match.next_add.columns)
    first = match.position
    nodes = graph.nodes
    return graph.with_nodes((*nodes[: first + 1], maximum, nodes[first + 3], add, *nodes[first + 5 :]), constants)
