"""From a program to buffers that know when they are needed, but not yet where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlbench.compiler.memory.plan import Buffer
from mlbench.compiler.schedule.program import Program
from mlbench.ir import BYTES_PER_NUMBER, Graph, Node, op_named


def buffers_of(program: Program) -> tuple[Buffer, ...]:
    """Return one buffer for each value that needs storage of its own, and one for each piece of scratch.

    A value lives from the node that binds it to its last reader. With tiling an output lives throughout: rows of an earlier tile
    must survive the later ones. A value that is written into the columns of a concatenation lives in the buffer of that. An output has a
    row for each row of the batch, all else only for the rows of a tile.
    """
    graph, rows = program.graph, program.schedule.tile_rows
    buffers: list[Buffer] = []
    for position, node in enumerate(graph.nodes):
        last = max((reader + 1 for reader in graph.readers_of(node.output)), default=position + 1)
        within = program.of(node).within
        held_there = next((index for index, buffer in enumerate(buffers) if (within or node.output) in buffer.values), None)
        if held_there is not None:
            held = buffers[held_there]
            buffers[held_there] = replace(held, values=tuple(dict.fromkeys((*held.values, node.output))), last=max(held.last, last))
        elif within:
            buffers.append(_buffer(within, (within, node.output), rows, graph.columns_of(within), position, last))
        elif program.of(node).in_place:
            index = next(i for i, buffer in enumerate(buffers) if node.values[program.of(node).taken] in buffer.values)
            held = buffers[index]
            buffers[index] = replace(held, values=(*held.values, node.output), last=max(held.last, last))
        else:
            buffers.append(_buffer(node.output, (node.output,), rows, node.columns, position, last))
        buffers.extend(_scratch_of(program, node, position))
    return tuple(_for_whole_batch(program, buffer) if set(graph.outputs) & set(buffer.values) else buffer for buffer in buffers)


def lower_bound_bytes(buffers: Sequence[Buffer], nodes: int) -> int:
    """Return the most bytes that are live at any one of the `nodes`."""
    return max(
        (sum(buffer.size_bytes for buffer in buffers if buffer.first <= node < buffer.last) for node in range(nodes)),
        default=0,
    )


def strip_rows_of(graph: Graph, node: Node) -> int | None:
    """Rows of the strips on which the node runs, of a product its epilogue alone; None where it runs on all rows at once."""
    operands = node.constants[1:] if op_named(node.op).is_product else node.constants
    heights = [graph.constants[name].shape[0] for name in operands if graph.constants[name].ndim == 2]
    return heights[0] if heights else None


def scratch_names(program: Program, node: Node) -> tuple[str, ...]:
    """Names of the scratch buffers a node needs, for its op and its epilogue together."""
    return tuple(f"{node.output}_scratch{index}" for index in range(program.scratch_of(node)))


def _scratch_of(program: Program, node: Node, position: int) -> list[Buffer]:
    rows = strip_rows_of(program.graph, node) or program.schedule.tile_rows
    own = [program.graph.columns_of(value) for value in node.values] if op_named(node.op).scratch else []
    columns = max([node.columns, *own])
    return [_buffer(name, (), rows, columns, position, position + 1) for name in scratch_names(program, node)]


def _for_whole_batch(program: Program, buffer: Buffer) -> Buffer:
    first = 0 if program.schedule.is_tiled else buffer.first
    return _buffer(buffer.name, buffer.values, program.schedule.max_batch, buffer.columns, first, len(program.graph.nodes))


def _buffer(name: str, values: tuple[str, ...], rows: int, columns: int, first: int, last: int) -> Buffer:
    return Buffer(name, values, rows, columns, rows * columns * BYTES_PER_NUMBER, first, last)
