"""From a graph as written to the program that runs: the passes in order, each checked by the verifier.

A pass is a file in `passes/` that exports `PASS`; its place in PASSES is where it runs, whatever the order of the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbench.compiler.passes import (
    canonicalize,
    codegen,
    codegen_decisions,
    fold_bias,
    fold_scale,
    fuse,
    in_place,
    layout,
    parallelize,
    recognize,
    static,
    strips,
    tile,
    widen,
)
from mlbench.compiler.passes.base import Decision, Pass, graph_pass
from mlbench.compiler.schedule.heuristics import heuristic_schedule
from mlbench.compiler.schedule.program import Program, plain_program
from mlbench.compiler.schedule.schedule import Schedule, check_schedule
from mlbench.compiler.schedule.verify import verify_program
from mlbench.errors import GraphError, ModelError
from mlbench.ir import Graph, verify

PASSES = (
    recognize.PASS,
    fold_scale.PASS,
    canonicalize.PASS,
    fuse.PASS,
    widen.PASS,
    static.PASS,
    tile.PASS,
    layout.PASS,
    codegen_decisions.explained(codegen.PASS),
    fold_bias.PASS,
    strips.PASS,
    in_place.PASS,
    parallelize.PASS,
)
OLDER_NAMES = {"clean": "canonicalize", "threads": "parallelize"}
"""What files and commands of earlier versions call a pass."""


def passes_named(names: Sequence[str]) -> tuple[Pass, ...]:
    """Return the passes with these names, in the order in which they run, whatever the order of the names.

    Raises:
        ModelError: where no pass is called so; the message lists those there are.

    >>> [each.name for each in passes_named(["tile", "fuse"])]
    ['fuse', 'tile']
    """
    wanted = {OLDER_NAMES.get(name, name) for name in names}
    known = [each.name for each in PASSES]
    unknown = sorted(wanted - set(known))
    if unknown:
        raise ModelError(f"no optimisation is called {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    return tuple(each for each in PASSES if each.name in wanted)


@dataclass(frozen=True, slots=True)
class PassStep:
    """What one pass did to a program.

    Attributes:
        by: the pass.
        before: the program it was given.
        after: the program it returned; the same object where it changed nothing.
    """

    by: Pass
    before: Program
    after: Program

    @property
    def is_idle(self) -> bool:
        """Whether the pass changed nothing."""
        return self.after is self.before

    @property
    def note(self) -> str:
        """The pass's paragraph on what it did."""
        return self.by.explain(self.before, self.after)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What the pass decided, value by value."""
        return self.by.decide(self.before, self.after)

    @property
    def idle_reason(self) -> str:
        """Why the pass changed nothing, in one clause; empty where it did something or says nothing."""
        return "; ".join(_summed_up(self.decisions)) if self.is_idle else ""


def _summed_up(decisions: Sequence[Decision]) -> list[str]:
    """Return each reason once, with the values that it is about; the reason for the whole program alone where there is one."""
    whole = [each.reason for each in decisions if not each.value]
    values: dict[str, list[str]] = {}
    for each in decisions:
        values.setdefault(each.reason, []).append(each.value)
    return whole or [f"{', '.join(names)}: {reason}" for reason, names in values.items()]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program after its passes.

    Attributes:
        source: the graph as the user wrote it; of a runner, a constant that what runs does not need has its shape alone, see `released`.
        program: the graph and the schedule as they run.
        passes: what ran, in order.
        schedule: what the passes that take a schedule were given; None where none of them ran.
        is_released: constants that what runs does not need are gone.
    """

    source: Graph
    program: Program
    passes: tuple[Pass, ...]
    schedule: Schedule | None = None
    is_released: bool = False

    @property
    def graph(self) -> Graph:
        """The graph as it runs."""
        return self.program.graph

    @property
    def notes(self) -> tuple[tuple[Pass, str], ...]:
        """Each pass and its paragraph on what it did, in order; raises what `steps` does."""
        return tuple((each.by, each.note) for each in self.steps)

    @property
    def steps(self) -> tuple[PassStep, ...]:
        """What each pass did, in order.

        The passes run once more for it. So no explanation is made, or can fail, while a graph is compiled, and no graph between two passes
        is kept with its copies of weights.

        Raises:
            GraphError: of a runner, which forgets constants that it does not read.
        """
        if self.is_released:
            raise GraphError(
                "a runner forgets the constants that it does not read; compile_graph(model.graph(), max_batch) has notes and steps"
            )
        program = plain_program(self.source, self.program.schedule.max_batch, self.program.schedule.threads)
        steps = []
        for each in self.passes:
            steps.append(PassStep(each, program, _after(each, program, self.schedule)))
            program = steps[-1].after
        return tuple(steps)


def released(compiled: Compiled) -> Compiled:
    """Return the same without the numbers of constants that the program does not read as it runs: they are NaN, and take no memory.

    A weight that was packed is then kept by the model alone, and goes with it.
    """
    program = compiled.program
    needed = {id(program.graph.constants[name]) for name in program.read_constants}

    def emptied(graph: Graph) -> Graph:
        constants = {
            name: array if id(array) in needed else np.broadcast_to(np.float32(np.nan), array.shape)
            for name, array in graph.constants.items()
        }
        return replace(graph, constants=constants)

    return replace(compiled, source=emptied(compiled.source), program=replace(program, graph=emptied(program.graph)), is_released=True)


def compile_graph(
    source: Graph, max_batch: int, passes: Sequence[Pass] | None = None, schedule: Schedule | None = None, threads: int = 1
) -> Compiled:
    """Run the passes for calls of up to `max_batch` rows; the program is verified before the first and after each.

    Args:
        source: the graph as written.
        max_batch: most rows of a call.
        passes: what runs, in this order; None for all of them.
        schedule: what the passes that take a schedule are given; None leaves it to the heuristics.
        threads: threads that may be used.

    Raises:
        GraphError: naming the pass that broke a law.
        ModelError: for a schedule that was made for another graph.
    """
    passes = PASSES if passes is None else passes
    verify(source)
    program = plain_program(source, max_batch, threads)
    verify_program(program)
    used: Schedule | None = None
    for each in passes:
        if each.choose is not None and used is None:
            used = schedule or heuristic_schedule(program, [other.name for other in passes])
            check_schedule(program.graph, used)
        program = _after(each, program, used)
    return Compiled(source, program, tuple(passes), used)


def _after(each: Pass, program: Program, schedule: Schedule | None) -> Program:
    """Return the program after a pass, verified."""
    after = program
    if each.apply is not None:
        after = each.apply(program)
    elif each.choose is not None and schedule is not None:
        after = each.choose(program, schedule)
    try:
        verify_program(after)
    except GraphError as error:
        raise GraphError(f"after the pass {each.name}: {error}") from error
    return after


__all__ = ["OLDER_NAMES", "PASSES", "Compiled", "Decision", "Pass", "PassStep", "compile_graph", "graph_pass", "passes_named", "released"]
