"""Who runs the tiles of a call: the calling thread, threads of Python, or threads of generated code. `executor_of` is where one is chosen.

An executor runs each call that does not take a shorter way (`mlbench.runtime.dispatch`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from mlbench.compiler.memory import MemoryPlan, check_plan, plan_beside_outputs
from mlbench.compiler.schedule.program import ROWS, Program
from mlbench.compiler.schedule.verify import verify_program
from mlbench.compiler.x86 import Guard, Team
from mlbench.ir import FloatArray
from mlbench.runtime.bodies import Generated, Memory, generated
from mlbench.runtime.dispatch import Call, Floats, call_of_tiles
from mlbench.runtime.lane import Lane
from mlbench.runtime.threads import BlasThreads, ThreadPool
from mlbench.runtime.x86_backend import whole_run

Work = Callable[[], None]


class Executor(Protocol):
    """Who runs the tiles."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """One for each thread that runs rows of its own."""

    @property
    def generated(self) -> Generated | None:
        """The code that runs all rows of a call; None where NumPy has a part in it."""

    def run(self, source: Floats, target: FloatArray, *, staged: bool) -> None:
        """Run any rows; with staged, they are copied tile by tile before they are read."""

    def run_one(self, work: Work) -> None:
        """Run a piece of work on the calling thread, as the tiles would run."""

    def call_of(self, batch: int, outputs: Sequence[FloatArray], guard: Guard) -> Call | None:
        """Return the shortest way from Python for a batch size, into the runner's own outputs; None where `run` is the only one."""


class Serial:
    """The calling thread alone, on which NumPy has a part in the work.

    Args:
        lane: its memory.
    """

    generated: Generated | None = None

    def __init__(self, lane: Lane) -> None:
        self.lanes: tuple[Lane, ...] = (lane,)

    def run(self, source: Floats, target: FloatArray, *, staged: bool) -> None:
        """Run the tiles."""
        self.lanes[0].run(source, target, staged=staged)

    def run_one(self, work: Work) -> None:
        """Run it."""
        work()

    def call_of(self, batch: int, outputs: Sequence[FloatArray], guard: Guard) -> Call | None:
        """Return what runs the tiles of a float32 x where it lies, or returns that x when it cannot read it."""
        (lane,) = self.lanes
        cuts, program = lane.cuts(batch), lane.program
        if not outputs or not batch:
            return None
        return call_of_tiles(cuts, outputs, len(program.graph.inputs), guard.word, has_code=program.has_code)


class Native:
    """Generated code that runs all of a call, on the calling thread or on a team, without any help of the interpreter.

    Args:
        lanes: for each thread that runs rows of its own its memory; one lane where threads share each product.
        generated: the code.
    """

    def __init__(self, lanes: Sequence[Lane], generated: Generated) -> None:
        self.lanes = tuple(lanes)
        self.generated: Generated | None = generated
        self._function, self._team = generated.function, generated.work.team
        lanes[0].whole = generated.function

    def run(self, source: Floats, target: FloatArray, *, staged: bool) -> None:
        """Run the code, on a team that is there before and afterwards."""
        self._check()
        if staged:
            self.lanes[0].run(source, target, staged=True)
        elif len(source):
            self._function(source, target)
        self._check()

    def run_one(self, work: Work) -> None:
        """Run it."""
        self._check()
        work()
        self._check()

    def call_of(self, batch: int, outputs: Sequence[FloatArray], guard: Guard) -> None:
        """Return nothing: machine code has the shortest way itself."""

    def _check(self) -> None:
        if self._team is not None:
            self._team.check()


class PythonThreads:
    """Threads of Python, each with rows of its own, while BLAS has as many threads as the schedule says.

    Args:
        lanes: for each thread its memory, the calling thread's first; one lane has BLAS's threads set and no other thread.
        pool: the threads.
    """

    generated: Generated | None = None

    def __init__(self, lanes: Sequence[Lane], pool: ThreadPool) -> None:
        self.lanes = tuple(lanes)
        self._pool = pool

    def run_one(self, work: Work) -> None:
        """Run it with BLAS's threads set."""
        self._pool.run([work])

    def call_of(self, batch: int, outputs: Sequence[FloatArray], guard: Guard) -> None:
        """Return nothing: there is no shorter way to the threads."""

    def run(self, source: Floats, target: FloatArray, *, staged: bool) -> None:
        """Run the rows, a share on each thread."""
        rows = len(source)
        share = max(1, -(-rows // len(self.lanes)))
        cuts = [(first, min(first + share, rows)) for first in range(0, rows, share)]
        works = [partial(lane.run, source[first:last], target[first:last], staged=staged)
                 for lane, (first, last) in zip(self.lanes, cuts, strict=False)]  # fmt: skip
        if works:
            self._pool.run(works)


def executor_of(program: Program, plan: MemoryPlan) -> Executor:
    """Return who runs a program, as its schedule says.

    Raises:
        CrewError: when the system starts no threads.
        CodeError: when the system gives no memory that code may run in.
        MissingExtraError: when BLAS's threads are to be set, without threadpoolctl.
    """
    schedule, lanes = program.schedule, _lanes(program, plan)
    if program.is_generated:
        return Native(lanes, _code_of(program, lanes, Team(schedule.workers) if schedule.workers > 1 else None))
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


def _code_of(program: Program, lanes: Sequence[Lane], team: Team | None) -> Generated:
    """Write the code of a program that is all generated, for the lanes of the threads that share it."""
    lane, *others = lanes
    memory = Memory(lane.storage, lane.arena, tuple(other.arena for other in others))
    return generated(lane.program, lane.plan, memory, whole_run(lane.program, lane.plan), program.schedule.max_batch, team)
