"""A graph as text, one node a line, for people and for the tests of the passes.

graph(x: rows x 64) max_batch=512, tiles of 128 rows
  v0: rows x 256 = matmul(x, w0: 64 x 256) then maximum(n0: 16 x 256)
  v2: rows x 10 = matmul(v0, w1: 256 x 10) then add(f1: 409 x 10)
  return v2

Steps of an epilogue that run inside generated code are told by `with`, those that NumPy runs afterwards by `then`.
"""

from __future__ import annotations

from mlbench.ir.graph import COLUMNS, ROWS, FloatArray, Graph, Node, Step


def graph_text(graph: Graph) -> str:
    """Return the printed form of a graph."""
    facts = []
    if graph.max_batch is not None:
        facts.append(f"max_batch={graph.max_batch}")
    if graph.tile_rows is not None:
        facts.append(f"tiles of {graph.tile_rows} rows")
    if graph.workers is not None:
        facts.append(f"{'each product ' if graph.shared == COLUMNS else ''}shared by {graph.workers} threads")
    if graph.blas_threads is not None:
        facts.append(f"BLAS on {graph.blas_threads} thread{'s' if graph.blas_threads != 1 else ''}")
    if graph.is_static:
        facts.append("static buffers")
    head = f"graph({graph.input}: rows x {graph.input_columns})"
    lines = [f"{head} {', '.join(facts)}".rstrip()]
    lines += [f"  {_node_text(graph, node)}" for node in graph.nodes]
    lines.append(f"  return {graph.output}")
    return "\n".join(lines)


def _node_text(graph: Graph, node: Node) -> str:
    words = ["with"] * node.inner + ["then"] * (len(node.epilogue) - node.inner)
    steps = "".join(f" {word} {_call_text(graph, step)}" for word, step in zip(words, node.epilogue, strict=True))
    place = f" in place of {node.inputs[0]}" if node.in_place else ""
    call = _call_text(graph, Step(node.op, node.inputs[1:]), node.inputs[0])
    parts = f" in {node.parts} parts" if node.parts > 1 else f" in panels of {_vectors(node.width)}" if node.width else ""
    shape = f"rows x {node.columns}" if node.layout == ROWS else f"{node.columns} x rows"
    return f"{node.output}: {shape} = {call}{parts}{steps}{place}"


def _vectors(number: int) -> str:
    return "1 vector" if number == 1 else f"{number} vectors"


def _call_text(graph: Graph, step: Step, value: str = "") -> str:
    operands = [f"{name}: {_constant_text(graph.constants[name])}" for name in step.operands]
    return f"{step.op}({', '.join([value, *operands] if value else operands)})"


def _constant_text(array: FloatArray) -> str:
    order = " Fortran" if array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous else ""
    return (" x ".join(str(length) for length in array.shape) if array.shape else "scalar") + order
