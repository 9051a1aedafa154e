"""A graph as text, one node a line, for people and for the tests of the passes.

graph(x: rows x 64)
  v0: rows x 256 = matmul(x, w0: 64 x 256) then add(b0: 256) then relu()
  v1: rows x 10 = matmul(v0, w1: 256 x 10)
  return v1

`mlbench.compiler.schedule.printer` prints how it runs as well.
"""

from __future__ import annotations

from mlbench.ir.graph import FloatArray, Graph, Node, Step


def graph_text(graph: Graph) -> str:
    """Return the printed form of a graph."""
    return "\n".join([head_text(graph), *(f"  {_node_text(graph, node)}" for node in graph.nodes), return_text(graph)])


def head_text(graph: Graph) -> str:
    """Return the first line: the inputs."""
    return f"graph({', '.join(f'{name}: rows x {columns}' for name, columns in graph.inputs.items())})"


def return_text(graph: Graph) -> str:
    """Return the last line: the outputs."""
    return f"  return {', '.join(graph.outputs)}"


def _node_text(graph: Graph, node: Node) -> str:
    steps = "".join(f" then {call_text(graph, step)}" for step in node.epilogue)
    return f"{node.output}: rows x {node.columns} = {node_call_text(graph, node)}{steps}"


def node_call_text(graph: Graph, node: Node) -> str:
    """Return a node's op, what it reads, and its attributes."""
    return call_text(graph, Step(node.op, node.operands), *node.values, *map(str, node.attributes))


def call_text(graph: Graph, step: Step, *values: str) -> str:
    """Return an op, the values and the constants that it reads."""
    operands = [f"{name}: {_constant_text(graph.constants[name])}" for name in step.operands]
    return f"{step.op}({', '.join([*values, *operands])})"


def _constant_text(array: FloatArray) -> str:
    order = " Fortran" if array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous else ""
    return (" x ".join(str(length) for length in array.shape) if array.shape else "scalar") + order
