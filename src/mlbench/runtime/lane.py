"""A lane: the memory in which one thread runs a program, and the functions that are bound to it.

A runner has one lane, or one for each thread that runs rows of its own. A lane knows nothing of callers: what it is given was checked.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlbench.arrays import aligned_bytes, aligned_floats
from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.x86 import IS_READABLE
from mlbench.ir import FloatArray
from mlbench.runtime.dispatch import F32, Cut, Floats
from mlbench.runtime.numpy_backend.binding import Binder, BoundTile, Tile
from mlbench.runtime.numpy_backend.lowering import forget

KEPT_BATCHES, KEPT_WITH_OPERANDS = 1024, 32
"""Batch sizes whose views are kept: each costs a kilobyte or two of Python objects. Fewer are kept where operands are made for each number
of rows, because these take as much as a value does. The next one replaces the oldest."""


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """The tiles of one batch size.

    Attributes:
        cuts: in order.
        bound: the functions of the different numbers of rows among them.
    """

    cuts: tuple[Cut, ...]
    bound: tuple[BoundTile, ...]


class Lane:
    """One arena, the tile functions bound to it, and a place to stage an input.

    Args:
        program: what runs.
        plan: where its buffers lie.
        arena_bytes: bytes of the plan that are allocated; an output that lies behind them is somebody else's.

    Attributes:
        plan: where its buffers lie.
        program: what runs.
        arena: its memory; empty where every call allocates its values.
        storage: name of a buffer to its memory, a flat array of float32.
        binder: makes the tile functions where NumPy has a part in them.
        kept_batches: batch sizes whose tiles are kept.
        whole: the function that runs any rows of a program that is all generated; whoever makes it puts it here.
    """

    def __init__(self, program: Program, plan: MemoryPlan, arena_bytes: int) -> None:
        self.program = program
        is_static = program.schedule.is_static
        self.arena = aligned_bytes(arena_bytes if is_static else 0)
        self.storage: Mapping[str, FloatArray] = {
            buffer.name: self.arena[buffer.offset : buffer.offset + buffer.size_bytes].view(np.float32)
            for buffer in plan.buffers
            if is_static
        }
        self.binder = Binder(program, plan, self.storage, self.arena)
        self.whole: Tile | None = None
        self.tile_rows = program.schedule.tile_rows
        self.plan = plan
        self.kept_batches = KEPT_WITH_OPERANDS if self.binder.makes_operands else KEPT_BATCHES
        self._tiles: dict[int, Tiles] = {}
        self._bound: dict[int, BoundTile] = {}
        self._columns = next(iter(program.graph.inputs.values()))
        self._staging = np.empty((0, self._columns), np.float32)
        weakref.finalize(self, _forget_all, self.binder.files)

    @property
    def staging_bytes(self) -> int:
        """The bytes of the staging buffer; 0 until an input needs it."""
        return held_bytes(self._staging)

    @property
    def operand_bytes(self) -> int:
        """The bytes of generated code, and of operands for the batch sizes so far."""
        bound = {id(each): each.operand_bytes for tiles in self._tiles.values() for each in tiles.bound}
        return self.binder.code_bytes + sum(bound.values())

    def reserve_staging(self) -> None:
        """Make the staging buffer now."""
        if not len(self._staging):
            self._staging = aligned_floats((self.tile_rows, self._columns))

    def cuts(self, batch: int) -> tuple[Cut, ...]:
        """Return the tiles of a batch."""
        if batch not in self._tiles:
            step = self.tile_rows
            places = [(first, min(first + step, batch)) for first in range(0, batch, step)]
            if self.whole is not None:
                return tuple((self.whole, first, last) for first, last in places)
            for dropped in drop_oldest(self._tiles, self.kept_batches):
                self._bound.pop(dropped % step, None)
            bound = {rows: self._tile(rows) for rows in {last - first for first, last in places}}
            self._tiles[batch] = Tiles(tuple((bound[last - first].run, first, last) for first, last in places), tuple(bound.values()))
        return self._tiles[batch].cuts

    def _tile(self, rows: int) -> BoundTile:
        if rows not in self._bound:
            self._bound[rows] = self.binder.bind(rows)
        return self._bound[rows]

    def run(self, source: Floats, target: FloatArray, *, staged: bool) -> None:
        """Run tile after tile, from an input that is read where it lies, or copied tile by tile."""
        cuts = self.cuts(len(source))
        if not staged:
            for tile, first, last in cuts:
                tile(source[first:last], target[first:last])
            return
        self.reserve_staging()
        for tile, first, last in cuts:
            stage = self._staging[: last - first]
            np.copyto(stage, source[first:last], casting="same_kind")
            tile(stage, target[first:last])

    def run_all(self, sources: Sequence[Floats], targets: Sequence[FloatArray]) -> None:
        """Run tile after tile with several inputs, which are read where they lie, or into several outputs."""
        for tile, first, last in self.cuts(len(sources[0])):
            tile(*[array[first:last] for array in (*sources, *targets)])


def drop_oldest(kept: dict[int, Any], most: int) -> Iterator[int]:  # what is kept for each batch size
    """Make room for one more batch size, and give those that had to go."""
    while len(kept) >= most:
        oldest = next(iter(kept))
        del kept[oldest]
        yield oldest


def must_be_staged(x: Floats) -> bool:
    """Whether an array cannot be read where it lies."""
    return x.dtype != F32 or x.flags.num & IS_READABLE != IS_READABLE


def held_bytes(view: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> int:
    """Return the bytes of the allocation behind a view."""
    base = view
    while isinstance(base.base, np.ndarray):
        base = base.base
    return base.nbytes


def _forget_all(filenames: list[str]) -> None:
    for filename in filenames:
        forget(filename)
