"""Batch tiling: the whole chain runs on some rows of the batch, then on the next ones.

Rows of a batch do not depend on each other, so no work is repeated. The hidden activation becomes tile x hidden instead of
batch x hidden: it stays in the second cache, and the peak falls below what liveness over the whole batch allows. The schedule says how high
a tile is.
"""

from __future__ import annotations

import math

from mlbench.compiler.passes.base import Decision, Decisions, Pass
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.schedule import Schedule


def choose(program: Program, schedule: Schedule) -> Program:
    """Tile as chosen, where the batch is larger than a tile."""
    rows = schedule.tile_rows
    if rows is None or rows >= program.schedule.max_batch or len(program.graph.nodes) == 1:
        return program
    return program.scheduled(tile_rows=rows)


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    batch, rows = after.schedule.max_batch, after.schedule.tile_rows
    if len(after.graph.nodes) == 1:
        return "No tiles: there is no hidden activation to keep in cache."
    if not after.schedule.is_tiled:
        return f"No tiles: a batch of {batch} fits into one."
    return (
        f"The chain runs on {rows} rows at a time, {math.ceil(batch / rows)} tiles for a batch of "
        f"{batch}. A hidden activation needs {rows} rows of memory instead of {batch}."
    )


def decide(before: Program, after: Program) -> Decisions:
    """Say why the batch is cut, or is not."""
    batch, rows = after.schedule.max_batch, after.schedule.tile_rows
    if len(after.graph.nodes) == 1:
        return (Decision("", is_done=False, reason="there is one node, so no hidden activation would stay in cache"),)
    if not after.schedule.is_tiled:
        return (Decision("", is_done=False, reason=f"the batch of {batch} is no higher than the tile that was chosen"),)
    return (Decision("", is_done=True, reason=f"no row depends on another one, and {rows} of {batch} rows were chosen as a tile"),)


PASS = Pass(
    "tile",
    "run the chain on a tile of the batch at a time, so that hidden activations stay in cache",
    explain,
    choose=choose,
    rule="Rows of a batch do not depend on each other, so the whole graph may run on some of them, then on the next ones.",
    decide=decide,
)
