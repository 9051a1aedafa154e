"""Recognition: a function that was written out in simple ops becomes the one op that it is.

Exporters write a GELU as x * 0.5 * (1 + erf(x / sqrt(2))), five ops, and a LayerNorm as a mean, a difference, a square, a mean, a sum, a
root and a quotient. One node says what they are together. It has one kernel, which keeps its steps in scratch and needs no value in the
arena for each of them, and it can take in the epilogue that follows.

What is recognised: GELU, exact and by tanh; SiLU, x * sigmoid(x) and x / (1 + exp(-x)); mish; hard swish; softmax with its maximum
subtracted; RMSNorm; LayerNorm. A norm takes in a row that scales it, and LayerNorm a row that shifts it.

It is done only where nobody else reads what lies between, and only where the numbers in it are the right ones, up to RELATIVE: that is
less than rounding explains. A softmax without its maximum is left alone, because it overflows where the op does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from mlbench.compiler.passes.base import Decision, Decisions, graph_pass, private_reason
from mlbench.compiler.schedule.program import Program
from mlbench.ir import FloatArray, Graph, Node, frozen, new_name

RELATIVE = 1e-6


@dataclass(frozen=True, slots=True)
class _Found:
    """A match so far.

    Attributes:
        names: what a pattern calls a value or a constant, to its name in the graph.
        nodes: outputs of the nodes that were matched.
    """

    names: dict[str, str]
    nodes: frozenset[str]

    def binding(self, key: str, name: str) -> Iterator[_Found]:
        """Give the match with one name more; nothing where the key stands for another one."""
        if self.names.get(key, name) == name:
            yield replace(self, names={**self.names, key: name})


class _View:
    """A graph in which patterns look up who binds a value."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.writers = {node.output: node for node in graph.nodes}

    def has(self, node: Node, numbers: tuple[float, ...]) -> bool:
        """Whether the constants of a node are these numbers in every element."""
        arrays = [self.graph.constants[name] for name in node.operands]
        return all(np.all(np.abs(array - number) <= RELATIVE * abs(number)) for array, number in zip(arrays, numbers, strict=True))


_Pattern = Callable[[_View, str, _Found], Iterator[_Found]]


def _any(key: str) -> _Pattern:
    """Match any value, always the same one by one key."""

    def match(_: _View, name: str, found: _Found) -> Iterator[_Found]:
        return found.binding(key, name)

    return match


def _op(op: str, *inner: _Pattern, numbers: tuple[float, ...] = (), key: str = "") -> _Pattern:
    """Match a node by its op and its values; its constants by their numbers, or its only one bound to a key."""

    def match(view: _View, name: str, found: _Found) -> Iterator[_Found]:
        node = view.writers.get(name)
        if node is None or node.op != op or node.epilogue or len(node.values) != len(inner):
            return
        if numbers and not view.has(node, numbers):
            return
        grown = replace(found, nodes=found.nodes | {name})
        starts = grown.binding(key, node.operands[0]) if key else iter((grown,))
        for start in starts:
            yield from _all(view, node.values, inner, start)

    return match


def _all(view: _View, values: tuple[str, ...], inner: tuple[_Pattern, ...], found: _Found) -> Iterator[_Found]:
    if not values:
        yield found
        return
    for each in inner[0](view, values[0], found):
        yield from _all(view, values[1:], inner[1:], each)


def _either(*patterns: _Pattern) -> _Pattern:
    def match(view: _View, name: str, found: _Found) -> Iterator[_Found]:
        for pattern in patterns:
            yield from pattern(view, name, found)

    return match


def _times(one: _Pattern, other: _Pattern) -> _Pattern:
    return _either(_op("multiply_values", one, other), _op("multiply_values", other, one))


def _plus(one: _Pattern, other: _Pattern) -> _Pattern:
    return _either(_op("add_values", one, other), _op("add_values", other, one))


def _scaled(inner: _Pattern, number: float) -> _Pattern:
    return _either(_op("multiply", inner, numbers=(number,)), _op("divide", inner, numbers=(1 / number,)))


