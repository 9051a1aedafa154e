"""What a pass is: a name, what it does, and what it says about a program that it was run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.schedule import Schedule
from mlbench.ir import Graph


@dataclass(frozen=True, slots=True)
class Pass:
    """One optimisation. It has either `apply` or `choose`; both return the same object where they change nothing.

    Attributes:
        name: what users call it.
        summary: one clause on what it does.
        explain: what it did, from the program before and the program after, in one paragraph.
        apply: program to program, valid before and valid after; None where the pass takes a schedule.
        choose: program and schedule to the program that runs as the schedule says; None where there is nothing to choose.
    """

    name: str
    summary: str
    explain: Callable[[Program, Program], str]
    apply: Callable[[Program], Program] | None = None
    choose: Callable[[Program, Schedule], Program] | None = None


def graph_pass(name: str, summary: str, apply: Callable[[Graph], Graph], explain: Callable[[Graph, Graph], str]) -> Pass:
    """Return a pass that changes what is computed and nothing of how."""

    @wraps(explain)
    def explained(before: Program, after: Program) -> str:
        return explain(before.graph, after.graph)

    return Pass(name, summary, explained, apply=lambda program: program.with_graph(apply(program.graph)))
