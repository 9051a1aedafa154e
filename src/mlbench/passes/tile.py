"""Batch tiling: the whole chain runs on some rows of the batch, then on the next ones.

Rows of a batch do not depend on each other, so no work is repeated. The hidden activation becomes tile x hidden instead of
batch x hidden: it stays in the second cache, and the peak falls below what liveness over the whole batch allows.

**Default rule**, without a search: the widest intermediate of a tile takes TILE_BYTES, but a tile has at least LEAST_ROWS and
at most MOST_ROWS, and the tiles of the largest batch are about equally high. OpenBLAS repacks the weights on every call, so tiles below
some 128 rows pay for more packing than they save (measured for 64 inputs, hidden 64 to 1024, batch 512 and 4096: 64 rows are 5 to 25 %
slower than 256); above 512 rows nothing is gained. 128 KiB is an eighth of a common second-level cache.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mlbench.graph import BYTES_PER_NUMBER, Graph

NAME = "tile"
SUMMARY = "run the chain on a tile of the batch at a time, so that hidden activations stay in cache"
TILE_BYTES = 128 * 1024
LEAST_ROWS = 128
MOST_ROWS = 512
_ROUNDING = 16


def apply(graph: Graph) -> Graph:
    """Choose a tile where the batch is larger than one."""
    hidden = [node.columns for node in graph.nodes if node.output != graph.output]
    if graph.max_batch is None or not hidden:
        return graph
    most = min(MOST_ROWS, max(LEAST_ROWS, TILE_BYTES // (BYTES_PER_NUMBER * max(hidden))))
    tiles = math.ceil(graph.max_batch / most)
    even = math.ceil(graph.max_batch / tiles / _ROUNDING) * _ROUNDING
    return graph if tiles == 1 else replace(graph, tile_rows=min(most, even))


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    if after.tile_rows is None or after.max_batch is None:
        return f"No tiles: a batch of {after.max_batch} fits into one."
    return (
        f"The chain runs on {after.tile_rows} rows at a time, {math.ceil(after.max_batch / after.tile_rows)} tiles for a batch of "
        f"{after.max_batch}. A hidden activation needs {after.tile_rows} rows of memory instead of {after.max_batch}."
    )
