"""The heuristics that decide a schedule without a clock.

Each has its reason beside it. They know the machine by its BLAS, by the instructions that code can be generated for, and by its caches: the
same program may have another schedule on a processor with other caches. What was tuned or recorded takes precedence over them.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from mlbench.compiler import blas
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.schedule import BLAS, ONE, SPLIT, TILES, OpSchedule, Schedule, products_of, weight_shape
from mlbench.compiler.x86 import Caches, find, find_caches
from mlbench.ir import BYTES_PER_NUMBER, Graph, op_named

TILE_BYTES, TILE_SHARE = 128 * 1024, 4
"""Bytes of the widest intermediate in a tile of NumPy's products, which was enough on every machine; less where that is more than a quarter
of the second cache, because a tile's values before and after it, and the packed weights, need room there too."""
LEAST_ROWS = 128
MOST_ROWS = 512
HEAVY_BYTES = 512 * 1024
HEAVY_ROWS = 256
_ROUNDING = 16
GENERATED_ROWS, STREAMED_ROWS = 84, 504
"""Rows of a tile of generated code at most, six blocks of 14: from some 50 to 130 rows there is no difference beyond 3 % (AVX-512). Weights
that the second cache cannot hold come from farther away once a tile, so there the tile is as high as the memory budget allows."""
LEAST_GENERATED_ROWS, CODE_BYTES = 14, 8192
"""A block, and the pages that code for one height takes."""
LITTLE_MORE = 1.25
"""A batch hardly higher than a tile is one tile."""
SMALL_ROWS = 48
NARROW_COLUMNS = 16
NARROW_ROWS = 64
NARROW_INPUTS = 256
"""A product of few columns reads a Fortran-ordered weight up to twice as fast, while the rows are few and the inputs many."""
SHARED_FLOP = 2e7
"""Work of a thread below which waking it costs more than it brings: some 100 us on a core. A virtual core that sleeps takes 20 to 50 us."""
BLAS_ROWS = 24
SHORT_FLOP, SHORT_BYTES = 4e5, 3e5
"""Work and weights of a call of some 2 us: generated code gives work to a thread that watches in some hundred nanoseconds."""
LEAST_SHARE, LEAST_LARGE_SHARE = 4, 28
"""Rows from which on a thread is as fast with rows of its own. Weights beyond half of its second cache need two blocks, because it reads
half of them where products are split. Of a product that is split, each thread needs what all of them computed before, from the caches of
the others."""

MEMORY_SHARE = 0.1
SMALL_MEMORY_BYTES = 128 * 1024
"""From so many rows on, a runner's intermediates may take this share of what an eager runner holds at its peak, or so much at least: a tile
that fits into the second cache twice over is not worth making slower."""
LARGE_BATCH = 512


def heuristic_schedule(program: Program, switched_on: Collection[str], caches: Caches | None = None) -> Schedule:
    """Return what the rules say, without any measuring.

    Args:
        program: up to the first pass that takes a schedule.
        switched_on: names of the passes that will run.
        caches: of the processor; None for this one.
    """
    found = caches or find_caches()
    generated = {"codegen", "static"} <= set(switched_on) and find()[0] is not None
    threading = (_generated_threading(program, found) if generated else _plain_threading(program)) if "parallelize" in switched_on else ONE
    tile_rows = _generated_tile(program, found) if generated else _plain_tile(program, found)
    rows = min(tile_rows or program.schedule.max_batch, program.schedule.max_batch)
    ops = []
    for position in products_of(program.graph):
        inputs, columns = weight_shape(program.graph, program.graph.nodes[position])
        narrow = columns <= NARROW_COLUMNS and rows <= NARROW_ROWS and inputs >= NARROW_INPUTS
        ops.append(OpSchedule(order="F" if narrow and not generated else "C", generated=generated))
    return Schedule(tile_rows, tuple(ops), threading)


