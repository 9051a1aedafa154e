"""Threads: a call runs on several cores.

BLAS can share one matrix product among its threads, but the element-wise steps between the products stay on one, and every product waits
for its slowest thread. Rows of a batch are independent, so whole tiles can run beside each other instead: each worker has an arena of its
own, runs the chain on its tiles, and meets the others once a call. Of a batch with few rows there are no tiles to share; then BLAS's
threads are what is left, or one thread alone. Generated code can split each product among the workers, who meet between two products
without any help of the interpreter (`mlbench.compiler.x86.threads`); each of them then reads a part of the weights only.
"""

from __future__ import annotations

from dataclasses import replace

from mlbench.compiler.schedule.choices import BLAS, SPLIT, TILES, Choices, default_choices
from mlbench.ir import COLUMNS, ROWS, Graph

NAME = "threads"
SUMMARY = "share the tiles of a batch, or each matrix product, among threads"


def apply(graph: Graph) -> Graph:
    """Share by the default rule."""
    return choose(graph, default_choices(graph, (NAME,)))


def choose(graph: Graph, choices: Choices) -> Graph:
    """Share as chosen among the threads that may be used."""
    if graph.threads == 1 or graph.blas_threads is not None or graph.workers is not None:
        return graph
    workers = graph.threads if choices.threading == SPLIT and graph.is_generated else 1
    if choices.threading == TILES:
        workers = min(graph.threads, graph.max_batch or 1)
    return replace(
        graph,
        workers=workers if workers > 1 else None,
        shared=COLUMNS if workers > 1 and choices.threading == SPLIT else ROWS,
        blas_threads=None if graph.is_generated else graph.threads if choices.threading == BLAS else 1,
    )


def explain(before: Graph, after: Graph) -> str:
    """Say what the pass did to this graph."""
    if after.workers is not None and after.shared == COLUMNS:
        return f"{after.workers} threads share each product and meet after it."
    if after.workers is not None:
        alone = "" if after.blas_threads is None else " and a BLAS of one thread"
        return f"{after.workers} threads share the tiles of a batch, each with an arena of its own{alone}."
    if after.blas_threads is not None and after.blas_threads > 1:
        return f"BLAS shares each matrix product among {after.blas_threads} threads; a batch of {after.max_batch} has no tiles to share."
    return "One thread."
