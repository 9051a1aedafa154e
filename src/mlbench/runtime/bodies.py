"""From nodes of generated code to the code that computes any number of rows of them, and the function around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.x86 import Arena, Argument, Arrays, Body, BodyPlan, Layer, Product, Team, View, Work, X, Y, code_of, inner
from mlbench.ir import FloatArray
from mlbench.runtime.x86_backend import Run, instructions, layers_of

FLOAT_BYTES = 4
RELEASED_FLOP, RELEASED_BYTES = 4e6, 2 * 1024 * 1024
"""Work of more than so much arithmetic, or of more bytes of weights, gives the interpreter's lock away, as NumPy's products do. Below, that
would cost more than it brings. The work of a team always gives it away: a thread that it waits for may be slow to come."""


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
        function: `function(x, y)`, which computes the rows of x into y.
    """

    arrays: Arrays
    work: Work
    function: Callable[..., Any]

    @property
    def size_bytes(self) -> int:
        """The memory that the code takes."""
        assert isinstance(self.work.body, Body)
        return self.work.body.code.size_bytes + code_of(self.function).size_bytes


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
    layers = layers_of(program, plan, memory.storage, run)
    inputs, columns = layers[0].shape.inputs, layers[-1].shape.columns
    arrays = Arrays((inputs,), (columns,), most_rows)
    base, *others = (int(arena.ctypes.data) for arena in (memory.arena, *memory.others))
    stages = tuple(_product(layer, base) for layer in layers)
    strides = FLOAT_BYTES * inputs, FLOAT_BYTES * columns
    body_plan = BodyPlan(stages, strides, program.schedule.tile_rows, base, tuple(others))
    work = Work(Body(instructions(), body_plan, program, memory, team=team), _released_rows(layers, body_plan, team), team)
    return Generated(arrays, work, inner(arrays, work))


def _product(layer: Layer, base: int) -> Product:
    shape = layer.shape
    source, target = _view(layer.source, shape.inputs, base), _view(layer.target, shape.columns, base)
    return Product(shape, layer.weight, layer.operands, source, target)


def _view(place: int | str, columns: int, base: int) -> View:
    places = {X: Argument(0), Y: Argument(1)}
    return View(places[place] if isinstance(place, str) else Arena(place - base), FLOAT_BYTES * columns)


def _released_rows(layers: Sequence[Layer], plan: BodyPlan, team: Team | None) -> int:
    """Return from how many rows on others should run meanwhile."""
    size = sum(layer.shape.inputs * layer.shape.columns for layer in layers)
    long = 1 if FLOAT_BYTES * size > RELEASED_BYTES else int(RELEASED_FLOP / (2 * size)) + 1
    if team is None:
        return long
    return min(long, plan.alone_rows + 1) if plan.other_arenas else 1
