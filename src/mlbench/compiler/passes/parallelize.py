"""Threads: a call runs on several cores.

BLAS can share one matrix product among its threads, but the element-wise steps between the products stay on one, and every product waits
for its slowest thread. Rows of a batch are independent, so whole tiles can run beside each other instead: each worker has an arena of its
own, runs the chain on its tiles, and meets the others once a call. Of a batch with few rows there are no tiles to share; then BLAS's
threads are what is left, or one thread alone. Generated code can split each product among the workers, who meet between two products
without any help of the interpreter (`mlbench.compiler.x86.team.threads`); each of them then reads a part of the weights only. So it does
with several inputs or outputs, even where there are tiles to share.
"""

from __future__ import annotations

from mlbench.compiler.passes.base import Decision, Decisions, Pass
from mlbench.compiler.schedule.program import COLUMNS, ROWS, Program
from mlbench.compiler.schedule.schedule import BLAS, SPLIT, TILES, Schedule


def choose(program: Program, schedule: Schedule) -> Program:
    """Share as chosen among the threads that may be used."""
    threads, is_generated = program.schedule.threads, program.is_generated
    if threads == 1 or program.schedule.blas_threads or program.schedule.workers > 1:
        return program
    is_split = is_generated and (schedule.threading == SPLIT or (schedule.threading == TILES and not program.graph.is_single))
    workers = threads if is_split else 1
    if schedule.threading == TILES and program.graph.is_single:
        workers = min(threads, program.schedule.max_batch)
    return program.scheduled(
        workers=workers,
        shared=COLUMNS if is_split else ROWS,
        blas_threads=0 if is_generated else threads if schedule.threading == BLAS else 1,
    )


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    schedule = after.schedule
    if schedule.workers > 1 and schedule.shared == COLUMNS:
        return f"{schedule.workers} threads share each product and meet after it."
    if schedule.workers > 1:
        alone = " and a BLAS of one thread" if schedule.blas_threads else ""
        return f"{schedule.workers} threads share the tiles of a batch, each with an arena of its own{alone}."
    if schedule.blas_threads > 1:
        return (
            f"BLAS shares each matrix product among {schedule.blas_threads} threads; a batch of {schedule.max_batch} has no tiles to share."
        )
    return "One thread."


def decide(before: Program, after: Program) -> Decisions:
    """Say why the work is shared, or is not."""
    schedule = after.schedule
    if schedule.threads == 1:
        return (Decision("", is_done=False, reason="one thread may be used"),)
    if schedule.workers > 1:
        shared = "columns of each product" if schedule.shared == COLUMNS else "rows of the batch"
        return (Decision("", is_done=True, reason=f"{shared} do not depend on each other, and {schedule.workers} threads may be used"),)
    if schedule.blas_threads > 1:
        return (Decision("", is_done=True, reason="there are too few rows to share, and BLAS can share each product"),)
    return (Decision("", is_done=False, reason="a call is too short to be worth waking another thread"),)


PASS = Pass(
    "parallelize",
    "share the tiles of a batch, or each matrix product, among threads",
    explain,
    choose=choose,
    rule="Rows of a batch, and columns of a product, do not depend on each other, so threads may share them where a call is long enough.",
    decide=decide,
)
