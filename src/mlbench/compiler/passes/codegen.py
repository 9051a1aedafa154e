"""Code generation: products become machine code of our own, with the bias and the activation inside it.

BLAS packs the weights anew in every product, and NumPy walks over the result once more for the bias and again for the activation. Weights
do not change, so they are packed once, for all runners of a model that pack them alike; and a block of the result is still in registers
when bias and activation are due. So that code is written here for these very sizes and addresses (`mlbench.compiler.x86` says how), and
products
that follow each other become one function, which runs a tile from its first layer to its last. A call of it costs 40 ns where two of
NumPy's cost a microsecond.

The code has addresses in it, so the buffers must be static. Packed weights are copies, and are counted as such. What there is no code for,
such as a softmax or the tanh of an epilogue, stays with NumPy, behind the product. Code exists for x86-64 with AVX2 or AVX-512 on Linux;
elsewhere the pass does nothing and says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from mlbench.compiler.schedule.choices import Choices, default_choices, products_of
from mlbench.compiler.x86 import MOST_OPERANDS, MOST_SIZE, STEPS, Vectors, best_width, find, pack
from mlbench.ir import FEATURES, FloatArray, Graph, Node, new_name, op_named, shared_copy

NAME = "codegen"
SUMMARY = "write machine code for the products, with weights packed once and bias and activation inside"


def apply(graph: Graph) -> Graph:
    """Generate by the default rule."""
    return choose(graph, default_choices(graph, (NAME, "static")))


def choose(graph: Graph, choices: Choices) -> Graph:
    """Generate what was chosen, where this machine can run it."""
    vectors, _ = find()
    if vectors is None or not graph.is_static:
        return graph
    constants = dict(graph.constants)
    made: dict[tuple[str, int], str] = {}
    nodes = list(graph.nodes)
    for position, way in zip(products_of(graph), choices.ways, strict=True):
        node = nodes[position]
        if way.generated and _is_possible(graph, node):
            nodes[position] = _generated(graph, node, vectors, constants, made)
    changed = tuple(nodes)
    return graph if changed == graph.nodes else graph.with_nodes(changed, constants)


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    vectors, why = find()
    if vectors is None:
        return f"No code generated: {why}."
    if not after.is_static:
        return "No code generated: it has addresses in it, so it needs static buffers."
    mine = [node for node in after.nodes if op_named(node.op).generated]
    if not mine:
        return "No code generated: it was not chosen, or an operand does not allow it."
    size = sum({name: after.constants[name].nbytes for node in mine for name in node.inputs[1:2]}.values())
    inside = sum(node.inner for node in mine)
    panels = ", ".join(str(node.width * vectors.lanes) for node in mine)
    return (
        f"{', '.join(node.output for node in mine)} computed by generated code for {vectors.name}, with {inside} "
        f"element-wise steps inside the products; {size:,} bytes of copies of weights, packed in panels of {panels} columns."
    )


def _is_possible(graph: Graph, node: Node) -> bool:
    rows_first = node.layout != FEATURES and graph.layout_of(node.inputs[0]) != FEATURES
    return not op_named(node.op).generated and rows_first and max(graph.constants[node.inputs[1]].shape) <= MOST_SIZE


def _generated(graph: Graph, node: Node, vectors: Vectors, constants: dict[str, FloatArray], made: dict[tuple[str, int], str]) -> Node:
    name = node.inputs[1]
    weight = constants[name]
    width = best_width(graph.rows_at_once or 1, *weight.shape, vectors)
    if (name, width) not in made:
        made[name, width] = new_name(constants, f"{name}_packed")
        constants[made[name, width]] = shared_copy(weight, (vectors.lanes, width), partial(pack, weight, width, vectors))
    return replace(
        node,
        op="linear_generated",
        inputs=(node.inputs[0], made[name, width]),
        width=width,
        lanes=vectors.lanes,
        inner=_inner(node, constants),
    )


def _inner(node: Node, constants: Mapping[str, FloatArray]) -> int:
    """Return how many steps of the epilogue, from its first on, there is code for.

    The larger of a value and a NaN is NaN in NumPy, and the value in a processor, so an operand with NaN stays with NumPy; so does a slope
    beside which a number may become NaN. Code reads an operand number after number.
    """
    operands = 0
    for index, step in enumerate(node.epilogue):
        arrays = [constants[name] for name in step.operands]
        operands += len(arrays)
        fits = all(array.ndim < 2 and array.flags.c_contiguous and not np.isnan(array).any() for array in arrays)
        sloped = step.op != "leaky_relu" or all(0 < array < 1 for array in arrays if array.ndim == 0)
        if step.op not in STEPS or operands > MOST_OPERANDS or not fits or not sloped:
            return index
    return len(node.epilogue)
