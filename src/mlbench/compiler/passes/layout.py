"""Layout: how each weight and each activation lies in memory.

A weight can lie in C order (input after input) or in Fortran order, and a hidden activation row after row (batch-major) or feature after
feature (feature-major): (x @ W).T = W.T @ x.T, and BLAS takes either without a copy. The same product differs by up to 40 % between them,
either way, depending on its shape.

Feature-major products can also be computed in parts, some features at a time, since these lie together: OpenBLAS has kernels for small
products that do not pack anything (up to 100**3 multiplications), and a product in parts uses them.

Some products of an untransposed weight allocate inside OpenBLAS (`mlbench.compiler.blas.small_product_allocates`); their weight takes
the other order, whatever was chosen.

Without the search a narrow output (some classes of many inputs) takes its weight in Fortran order, and all else stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from mlbench.compiler import blas
from mlbench.compiler.schedule.choices import Choices, Way, default_choices, products_of
from mlbench.ir import FEATURES, ROWS, FloatArray, Graph, Node, frozen, new_name, op_named, shared_copy

NAME = "layout"
SUMMARY = "choose the memory order of each weight, and whether an activation lies batch-major or feature-major"


def apply(graph: Graph) -> Graph:
    """Lay out by the default rule."""
    return choose(graph, default_choices(graph, ()))


def choose(graph: Graph, choices: Choices) -> Graph:
    """Lay out as chosen, where the graph allows it."""
    constants = dict(graph.constants)
    made: dict[str, str] = {}
    nodes = list(graph.nodes)
    for position, way in zip(products_of(graph), choices.ways, strict=True):
        if not op_named(nodes[position].op).generated:
            so_far = replace(graph, nodes=tuple(nodes))
            nodes[position] = _laid_out(so_far, nodes[position], way, constants, made)
    changed = tuple(nodes)
    return graph if changed == graph.nodes else graph.with_nodes(changed, constants)


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    features = [node.output for node in after.nodes if node.layout == FEATURES]
    fortran = [name for name in after.constants if name not in before.constants]
    parts = [f"{node.output} in {node.parts} parts" for node in after.nodes if node.parts > 1]
    if not features and not fortran:
        return "Everything lies in C order, batch-major."
    told = ([f"{', '.join(fortran)} in Fortran order"] if fortran else []) + ([f"{', '.join(features)} feature-major"] if features else [])
    return f"{'; '.join([*told, *parts])}."


def _laid_out(graph: Graph, node: Node, way: Way, constants: dict[str, FloatArray], made: dict[str, str]) -> Node:
    readers = [graph.nodes[reader] for reader in graph.readers_of(node.output)]
    may_turn = bool(readers) and node.output != graph.output and all(op_named(reader.op).is_product for reader in readers)
    rows_only = all(graph.constants[name].ndim < 2 for step in node.epilogue for name in step.operands)
    if way.layout == FEATURES and not way.generated and may_turn and rows_only:
        node = replace(node, layout=FEATURES, parts=min(way.parts, node.columns))
    name = node.inputs[1]
    if not way.generated and _order(graph, node, way) == "F" and constants[name].flags.c_contiguous and 1 not in constants[name].shape:
        if name not in made:
            made[name] = new_name(constants, f"{name}_fortran")
            constants[made[name]] = shared_copy(constants[name], "F", partial(frozen, constants[name], "F"))
        node = replace(node, inputs=(node.inputs[0], made[name], *node.inputs[2:]))
    return node


def _order(graph: Graph, node: Node, way: Way) -> str:
    """Return the memory order of the weight: as chosen, unless BLAS would allocate in it."""
    inputs, columns = graph.constants[node.inputs[1]].shape
    if graph.layout_of(node.inputs[0]) == ROWS == node.layout and blas.small_product_allocates(inputs, columns):
        return "F"
    if graph.layout_of(node.inputs[0]) == FEATURES == node.layout and blas.small_product_allocates(inputs, None):
        return "C"
    return way.order
