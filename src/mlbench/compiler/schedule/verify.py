"""The verifier of programs: whether a graph can run as its schedule says. It trusts no pass and imports none."""

from __future__ import annotations

from mlbench.compiler.schedule.program import COLUMNS, FEATURES, LAYOUTS, ROWS, SHARED, Program
from mlbench.errors import GraphError
from mlbench.ir import Node, op_named, verify


def verify_program(program: Program) -> None:
    """Check every law of a graph and of its schedule.

    Raises:
        GraphError: naming the first law that is broken, the node, what was found and what was expected.
    """
    verify(program.graph)
    _check_sizes(program)
    _check_threads(program)
    for position, node in enumerate(program.graph.nodes):
        where = f"node {position} ({node.output} = {node.op})"
        _check_in_place(program, position, f"node {position} ({node.output} = {node.op}, in place)")
        _check_layout(program, node, where)
        _check_within(program, position, where)
        _check_generated(program, node, where)
    for name in program.graph.outputs:
        if program.layout_of(name) == FEATURES:
            raise GraphError(f"output: {name!r} lies feature after feature; the caller expects rows")


def _check_sizes(program: Program) -> None:
    schedule = program.schedule
    for name, size in (("max_batch", schedule.max_batch), ("tile_rows", schedule.tile_rows), ("threads", schedule.threads)):
        if size < 1:
            raise GraphError(f"sizes: {name} is {size}; expected 1 or more")
    if schedule.tile_rows > schedule.max_batch:
        raise GraphError(f"sizes: tiles of {schedule.tile_rows} rows with max_batch {schedule.max_batch}; expected no more rows than those")
    names = [node.output for node in program.graph.nodes]
    if set(schedule.nodes) != set(names):
        raise GraphError(f"schedule: it is for {', '.join(schedule.nodes)}; the graph binds {', '.join(names)}")


def _check_threads(program: Program) -> None:
    schedule = program.schedule
    if not 1 <= schedule.workers <= schedule.threads:
        raise GraphError(f"sizes: {schedule.workers} workers with {schedule.threads} threads allowed; expected 1 or more, and no more")
    if schedule.blas_threads < 0:
        raise GraphError(f"sizes: BLAS on {schedule.blas_threads} threads; expected 1 or more, or 0 to leave it as it is")
    if schedule.shared not in SHARED:
        raise GraphError(f"sizes: the workers share {schedule.shared!r}; expected one of {', '.join(SHARED)}")
    if schedule.shared == COLUMNS and not program.is_generated:
        raise GraphError("sizes: the workers share columns of a graph that NumPy has a part in; only generated code can share them")
    if schedule.workers > 1 and not schedule.blas_threads and not program.is_generated:
        raise GraphError(f"sizes: {schedule.workers} workers that run NumPy, and BLAS as it is; expected a number of threads for BLAS")
    if not program.graph.is_single and schedule.workers > 1 and schedule.shared == ROWS:
        raise GraphError("schedule: workers with rows of their own for several inputs or outputs; they take one of both")


def _check_in_place(program: Program, position: int, where: str) -> None:
    graph, node = program.graph, program.graph.nodes[position]
    schedule = program.of(node)
    if not schedule.in_place or not 0 <= schedule.taken < len(node.values):
        if schedule.in_place or schedule.taken:
            raise GraphError(f"{where}: takes the storage of value {schedule.taken} of {len(node.values)}; expected one that it reads")
        return
    taken = node.values[schedule.taken]
    if not op_named(node.op).in_place:
        raise GraphError(f"{where}: {node.op} cannot write over what it reads")
    if taken in graph.inputs:
        raise GraphError(f"{where}: would write over an input, which belongs to the caller")
    if graph.columns_of(taken) != node.columns:
        raise GraphError(f"{where}: {taken} has {graph.columns_of(taken)} columns, the result {node.columns}")
    if not graph.dies_at(taken, position):
        raise GraphError(f"{where}: {taken} is still read afterwards; only a dead value's storage may be taken")


def _check_within(program: Program, position: int, where: str) -> None:
    """Check a value that is written into the columns of a concatenation: nobody needs it, or writes over it, behind that."""
    graph, node = program.graph, program.graph.nodes[position]
    within = program.of(node).within
    if not within:
        return
    end = next((place for place, each in enumerate(graph.nodes) if each.output == within and each.op == "concat"), -1)
    if end <= position or graph.nodes[end].values.count(node.output) != 1:
        raise GraphError(f"{where}: within {within!r}; expected a concatenation behind it that reads it once")
    if not graph.dies_at(node.output, end):
        raise GraphError(f"{where}: within {within!r}, and it is a result, or read behind that; expected no use of it there")
    if program.of(node).in_place or node.op == "concat":
        raise GraphError(f"{where}: within {within!r}, and in another value's storage; expected columns of its own")
    if not program.is_generated:
        raise GraphError(f"{where}: within {within!r} of a graph that NumPy has a part in; only generated code writes rows that are apart")


