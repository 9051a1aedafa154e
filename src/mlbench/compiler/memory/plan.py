"""What a memory plan is: buffers with lifetimes and offsets in one arena; and its picture in characters."""

from __future__ import annotations

import itertools
import string
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Buffer:
    """The storage of one value, or of several that share it in place, or of scratch.

    Attributes:
        name: the value it was made for.
        values: names of the graph's values that live in it; none for scratch.
        rows: most rows it holds.
        columns: columns it holds.
        size_bytes: rows * columns * 4.
        first: position of the node that writes it first.
        last: one past the position of the last node that needs it.
        offset: bytes from the start of the arena.
    """

    name: str
    values: tuple[str, ...]
    rows: int
    columns: int
    size_bytes: int
    first: int
    last: int
    offset: int = 0

    def lives_with(self, other: Buffer) -> bool:
        """Whether some node needs both."""
        return self.first < other.last and other.first < self.last


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where every buffer lies in the arena.

    `print(plan)` draws the memory map: nodes to the right, offset upward.

    Attributes:
        buffers: in the order of their lifetimes.
        nodes: labels of the graph's nodes, in execution order.
        arena_bytes: size of the one allocation that holds all buffers.
        lower_bound_bytes: most bytes that are live at any one node; no plan can be smaller.
    """

    buffers: tuple[Buffer, ...]
    nodes: tuple[str, ...]
    arena_bytes: int
    lower_bound_bytes: int

    def buffer_of(self, value: str) -> Buffer:
        """Return the buffer that holds `value`."""
        return next(buffer for buffer in self.buffers if value in buffer.values)

    def __str__(self) -> str:
        """Return the memory map."""
        return plan_text(self)


def plan_text(plan: MemoryPlan) -> str:
    """Draw the memory map: a column a node, a line a band of the arena, a letter a buffer, and the legend below."""
    letters = dict(zip((buffer.name for buffer in plan.buffers), _letters(), strict=False))
    edges = sorted({0, plan.arena_bytes} | {b.offset for b in plan.buffers} | {b.offset + b.size_bytes for b in plan.buffers})
    width = max(6, *(len(node) for node in plan.nodes)) if plan.nodes else 6
    digits = max(len(f"{plan.arena_bytes:,}"), 6)
    share = plan.arena_bytes / plan.lower_bound_bytes if plan.lower_bound_bytes else 1.0
    lines = [f"arena {plan.arena_bytes:,} bytes, lower bound {plan.lower_bound_bytes:,} bytes ({100 * share:.1f} % of it)"]
    for low, high in reversed(list(itertools.pairwise(edges))):
        cells = []
        for position in range(len(plan.nodes)):
            live = [b for b in plan.buffers if b.first <= position < b.last and b.offset <= low and high <= b.offset + b.size_bytes]
            cells.append((letters[live[0].name] if live else ".") * width)
        lines.append(f"{low:>{digits},} | {' '.join(cells)}")
    lines.append(f"{'offset':>{digits}} + {' '.join('-' * width for _ in plan.nodes)}")
    lines.append(f"{'':>{digits}}   {' '.join(f'{node:<{width}}' for node in plan.nodes)}".rstrip())
    for buffer in plan.buffers:
        what = ", ".join(buffer.values) if buffer.values else "scratch"
        lines.append(
            f"{letters[buffer.name]} = {what}: {buffer.rows} x {buffer.columns}, {buffer.size_bytes:,} bytes "
            f"at {buffer.offset:,}, nodes [{buffer.first}, {buffer.last})"
        )
    return "\n".join(lines)


def _letters() -> list[str]:
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits
    return list(alphabet) + ["#"] * 1000
