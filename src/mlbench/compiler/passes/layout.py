"""Layout: how each weight and each activation lies in memory.

A weight can lie in C order (input after input) or in Fortran order, and a hidden activation row after row (row-major) or feature after
feature (feature-major): (x @ W).T = W.T @ x.T, and BLAS takes either without a copy. The same product differs by up to 40 % between them,
either way, depending on its shape.

Feature-major products can also be computed in parts, some features at a time, since these lie together: OpenBLAS has kernels for small
products that do not pack anything (up to 100**3 multiplications), and a product in parts uses them.

Some products of an untransposed weight allocate inside OpenBLAS (`mlbench.compiler.blas.small_product_allocates`); their weight takes
the other order, whatever was chosen.

Without the search a narrow output (some classes of many inputs) takes its weight in Fortran order, and all else stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mlbench.compiler import blas
from mlbench.compiler.passes.base import Decision, Decisions, Pass
from mlbench.compiler.schedule.program import FEATURES, ROWS, NodeSchedule, Program
from mlbench.compiler.schedule.schedule import OpSchedule, Schedule, products_of, weight_shape
from mlbench.compiler.shared_copies import shared_copy
from mlbench.ir import FloatArray, Graph, Node, frozen, new_name, op_named


def choose(program: Program, schedule: Schedule) -> Program:
    """Lay out as chosen, where the graph allows it."""
    mine = [
        (position, op)
        for position, op in zip(products_of(program.graph), schedule.ops, strict=True)
        if not op.generated and not program.of(program.graph.nodes[position]).is_generated
    ]
    nodes = dict(program.schedule.nodes)
    for node, op in ((program.graph.nodes[position], op) for position, op in mine):
        if op.layout == FEATURES and _may_be_transposed(program, node):
            nodes[node.output] = NodeSchedule(FEATURES, min(op.parts, node.columns))
    laid_out = program.scheduled(nodes=nodes)
    graph = _with_orders(laid_out, mine)
    return laid_out.with_graph(graph).scheduled(nodes=nodes)


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    features = [node.output for node in after.graph.nodes if after.of(node).layout == FEATURES]
    fortran = [name for name in after.graph.constants if name not in before.graph.constants]
    parts = [f"{node.output} in {after.of(node).parts} parts" for node in after.graph.nodes if after.of(node).parts > 1]
    if not features and not fortran:
        return "Everything lies in C order, row-major."
    orders = [f"{', '.join(fortran)} in Fortran order"] if fortran else []
    layouts = [f"{', '.join(features)} feature-major"] if features else []
    return f"{'; '.join([*orders, *layouts, *parts])}."


def decide(before: Program, after: Program) -> Decisions:
    """Return for each matrix product where its weight and its result lie, and why."""
    products = {node.output: node for node in before.graph.nodes if op_named(node.op).is_product}
    found = []
    for node in after.graph.nodes:
        if node.output in products:
            is_turned = node.operands != products[node.output].operands
            is_features = after.of(node).layout == FEATURES
            why = (
                "its weight in Fortran order" * is_turned + " and " * (is_turned and is_features) + "its result feature-major" * is_features
            )
            reason = f"the schedule has {why}" if why else "no other order was chosen, or generated code will pack its weight"
            found.append(Decision(node.output, is_turned or is_features, reason))
    return tuple(found) or (Decision("", is_done=False, reason="there is no matrix product"),)


def _may_be_transposed(program: Program, node: Node) -> bool:
    graph = program.graph
    readers = [graph.nodes[reader] for reader in graph.readers_of(node.output)]
    only_products = bool(readers) and node.output not in graph.outputs and all(op_named(reader.op).is_product for reader in readers)
    return only_products and all(graph.constants[name].ndim < 2 for step in node.epilogue for name in step.operands)


def _with_orders(program: Program, mine: Sequence[tuple[int, OpSchedule]]) -> Graph:
    """Return the graph with the weights of some products in the orders that are due."""
    constants = dict(program.graph.constants)
    nodes = list(program.graph.nodes)
    made: dict[str, str] = {}
    for position, op in mine:
        nodes[position] = _with_weight(program, nodes[position], op, constants, made)
    changed = tuple(nodes)
    return program.graph if changed == program.graph.nodes else program.graph.with_nodes(changed, constants)


def _with_weight(program: Program, node: Node, op: OpSchedule, constants: dict[str, FloatArray], made: dict[str, str]) -> Node:
    """Return the node with its weight in the order that is due."""
    (name,) = node.operands
    if _order(program, node, op) != "F" or not constants[name].flags.c_contiguous or 1 in constants[name].shape:
        return node
    if name not in made:
        made[name] = new_name(constants, f"{name}_fortran")
        constants[made[name]] = shared_copy(constants[name], "F", partial(frozen, constants[name], "F"))
    return replace(node, inputs=(*node.values, made[name]))


def _order(program: Program, node: Node, op: OpSchedule) -> str:
    """Return the memory order of the weight: as chosen, unless BLAS would allocate in it."""
    inputs, columns = weight_shape(program.graph, node)
    source, result = program.layout_of(node.values[0]), program.of(node).layout
    if source == ROWS == result and blas.small_product_allocates(inputs, columns):
        return "F"
    if source == FEATURES == result and blas.small_product_allocates(inputs, None):
        return "C"
    return op.order


PASS = Pass(
    "layout",
    "choose the memory order of each weight, and whether an activation lies row-major or feature-major",
    explain,
    choose=choose,
    rule="A weight may lie in either order, and an activation that only matrix products read may lie feature after feature; the schedule "
    "says which.",
    decide=decide,
)
