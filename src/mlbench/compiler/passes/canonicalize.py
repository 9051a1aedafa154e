"""Constant folding and clean-up: what can be computed before the first call is, and what changes nothing goes.

* Two Linears without an activation between them are one: (x @ V + b) @ W + c = x @ (V @ W) + (b @ W + c). The product of the weights is
  computed in float64 and rounded once, so the result is at least as accurate as before. It is done only where it takes fewer floating
  point operations: with inputs k, hidden h and outputs n, where k n < k h + h n. A bottleneck (h small) stays as it is.
* A bias of zeros, a factor, divisor or exponent of ones, and a ReLU behind a ReLU, vanish. Without the sum a zero keeps its sign: -0.0
  stays -0.0.
* A power of two is a square: NumPy multiplies faster than it raises to a power.
* A value that nobody reads vanishes with its node.

Two Linears stay as they are where rounding, or the range of float32, could make a difference:

* a number of their weights or biases, or of what they would become, is not finite;
* a weight of the product would be subnormal, and lose digits;
* values of up to LARGEST_VALUE could overflow between them, so that one would give a number where two give an infinity or NaN.

**An infinite input** is the one exception. Two Linears give NaN for it, because infinities of both signs meet in the second one, and one
gives an infinity. Neither is a number, but ReLU, sigmoid and tanh make numbers of infinities. So Linears are merged only where none of them
comes behind: an output that is NaN is NaN or infinite after the merge, and never a number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mlbench.compiler.passes.base import Decision, Decisions, graph_pass, private_reason
from mlbench.compiler.schedule.program import Program
from mlbench.ir import FloatArray, Graph, Node, frozen, new_name

LARGEST_VALUE = 1e16
"""What the first of two Linears that become one may read, whatever lies between it and inputs of up to 1e4."""
_PATTERN = ("matmul", "add", "matmul", "add")
_KEEP_INFINITIES = ("matmul", "add", "leaky_relu", "softmax")
"""Ops that give no number for a row of infinities and NaN."""

_SMALLEST, _LARGEST = float(np.finfo(np.float32).smallest_normal), float(np.finfo(np.float32).max)

Wide = npt.NDArray[np.float64]


def apply(graph: Graph) -> Graph:
    """Fold and clean until nothing changes."""
    while True:
        cleaned = _without_dead(_without_idle(_squared(_merged(graph))))
        if cleaned is graph:
            return graph
        graph = cleaned


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    gone = len(before.nodes) - len(after.nodes)
    if not gone:
        return "Nothing to do: no two adjacent Linears can become one, and every node matters."
    merged = sum(node.op == "matmul" for node in before.nodes) - sum(node.op == "matmul" for node in after.nodes)
    return f"{gone} nodes are gone, {merged} matrix products among them."


def decide(before: Program, after: Program) -> Decisions:
    """Return the nodes that are gone, and the Linears that follow each other and stay two."""
    left = {node.output: node for node in after.graph.nodes}
    gone = [
        Decision(node.output, is_done=True, reason=_why_gone(before.graph, node)) for node in before.graph.nodes if node.output not in left
    ]
    kept = [Decision(window[2].output, is_done=False, reason=_why_two(after.graph, position)) for position, window in _pairs(after.graph)]
    if gone or kept:
        return (*gone, *kept)
    return (Decision("", is_done=False, reason="no Linear follows another one directly, and every node changes what it reads"),)


def _pairs(graph: Graph) -> Iterator[tuple[int, tuple[Node, ...]]]:
    """Give the Linears that follow each other."""
    for position in range(len(graph.nodes) - len(_PATTERN) + 1):
        window = graph.nodes[position : position + len(_PATTERN)]
        chained = all(later.values == (node.output,) for node, later in itertools.pairwise(window))
        if tuple(node.op for node in window) == _PATTERN and chained:
            yield position, window


def _why_gone(graph: Graph, node: Node) -> str:
    if node.output not in graph.outputs and not graph.readers_of(node.output):
        return "nobody reads it"
    if node.op == "matmul":
        return "two Linears without an activation between them take fewer operations as one"
    constants = [graph.constants[name] for name in node.operands]
    if node.op == "add" and any(each.any() for each in constants):
        return "its bias is part of the bias of the merged Linear"
    return "it changes nothing of what it reads, or only feeds what is gone"


def _why_two(graph: Graph, position: int) -> str:
    """Return why two Linears stay two."""
    window = graph.nodes[position : position + len(_PATTERN)]
    first, second = (graph.constants[window[place].operands[0]] for place in (0, 2))
    (inputs, hidden), columns = first.shape, second.shape[1]
    if inputs * columns >= inputs * hidden + hidden * columns:
        one, two = inputs * columns, inputs * hidden + hidden * columns
        return f"one Linear would take {one:,} multiplications a row, and the two take {two:,}"
    maker = next((node for node in graph.nodes[position:] if node.op not in _KEEP_INFINITIES), None)
    if maker is not None:
        return f"{maker.output}, a {maker.op} behind them, would make a number of an infinity that was NaN"
    shared = [private_reason(graph, node.output) for node in window[:-1]]
    return next(filter(None, shared), "rounding, or the range of float32, could make a difference")


def _merged(graph: Graph) -> Graph:
    """Merge the first two Linears that may be."""
    for position in range(len(graph.nodes) - len(_PATTERN) + 1):
        window = graph.nodes[position : position + len(_PATTERN)]
        chained = all(later.values == (node.output,) for node, later in itertools.pairwise(window))
        if tuple(node.op for node in window) == _PATTERN and chained and _is_private(graph, window[:-1]) and _keeps(graph, position):
            merged = _one_linear(graph, window)
            if merged is not None:
                constants, nodes = merged
                return graph.with_nodes((*graph.nodes[:position], *nodes, *graph.nodes[position + len(_PATTERN) :]), constants)
    return graph


def _keeps(graph: Graph, position: int) -> bool:
    """Whether nothing from a node on makes a number of an infinity."""
    return all(node.op in _KEEP_INFINITIES for node in graph.nodes[position:])


def _is_private(graph: Graph, nodes: tuple[Node, ...]) -> bool:
    return all(len(graph.readers_of(node.output)) == 1 and node.output not in graph.outputs for node in nodes)


def _one_linear(graph: Graph, window: tuple[Node, ...]) -> tuple[dict[str, npt.NDArray[np.float32]], tuple[Node, ...]] | None:
    first, second = (graph.constants[window[place].operands[0]] for place in (0, 2))
    bias, own = (graph.constants[window[place].operands[0]] for place in (1, 3))
    inputs, hidden = first.shape
    columns = second.shape[1]
    is_cheaper = inputs * columns < inputs * hidden + hidden * columns
    if not is_cheaper or bias.ndim != 1 or own.ndim != 1 or not all(np.isfinite(array).all() for array in (first, second, bias, own)):
        return None
    wide: Wide = first.astype(np.float64) @ second.astype(np.float64)
    wide_row: Wide = bias.astype(np.float64) @ second + own
    if not (_is_in_range(first, bias, second) and np.abs(wide_row).max() < _LARGEST and _is_exact_enough(wide)):
        return None
    weight, row = frozen(wide), frozen(wide_row)
    names = {**graph.constants}
    weight_name = new_name(names, f"{window[0].operands[0]}_{window[2].operands[0]}")
    names[weight_name] = weight
    row_name = new_name(names, f"{window[1].operands[0]}_{window[3].operands[0]}")
    names[row_name] = row
    product = replace(window[2], inputs=(*window[0].values, weight_name))
    return names, (product, replace(window[3], inputs=(product.output, row_name)))


def _is_in_range(first: FloatArray, bias: FloatArray, second: FloatArray) -> bool:
    """Whether nothing between two Linears can overflow for values of up to LARGEST_VALUE."""
    hidden: Wide = LARGEST_VALUE * np.abs(first).sum(axis=0, dtype=np.float64) + np.abs(bias)
    largest: Wide = hidden @ np.abs(second)
    return bool(max(hidden.max(), largest.max()) < _LARGEST)


def _is_exact_enough(weight: Wide) -> bool:
    """Whether every weight is a float32 of full precision."""
    sizes = np.abs(weight)
    return bool(np.all((sizes == 0) | ((sizes >= _SMALLEST) & (sizes < _LARGEST))))


def _squared(graph: Graph) -> Graph:
    """Write powers of two as squares."""
    squares = {node.output for node in graph.nodes if node.op == "power" and bool((graph.constants[node.operands[0]] == 2).all())}
    if not squares:
        return graph
    nodes = (replace(node, op="square", inputs=node.values) if node.output in squares else node for node in graph.nodes)
    return graph.with_nodes(tuple(nodes))


def _without_idle(graph: Graph) -> Graph:
    """Drop the first node that hands on what it reads."""
    for position, node in enumerate(graph.nodes):
        source = node.values[0]
        if not _is_idle(graph, position) or source in graph.inputs or (node.output in graph.outputs and source in graph.outputs):
            continue
        handed_on = {node.output: source}
        renamed = tuple(
            replace(each, inputs=tuple(handed_on.get(name, name) for name in each.inputs)) for each in graph.nodes if each is not node
        )
        return replace(graph.with_nodes(renamed), outputs=tuple(handed_on.get(name, name) for name in graph.outputs))
    return graph


def _is_idle(graph: Graph, position: int) -> bool:
    node = graph.nodes[position]
    if node.epilogue:
        return False
    if node.op == "add":
        return not graph.constants[node.operands[0]].any()
    if node.op in ("multiply", "divide", "power"):
        return bool((graph.constants[node.operands[0]] == 1).all())
    writers = [each for each in graph.nodes if each.output == node.values[0]]
    return node.op == "relu" and bool(writers) and writers[0].op == "relu" and not writers[0].epilogue


def _without_dead(graph: Graph) -> Graph:
    alive = tuple(node for node in graph.nodes if node.output in graph.outputs or graph.readers_of(node.output))
    return graph if len(alive) == len(graph.nodes) else graph.with_nodes(alive)


PASS = graph_pass(
    "canonicalize",
    "fold constants: merge Linears without an activation between them, drop what changes nothing",
    apply,
    explain,
    rule="Two Linears without an activation between them become one where that takes fewer operations and rounds no worse; a node that "
    "changes nothing, or that nobody reads, is dropped.",
    decide=decide,
)
