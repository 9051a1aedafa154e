"""What a call of a program must move: bytes read and written by each node, and the arrays that it makes.

It is a count and no measurement. A node reads its values and its constants and writes its result; each step of an epilogue that NumPy runs
reads and writes the result once more. A step inside generated code works in registers and moves its constant alone; a sweep
behind a product goes over the result once for all its steps. A constant is read once
for each tile. A concatenation moves nothing of what was written into its columns already. Scratch of kernels is left out, so a kernel of
several passes moves more than this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlbench.compiler.memory.liveness import buffers_of
from mlbench.compiler.schedule.program import Program
from mlbench.ir import BYTES_PER_NUMBER, Node


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a node moves in a call of the largest batch.

    Attributes:
        read_bytes: read at least.
        written_bytes: written at least.
    """

    read_bytes: int
    written_bytes: int


def traffic_of(program: Program, node: Node) -> Traffic:
    """Return what a node of a program moves."""
    graph, schedule, mine = program.graph, program.schedule, program.of(node)
    rows, tiles = schedule.max_batch, math.ceil(schedule.max_batch / schedule.tile_rows)
    nodes = schedule.nodes
    there = sum(graph.columns_of(value) for value in node.values if value in nodes and nodes[value].within == node.output)
    result = BYTES_PER_NUMBER * rows * (node.columns - there)
    values = BYTES_PER_NUMBER * rows * (sum(map(graph.columns_of, node.values)) - there) * mine.parts
    constants = [
        schedule.packed.get(mine.packed, graph.constants[name]) if mine.packed else graph.constants[name] for name in node.operands
    ]
    constants += [graph.constants[name] for step in node.epilogue for name in step.operands]
    outer = len(program.outer_steps(node)) + bool(mine.packed and program.swept_steps(node))
    return Traffic(values + tiles * sum(array.nbytes for array in constants) + outer * result, result * (1 + outer))


def arrays_of(program: Program) -> int:
    """Return how many arrays a call makes: none where the buffers are static."""
    return 0 if program.schedule.is_static else len(buffers_of(program))
