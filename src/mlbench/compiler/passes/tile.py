"""Batch tiling: the whole chain runs on some rows of the batch, then on the next ones.

Rows of a batch do not depend on each other, so no work is repeated. The hidden activation becomes tile x hidden instead of
batch x hidden: it stays in the second cache, and the peak falls below what liveness over the whole batch allows. How high a tile is, is
chosen: by the rule in `mlbench.compiler.schedule.choices`, or by the search.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mlbench.compiler.schedule.choices import Choices, default_choices
from mlbench.ir import Graph

NAME = "tile"
SUMMARY = "run the chain on a tile of the batch at a time, so that hidden activations stay in cache"


def apply(graph: Graph) -> Graph:
    """Tile by the default rule."""
    return choose(graph, default_choices(graph, ()))


def choose(graph: Graph, choices: Choices) -> Graph:
    """Tile as chosen, where the batch is larger than a tile."""
    rows = choices.tile_rows
    if rows is None or graph.max_batch is None or rows >= graph.max_batch or len(graph.nodes) == 1 or graph.tile_rows == rows:
        return graph
    return replace(graph, tile_rows=rows)


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
