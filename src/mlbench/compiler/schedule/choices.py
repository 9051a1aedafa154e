"""What some passes are free to choose, as data: the tile, a way for each matrix product, and who runs the tiles.

There are rules for all of it, which need no clock (`default_choices`). Which weight order and which layout of an activation is fastest has
no rule, though: C, Fortran or feature-major differ by up to 40 % at batch 8, either way. So a search may choose instead
(`mlbench.compiler.schedule.search`), and what it chose can be recorded and handed in.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from mlbench.compiler import blas
from mlbench.compiler.x86 import find
from mlbench.errors import ModelError
from mlbench.ir import BYTES_PER_NUMBER, FEATURES, ROWS, Graph, Node, op_named

ONE, BLAS, TILES, SPLIT = "one", "blas", "tiles", "split"
THREADING = (ONE, BLAS, TILES, SPLIT)
"""The calling thread alone; the threads of BLAS; tiles of the batch on threads of the runner's own; each product split among these, which
generated code can."""
ORDERS = ("C", "F")

TILE_BYTES = 128 * 1024
LEAST_ROWS = 128
MOST_ROWS = 512
HEAVY_BYTES = 512 * 1024
HEAVY_ROWS = 256
_ROUNDING = 16
GENERATED_ROWS = 84
"""Rows of a tile of generated code, six blocks of 14: from some 50 to 130 rows there is no difference beyond 3 % (AVX-512), and with more
the hidden activation leaves the second cache."""
STREAMED_BYTES = 2 * 1024 * 1024
"""Weights that no second cache holds come from farther away once a tile, so the tile is as high as the memory budget allows."""
STREAMED_ROWS = 504
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
LEAST_SHARE, LEAST_LARGE_SHARE, LARGE_BYTES = 4, 28, 1024 * 1024
"""Rows from which on a thread is as fast with rows of its own; with large weights, of which it reads half as much where products are split,
two blocks. Of a product that is split, each thread needs what all of them computed before, from the caches of the others."""

MEMORY_SHARE = 0.1
SMALL_MEMORY_BYTES = 128 * 1024
"""From so many rows on, a runner's intermediates may take this share of what an eager runner holds at its peak, or so much at least: a tile
that fits into the second cache twice over is not worth making slower."""
LARGE_BATCH = 512


@dataclass(frozen=True, slots=True)
class Way:
    """How a matrix product runs.

    Attributes:
        layout: how its result lies in memory, ROWS or FEATURES; FEATURES only where a product reads it.
        order: memory order of the weight, C or F.
        parts: parts of the features, one product after the other; more than one only with FEATURES.
        generated: machine code of ours computes it, from a weight that is packed once.
    """

    layout: str = ROWS
    order: str = "C"
    parts: int = 1
    generated: bool = False


@dataclass(frozen=True, slots=True)
class Choices:
    """Everything that a search may choose for a graph and its largest batch.

    Attributes:
        tile_rows: rows of a tile; None for the whole batch at once.
        ways: one for each matrix product, in order.
        threading: ONE, BLAS, TILES or SPLIT.
    """

    tile_rows: int | None
    ways: tuple[Way, ...]
    threading: str = ONE


def products_of(graph: Graph) -> tuple[int, ...]:
    """Return the positions of the matrix products."""
    return tuple(position for position, node in enumerate(graph.nodes) if op_named(node.op).is_product)


def weight_shape(graph: Graph, node: Node) -> tuple[int, int]:
    """Return (inputs, columns) of a product's weight."""
    inputs, columns = graph.constants[node.inputs[1]].shape
    return inputs, columns


def check_choices(graph: Graph, choices: Choices) -> None:
    """Refuse choices that were made for another graph.

    Raises:
        ModelError: with what was found and what fits.
    """
    products = products_of(graph)
    if len(choices.ways) != len(products):
        raise ModelError(f"the choices are for {len(choices.ways)} matrix products; this model has {len(products)} where they apply")
    if choices.threading not in THREADING:
        raise ModelError(f"threading is {choices.threading!r}; expected one of {', '.join(THREADING)}")


