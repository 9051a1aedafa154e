"""Who runs the tiles of a call: the calling thread, threads of Python, or threads of generated code. `executor_of` is where one is chosen.

An executor is asked once for each batch size what runs it, and then for each call that does not take the shortest way (`dispatch`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from mlbench.compiler.memory import MemoryPlan, check_plan, plan_beside_outputs
from mlbench.compiler.schedule.program import ROWS, Program
from mlbench.compiler.schedule.verify import verify_program
from mlbench.compiler.x86 import Guard, Own, Rows, Team, chain, columns_shared_chain, rows_shared_chain
from mlbench.ir import FloatArray
from mlbench.runtime.dispatch import Call, Floats, call_of_tiles
from mlbench.runtime.lane import Lane
from mlbench.runtime.threads import BlasThreads, ThreadPool
from mlbench.runtime.x86_backend import code_bytes, instructions

Work = Callable[[], None]
Whole = Callable[..., FloatArray]
"""Generated code for all tiles of a batch: `whole(x, y)`."""


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """What runs one batch size.

    Attributes:
        run: `run(x, y, staged=...)`, into any y; with staged, x is copied tile by tile before it is read.
        call: what runs a float32 x where it lies into the runner's own output, or returns that x when it cannot read it; None where only
            `run` can.
        code_bytes: bytes of generated code for all tiles; 0 where NumPy has a part in them.
    """

    run: Callable[..., None]
    call: Call | None
    code_bytes: int = 0


class Executor(Protocol):
    """Who runs the tiles."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """One for each thread that runs rows of its own."""

    def bind(self, batch: int, outputs: Sequence[FloatArray], guard: Guard) -> Bound:
        """Return what runs a batch size; `outputs` are the runner's own, none where each call makes new ones."""

    def run_one(self, work: Work) -> None:
        """Run a piece of work on the calling thread, as the tiles would run."""


class Serial:
    """The calling thread alone.

    Args:
        lane: its memory.
    """

    def __init__(self, lane: Lane) -> None:
        self.lanes: tuple[Lane, ...] = (lane,)
        self._lane = lane

    def bind(self, batch: int, outputs: Sequence[FloatArray], guard: Guard) -> Bound:
        """Return the chain of generated code, or the tiles."""
        lane = self._lane
        program = lane.program
        if program.is_generated and batch:
            rows = Rows(0, batch, lane.tile_rows)
            whole = chain(instructions(), lane.layers(), rows, _own(outputs, guard), program, lane.storage)
            return Bound(partial(self._run_whole, whole), whole if outputs else None, code_bytes(whole))
        cuts = lane.cuts(batch)
        has_way = bool(outputs) and batch > 0
        inputs = len(program.graph.inputs)
        call = call_of_tiles(cuts, outputs, inputs, guard.word, has_code=program.has_code) if has_way else None
        return Bound(self._run_tiles, call)

    def run_one(self, work: Work) -> None:
        """Run it."""
        work()

    def _run_tiles(self, source: Floats, target: FloatArray, *, staged: bool) -> None:
        self._lane.run(source, target, staged=staged)

    def _run_whole(self, whole: Whole, source: Floats, target: FloatArray, *, staged: bool) -> None:
        if staged:
            self._lane.run(source, target, staged=True)
        else:
            whole(source, target)