def memory_budget_bytes(program: Program, *, generated: bool = False) -> int | None:
    """Return the most bytes that intermediates and operands may take without the output; None for batches that are not large.

    Args:
        program: for a batch.
        generated: generated code runs it, which is as fast in low tiles, so that a low budget costs nothing: the share is taken of what an
            eager runner holds in addition to its output, and code counts as well.
    """
    batch, hidden = program.schedule.max_batch, _hidden(program.graph)
    if batch < LARGE_BATCH or not hidden:
        return None
    eager = 2 * BYTES_PER_NUMBER * batch * max(hidden)  # a Linear's product and its sum with the bias
    if generated:
        return int(MEMORY_SHARE * max(eager // 2, eager - output_bytes(program)))
    return max(SMALL_MEMORY_BYTES, int(MEMORY_SHARE * eager))


def output_bytes(program: Program) -> int:
    """Return the bytes of the results of the largest call."""
    return BYTES_PER_NUMBER * program.schedule.max_batch * sum(map(program.graph.columns_of, program.graph.outputs))


def _hidden(graph: Graph) -> list[int]:
    """Return the columns of the values between inputs and outputs."""
    return [node.columns for node in graph.nodes if node.output not in graph.outputs]


def _weights_bytes(graph: Graph) -> list[int]:
    return [graph.constants[graph.nodes[position].operands[0]].nbytes for position in products_of(graph)]


def _generated_tile(program: Program, caches: Caches) -> int | None:
    """Return the rows of a tile of generated code, or None: what `generated_rows` says, within the memory budget.

    Tiles of one height need code for that height alone, so the largest height that divides the batch is taken, down to half as many rows.
    """
    batch, hidden = program.schedule.max_batch, _hidden(program.graph)
    if not hidden:
        return None
    looks_up = any(op_named(node.op).is_lookup for node in program.graph.nodes)  # by NumPy, some ten calls a tile
    rows = STREAMED_ROWS if looks_up else generated_rows(sum(_weights_bytes(program.graph)), max(hidden), caches)
    budget = memory_budget_bytes(program, generated=not looks_up)
    if budget is not None:
        rows = max(LEAST_GENERATED_ROWS, min(rows, (budget - CODE_BYTES) // (BYTES_PER_NUMBER * max(hidden))))
    if batch <= rows * LITTLE_MORE:
        return None
    return next((even for even in range(rows, rows // 2, -1) if batch % even == 0), rows)


def generated_rows(weights_bytes: int, columns: int, caches: Caches) -> int:
    """Return the rows of a tile of generated code, if the memory budget allows them.

    The widest value of a tile takes a quarter of the second cache at most: the value before it, the value after it and the weights need the
    rest.

    >>> xeon, zen = Caches(49152, 12, 2097152, 16), Caches(32768, 8, 524288, 8)
    >>> [generated_rows(2**18, columns, xeon) for columns in (256, 1024, 2048)]
    [84, 84, 64]
    >>> [generated_rows(2**18, columns, zen) for columns in (256, 1024, 2048)]
    [84, 32, 16]
    >>> generated_rows(2**22, 1024, xeon)
    504
    """
    if weights_bytes > caches.l2_bytes:
        return STREAMED_ROWS
    return max(LEAST_GENERATED_ROWS, min(GENERATED_ROWS, caches.l2_bytes // 4 // (BYTES_PER_NUMBER * columns)))


def _plain_tile(program: Program, caches: Caches) -> int | None:
    """Return the rows of a tile of NumPy's products, or None.

    Where BLAS multiplies small products without packing, a tile is as high as that allows. Elsewhere OpenBLAS packs the weights in every
    product, so a low tile pays for more packing than it saves: the widest intermediate of a tile takes TILE_BYTES, but a tile has at least
    LEAST_ROWS and at most MOST_ROWS, and the tiles of the largest batch are about equally high. Below 128 rows the sweep's cells get 5 to
    25 % slower, and where a weight is larger than HEAVY_BYTES it takes HEAVY_ROWS to break even with the whole batch (784 x 4096: 0.90 of
    the whole batch's speed with 64 rows, 0.96 with 128, 1.00 with 256).
    """
    batch, hidden, weights = program.schedule.max_batch, _hidden(program.graph), _weights_bytes(program.graph)
    if not hidden or not weights:
        return None
    small = _rows_of_small_products(program.graph)
    if small is not None:
        return None if batch <= small else small
    least = HEAVY_ROWS if max(weights) > HEAVY_BYTES else LEAST_ROWS
    most = min(MOST_ROWS, max(least, min(TILE_BYTES, caches.l2_bytes // TILE_SHARE) // (BYTES_PER_NUMBER * max(hidden))))
    tiles = math.ceil(batch / most)
    even = math.ceil(batch / tiles / _ROUNDING) * _ROUNDING
    return None if tiles == 1 else min(most, even)


def _rows_of_small_products(graph: Graph) -> int | None:
    """Return the most rows for which BLAS multiplies every product without packing, or None where these are too few for a tile."""
    unpacked_work = blas.unpacked_work()
    if unpacked_work is None:
        return None
    largest = max(math.prod(weight_shape(graph, graph.nodes[position])) for position in products_of(graph))
    rows = int(unpacked_work / largest) // SMALL_ROWS * SMALL_ROWS
    return min(rows, MOST_ROWS) if rows >= 2 * SMALL_ROWS else None


def _plain_threading(program: Program) -> str:
    """Share tiles where each thread gets a pass of rows and work enough; one product of few rows is left to BLAS."""
    batch, threads = program.schedule.max_batch, program.schedule.threads
    work_flop = 2 * batch * sum(_weights_bytes(program.graph)) / BYTES_PER_NUMBER
    if threads == 1:
        return ONE
    shares = program.graph.is_single and batch >= threads * BLAS_ROWS and work_flop >= SHARED_FLOP * threads
    return TILES if shares else BLAS


def _generated_threading(program: Program, caches: Caches) -> str:
    """Share rows where each thread gets enough of them and weights stay near it, else each product; what is short nobody shares.

    Weights of up to 2 MiB did on the Xeon where this was measured, whose second level is as large, and a core's part of the third smaller.
    """
    batch, threads = program.schedule.max_batch, program.schedule.threads
    weights = sum(_weights_bytes(program.graph))
    work_flop = 2 * batch * weights / BYTES_PER_NUMBER
    if threads == 1 or max(work_flop / SHORT_FLOP, weights / SHORT_BYTES) < 1:
        return ONE
    least = LEAST_LARGE_SHARE if weights > caches.l2_bytes // 2 else LEAST_SHARE
    return TILES if batch >= threads * least and weights <= caches.near_bytes else SPLIT
