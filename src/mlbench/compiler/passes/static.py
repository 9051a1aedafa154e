"""Static buffers: every intermediate and the output get a fixed place in one arena, which is allocated once.

Without it each call allocates its intermediates anew, as an eager framework does: that costs the allocator's time, and where the allocator
gives freed memory back to the kernel, a page fault for every 4 KiB that is touched again. With it a call allocates nothing, and values
whose lifetimes do not meet share their bytes. The result is a view of the arena, valid until the next call.
"""

from __future__ import annotations

from mlbench.compiler.passes.base import Decision, Decisions, Pass
from mlbench.compiler.schedule.program import Program


def apply(program: Program) -> Program:
    """Make the buffers static."""
    return program.scheduled(is_static=True)


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    return f"{len(after.graph.nodes)} values live in one arena; a call allocates none of them."


def decide(before: Program, after: Program) -> Decisions:
    """Say why every size is known before the first call."""
    rows = after.schedule.max_batch
    return (Decision("", is_done=True, reason=f"the most rows of a call are known, {rows}, and so is the largest size of each value"),)


PASS = Pass(
    "static",
    "give every value a place in one arena that is allocated once",
    explain,
    apply=apply,
    rule="Every size is known before the first call, because the most rows of a call are; so every value can have its place from then on.",
    decide=decide,
)
