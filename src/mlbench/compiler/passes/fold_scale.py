"""Scale folding: rows that scale or shift a value go into the weight and the bias of the Linear before or behind.

A batch normalisation is a row that scales and a row that shifts, and so is a scaler in front of a network:

    (x @ W + b) * s + t  =  x @ (W * s) + (b * s + t)         behind a Linear
    (x * s + t) @ W + b  =  x @ (s[:, None] * W) + (t @ W + b)    in front of one

The new weights and biases are computed in float64 and rounded once, and two passes over a value disappear. The value between the two ops
must be nobody else's.

**What it costs in accuracy.** Scaling costs nothing: what is added up has the same sizes as before. Nor does a shift behind a Linear. A
shift in front of one does: where x is near -t, the product of x and the product of t are large and cancel out. So a shift moves
into the bias only if t @ W, as the root of the sum of squares, is at most GROWTH times what values of unit size give, because about unit
size is what a normalisation hands on:

    sum_i (t_i W_ij)**2  <=  GROWTH**2 * sum_i W_ij**2    for every output j.

The bias of a Linear is no such shift and stays, because in generated code it costs nothing.

A scaler shifts first: (x + t) * s = x * s + t * s. There it is t * s that must keep the limit; if it does not, both stay.

Nothing is folded where a number is not finite, where a weight would be subnormal and lose digits, or where values of up to LARGEST_VALUE
could overflow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mlbench.compiler.passes.base import Decision, Decisions, graph_pass, private_reason
from mlbench.compiler.schedule.program import Program
from mlbench.ir import FloatArray, Graph, Node, frozen, new_name

GROWTH = 2.0
LARGEST_VALUE = 1e16
_SCALES, _SHIFTS = ("multiply", "divide"), ("add",)
_SMALLEST, _LARGEST = float(np.finfo(np.float32).smallest_normal), float(np.finfo(np.float32).max)

Wide = npt.NDArray[np.float64]
Change = tuple[dict[str, FloatArray], dict[str, tuple[Node, ...]]]
"""The constants, and what stands in the place of the node that binds some value."""


def apply(graph: Graph) -> Graph:
    """Fold until nothing is left to fold."""
    while True:
        folded = _once(graph)
        if folded is graph:
            return graph
        graph = folded


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    scales, shifts = (
        sum(node.op in ops for node in before.nodes) - sum(node.op in ops for node in after.nodes) for ops in (_SCALES, _SHIFTS)
    )
    if not scales and not shifts:
        return (
            "Nothing folded: no row scales or shifts a value before or behind a Linear, or folding it would change the rounding too much."
        )
    return f"{scales} rows that scale and {max(shifts, 0)} that shift a value went into weights and biases of Linears."


def decide(before: Program, after: Program) -> Decisions:
    """Return the rows that went into a Linear, and those that stay with the reason."""
    left = {node.output: node for node in after.graph.nodes}
    rows = [node for node in before.graph.nodes if node.op in (*_SCALES, *_SHIFTS)]
    done = [
        Decision(node.output, is_done=True, reason="its row went into the Linear next to it, and nobody else reads what lies between")
        for node in rows
        if node.output not in left or left[node.output].op != node.op
    ]
    refused = [
        Decision(node.output, is_done=False, reason=_why_left(after.graph, node))
        for node in after.graph.nodes
        if _is_candidate(after.graph, node)
    ]
    if done or refused:
        return (*done, *refused)
    return (Decision("", is_done=False, reason="no row scales a value, and every row that shifts one is the bias of a Linear"),)


def _is_candidate(graph: Graph, node: Node) -> bool:
    """Whether a row scales or shifts a value, and is no bias of a Linear."""
    writer = next((each for each in graph.nodes if each.output == node.values[0]), None)
    is_bias = node.op in _SHIFTS and writer is not None and writer.op == "matmul"
    return node.op in (*_SCALES, *_SHIFTS) and not is_bias


def _why_left(graph: Graph, node: Node) -> str:
    """Return why a row stays where it is."""
    writer = next((each for each in graph.nodes if each.output == node.values[0]), None)
    readers = [graph.nodes[position] for position in graph.readers_of(node.output)]
    linear = ("matmul", *_SHIFTS)
    is_near = (writer is not None and writer.op in linear) or any(each.op == "matmul" for each in readers)
    if not is_near:
        return "no Linear is before or behind it"
    shared = [private_reason(graph, name) for name in (node.values[0], node.output) if name not in graph.inputs]
    return next(filter(None, shared), "folding it would change the rounding too much, or overflow")


def _once(graph: Graph) -> Graph:
    writers = {node.output: node for node in graph.nodes}
    for node in graph.nodes:
        before = writers.get(node.values[0])
        if before is None or not _is_private(graph, before) or before.epilogue or node.epilogue:
            continue
        for fold in _FOLDS.get((_kind(graph, before), _kind(graph, node)), ()):
            change = fold(graph, writers, before, node)
            if change is not None:
                return _changed(graph, *change)
    return graph


def _kind(graph: Graph, node: Node) -> str:
    if node.op in (*_SCALES, *_SHIFTS) and graph.constants[node.operands[0]].ndim > 1:
        return "strip"
    return "scale" if node.op in _SCALES else "shift" if node.op in _SHIFTS else node.op


def _is_private(graph: Graph, node: Node) -> bool:
    return len(graph.readers_of(node.output)) == 1 and node.output not in graph.outputs


def _changed(graph: Graph, constants: dict[str, FloatArray], instead: dict[str, tuple[Node, ...]]) -> Graph:
    return graph.with_nodes(tuple(new for node in graph.nodes for new in instead.get(node.output, (node,))), constants)


def _product_then_scale(graph: Graph, writers: dict[str, Node], product: Node, node: Node) -> Change | None:
    scale = _scale(graph, node)
    weight = _weight(graph, product)
    if not _is_safe(weight, weight * scale, scale):
        return None
    constants = dict(graph.constants)
    name = _added(constants, f"{product.operands[0]}_scaled", weight * scale)
    return constants, {product.output: (), node.output: (replace(product, inputs=(*product.values, name), output=node.output),)}


def _shift_then_scale(graph: Graph, writers: dict[str, Node], shift: Node, node: Node) -> Change | None:
    """Fold a scale behind a Linear with a bias."""
    product = writers.get(shift.values[0])
    if product is None or product.op != "matmul" or not _is_private(graph, product) or product.epilogue:
        return None
    scale, weight, bias = _scale(graph, node), _weight(graph, product), _row(graph, shift)
    if not (_is_safe(weight, weight * scale, scale) and _is_finite(bias, bias * scale)):
        return None
    constants = dict(graph.constants)
    name = _added(constants, f"{product.operands[0]}_scaled", weight * scale)
    row = _added(constants, f"{shift.operands[0]}_scaled", bias * scale)
    scaled = replace(product, inputs=(*product.values, name))
    return constants, {
        product.output: (scaled,),
        shift.output: (),
        node.output: (replace(shift, inputs=(product.output, row), output=node.output),),
    }


def _shift_then_shift(graph: Graph, writers: dict[str, Node], shift: Node, node: Node) -> Change | None:
    """Fold a shift behind a Linear with a bias."""
    product = writers.get(shift.values[0])
    total = _row(graph, shift) + _row(graph, node)
    if product is None or product.op != "matmul" or not _is_finite(total):
        return None
    constants = dict(graph.constants)
    row = _added(constants, f"{shift.operands[0]}_shifted", total)
    return constants, {shift.output: (), node.output: (replace(node, inputs=(*shift.values, row)),)}


def _scale_then_product(graph: Graph, writers: dict[str, Node], node: Node, product: Node) -> Change | None:
    scale = _scale(graph, node)[:, np.newaxis]
    weight = _weight(graph, product)
    before = writers.get(node.values[0])
    if before is not None and _kind(graph, before) == "shift" and not _may_move(_row(graph, before) * scale[:, 0], weight):
        return None
    if not _is_safe(weight, weight * scale, scale):
        return None
    constants = dict(graph.constants)
    name = _added(constants, f"{product.operands[0]}_scaled", weight * scale)
    return constants, {node.output: (), product.output: (replace(product, inputs=(*node.values, name)),)}


def _shift_then_product(graph: Graph, writers: dict[str, Node], node: Node, product: Node) -> Change | None:
    before = writers.get(node.values[0])
    if before is not None and before.op == "matmul":
        return None  # the bias of a Linear stays where it costs least, and two Linears are the business of `canonicalize`
    shift, weight = _row(graph, node), _weight(graph, product)
    row = shift @ weight
    if not (_is_finite(shift, weight, row) and _may_move(shift, weight)):
        return None
    constants = dict(graph.constants)
    name = _added(constants, f"{node.operands[0]}_shifted", row)
    bare = new_name({*writers, *graph.inputs, *constants}, f"{product.output}_bare")
    moved = replace(product, inputs=(*node.values, *product.operands), output=bare)
    return constants, {node.output: (), product.output: (moved, Node("add", (bare, name), product.output, product.columns))}


_FOLDS: dict[tuple[str, str], tuple[Callable[[Graph, dict[str, Node], Node, Node], Change | None], ...]] = {
    ("matmul", "scale"): (_product_then_scale,),
    ("shift", "scale"): (_shift_then_scale,),
    ("shift", "shift"): (_shift_then_shift,),
    ("scale", "matmul"): (_scale_then_product,),
    ("shift", "matmul"): (_shift_then_product,),
}
"""What may be folded, by what a node is and what follows it."""


def _weight(graph: Graph, product: Node) -> Wide:
    return graph.constants[product.operands[0]].astype(np.float64)


def _row(graph: Graph, node: Node) -> Wide:
    """Return the constant of a node as a row."""
    return np.broadcast_to(graph.constants[node.operands[0]].astype(np.float64), (node.columns,))


def _scale(graph: Graph, node: Node) -> Wide:
    row = _row(graph, node)
    with np.errstate(all="ignore"):
        return 1 / row if node.op == "divide" else row


def _may_move(shift: Wide, weight: Wide) -> bool:
    """Whether rounding allows a shift to move through a product."""
    with np.errstate(all="ignore"):
        return bool(np.all(np.square(shift) @ np.square(weight) <= GROWTH**2 * np.square(weight).sum(axis=0)))


def _is_safe(weight: Wide, scaled: Wide, scale: Wide) -> bool:
    """Whether the weight keeps its digits, and no value of usual size overflows before or behind."""
    if not _is_finite(weight, scaled, scale):
        return False
    sizes = np.abs(scaled)
    most = LARGEST_VALUE * max(float(np.abs(weight).sum(axis=0).max()), float(sizes.sum(axis=0).max()), float(np.abs(scale).max()))
    return most < _LARGEST and bool(np.all((sizes == 0) | (sizes >= _SMALLEST)))


def _is_finite(*arrays: Wide) -> bool:
    return all(np.isfinite(array).all() and np.abs(array).max() < _LARGEST for array in arrays)


def _added(constants: dict[str, FloatArray], name: str, array: Wide) -> str:
    new = new_name(constants, name)
    constants[new] = frozen(array)
    return new


PASS = graph_pass(
    "fold_scale",
    "move rows that scale or shift a value into the Linear before or behind",
    apply,
    explain,
    rule="A row that scales or shifts a value goes into the weight and the bias of the Linear next to it, if nobody else reads what lies "
    "between and rounding stays as good.",
    decide=decide,
)
