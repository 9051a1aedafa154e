"""How a matrix product with its element-wise steps is cut: into panels of columns, blocks of rows and chunks of inputs.

    result[i, j] = steps(sum over k of value[i, k] * weight[k, j])

The result is computed in blocks (`mlbench.compiler.x86.products.microkernel`). A value is read where it lies, and the weight is packed: its
columns are cut into panels as wide as a block, and each vector of a panel is a stream of its own. A block has as many rows as the registers hold, because
each row reuses the weights that were loaded.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import numpy.typing as npt

from mlbench.arrays import aligned_bytes
from mlbench.compiler.x86.encoding.isa import Vectors
from mlbench.compiler.x86.products.microkernel import FLOAT_BYTES, Shape

WIDEST = 4
"""Vectors of a panel at most."""
LINE_BYTES = 64
LARGE_BYTES, HUGE_BYTES = 1024 * 1024, 2 * 1024 * 1024
AHEAD_BYTES = 4096
"""Of a weight that takes much of the second cache, the lines of the next panel are asked for while the blocks of one are computed. That is
worth 30 % for 64 rows of 1024 x 4096. Where a panel has one block only, lines so far ahead in the stream are asked for, of weights that no
second cache holds: worth 30 % for 8 rows when the weight comes from memory, and a loss of as much where it is in the cache."""
CHUNK_INPUTS = 1024
"""Inputs that are added up before the next panel. With more, a panel and the rows of a tile do not fit into the second cache together; the
result is read and written once for each chunk. A sum of so many numbers also errs less than one of all, as BLAS's sums do."""
SET_BYTES, SET_ROWS = 4096, 9
"""First caches of 32 and 48 KiB have 64 sets of 64 bytes, of 8 and 12 lines. 14 rows of 4096 inputs, whose lines all fall into one set, run
at 170 GFLOP/s where 9 rows do 200 (AVX-512, 48 KiB)."""
MOST_SIZE = 2**20
"""Inputs and columns up to which the distances within a block fit into 31 bits."""
Floats = npt.NDArray[np.float32]


def most_rows(width: int, inputs: int, vectors: Vectors) -> int:
    """Return the rows of the largest block of this width that the registers hold, beside the weight's vectors and one number.

    Rows that lie a multiple of SET_BYTES apart share one set of the first cache, which holds SET_ROWS of their lines beside all else.
    """
    usable = vectors.registers if vectors.has_masks else vectors.registers - 1
    spare = 1 if width > 1 or not vectors.has_masks else 0
    most = (usable - max(width + spare, 2)) // width
    return most if inputs * FLOAT_BYTES % SET_BYTES else min(most, SET_ROWS)


def split_rows(rows: int, most: int) -> tuple[tuple[int, int], ...]:
    """Cut rows into blocks of about equal height: pairs of how many, and how high.

    >>> split_rows(64, 14)
    ((4, 13), (1, 12))
    """
    blocks = math.ceil(rows / most)
    low, higher = divmod(rows, blocks)
    return tuple((count, height) for count, height in ((higher, low + 1), (blocks - higher, low)) if count and height)


@functools.cache
def best_width(rows: int, inputs: int, columns: int, vectors: Vectors) -> int:
    """Return the width of panels that takes least time for this many rows, by counting cycles.

    Two multiply-adds and two loads start in a cycle; a panel's vectors come from the second cache at about half that pace, unless the panel
    stays in the first. A block costs some cycles more to start and to end.
    """
    return min(range(1, WIDEST + 1), key=lambda width: _cycles(rows, inputs, columns, width, vectors))


def _cycles(rows: int, inputs: int, columns: int, width: int, vectors: Vectors) -> float:
    needed = math.ceil(columns / vectors.lanes)
    panels = [width] * (needed // width) + [needed % width] * bool(needed % width)
    heights = [height for count, height in split_rows(rows, most_rows(width, inputs, vectors)) for _ in range(count)]
    total = 0.0
    for wide, height in itertools.product(panels, heights):
        multiplies, loads = wide * height / 2, (wide + height) / 2
        fetch = wide if FLOAT_BYTES * vectors.lanes * wide * inputs > 24 * 1024 or len(heights) == 1 else 0.0
        total += inputs * max(multiplies, loads, fetch) + 20 + 1.5 * wide * height
    return total


def pack(weight: Floats, width: int, vectors: Vectors) -> Floats:
    """Return a weight (inputs, columns) in panels of `width` vectors; read-only, the shape is kept, and a vector may be read at its end.

    A whole panel has its chunks one after the other, and in a chunk its vectors: all inputs of the first one, then all of the second. The
    last panel, if it is narrower, lies row after row.
    """
    inputs, columns = weight.shape
    room = aligned_bytes(FLOAT_BYTES * inputs * columns + FLOAT_BYTES * vectors.lanes)
    packed = room[: FLOAT_BYTES * inputs * columns].view(np.float32)
    for first in range(0, columns, width * vectors.lanes):
        last = min(first + width * vectors.lanes, columns)
        panel = packed[first * inputs : last * inputs]
        if last - first < width * vectors.lanes:
            panel.reshape(inputs, last - first)[:] = weight[:, first:last]
            continue
        for at in range(0, inputs, CHUNK_INPUTS):
            chunk = weight[at : at + CHUNK_INPUTS, first:last].reshape(-1, width, vectors.lanes)
            place = at * (last - first)
            panel[place : place + chunk.size].reshape(width, -1, vectors.lanes)[:] = chunk.swapaxes(0, 1)
    shaped = packed.reshape(inputs, columns)
    shaped.flags.writeable = False
    return shaped


def panels_of(shape: Shape, vectors: Vectors) -> int:
    """Return how many panels the weight has."""
    return math.ceil(math.ceil(shape.columns / vectors.lanes) / shape.width)


def _chunk_inputs(shape: Shape, rows: int, vectors: Vectors) -> int:
    """Return the inputs of a chunk: of a panel that has one block only, all."""
    return CHUNK_INPUTS if rows > most_rows(shape.width, shape.inputs, vectors) else shape.inputs


def described(shape: Shape, rows: int, vectors: Vectors) -> str:
    """Return in words how a product of so many rows runs."""
    blocks = split_rows(rows, most_rows(shape.width, shape.inputs, vectors))
    heights = " and ".join(f"{count} block{'s' * (count != 1)} of {height} row{'s' * (height != 1)}" for count, height in blocks)
    panels = panels_of(shape, vectors)
    chunks = math.ceil(shape.inputs / _chunk_inputs(shape, rows, vectors))
    return (
        f"{panels} panel{'s' * (panels != 1)} of {shape.width * vectors.lanes} columns, {'each ' * (panels != 1)}in {heights}, "
        f"over {shape.inputs} inputs{f' in {chunks} chunks' if chunks > 1 else ''}"
    )
