"""How a matrix product with its element-wise steps is cut: into panels of columns, blocks of rows and chunks of inputs.

    result[i, j] = steps(sum over k of value[i, k] * weight[k, j])

The result is computed in blocks (`mlbench.compiler.x86.products.microkernel`). A value is read where it lies, and the weight is packed: its
columns are cut into panels as wide as a block, and each vector of a panel is a stream of its own. A block has as many rows as the registers
hold, because each row reuses the weights that were loaded.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import numpy.typing as npt

from mlbench.arrays import aligned_bytes
from mlbench.compiler.x86.caches import Caches, find_caches
from mlbench.compiler.x86.encoding.isa import Vectors
from mlbench.compiler.x86.products.microkernel import FLOAT_BYTES, Shape

WIDEST = 4
"""Vectors of a panel at most."""
LINE_BYTES = 64
AHEAD_BYTES, AHEAD_ROWS = 4096, 7
"""Where a panel is one block of AHEAD_ROWS or more, lines so far ahead in its streams are asked for, of weights that no second cache holds.
Eight rows take 30 % less time then when the weight comes from memory (AVX-512). A lower block reads as fast as it can anyway, so asking
costs it up to 40 % (one row, AVX2)."""
CHUNK_INPUTS = 1024
"""Inputs that are added up before the next panel. With more, a panel and the rows of a tile do not fit into the second cache together; the
result is read and written once for each chunk. A sum of so many numbers also errs less than one of all, as BLAS's sums do. The number does
not follow the caches, because the rounding of results follows it."""
NARROW_ROWS = {8: 9, 16: 14}
"""Rows of a block of one vector at most, for vectors of so many lanes. Each height has code of its own, and such a block loads one vector
more for each k than it multiplies: with 14 rows 7 % more, and with the 30 that AVX-512 has registers for, 3 %, for four times the code."""
MOST_SIZE = 2**20
"""Inputs and columns up to which the distances within a block fit into 31 bits."""
Floats = npt.NDArray[np.float32]


def is_large(weights_bytes: int, caches: Caches) -> bool:
    """Whether blocks ask for the lines of the next panel: weights of a body that take more than half of the second cache.

    The other half is for the values of a tile. Each tile reads such weights from farther away. Asking is worth 30 % for 64 rows of
    1024 x 4096 (AVX-512, 2 MiB), and as much for 8 rows of 512 x 256 when the weights come from memory (AVX2, 512 KiB).
    """
    return weights_bytes > caches.l2_bytes // 2


def is_huge(weights_bytes: int, caches: Caches) -> bool:
    """Whether the second cache cannot hold the weights of a body, so that each tile reads all of them from farther away."""
    return weights_bytes > caches.l2_bytes


def most_rows(width: int, inputs: int, vectors: Vectors, caches: Caches) -> int:
    """Return the rows of the largest block of this width: those that the registers hold, beside the weight's vectors and one number.

    A block of one vector has fewer, NARROW_ROWS.
    Rows that lie a multiple of a way's bytes apart share one set of the first cache. Three quarters of its lines are for them, and the
    others for weights and results. 14 rows of 4096 inputs run at 170 GFLOP/s where 9 rows do 200 (AVX-512, 48 KiB, 12 lines in a set).
    """
    usable = vectors.registers if vectors.has_masks else vectors.registers - 1
    spare = 1 if width > 1 or not vectors.has_masks else 0
    most = (usable - max(width + spare, 2)) // width
    if width == 1:
        most = min(most, NARROW_ROWS[vectors.lanes])
    return most if inputs * FLOAT_BYTES % caches.l1d_way_bytes else min(most, max(1, caches.l1d_ways * 3 // 4))


def split_rows(rows: int, most: int) -> tuple[tuple[int, int], ...]:
    """Cut rows into blocks of about equal height: pairs of how many, and how high.

    >>> split_rows(64, 14)
    ((4, 13), (1, 12))
    """
    blocks = math.ceil(rows / most)
    low, higher = divmod(rows, blocks)
    return tuple((count, height) for count, height in ((higher, low + 1), (blocks - higher, low)) if count and height)


@functools.cache
def best_width(rows: int, inputs: int, columns: int, vectors: Vectors, caches: Caches | None = None) -> int:
    """Return the width of panels that takes least time for this many rows, by counting cycles; None for the caches of this processor.

    Two multiply-adds and two loads start in a cycle; a panel's vectors come from the second cache at about half that pace, unless the panel
    stays in the first, of which it takes half at most. A block costs some cycles more to start and to end.
    """
    found = caches or find_caches()
    return min(range(1, WIDEST + 1), key=lambda width: _cycles(rows, inputs, columns, width, vectors, found))


def _cycles(rows: int, inputs: int, columns: int, width: int, vectors: Vectors, caches: Caches) -> float:
    needed = math.ceil(columns / vectors.lanes)
    panels = [width] * (needed // width) + [needed % width] * bool(needed % width)
    heights = [height for count, height in split_rows(rows, most_rows(width, inputs, vectors, caches)) for _ in range(count)]
    total = 0.0
    for wide, height in itertools.product(panels, heights):
        multiplies, loads = wide * height / 2, (wide + height) / 2
        fetch = wide if FLOAT_BYTES * vectors.lanes * wide * inputs > caches.l1d_bytes // 2 or len(heights) == 1 else 0.0
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


def described(shape: Shape, rows: int, vectors: Vectors, caches: Caches | None = None) -> str:
    """Return in words how a product of so many rows runs; None for the caches of this processor."""
    most = most_rows(shape.width, shape.inputs, vectors, caches or find_caches())
    blocks = split_rows(rows, most)
    heights = " and ".join(f"{count} block{'s' * (count != 1)} of {height} row{'s' * (height != 1)}" for count, height in blocks)
    panels = panels_of(shape, vectors)
    chunks = math.ceil(shape.inputs / CHUNK_INPUTS) if rows > most else 1  # the chunks of a panel that is one block follow each other
    return (
        f"{panels} panel{'s' * (panels != 1)} of {shape.width * vectors.lanes} columns, {'each ' * (panels != 1)}in {heights}, "
        f"over {shape.inputs} inputs{f' in {chunks} chunks' if chunks > 1 else ''}"
    )