def _scaled_product(one: _Pattern, other: _Pattern, number: float) -> _Pattern:
    """Match one * other * number in any order."""
    return _either(
        _scaled(_times(one, other), number),
        _times(_scaled(one, number), other),
        _times(one, _scaled(other, number)),
    )


def _squared(inner: _Pattern) -> _Pattern:
    return _either(_op("square", inner), _op("power", inner, numbers=(2,)), _op("multiply_values", inner, inner))


def _over_deviation(above: _Pattern, squares: _Pattern) -> _Pattern:
    """Match above / sqrt(mean(squares) + epsilon)."""
    variance = _op("add", _op("reduce_mean", squares), key="epsilon")
    root = _either(_op("sqrt", variance), _op("power", variance, numbers=(0.5,)))
    inverse = _either(_op("reciprocal", root), _op("divide_into", root, numbers=(1,)), _op("power", variance, numbers=(-0.5,)))
    return _either(_op("divide_values", above, root), _times(above, inverse))


_X = _any("x")
_SQUARE = _squared(_X)
_CUBE = _either(_op("power", _X, numbers=(3,)), _times(_SQUARE, _X))
_ONE_PLUS_ERF = _op("add", _op("erf", _scaled(_X, math.sqrt(0.5))), numbers=(1,))
_ROOT = math.sqrt(2 / math.pi)
_TANH_OF = _op(
    "tanh",
    _either(
        _scaled(_plus(_X, _scaled(_CUBE, 0.044715)), _ROOT),
        _scaled_product(_X, _op("add", _scaled(_SQUARE, 0.044715), numbers=(1,)), _ROOT),
    ),
)
_EXPONENTIALS = _op("exp", _op("subtract_values", _X, _op("reduce_max", _X)))
_CENTERED = _op("subtract_values", _X, _op("reduce_mean", _X))
_PATTERNS: tuple[tuple[str, _Pattern], ...] = (
    ("gelu", _scaled_product(_X, _ONE_PLUS_ERF, 0.5)),
    ("gelu_tanh", _scaled_product(_X, _op("add", _TANH_OF, numbers=(1,)), 0.5)),
    ("silu", _times(_X, _op("sigmoid", _X))),
    ("silu", _op("divide_values", _X, _op("add", _op("exp", _op("neg", _X)), numbers=(1,)))),
    ("mish", _times(_X, _op("tanh", _op("softplus", _X)))),
    ("hard_swish", _times(_X, _op("hard_sigmoid", _X, numbers=(1 / 6, 0.5)))),
    ("hard_swish", _times(_X, _op("clip", _op("add", _scaled(_X, 1 / 6), numbers=(0.5,)), numbers=(0, 1)))),
    ("softmax", _op("divide_values", _EXPONENTIALS, _op("reduce_sum", _EXPONENTIALS))),
    ("layer_norm", _over_deviation(_CENTERED, _squared(_CENTERED))),
    ("rms_norm", _over_deviation(_X, _SQUARE)),
)
"""What each op looks like, written out."""


def apply(graph: Graph) -> Graph:
    """Replace until nothing is left to recognise."""
    while True:
        shorter = _absorbed(_recognized(graph))
        if shorter is graph:
            return graph
        graph = shorter


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    known = {node.output: node.op for node in before.nodes}
    found = [f"{node.output} is {node.op}" for node in after.nodes if known[node.output] != node.op]
    if not found:
        return "Nothing recognised: no activation or norm is written out in simple ops."
    return f"{', '.join(found)}: {len(before.nodes)} nodes became {len(after.nodes)}."


def decide(before: Program, after: Program) -> Decisions:
    """Return what was recognised, and what was written out but is read in between."""
    known = {node.output: node.op for node in before.graph.nodes}
    gone = len(before.graph.nodes) - len(after.graph.nodes)
    done = [
        Decision(node.output, is_done=True, reason=f"the numbers in it are those of a {node.op}, and nobody else reads what lies between")
        for node in after.graph.nodes
        if known[node.output] != node.op or (gone and node.op.endswith("_norm"))
    ]
    view = _View(after.graph)
    refused = {
        node.output: Decision(node.output, is_done=False, reason=f"it is a {op} written out, but {_read_inside(after.graph, found, node)}")
        for node in after.graph.nodes
        for op, pattern in _PATTERNS
        for found in pattern(view, node.output, _Found({}, frozenset()))
    }
    if done or refused:
        return (*done, *refused.values())
    return (Decision("", is_done=False, reason="no activation and no norm is written out in simple ops"),)


