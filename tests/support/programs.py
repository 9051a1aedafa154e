"""Programs for tests, made by hand: a graph, and the facts of its schedule that a test is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlbench.compiler.schedule.program import PLAIN, NodeSchedule, Program, plain_program
from mlbench.ir import Graph, Node
from mlbench.models import Model


def program_of(source: Graph | Model, max_batch: int = 8, *, nodes: Mapping[str, NodeSchedule] | None = None, **facts: Any) -> Program:
    """Return a program that runs plainly but for what is given: facts of the schedule, and of the nodes that bind some values."""
    graph = source.graph() if isinstance(source, Model) else source
    program = plain_program(graph, max_batch)
    scheduled = {name: (nodes or {}).get(name, PLAIN) for name in program.schedule.nodes}
    return Program(graph, replace(program.schedule, nodes=scheduled, **facts))


def chain_of(*nodes: Node, columns: int = 2, output: str = "") -> Graph:
    """Return a graph without constants, from `x` to the last node's value or to another one."""
    return Graph({"x": columns}, {}, nodes, (output or nodes[-1].output,))
