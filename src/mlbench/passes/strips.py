"""Strips: the row operand of an epilogue becomes a small matrix, and the epilogue runs strip of rows by strip of rows.

`np.add(h, bias_row, out=h)` looks as if it allocated nothing; NumPy mallocs an iterator and a 32 KiB broadcast buffer for it. With
both operands contiguous and of one shape it mallocs nothing and is 1.7 to 4 times faster. So the row is repeated, but only for as
many rows as fit into STRIP_BYTES: an operand made to avoid an allocation is memory too. ReLU compares with a strip of zeros
for the same reason: against the scalar 0, NumPy's loop is not vectorised.

16 KiB keeps operand and strip together within a first-level data cache of 32 KiB; a strip has LEAST_ROWS at least, because a call for
each row would cost more than the cache saves. A batch of one needs no strip: there the row has the
value's shape already.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlbench.graph import BYTES_PER_NUMBER, FloatArray, Graph, Node, Step, frozen

NAME = "strips"
SUMMARY = "repeat row operands over a strip of rows, so that the epilogue allocates nothing and vectorises"
STRIP_BYTES = 16 * 1024
LEAST_ROWS = 4


def apply(graph: Graph) -> Graph:
    """Give every row operand in an epilogue the height of a strip."""
    if graph.rows_at_once is None:
        return graph
    constants = dict(graph.constants)
    nodes = tuple(_with_strips(node, constants, graph.rows_at_once) for node in graph.nodes)
    return graph if nodes == graph.nodes else graph.with_nodes(nodes, constants)


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    strips = {name: array for name, array in after.constants.items() if name not in before.constants}
    if not strips:
        return "No strips: no row operand meets more than one row."
    shapes = ", ".join(f"{array.shape[0]} x {array.shape[1]}" for array in strips.values())
    size = sum(array.nbytes for array in strips.values())
    return f"{len(strips)} row operands became strips ({shapes}), {size:,} bytes that count as static memory of the runner."


def _with_strips(node: Node, constants: dict[str, FloatArray], rows_at_once: int) -> Node:
    rows = min(rows_at_once, max(LEAST_ROWS, STRIP_BYTES // (BYTES_PER_NUMBER * node.columns)))
    epilogue = tuple(_strip_step(step, constants, rows, node.columns) for step in node.epilogue)
    return replace(node, epilogue=epilogue)


def _strip_step(step: Step, constants: dict[str, FloatArray], rows: int, columns: int) -> Step:
    if step.op == "relu":
        name = f"zeros_{rows}x{columns}"
        constants.setdefault(name, frozen(np.zeros((rows, columns))))
        return Step("maximum", (name,))
    if rows == 1 or not any(constants[name].ndim == 1 for name in step.operands):
        return step
    return Step(step.op, tuple(_repeated(name, constants, rows) for name in step.operands))


def _repeated(name: str, constants: dict[str, FloatArray], rows: int) -> str:
    row = constants[name]
    if row.ndim != 1:
        return name
    strip = f"{name}_strip"
    constants.setdefault(strip, frozen(np.broadcast_to(row, (rows, row.size))))
    return strip
