"""Batch tiling: the whole chain runs on some rows of the batch, then on the next ones.

Rows of a batch do not depend on each other, so no work is repeated. The hidden activation becomes tile x hidden instead of
batch x hidden: it stays in the second cache, and the peak falls below what liveness over the whole batch allows.

**Default rule**, without a search: the widest intermediate of a tile takes TILE_BYTES, but a tile has at least LEAST_ROWS and at most
MOST_ROWS, and the tiles of the largest batch are about equally high. OpenBLAS repacks the weights in every product, so a low tile pays
for more packing than it saves: below 128 rows the sweep's cells get 5 to 25 % slower, and where a weight is larger than HEAVY_BYTES it
takes HEAVY_ROWS to break even with the whole batch (784 x 4096: 0.90 of the whole batch's speed with 64 rows, 0.96 with 128, 1.00 with
256). Above 512 rows nothing is gained. 128 KiB is an eighth of a common second-level cache.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mlbench.graph import BYTES_PER_NUMBER, Graph, op_named

NAME = "tile"
SUMMARY = "run the chain on a tile of the batch at a time, so that hidden activations stay in cache"
TILE_BYTES = 128 * 1024
LEAST_ROWS = 128
MOST_ROWS = 512
HEAVY_BYTES = 512 * 1024
HEAVY_ROWS = 256
_ROUNDING = 16


def apply(graph: Graph) -> Graph:
    """Choose a tile where the batch is larger than one."""
    hidden = [node.columns for node in graph.nodes if node.output != graph.output]
    if graph.max_batch is None or not hidden:
        return graph
    heaviest = max((graph.constants[node.inputs[1]].nbytes for node in graph.nodes if op_named(node.op).is_product), default=0)
    least = HEAVY_ROWS if heaviest > HEAVY_BYTES else LEAST_ROWS
    most = min(MOST_ROWS, max(least, TILE_BYTES // (BYTES_PER_NUMBER * max(hidden))))
    tiles = math.ceil(graph.max_batch / most)
    even = math.ceil(graph.max_batch / tiles / _ROUNDING) * _ROUNDING
    return graph if tiles == 1 else replace(graph, tile_rows=min(most, even))


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    if len(after.nodes) == 1:
        return "No tiles: there is no hidden activation to keep in cache."
    if after.tile_rows is None or after.max_batch is None:
        return f"No tiles: a batch of {after.max_batch} fits into one."
    return (
        f"The chain runs on {after.tile_rows} rows at a time, {math.ceil(after.max_batch / after.tile_rows)} tiles for a batch of "
        f"{after.max_batch}. A hidden activation needs {after.tile_rows} rows of memory instead of {after.max_batch}."
    )
