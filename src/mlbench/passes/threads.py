"""Threads: the tiles of a batch run on several cores.

BLAS can share one matrix product among its threads, but the element-wise steps between the products stay on one, and every product waits
for its slowest thread. Rows of a batch are independent, so whole tiles can run beside each other instead: each worker has an arena of its
own, runs the chain on its tiles with a BLAS of one thread, and meets the others once a call. Of a batch with few rows there are no tiles
to share; then BLAS's threads are what is left, or one thread alone.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.graph import Graph
from mlbench.passes.choices import BLAS, TILES, Choices, default_choices

NAME = "threads"
SUMMARY = "share the tiles of a batch, or each matrix product, among threads"


def apply(graph: Graph) -> Graph:
    """Share by the default rule."""
    return choose(graph, default_choices(graph, (NAME,)))


def choose(graph: Graph, choices: Choices) -> Graph:
    """Share as chosen among the threads that may be used."""
    if graph.threads == 1 or graph.blas_threads is not None:
        return graph
    workers = min(graph.threads, graph.max_batch or 1) if choices.threading == TILES else 1
    return replace(graph, workers=workers if workers > 1 else None, blas_threads=graph.threads if choices.threading == BLAS else 1)


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    if after.workers is not None:
        return f"{after.workers} threads share the tiles of a batch, each with an arena of its own and a BLAS of one thread."
    if after.blas_threads is not None and after.blas_threads > 1:
        return f"BLAS shares each matrix product among {after.blas_threads} threads; a batch of {after.max_batch} has no tiles to share."
    return "One thread."
