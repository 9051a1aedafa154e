"""The plain judge of graphs: every law in one place, each error naming the law and the place.

It trusts no pass and imports none. `compile_graph` calls it before the first pass and after every one.
"""

from __future__ import annotations

import numpy as np

from mlbench.errors import GraphError
from mlbench.ir.graph import COLUMNS, FEATURES, LAYOUTS, SHARED, Graph, Node, Step
from mlbench.ir.ops import Op, op_named


def verify(graph: Graph) -> None:
    """Check every law of a graph.

    Raises:
        GraphError: naming the first law that is broken, the node, what was found and what was expected.
    """
    _check_sizes(graph)
    _check_constants(graph)
    columns = {graph.input: graph.input_columns}
    for position, node in enumerate(graph.nodes):
        where = f"node {position} ({node.output} = {node.op})"
        _check_node(graph, node, columns, where)
        columns[node.output] = node.columns
    if graph.output == graph.input:
        raise GraphError(f"output: {graph.output!r} is the input; expected a value that a node binds")
    if graph.output not in columns:
        raise GraphError(f"output: {graph.output!r} is bound by no node; expected one of {', '.join(list(columns)[1:])}")
    _check_in_place(graph)
    _check_layouts(graph)
    _check_generated(graph)


def _check_sizes(graph: Graph) -> None:
    for name, size in (("input_columns", graph.input_columns), ("max_batch", graph.max_batch), ("tile_rows", graph.tile_rows)):
        if size is not None and size < 1:
            raise GraphError(f"sizes: {name} is {size}; expected 1 or more")
    if graph.threads < 1:
        raise GraphError(f"sizes: threads is {graph.threads}; expected 1 or more")
    if graph.workers is not None and not 2 <= graph.workers <= graph.threads:
        raise GraphError(f"sizes: {graph.workers} workers with {graph.threads} threads allowed; expected 2 or more, or None")
    if graph.shared not in SHARED:
        raise GraphError(f"sizes: the workers share {graph.shared!r}; expected one of {', '.join(SHARED)}")
    if graph.tile_rows is not None and (graph.max_batch is None or graph.tile_rows >= graph.max_batch):
        raise GraphError(f"sizes: tiles of {graph.tile_rows} rows with max_batch {graph.max_batch}; expected fewer rows than the batch")


def _check_constants(graph: Graph) -> None:
    if graph.input in graph.constants:
        raise GraphError(f"constants: {graph.input!r} is the input and a constant; expected two names")
    for name, array in graph.constants.items():
        if array.dtype != np.float32:
            raise GraphError(f"constants: {name} is {array.dtype}; expected float32")
        if array.flags.writeable:
            raise GraphError(f"constants: {name} can be written to; expected a read-only array")


def _check_node(graph: Graph, node: Node, columns: dict[str, int], where: str) -> None:
    if node.output in columns or node.output in graph.constants:
        raise GraphError(f"{where}: binds {node.output!r} a second time; every value is bound once")
    if not node.inputs or node.inputs[0] not in columns:
        raise GraphError(f"{where}: reads {node.inputs[:1]} which is not bound yet; bound are {', '.join(columns)}")
    found = _columns_after(graph, Step(node.op, node.inputs[1:]), columns[node.inputs[0]], where)
    if found != node.columns:
        raise GraphError(f"{where}: says {node.columns} columns; its shape rule gives {found}")
    if node.epilogue and not op_named(node.op).is_product:
        raise GraphError(f"{where}: has an epilogue; only a matrix product may have one")
    strip_rows = set()
    for step in node.epilogue:
        if not _op_at(step.op, where).elementwise:
            raise GraphError(f"{where}: {step.op} in the epilogue; only element-wise ops are allowed there")
        _columns_after(graph, step, node.columns, where)
        strip_rows |= {graph.constants[name].shape[0] for name in step.operands if graph.constants[name].ndim == 2}
    if len(strip_rows) > 1:
        raise GraphError(f"{where}: strips of {sorted(strip_rows)} rows in one epilogue; expected one height")


