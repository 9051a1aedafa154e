"""The compiled runner: everything is decided before the first call, and a call allocates nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from mlbench.compiler.memory import MemoryPlan, check_plan, plan_memory
from mlbench.compiler.pipeline import PASSES, Compiled, Pass, compile_graph, passes_named, released
from mlbench.compiler.schedule.schedule import Schedule
from mlbench.compiler.x86.caches import Caches, find_caches
from mlbench.compiler.x86.counts.decoding import InstructionCounts
from mlbench.compiler.x86.counts.levels import LevelBytes
from mlbench.errors import CodeError, CopyError, ModelError
from mlbench.runtime.dispatch import Run, way_in
from mlbench.runtime.engine import Engine, StaticMemory
from mlbench.runtime.fallback import passes_without_code, warn
from mlbench.runtime.validation import Signature, Source, graph_of, signature_of


class OptimizedRunner:
    """Run a compiled model: fused, in place, in one statically planned arena, without any allocation in `run`.

    Where generated code runs all of the model, one code serves every batch size, and not even the first call of a size allocates. (Above
    1,024 rows it makes a view of the result.) Elsewhere the first call of a size makes views for it; the calls after it allocate nothing.

    A runner runs one call at a time; a second one meanwhile, from another thread or from a signal handler, a finalizer or a trace function
    on the same one, gets a `BusyError`. To run on several threads, make one runner for each of them from the same model. These share the
    weights, and packed weights of the same layout; only the arena is their own. Or allow one runner several threads, which then share the
    rows of a call.

    An exception that arrives in a call, such as Ctrl-C, comes out of `run` when no thread works for that call any more, and the next call
    is right.

    A runner keeps only what it reads of the model. If all products are generated, it keeps the packed weights alone, and a program that
    drops its model holds one set of weights.

    A runner cannot be copied or pickled (`CopyError`); send the model to where another one is needed. A forked child has the
    runner, with an arena of its own, unless it has several threads (`CrewError`).

    Args:
        model: the model, a network that was imported, or a graph.
        max_batch: most rows a call may have. A network with a fixed batch runs at that one alone.
        passes: names of the optimisations to switch on, in any order; None for all of them. `mlbench explain` shows what each of them
            does. Passes of your own are accepted too, and run in the order given.
        schedule: what a search found (`mlbench.tune`) or an earlier run recorded; None leaves tile, layouts and packing to heuristics.
        threads: threads that a call may use. With 1 the runner leaves BLAS as it is; with more it sets BLAS's threads for the time of a
            call, which needs threadpoolctl.

    Attributes:
        run: `run(x, out=None) -> y`, or for several inputs `run(x0, x1, ..., out=None)`, in the order of the file.
            x: (batch, inputs), 0 <= batch <= max_batch. float32, C-contiguous: read where it lies. Any other layout, float16 or float64:
            copied tile by tile into a staging buffer, which is made at the first such input and kept; of several inputs, copied whole.
            A dict of names to arrays may stand for the input or for all of them.
            out: (batch, outputs) float32, C-contiguous: where the result goes; a tuple for several outputs. None: into the arena.
            y: (batch, outputs) float32: `out`, or a view of the arena that is valid until the next call; without the pass `static` a new
            array. A tuple in the order of the file for several outputs.
            Raises `InputError` when x or out do not fit, or overlap each other or the arena in a way that would give a wrong result;
            `BusyError` when a call of this runner is under way; `CrewError` when its threads have ended or did not survive a fork.
        compiled: the graph as written, the program that runs, and what each pass did. A constant of the former that the latter does not
            read has its shape alone; its numbers are NaN.
        plan: where each buffer lies in the arena, with `arena_bytes` and `lower_bound_bytes`; `print(runner.plan)` draws it.
        max_batch: most rows a call may have.

    Raises:
        ModelError: for a max_batch below 1 or below a fixed batch, or a schedule that was made for another model.
        MissingExtraError: for more than one thread without threadpoolctl.
        CrewError: when the system starts no threads.

    Warns:
        CodeWarning: when the system gives no memory that code may run in; NumPy's calls run then.

    >>> from mlbench import OptimizedRunner, mlp
    >>> import numpy as np
    >>> fast = OptimizedRunner(mlp(inputs=4, hidden=8, outputs=2), max_batch=16)
    >>> fast.run(np.ones((3, 4), np.float32)).shape
    (3, 2)
    >>> fast.plan.arena_bytes
    640
    """

    __slots__ = ("__weakref__", "_engine", "compiled", "max_batch", "plan", "run")

    # An attribute and not a method: looking up a bound method and its `self` costs 5 % of the smallest case.
    run: Run
    compiled: Compiled
    plan: MemoryPlan
    max_batch: int

    def __init__(
        self,
        model: Source,
        max_batch: int,
        *,
        passes: Sequence[str] | Sequence[Pass] | None = None,
        schedule: Schedule | None = None,
        threads: int = 1,
    ) -> None:
        for name, size in (("max_batch", max_batch), ("threads", threads)):
            if not _is_size(size):
                raise ModelError(f"{name} is {size!r}; expected a whole number of 1 or more")
        source, signature = graph_of(model), signature_of(model, int(max_batch))
        if signature.batch is not None and signature.batch > max_batch:
            raise ModelError(f"max_batch is {max_batch}; this network has a fixed batch of {signature.batch}, so make it that")
        self.max_batch = most = signature.batch or int(max_batch)
        wanted = _resolved(passes)
        try:
            self._compile(released(compile_graph(source, most, wanted, schedule, int(threads))), signature)
        except CodeError as error:
            self._compile(compile_graph(source, most, passes_without_code(wanted), None, int(threads)), signature)
            warn(error, 2)
        self.run = way_in(self._engine)

    def _compile(self, compiled: Compiled, signature: Signature) -> None:
        self.compiled = compiled
        self.plan = plan_memory(compiled.program)
        check_plan(compiled.program, self.plan)
        self._engine = Engine(compiled, self.plan, signature)

    @property
    def memory(self) -> StaticMemory:
        """The bytes the runner holds between calls."""
        return self._engine.memory

    @property
    def sources(self) -> tuple[str, ...]:
        """What runs: in words what generated code does, or the Python of each form that the batch sizes so far have needed."""
        return self._engine.sources

    def count_instructions(self, rows: int) -> InstructionCounts | None:
        """Return what generated code executes in a call of so many rows, counted from its bytes and not measured.

        It is None where NumPy or several threads have a part in the call.

        Raises:
            ModelError: when the runner takes no call of so many rows.
            MissingExtraError: without capstone.
        """
        return self._engine.counts(self._checked_rows(rows))

    def count_level_bytes(self, rows: int, caches: Caches | None = None) -> tuple[LevelBytes, ...]:
        """Return what generated code moves between the levels of memory in a call of so many rows that follows an equal one.

        It is counted in a model of the caches, which `mlbench.compiler.x86.counts.levels` states, and not measured. There is nothing where
        NumPy or several threads have a part in the call, or where it makes more than 67 million accesses.

        Args:
            rows: of the call.
            caches: what is modelled; None for the caches of this core.

        Raises:
            ModelError: when the runner takes no call of so many rows.
            MissingExtraError: without capstone.
        """
        return self._engine.level_bytes(self._checked_rows(rows), caches or find_caches())

    def _checked_rows(self, rows: int) -> int:
        if not _is_size(rows) or rows > self.max_batch:
            raise ModelError(f"rows is {rows!r}; expected a whole number from 1 to {self.max_batch}")
        return int(rows)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied, pickled or sent to another process: code and arena are bound to where they lie.

        Raises:
            CopyError: saying what to do instead.
        """
        raise CopyError("an OptimizedRunner cannot be copied or sent to another process: send the model, and make a runner there; "
                        "runners of one model share its weights")  # fmt: skip

    def reserve_staging(self) -> None:
        """Make the staging buffer now, so that the first float64 or strided input allocates nothing either."""
        self._engine.reserve_staging()


def _is_size(number: object) -> bool:
    return isinstance(number, (int, np.integer)) and int(number) >= 1


def _resolved(passes: Sequence[str] | Sequence[Pass] | None) -> Sequence[Pass]:
    if passes is None:
        return PASSES
    named = [each for each in passes if isinstance(each, str)]
    own = [each for each in passes if not isinstance(each, str)]
    return passes_named(named) if named or not own else own
