"""What the generated code of a case executes and moves, counted and not measured."""

from __future__ import annotations

from collections.abc import Iterable

from mlbench.compiler.x86 import find
from mlbench.compiler.x86.caches import Caches, find_caches
from mlbench.errors import MissingExtraError
from mlbench.results import BASELINE, CodeCounts, LevelBytes
from mlbench.runtime import OptimizedRunner
from mlbench.studies.cases import Case, optimized_runner
from mlbench.units import format_bytes


def code_of(case: Case) -> CodeCounts | None:
    """Return what generated code executes in a call of the case; None where NumPy or several threads have a part in it.

    Raises:
        MissingExtraError: without capstone.
    """
    return None if case.runner == BASELINE else code_of_runner(optimized_runner(case), case.cell.batch)


def code_or_doubt(case: Case) -> tuple[CodeCounts | None, tuple[str, ...]]:
    """Return what generated code executes in a call, and what the reader should know where it could not be counted."""
    try:
        return code_of(case), ()
    except MissingExtraError as error:
        return None, (str(error),)


def code_of_runner(runner: OptimizedRunner, rows: int) -> CodeCounts | None:
    """Return what generated code executes in a call of so many rows; None where NumPy or several threads have a part in it.

    Raises:
        MissingExtraError: without capstone.
    """
    vectors, _ = find()
    counts = runner.count_instructions(rows)
    if vectors is None or counts is None:
        return None
    caches = find_caches()
    levels = tuple(
        LevelBytes(each.name, each.read_bytes, each.prefetched_bytes, each.written_bytes) for each in runner.count_level_bytes(rows, caches)
    )
    return CodeCounts(
        vectors.name,
        counts.instructions,
        counts.multiply_adds,
        counts.loads,
        counts.stores,
        counts.load_bytes,
        counts.store_bytes,
        counts.code_bytes,
        hierarchy=caches_text(caches),
        levels=levels,
    )


def caches_text(caches: Caches) -> str:
    """Return the caches of a core in words.

    >>> caches_text(Caches(32768, 8, 524288, 8))
    'L1 32.0 KB in 8 ways, L2 512 KB in 8 ways, lines of 64 bytes'
    """
    sizes = (("L1", caches.l1d_bytes, caches.l1d_ways), ("L2", caches.l2_bytes, caches.l2_ways), ("L3", caches.l3_bytes, caches.l3_ways))
    levels = [f"{name} {format_bytes(size)} in {ways} ways" for name, size, ways in sizes if size]
    return ", ".join([*levels, f"lines of {caches.line_bytes} bytes"])


def levels_text(levels: Iterable[LevelBytes]) -> str:
    """Return in words what a call moves between levels.

    >>> levels_text([LevelBytes("L2", 2048, 0, 512), LevelBytes("memory", 0, 1024, 0)])
    'L2: 2.00 KB read, 512 B written; memory: 0 B read, 1.00 KB in advance, 0 B written'
    """
    return "; ".join(
        f"{each.name}: {format_bytes(each.read_bytes)} read, "
        f"{f'{format_bytes(each.prefetched_bytes)} in advance, ' if each.prefetched_bytes else ''}"
        f"{format_bytes(each.written_bytes)} written"
        for each in levels
    )
