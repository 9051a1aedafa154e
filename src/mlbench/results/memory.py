"""The memory of cells as it was recorded: what is held during a call of each runner, and where the compiled one's buffers lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A buffer in the arena.

    Attributes:
        name: of the value it holds.
        first: position of the node that writes it first.
        last: one past the position of the last node that needs it.
        offset_bytes: from the start of the arena.
        size_bytes: of the buffer.
    """

    name: str
    first: int
    last: int
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class CellMemory:
    """The memory of one cell.

    Attributes:
        cell: its id.
        held_bytes: runner to bytes held at the beginning and after each allocation or release of a call, what it holds between calls
            included; empty without memray.
        places: the buffers of the compiled runner's arena.
        nodes: labels of the graph's nodes, in the order in which they run.
        arena_bytes: size of the arena.
        lower_bound_bytes: most bytes that are live at any one node.
    """

    cell: str
    held_bytes: Mapping[str, Sequence[int]]
    places: tuple[Place, ...]
    nodes: tuple[str, ...]
    arena_bytes: int
    lower_bound_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """Cells of a result whose memory was recorded anew.

    Attributes:
        source: the name of the result's file.
        cells: what was recorded.
        gaps: which cell could not be recorded, and why.
    """

    source: str
    cells: tuple[CellMemory, ...]
    gaps: tuple[str, ...] = ()
