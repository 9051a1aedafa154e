"""From nodes of generated code to the code that computes any number of rows of them, and the function around it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.x86 import Arrays, Body, BodyPlan, Team, Work, code_of, few_rows, inner
from mlbench.compiler.x86.caches import Caches
from mlbench.compiler.x86.counts.accesses import Entry
from mlbench.compiler.x86.counts.counting import followed
from mlbench.compiler.x86.counts.decoding import InstructionCounts
from mlbench.compiler.x86.counts.extents import Extents
from mlbench.compiler.x86.counts.levels import LevelBytes, moved_bytes
from mlbench.compiler.x86.stages import MASKS
from mlbench.ir import FloatArray, index_error
from mlbench.runtime.x86_backend import Run, array_columns, instructions, stages_of

FLOAT_BYTES = 4
RELEASED_FLOP, RELEASED_BYTES = 4e6, 2 * 1024 * 1024
"""Work of more than so much arithmetic, or of more bytes of weights, gives the interpreter's lock away, as NumPy's products do. Below, that
would cost more than it brings. What a team shares always gives it away: a thread that the calling one waits for may be slow to come."""
SWEPT_FLOP = 20
"""Arithmetic that takes about as long as one element of a sweep."""
_PLACE, _PLACES_APART = 1 << 56, 1 << 44
"""Where the arrays of a call lie that is counted and not made: addresses that no process has."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """Where the values of a run of nodes lie.

    Attributes:
        storage: name of a buffer to its memory, a flat array of float32.
        arena: what they are parts of.
        others: the arenas of the other threads, where threads have rows of their own; their buffers lie as those of `arena`.
    """

    storage: Mapping[str, FloatArray]
    arena: npt.NDArray[np.uint8]
    others: tuple[npt.NDArray[np.uint8], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """The code of a run of nodes.

    Attributes:
        arrays: that come with a call.
        work: what a call does.
        function: `function(x0, ..., y0, ...)`, which computes the rows of the inputs into the outputs.
        touched: what the code reads and writes besides these.
    """

    arrays: Arrays
    work: Work
    function: Callable[..., Any]
    touched: tuple[npt.NDArray[Any], ...]

    @property
    def size_bytes(self) -> int:
        """The memory that the code takes."""
        assert isinstance(self.work.body, Body)
        return self.work.body.code.size_bytes + code_of(self.function).size_bytes

    def counts(self, rows: int) -> InstructionCounts | None:
        """Return what a call of so many rows executes; None where threads share the work.

        Raises:
            MissingExtraError: without capstone.
        """
        if self.has_team:
            return None
        counts, _ = self._followed(rows, self._places())
        return counts

    def level_bytes(self, rows: int, caches: Caches) -> tuple[LevelBytes, ...]:
        """Return what a call of so many rows moves between the levels of memory; nothing where threads share the work, or it is too long.

        Raises:
            MissingExtraError: without capstone.
        """
        if self.has_team:
            return ()
        places = self._places()
        _, accesses = self._followed(rows, places)
        columns = (*self.arrays.inputs, *self.arrays.outputs)
        given = [(int(place), FLOAT_BYTES * rows * each) for place, each in zip(places, columns, strict=True)]
        held = [(int(each.ctypes.data), each.nbytes) for each in (*self.touched, places)]
        body = self.work.body
        assert isinstance(body, Body)
        return moved_bytes(accesses, Extents([*given, *held], (body.address, body.size_bytes), caches.line_bytes), caches)

    @property
    def has_team(self) -> bool:
        """Whether threads share the work."""
        assert isinstance(self.work.body, Body)
        return self.work.body.team is not None

    def _places(self) -> npt.NDArray[np.uint64]:
        """Return where the arrays of a call lie that is followed and not made."""
        return np.array([_PLACE + index * _PLACES_APART for index in range(len(self.arrays.inputs) + len(self.arrays.outputs))], np.uint64)

    def _followed(self, rows: int, places: npt.NDArray[np.uint64]) -> tuple[InstructionCounts, tuple[Entry, ...]]:
        body = self.work.body
        assert isinstance(body, Body)
        code, address = ctypes.string_at(body.address, body.size_bytes), int(places.ctypes.data)
        tables = [(address, places.nbytes), (int(body.refusal.ctypes.data), body.refusal.nbytes)]
        return followed(code, body.address, {"rdi": address, "rsi": rows}, tables)


def generated(program: Program, plan: MemoryPlan, memory: Memory, run: Run, most_rows: int, team: Team | None = None) -> Generated:
    """Write the code of a run of nodes.

    Args:
        program: what runs.
        plan: where its buffers lie.
        memory: the same as addresses.
        run: which nodes.
        most_rows: rows that a call may have.
        team: the threads that share the work; None for the calling thread alone.

    Raises:
        CodeError: when the system gives no memory that code may run in.
    """
    base, *others = (int(arena.ctypes.data) for arena in (memory.arena, *memory.others))
    addresses = {name: int(array.ctypes.data) - base for name, array in memory.storage.items()}
    columns = {name: array_columns(program, plan, name) for name in run.arrays}
    arrays = Arrays(tuple(columns[name] for name in run.inputs), tuple(columns[name] for name in run.outputs), most_rows)
    strides = tuple(FLOAT_BYTES * columns[name] for name in run.arrays)
    stages, tile_rows = stages_of(program, plan, addresses, run), program.schedule.tile_rows
    flop, weight_bytes = _work_of_a_row(program, run)
    released_rows = 1 if weight_bytes > RELEASED_BYTES else int(RELEASED_FLOP / flop) + 1
    alone_rows = 0
    if team is not None:
        alone_rows = few_rows(flop, team.threads)
        released_rows = min(released_rows, alone_rows + 1)
    body_plan = BodyPlan(stages, strides, tile_rows, base, tuple(others), alone_rows)
    body = Body(instructions(), body_plan, program, memory, team=team)
    work = Work(body, released_rows, team, partial(_refuse, body.refusal) if body_plan.may_refuse else None)
    constants = [each for each in program.graph.constants.values() if each.flags.forc]  # those that were released have no memory
    touched: tuple[npt.NDArray[Any], ...] = (memory.arena, *program.schedule.packed.values(), *constants, MASKS, body.refusal)
    return Generated(arrays, work, inner(arrays, work), touched)


def _refuse(refusal: npt.NDArray[np.uint64]) -> NoReturn:
    """Raise what a call raises in which an index was in no table.

    Raises:
        InputError: always.
    """
    bits, entries = refusal[1:].view(np.uint32)
    raise index_error(float(bits.view(np.float32)), int(entries))


def _work_of_a_row(program: Program, run: Run) -> tuple[int, int]:
    """Return the arithmetic of a row, 1 or more, and the bytes of the weights."""
    graph = program.graph
    nodes = graph.nodes[run.first : run.last]
    size = sum(graph.constants[node.operands[0]].size for node in nodes if program.of(node).packed)
    swept = sum(max(node.columns, *map(graph.columns_of, node.values)) for node in nodes if program.of(node).swept)
    return max(1, 2 * size + SWEPT_FLOP * swept), FLOAT_BYTES * size