def _check_layout(program: Program, node: Node, where: str) -> None:
    graph, schedule, op = program.graph, program.of(node), op_named(node.op)
    if schedule.layout not in LAYOUTS:
        raise GraphError(f"{where}: the layout is {schedule.layout!r}; expected {' or '.join(LAYOUTS)}")
    if not 1 <= schedule.parts <= node.columns or (schedule.parts > 1 and schedule.layout != FEATURES):
        raise GraphError(f"{where}: {schedule.parts} parts of {node.columns} columns, {schedule.layout}; only features can be parted")
    if schedule.layout == FEATURES and not op.transposed:
        raise GraphError(f"{where}: {node.op} cannot write feature after feature")
    if schedule.layout == FEATURES and any(graph.constants[name].ndim == 2 for step in node.epilogue for name in step.operands):
        raise GraphError(f"{where}: a strip in the epilogue of a value that lies feature after feature; expected a row")
    for value in node.values:
        if program.layout_of(value) == FEATURES and not op.is_product:
            raise GraphError(f"{where}: reads {value}, which lies feature after feature; only a matrix product can")


def _check_generated(program: Program, node: Node, where: str) -> None:
    schedule = program.of(node)
    if not schedule.is_generated:
        if schedule.width or schedule.lanes or schedule.inner:
            raise GraphError(f"{where}: panels of {schedule.width} vectors and {schedule.inner} steps inside; only generated code has them")
        return
    if schedule.swept:
        _check_swept(program, node, where)
    if not op_named(node.op).is_product and schedule.swept and not schedule.packed and not schedule.inner:
        return
    if not op_named(node.op).is_product or schedule.packed not in program.schedule.packed:
        raise GraphError(f"{where}: generated from {schedule.packed!r}; expected a product, and one of {sorted(program.schedule.packed)}")
    if schedule.layout == FEATURES or program.layout_of(node.values[0]) == FEATURES:
        raise GraphError(f"{where}: generated code reads or writes feature after feature; it knows rows alone")
    if not program.schedule.is_static:
        raise GraphError(f"{where}: the graph has no static buffers; generated code has addresses in it")
    if schedule.width < 1 or schedule.lanes < 1:
        raise GraphError(f"{where}: panels of {schedule.width} vectors of {schedule.lanes} lanes; expected 1 or more of both")
    if not 0 <= schedule.inner <= len(node.epilogue):
        raise GraphError(f"{where}: {schedule.inner} of {len(node.epilogue)} steps inside the code; expected no more than there are")
    _check_inside(program, node, where)


def _check_swept(program: Program, node: Node, where: str) -> None:
    """Check what a sweep of generated code computes: it reads and writes rows, and an operand number after number."""
    graph, schedule = program.graph, program.of(node)
    if not program.schedule.is_static:
        raise GraphError(f"{where}: the graph has no static buffers; generated code has addresses in it")
    if FEATURES in (schedule.layout, *map(program.layout_of, node.values)):
        raise GraphError(f"{where}: generated code reads or writes feature after feature; it knows rows alone")
    op = op_named(node.op)
    own = () if op.is_product or op.is_lookup else node.operands
    swept = [*own, *(name for step in program.swept_steps(node) for name in step.operands)]
    if any(graph.constants[name].ndim > 1 or not graph.constants[name].flags.c_contiguous for name in swept):
        raise GraphError(f"{where}: a strip, or an operand with gaps, in a sweep; expected a row, number after number, or a scalar")
    if op.is_lookup and not graph.constants[node.operands[0]].flags.c_contiguous:
        raise GraphError(f"{where}: a table with gaps in a sweep; expected entry after entry")


def _check_inside(program: Program, node: Node, where: str) -> None:
    """Check the steps that run inside generated code, which reads an operand number after number."""
    constants = program.graph.constants
    for step in node.epilogue[: program.of(node).inner]:
        if any(constants[name].ndim == 2 for name in step.operands):
            raise GraphError(f"{where}: a strip in a step inside the code; expected a row or a scalar")
        if step.op != "leaky_relu" and any(constants[name].ndim == 0 for name in step.operands):
            raise GraphError(f"{where}: a scalar in {step.op} inside the code; expected a row")
        if not all(constants[name].flags.c_contiguous for name in step.operands):
            raise GraphError(f"{where}: an operand of {step.op} with gaps in a step inside the code; expected number after number")
