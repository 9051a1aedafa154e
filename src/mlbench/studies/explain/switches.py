"""Every subset of some passes, compiled in advance, so that a reader can switch them without a compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlbench.compiler.pipeline import PASSES, PassStep, compile_graph, passes_named
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import Program
from mlbench.ir import Graph
from mlbench.models import mlp
from mlbench.results.explanation import Switches

MOST_NODES = 12
"""A network of more nodes as written is not compiled in every way; a small one stands in for it."""
MOST_BYTES = 32 * 1024 * 1024
"""Nor is one with so many bytes of constants."""
MOST_SWITCHES = 8
STAND_IN = "a small MLP, 64-256-10"


def switches_of(
    graph: Graph, title: str, batch: int, steps: Sequence[PassStep], number_of: Callable[[Program], int], threads: int
) -> Switches:
    """Compile every subset of the passes that change something.

    Args:
        graph: as written.
        title: of the network.
        batch: most rows of a call.
        steps: what all passes did to it.
        number_of: gives the number of a program's state.
        threads: threads that may be used.
    """
    if len(graph.nodes) > MOST_NODES or sum(array.nbytes for array in graph.constants.values()) > MOST_BYTES:
        graph, title = mlp().graph(), STAND_IN
        steps = compile_graph(graph, batch, threads=threads).steps
    names = _switched(graph, batch, steps, threads)
    states = []
    for subset in range(2 ** len(names)):
        chosen = passes_named([name for bit, name in enumerate(names) if subset >> bit & 1])
        states.append(number_of(compile_graph(graph, batch, chosen, threads=threads).program))
    return Switches(f"{title}, batch {batch}", names, tuple(each.name for each in PASSES if each.name not in names), tuple(states))


def _switched(graph: Graph, batch: int, steps: Sequence[PassStep], threads: int) -> tuple[str, ...]:
    """Return the passes that change something among all of them, or without code, or alone; at most MOST_SWITCHES."""
    every = [each.name for each in PASSES]
    tried = [steps, compile_graph(graph, batch, passes_named([name for name in every if name != "codegen"]), threads=threads).steps]
    tried += [compile_graph(graph, batch, passes_named([name]), threads=threads).steps for name in every]
    active = {step.by.name for found in tried for step in found if not step.is_idle}
    return tuple(name for name in every if name in active)[-MOST_SWITCHES:]


def key_of(program: Program) -> str:
    """Return what tells programs of one network apart."""
    schedule = program.schedule
    return f"{program_text(program)} {schedule.is_static} {sorted(schedule.packed)}"