def _columns_after(graph: Graph, step: Step, columns: int, where: str) -> int:
    op = _op_at(step.op, where)
    if len(step.operands) != op.constants:
        raise GraphError(f"{where}: {op.name} has {len(step.operands)} constants; expected {op.constants}")
    for name in step.operands:
        if name not in graph.constants:
            raise GraphError(f"{where}: reads the constant {name!r}, which the graph does not have")
    try:
        return op.columns(columns, [graph.constants[name].shape for name in step.operands])
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from error


def _op_at(name: str, where: str) -> Op:
    try:
        return op_named(name)
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from error


def _check_in_place(graph: Graph) -> None:
    for position, node in enumerate(graph.nodes):
        if not node.in_place:
            continue
        where = f"node {position} ({node.output} = {node.op}, in place)"
        taken = node.inputs[0]
        if not op_named(node.op).in_place:
            raise GraphError(f"{where}: {node.op} cannot write over what it reads")
        if taken == graph.input:
            raise GraphError(f"{where}: would write over the input, which belongs to the caller")
        if graph.columns_of(taken) != node.columns:
            raise GraphError(f"{where}: {taken} has {graph.columns_of(taken)} columns, the result {node.columns}")
        if taken == graph.output or any(reader > position for reader in graph.readers_of(taken)):
            raise GraphError(f"{where}: {taken} is still read afterwards; only a dead value's storage may be taken")


def _check_layouts(graph: Graph) -> None:
    for position, node in enumerate(graph.nodes):
        where = f"node {position} ({node.output} = {node.op})"
        if node.layout not in LAYOUTS:
            raise GraphError(f"{where}: the layout is {node.layout!r}; expected {' or '.join(LAYOUTS)}")
        if not 1 <= node.parts <= node.columns or (node.parts > 1 and node.layout != FEATURES):
            raise GraphError(f"{where}: {node.parts} parts of {node.columns} columns, {node.layout}; only features can be parted")
        if node.layout == FEATURES and not op_named(node.op).turned:
            raise GraphError(f"{where}: {node.op} cannot write feature after feature")
        if node.layout == FEATURES and any(graph.constants[name].ndim == 2 for step in node.epilogue for name in step.operands):
            raise GraphError(f"{where}: a strip in the epilogue of a value that lies feature after feature; expected a row")
        if graph.layout_of(node.inputs[0]) == FEATURES and not op_named(node.op).is_product:
            raise GraphError(f"{where}: reads {node.inputs[0]}, which lies feature after feature; only a matrix product can")
    if graph.layout_of(graph.output) == FEATURES:
        raise GraphError(f"output: {graph.output!r} lies feature after feature; the caller expects rows")


def _check_generated(graph: Graph) -> None:
    if graph.shared == COLUMNS and not graph.is_generated:
        raise GraphError("sizes: the workers share columns of a graph that NumPy has a part in; only generated code can share them")
    for position, node in enumerate(graph.nodes):
        where = f"node {position} ({node.output} = {node.op})"
        if not op_named(node.op).generated:
            if node.width or node.lanes or node.inner:
                raise GraphError(f"{where}: panels of {node.width} vectors and {node.inner} steps inside; only generated code has them")
            continue
        if not graph.is_static:
            raise GraphError(f"{where}: the graph has no static buffers; generated code has addresses in it")
        if node.width < 1 or node.lanes < 1:
            raise GraphError(f"{where}: panels of {node.width} vectors of {node.lanes} lanes; expected 1 or more of both")
        if not 0 <= node.inner <= len(node.epilogue):
            raise GraphError(f"{where}: {node.inner} of {len(node.epilogue)} steps inside the code; expected no more than there are")
        _check_inside(graph, node, where)


def _check_inside(graph: Graph, node: Node, where: str) -> None:
    """Check the steps that run inside generated code, which reads an operand number after number."""
    for step in node.epilogue[: node.inner]:
        if any(graph.constants[name].ndim == 2 for name in step.operands):
            raise GraphError(f"{where}: a strip in a step inside the code; expected a row or a scalar")
        if not all(graph.constants[name].flags.c_contiguous for name in step.operands):
            raise GraphError(f"{where}: an operand of {step.op} with gaps in a step inside the code; expected number after number")
