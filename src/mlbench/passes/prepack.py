"""Prepacking: weights are brought into the order in which the kernel of BLAS reads them once, and not in every call.

OpenBLAS copies both matrices of a product into packed order before its kernel runs. Of a product with few rows that copy is the larger
part of the work. Weights do not change, so they are packed at compile time, and the kernel is called directly (`mlbench.blas` says how, and
why that is safe). It adds to what the result holds, so the result starts from the bias and the bias costs nothing, or from zeros.

The kernel takes addresses, so the buffers must be static. Packed weights are copies, and are counted as such. Without the search a product
is packed where it is larger than what OpenBLAS multiplies without packing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlbench import blas
from mlbench.graph import FEATURES, FloatArray, Graph, Node, frozen, new_name, op_named
from mlbench.passes.choices import Choices, default_choices, products_of

NAME = "prepack"
SUMMARY = "pack weights once into the order in which the kernel of BLAS reads them"


def apply(graph: Graph) -> Graph:
    """Pack by the default rule."""
    return choose(graph, default_choices(graph, (NAME, "static")))


def choose(graph: Graph, choices: Choices) -> Graph:
    """Pack what was chosen, where the library of this process has a kernel to call."""
    kernel, _ = blas.find()
    if kernel is None or not graph.is_static:
        return graph
    constants = dict(graph.constants)
    nodes = list(graph.nodes)
    for position, way in zip(products_of(graph), choices.ways, strict=True):
        node = nodes[position]
        if way.packed and node.layout != FEATURES and not op_named(node.op).packed:
            name = new_name(constants, f"{node.inputs[1]}_packed")
            constants[name] = blas.pack(kernel, constants[node.inputs[1]])
            nodes[position] = _packed(node, name, constants)
    changed = tuple(nodes)
    return graph if changed == graph.nodes else graph.with_nodes(changed, constants)


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    kernel, why = blas.find()
    if kernel is None:
        return f"Nothing packed: {why}."
    if not after.is_static:
        return "Nothing packed: the kernel takes addresses, so it needs static buffers."
    packed = [name for node in after.nodes if op_named(node.op).packed for name in node.inputs[1:2]]
    if not packed:
        return "Nothing packed: BLAS multiplies these without packing, or it was not chosen."
    size = sum(after.constants[name].nbytes for name in packed)
    return f"{', '.join(packed)} packed for the kernel of {kernel.core}: {size:,} bytes of copies of weights."


def _packed(node: Node, weight: str, constants: dict[str, FloatArray]) -> Node:
    """Return the node with its weight packed; the result starts from a bias that its epilogue adds first, or from zeros."""
    first = node.epilogue[0] if node.epilogue else None
    if first is not None and first.op == "add" and constants[first.operands[0]].ndim == 1:
        return replace(node, op="linear_packed", inputs=(node.inputs[0], weight, *first.operands), epilogue=node.epilogue[1:])
    zeros = new_name(constants, f"zeros_{node.columns}")
    constants[zeros] = frozen(np.zeros(node.columns))
    return replace(node, op="linear_packed", inputs=(node.inputs[0], weight, zeros))
