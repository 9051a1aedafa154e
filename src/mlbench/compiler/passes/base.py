"""What a pass is: a name, what it does, and what it says about a program that it was run on.

A pass explains itself in three ways. Its rule says when it may do something. Its decisions say where it did, or why it did not, value by
value. Its paragraph sums them up. Decisions are data, so that a page, a table and a test can ask for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.schedule import Schedule
from mlbench.ir import Graph


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pass decided about one value, or about the program as a whole.

    Attributes:
        value: name of the value; empty for the program as a whole.
        is_done: the pass did something there; else it was refused.
        reason: why it was allowed or refused, as a clause without a full stop.
    """

    value: str
    is_done: bool
    reason: str

    @property
    def text(self) -> str:
        """The decision as a clause."""
        return f"{self.value}: {self.reason}" if self.value else self.reason


Decisions = tuple[Decision, ...]


def no_decisions(before: Program, after: Program) -> Decisions:
    """Decide nothing, as a pass does that does not explain itself."""
    return ()


@dataclass(frozen=True, slots=True)
class Pass:
    """One optimisation. It has either `apply` or `choose`; both return the same object where they change nothing.

    Attributes:
        name: what users call it.
        summary: one clause on what it does.
        explain: what it did, from the program before and the program after, in one paragraph.
        apply: program to program, valid before and valid after; None where the pass takes a schedule.
        choose: program and schedule to the program that runs as the schedule says; None where there is nothing to choose.
        rule: when it may do something, in one sentence; empty where it says nothing.
        decide: its decisions, from the program before and the program after.
    """

    name: str
    summary: str
    explain: Callable[[Program, Program], str]
    apply: Callable[[Program], Program] | None = None
    choose: Callable[[Program, Schedule], Program] | None = None
    rule: str = ""
    decide: Callable[[Program, Program], Decisions] = no_decisions


def graph_pass(
    name: str,
    summary: str,
    apply: Callable[[Graph], Graph],
    explain: Callable[[Graph, Graph], str],
    *,
    rule: str = "",
    decide: Callable[[Program, Program], Decisions] = no_decisions,
) -> Pass:
    """Return a pass that changes what is computed and nothing of how."""

    @wraps(explain)
    def explained(before: Program, after: Program) -> str:
        return explain(before.graph, after.graph)

    return Pass(name, summary, explained, apply=lambda program: program.with_graph(apply(program.graph)), rule=rule, decide=decide)


def private_reason(graph: Graph, name: str) -> str:
    """Return why a value is not read by one node alone; empty where it is."""
    readers = [graph.nodes[position].output for position in graph.readers_of(name)]
    if name in graph.inputs:
        return f"{name} is an input, which no node binds"
    if name in graph.outputs:
        return f"{name} is a result, which the caller reads"
    return f"{name} is read by {' and by '.join(readers)}" if len(readers) > 1 else ""
