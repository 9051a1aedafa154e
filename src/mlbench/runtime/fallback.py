"""What a runner does when the system gives no memory that code may run in, though it did at first: NumPy's calls, and a warning.

A service that drops its rights does that (`prctl` with PR_SET_MDWE, a filter of system calls): the code that is there goes on running, and
there will be no more. Code is for one batch size, so a runner may find out in the middle of its work.
"""

from __future__ import annotations

import errno
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace

from mlbench.compiler.passes import codegen
from mlbench.compiler.pipeline import Compiled, Pass
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.x86 import Code
from mlbench.errors import CodeError, CodeWarning
from mlbench.ir import FloatArray, Graph
from mlbench.runtime.engine import Engine, StaticMemory


def passes_without_code(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """Return the passes but for the one that generates code."""
    return tuple(each for each in passes if each.name != codegen.PASS.name)


def weakly(graph: Graph) -> Callable[[], Graph]:
    """Return what gives a graph again as long as somebody else keeps its weights: a runner of generated code holds packed ones alone.

    What is returned raises `CodeError` when they are gone.
    """
    weights: Mapping[str, weakref.ref[FloatArray]] = {
        name: weakref.ref(array) for name, array in graph.constants.items() if array.ndim == 2
    }
    rest = replace(graph, constants={name: array for name, array in graph.constants.items() if name not in weights})

    def again() -> Graph:
        found = {name: weight() for name, weight in weights.items()}
        there = {name: weight for name, weight in found.items() if weight is not None}
        if len(there) < len(found):
            raise CodeError(errno.EPERM, "and the model is gone, whose weights NumPy's calls need: keep it as long as its runner")
        return replace(rest, constants={**rest.constants, **there})

    return again


def refusal(program: Program) -> CodeError | None:
    """Return why the code of a program cannot be made, or None where it can, or where the program has none."""
    if not program.has_code:
        return None
    try:
        Code(b"\xc3")
    except CodeError as error:
        return error
    return None


def warn(error: CodeError, which: str, stack: int) -> None:
    """Warn whoever is so many frames up."""
    warnings.warn(
        f"{error}; NumPy's calls run {which}, more slowly. Make runners, and call them with each batch size, before the process drops its "
        "rights, or leave out the optimisation codegen",
        CodeWarning,
        stacklevel=stack + 1,
    )


class Engines:
    """An engine with code, and one without it from the moment on that its code cannot be made.

    Args:
        engine: the first.
        make_plain: makes the other.

    Attributes:
        run: the one function that runs whatever a caller gives, in a list, because it changes.
    """

    def __init__(self, engine: Engine, make_plain: Callable[[], Engine]) -> None:
        self.run: list[Callable[[object, object], FloatArray]] = [engine.run]
        self._made = [engine]
        self._make_plain = make_plain

    def without_code(self, error: CodeError) -> Callable[[object, object], FloatArray]:
        """Make the other engine, warn the caller of the caller, and return what runs from now on."""
        self._made.append(self._make_plain())
        self.run[0] = self._made[-1].run
        warn(error, "the batch sizes that have no code yet", 3)
        return self.run[0]

    def reserve_staging(self) -> None:
        """Make the staging buffers now."""
        for engine in self._made:
            engine.reserve_staging()

    @property
    def compiled(self) -> Compiled:
        """What the first engine runs."""
        return self._made[0].compiled

    @property
    def memory(self) -> StaticMemory:
        """The bytes held between calls."""
        parts = [engine.memory for engine in self._made]
        return StaticMemory(**{field.name: sum(getattr(part, field.name) for part in parts) for field in fields(StaticMemory)})

    @property
    def sources(self) -> tuple[str, ...]:
        """What runs, for each form that the batch sizes so far have needed."""
        return tuple(source for engine in self._made for source in engine.sources)
