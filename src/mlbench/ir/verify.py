"""The verifier of graphs: every law in one place, each error naming the law and the place.

It trusts no pass and imports none. `compile_graph` calls it before the first pass and after every one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlbench.errors import GraphError
from mlbench.ir.graph import Graph, Node, Step
from mlbench.ir.ops import Op, op_named


def verify(graph: Graph) -> None:
    """Check every law of a graph.

    Raises:
        GraphError: naming the first law that is broken, the node, what was found and what was expected.
    """
    _check_inputs(graph)
    _check_constants(graph)
    columns = dict(graph.inputs)
    for position, node in enumerate(graph.nodes):
        _check_node(graph, node, columns, f"node {position} ({node.output} = {node.op})")
        columns[node.output] = node.columns
    _check_outputs(graph, columns)


def _check_inputs(graph: Graph) -> None:
    if not graph.inputs:
        raise GraphError("inputs: found none; expected one or more")
    for name, columns in graph.inputs.items():
        if columns < 1:
            raise GraphError(f"inputs: {name} has {columns} columns; expected 1 or more")
        if name in graph.constants:
            raise GraphError(f"inputs: {name!r} is an input and a constant; expected two names")


def _check_outputs(graph: Graph, columns: Mapping[str, int]) -> None:
    if not graph.outputs or len(set(graph.outputs)) < len(graph.outputs):
        raise GraphError(f"outputs: found {graph.outputs}; expected one or more, each once")
    for name in graph.outputs:
        if name in graph.inputs:
            raise GraphError(f"output: {name!r} is an input; expected a value that a node binds")
        if name not in columns:
            raise GraphError(f"output: {name!r} is bound by no node; expected one of {', '.join(list(columns)[len(graph.inputs) :])}")


def _check_constants(graph: Graph) -> None:
    for name, array in graph.constants.items():
        if array.dtype != np.float32:
            raise GraphError(f"constants: {name} is {array.dtype}; expected float32")
        if array.flags.writeable:
            raise GraphError(f"constants: {name} can be written to; expected a read-only array")


def _check_node(graph: Graph, node: Node, columns: Mapping[str, int], where: str) -> None:
    if node.output in columns or node.output in graph.constants:
        raise GraphError(f"{where}: binds {node.output!r} a second time; every value is bound once")
    op = _op_at(node.op, where)
    if not op.takes(len(node.values)) or len(node.operands) != op.constants:
        raise GraphError(f"{where}: reads {node.inputs}; expected {op.arity_text}")
    unbound = [name for name in node.values if name not in columns]
    if unbound:
        raise GraphError(f"{where}: reads {unbound[0]!r}, which is not bound yet; bound are {', '.join(columns)}")
    if len(node.attributes) != op.attributes or any(type(number) is not int for number in node.attributes):
        raise GraphError(f"{where}: has the attributes {node.attributes}; expected {op.attributes} whole numbers")
    found = _columns_after(graph, Step(node.op, node.operands), [columns[name] for name in node.values], where, node.attributes)
    if found != node.columns:
        raise GraphError(f"{where}: says {node.columns} columns; its shape rule gives {found}")
    if node.epilogue and not (op.is_product or op.is_pointwise or op.is_row_wise):
        raise GraphError(
            f"{where}: has an epilogue; expected one behind a matrix product, or an op that works element by element or row by row"
        )
    strip_rows = set() if op.is_product else {graph.constants[name].shape[0] for name in node.operands if graph.constants[name].ndim == 2}
    for step in node.epilogue:
        if not _op_at(step.op, where).elementwise:
            raise GraphError(f"{where}: {step.op} in the epilogue; only element-wise ops are allowed there")
        _columns_after(graph, step, [node.columns], where)
        strip_rows |= {graph.constants[name].shape[0] for name in step.operands if graph.constants[name].ndim == 2}
    if len(strip_rows) > 1:
        raise GraphError(f"{where}: strips of {sorted(strip_rows)} rows in one node; expected one height")


def _columns_after(graph: Graph, step: Step, columns: list[int], where: str, attributes: tuple[int, ...] = ()) -> int:
    op = _op_at(step.op, where)
    if len(step.operands) != op.constants:
        raise GraphError(f"{where}: {op.name} has {len(step.operands)} constants; expected {op.constants}")
    for name in step.operands:
        if name not in graph.constants:
            raise GraphError(f"{where}: reads the constant {name!r}, which the graph does not have")
    try:
        return op.columns(columns, [graph.constants[name].shape for name in step.operands], attributes)
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from error


def _op_at(name: str, where: str) -> Op:
    try:
        return op_named(name)
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from error