class PythonThreads:
    """Threads of Python, each with rows of its own, while BLAS has as many threads as the schedule says.

    Args:
        lanes: for each thread its memory, the calling thread's first; one lane has BLAS's threads set and no other thread.
        pool: the threads.
    """

    def __init__(self, lanes: Sequence[Lane], pool: ThreadPool) -> None:
        self.lanes = tuple(lanes)
        self._pool = pool

    def bind(self, batch: int, outputs: Sequence[FloatArray], guard: Guard) -> Bound:  # noqa: ARG002  # the same for all of them
        """Return what shares the rows; there is no shorter way to the threads."""
        return Bound(self._run, None)

    def run_one(self, work: Work) -> None:
        """Run it with BLAS's threads set."""
        self._pool.run([work])

    def _run(self, source: Floats, target: FloatArray, *, staged: bool) -> None:
        rows = len(source)
        share = max(1, -(-rows // len(self.lanes)))
        cuts = [(first, min(first + share, rows)) for first in range(0, rows, share)]
        works = [partial(lane.run, source[first:last], target[first:last], staged=staged)
                 for lane, (first, last) in zip(self.lanes, cuts, strict=False)]  # fmt: skip
        if works:
            self._pool.run(works)


class NativeThreads:
    """Threads that run generated code, without any help of the interpreter; they share rows, or each product.

    Args:
        lanes: for each thread that runs rows of its own its memory; one lane where they share each product.
        team: the threads.
    """

    def __init__(self, lanes: Sequence[Lane], team: Team) -> None:
        self.lanes = tuple(lanes)
        self._team = team

    def bind(self, batch: int, outputs: Sequence[FloatArray], guard: Guard) -> Bound:
        """Return the code that all threads run."""
        if not batch:
            return Bound(partial(self._run, _nothing), None)
        vectors, own, lane = instructions(), _own(outputs, guard), self.lanes[0]
        kept = [lane.program, *(each.storage for each in self.lanes)]
        if len(self.lanes) == 1:
            whole = columns_shared_chain(vectors, lane.layers(), Rows(0, batch, lane.tile_rows), self._team, own, *kept)
        else:
            edges = [batch * number // len(self.lanes) for number in range(len(self.lanes) + 1)]
            shares = zip(self.lanes, itertools.pairwise(edges), strict=True)
            parts = [(each.layers(), Rows(first, last, each.tile_rows)) for each, (first, last) in shares]
            whole = rows_shared_chain(vectors, parts, self._team, own, *kept)
        return Bound(partial(self._run, whole), whole if outputs else None, code_bytes(whole))

    def run_one(self, work: Work) -> None:
        """Run it."""
        work()

    def _run(self, whole: Whole, source: Floats, target: FloatArray, *, staged: bool) -> None:
        self._team.check()
        if staged:
            self.lanes[0].run(source, target, staged=True)
        elif whole(source, target) is not target:
            self._team.check()  # it was closed meanwhile


def executor_of(program: Program, plan: MemoryPlan) -> Executor:
    """Return who runs a program, as its schedule says.

    Raises:
        CrewError: when the system starts no threads.
        MissingExtraError: when BLAS's threads are to be set, without threadpoolctl.
    """
    schedule, lanes = program.schedule, _lanes(program, plan)
    if program.is_generated and schedule.workers > 1:
        return NativeThreads(lanes, Team(schedule.workers))
    if schedule.blas_threads and (len(lanes) > 1 or not BlasThreads(schedule.blas_threads).are_set):
        return PythonThreads(lanes, ThreadPool(len(lanes), schedule.blas_threads))
    return Serial(lanes[0])


def _lanes(program: Program, plan: MemoryPlan) -> tuple[Lane, ...]:
    """Return one lane, or one for each thread that runs rows of its own, whose output is somebody else's."""
    schedule = program.schedule
    if schedule.workers == 1 or schedule.shared != ROWS:
        return (Lane(program, plan, plan.arena_bytes),)
    share = -(-schedule.max_batch // schedule.workers)
    alone = program.scheduled(max_batch=share, tile_rows=min(schedule.tile_rows, share), threads=1, workers=1, blas_threads=0)
    verify_program(alone)
    apart = plan_beside_outputs(alone)
    check_plan(alone, apart)
    outside = apart.buffer_of(alone.graph.outputs[0]).offset
    return tuple(Lane(alone, apart, outside) for _ in range(schedule.workers))


def _nothing(_x: Floats, y: FloatArray) -> FloatArray:
    return y


def _own(outputs: Sequence[FloatArray], guard: Guard) -> Own | None:
    return Own(outputs[0], guard) if outputs else None