def default_choices(graph: Graph, switched_on: Collection[str]) -> Choices:
    """Return what the rules say, without any measuring.

    Args:
        graph: compiled for a batch, up to the first pass that chooses.
        switched_on: names of the passes that will run.
    """
    generated = {"codegen", "static"} <= set(switched_on) and find()[0] is not None
    threading = (_generated_threading(graph) if generated else _default_threading(graph)) if "threads" in switched_on else ONE
    tile_rows = _generated_tile(graph) if generated else _default_tile(graph)
    rows = min(tile_rows or graph.max_batch or 1, graph.max_batch or 1)
    ways = []
    for position in products_of(graph):
        inputs, columns = weight_shape(graph, graph.nodes[position])
        narrow = columns <= NARROW_COLUMNS and rows <= NARROW_ROWS and inputs >= NARROW_INPUTS
        ways.append(Way(order="F" if narrow and not generated else "C", generated=generated))
    return Choices(tile_rows, tuple(ways), threading)


def memory_budget_bytes(graph: Graph, *, generated: bool = False) -> int | None:
    """Return the most bytes that intermediates and operands may take without the output; None for batches that are not large.

    Args:
        graph: compiled for a batch.
        generated: generated code runs it, which is as fast in low tiles, so that a low budget costs nothing: the share is taken of what an
            eager runner holds in addition to its output, and code counts as well.
    """
    hidden = [node.columns for node in graph.nodes if node.output != graph.output]
    if graph.max_batch is None or graph.max_batch < LARGE_BATCH or not hidden:
        return None
    eager = 2 * BYTES_PER_NUMBER * graph.max_batch * max(hidden)  # a Linear's product and its sum with the bias
    if generated:
        return int(MEMORY_SHARE * max(eager // 2, eager - BYTES_PER_NUMBER * graph.max_batch * graph.columns_of(graph.output)))
    return max(SMALL_MEMORY_BYTES, int(MEMORY_SHARE * eager))


def _generated_tile(graph: Graph) -> int | None:
    """Return the rows of a tile of generated code, or None: GENERATED_ROWS, or more where the weights are streamed, within the budget.

    Tiles of one height need code for that height alone, so the largest height that divides the batch is taken, down to half as many rows.
    """
    hidden = [node.columns for node in graph.nodes if node.output != graph.output]
    if graph.max_batch is None or not hidden:
        return None
    weights = sum(graph.constants[graph.nodes[position].inputs[1]].nbytes for position in products_of(graph))
    rows = STREAMED_ROWS if weights > STREAMED_BYTES else GENERATED_ROWS
    budget = memory_budget_bytes(graph, generated=True)
    if budget is not None:
        rows = max(LEAST_GENERATED_ROWS, min(rows, (budget - CODE_BYTES) // (BYTES_PER_NUMBER * max(hidden))))
    if graph.max_batch <= rows * LITTLE_MORE:
        return None
    return next((even for even in range(rows, rows // 2, -1) if graph.max_batch % even == 0), rows)


def _default_tile(graph: Graph) -> int | None:
    """Return the rows of a tile of NumPy's products, or None.

    Where BLAS multiplies small products without packing, a tile is as high as that allows. Elsewhere OpenBLAS packs the weights in every
    product, so a low tile pays for more packing than it saves: the widest intermediate of a tile takes TILE_BYTES, but a tile has at least
    LEAST_ROWS and at most MOST_ROWS, and the tiles of the largest batch are about equally high. Below 128 rows the sweep's cells get 5 to
    25 % slower, and where a weight is larger than HEAVY_BYTES it takes HEAVY_ROWS to break even with the whole batch (784 x 4096: 0.90 of
    the whole batch's speed with 64 rows, 0.96 with 128, 1.00 with 256). 128 KiB is an eighth of a common second-level cache.
    """
    hidden = [node.columns for node in graph.nodes if node.output != graph.output]
    if graph.max_batch is None or not hidden:
        return None
    heaviest = max(graph.constants[graph.nodes[position].inputs[1]].nbytes for position in products_of(graph))
    small = _rows_of_small_products(graph)
    if small is not None:
        return None if graph.max_batch <= small else small
    least = HEAVY_ROWS if heaviest > HEAVY_BYTES else LEAST_ROWS
    most = min(MOST_ROWS, max(least, TILE_BYTES // (BYTES_PER_NUMBER * max(hidden))))
    tiles = math.ceil(graph.max_batch / most)
    even = math.ceil(graph.max_batch / tiles / _ROUNDING) * _ROUNDING
    return None if tiles == 1 else min(most, even)


def _rows_of_small_products(graph: Graph) -> int | None:
    """Return the most rows for which BLAS multiplies every product without packing, or None where these are too few for a tile."""
    unpacked_work = blas.unpacked_work()
    if unpacked_work is None:
        return None
    largest = max(math.prod(weight_shape(graph, graph.nodes[position])) for position in products_of(graph))
    rows = int(unpacked_work / largest) // SMALL_ROWS * SMALL_ROWS
    return min(rows, MOST_ROWS) if rows >= 2 * SMALL_ROWS else None


def _default_threading(graph: Graph) -> str:
    """Share tiles where each thread gets a pass of rows and work enough; one product of few rows is left to BLAS."""
    batch = graph.max_batch or 1
    work = 2.0 * batch * sum(math.prod(weight_shape(graph, graph.nodes[position])) for position in products_of(graph))
    if graph.threads == 1:
        return ONE
    return TILES if batch >= graph.threads * BLAS_ROWS and work >= SHARED_FLOP * graph.threads else BLAS


def _generated_threading(graph: Graph) -> str:
    """Share rows where each thread gets enough of them and weights stay in its cache, else each product; what is short nobody shares."""
    batch = graph.max_batch or 1
    weights = BYTES_PER_NUMBER * sum(math.prod(weight_shape(graph, graph.nodes[position])) for position in products_of(graph))
    work_flop = 2 * batch * weights / BYTES_PER_NUMBER
    if graph.threads == 1 or max(work_flop / SHORT_FLOP, weights / SHORT_BYTES) < 1:
        return ONE
    least = LEAST_LARGE_SHARE if weights > LARGE_BYTES else LEAST_SHARE
    return TILES if batch >= graph.threads * least and weights <= STREAMED_BYTES else SPLIT


def choices_to_json(choices: Choices) -> dict[str, Any]:
    """Return choices as JSON data."""
    ways = [{"layout": way.layout, "order": way.order, "parts": way.parts, "generated": way.generated} for way in choices.ways]
    return {"tile_rows": choices.tile_rows, "ways": ways, "threading": choices.threading}


def choices_from_json(data: Any) -> Choices:  # whatever JSON holds
    """Return the choices that JSON data hold.

    Raises:
        ModelError: where the data are no choices.
    """
    try:
        ways = tuple(Way(str(way["layout"]), str(way["order"]), _whole(way["parts"]), bool(way["generated"])) for way in data["ways"])
        tile_rows = None if data["tile_rows"] is None else _whole(data["tile_rows"])
        found = Choices(tile_rows, ways, str(data["threading"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"found no choices in {str(data)[:80]!r} ({type(error).__name__}: {error})") from error
    fits = all(way.layout in (ROWS, FEATURES) and way.order in ORDERS and way.parts >= 1 for way in ways)
    if not fits or found.threading not in THREADING or (tile_rows is not None and tile_rows < 1):
        raise ModelError(f"found choices that do not exist in {str(data)[:80]!r}")
    return found


def _whole(value: Any) -> int:  # whatever JSON holds
    if type(value) is not int:
        raise TypeError(f"found {str(value)[:20]!r} where a whole number is expected")
    return value