def _read_inside(graph: Graph, found: _Found, root: Node) -> str:
    """Return which value between the nodes of a match somebody else reads."""
    reasons = [private_reason(graph, name) for name in sorted(found.nodes - {root.output})]
    return next(filter(None, reasons), "somebody else reads what lies between")


def _recognized(graph: Graph) -> Graph:
    """Replace the last function that is written out."""
    view = _View(graph)
    for node in reversed(graph.nodes):
        for op, pattern in _PATTERNS:
            for found in pattern(view, node.output, _Found({}, frozenset())):
                if _is_private(graph, found.nodes, node.output):
                    return _replaced(graph, node, op, found)
    return graph


def _is_private(graph: Graph, nodes: frozenset[str], root: str) -> bool:
    """Whether nobody but the nodes themselves reads what lies between."""
    inner = nodes - {root}
    return not inner & set(graph.outputs) and all(node.output in nodes or not inner & set(node.values) for node in graph.nodes)


def _replaced(graph: Graph, root: Node, op: str, found: _Found) -> Graph:
    constants = dict(graph.constants)
    operands: list[str] = []
    if op.endswith("_norm"):
        epsilon = constants[found.names["epsilon"]]
        rows = [("scale", np.ones(root.columns))] + [("shift", np.zeros(root.columns))] * (op == "layer_norm")
        operands = [_added(constants, f"{root.output}_{name}", row) for name, row in rows]
        operands.append(_added(constants, f"{root.output}_epsilon", epsilon.reshape(-1)[0]))
    node = Node(op, (found.names["x"], *operands), root.output, root.columns)
    kept = (node if each is root else each for each in graph.nodes if each is root or each.output not in found.nodes)
    return graph.with_nodes(tuple(kept), constants)


def _absorbed(graph: Graph) -> Graph:
    """Let the first norm that neither scales nor shifts yet take in the row behind it."""
    writers = {node.output: node for node in graph.nodes}
    for node in graph.nodes:
        norm = writers.get(node.values[0])
        if norm is None or not _takes(graph, norm, node):
            continue
        constants = dict(graph.constants)
        index = 0 if node.op == "multiply" else 1
        row = np.broadcast_to(constants[node.operands[0]], node.columns)
        operands = list(norm.operands)
        operands[index] = _added(constants, f"{node.output}_{('scale', 'shift')[index]}", row)
        longer = replace(norm, inputs=(*norm.values, *operands), output=node.output)
        return graph.with_nodes(tuple(longer if each is node else each for each in graph.nodes if each is not norm), constants)
    return graph


def _takes(graph: Graph, norm: Node, node: Node) -> bool:
    if norm.op not in ("layer_norm", "rms_norm") or len(graph.readers_of(norm.output)) > 1 or norm.output in graph.outputs:
        return False
    scale, *shift = (graph.constants[name] for name in norm.operands[:-1])
    if any(each.any() for each in shift) or graph.constants[node.operands[0] if node.operands else norm.operands[0]].ndim > 1:
        return False
    return (node.op == "multiply" and bool((scale == 1).all())) or (node.op == "add" and norm.op == "layer_norm")


def _added(constants: dict[str, FloatArray], name: str, array: object) -> str:
    new = new_name(constants, name)
    constants[new] = frozen(np.asarray(array))
    return new


PASS = graph_pass(
    "recognize",
    "make one node of an activation or a norm that is written out in simple ops",
    apply,
    explain,
    rule="Nodes that together are an activation or a norm become one node, if the numbers in them are the right ones and nobody else reads "
    "what lies between.",
    decide=decide,
)
