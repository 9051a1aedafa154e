"""Subsets of the passes, compiled in advance, so that a reader can switch passes without a compiler.

A network is compiled with every subset of the passes that change something, unless that is too much. Then it is compiled with the subsets
that answer a question: all passes, all but one, one alone, the first ones in the order in which they run, and the first ones of the
ablation's ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from mlbench.compiler.pipeline import PASSES, PassStep, compile_graph, passes_named
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import Program
from mlbench.ir import Graph
from mlbench.results.explanation import Switches
from mlbench.studies.ablation.variants import ORDER

MOST_NODES = 3072
"""Nodes as written, times subsets, beyond which not every subset is compiled: it would take more than some ten seconds."""
MOST_BYTES = 32 * 1024 * 1024
"""Nor is one compiled with every subset that has so many bytes of constants: most are packed anew for each subset with generated code."""


def switches_of(
    graph: Graph, title: str, batch: int, steps: Sequence[PassStep], number_of: Callable[[Program], int], threads: int
) -> Switches:
    """Compile subsets of the passes that change something.

    Args:
        graph: as written.
        title: of the network.
        batch: most rows of a call.
        steps: what all passes did to it.
        number_of: gives the number of a program's state.
        threads: threads that may be used.
    """
    names = _switched(graph, batch, steps, threads)
    constant_bytes = sum(array.nbytes for array in graph.constants.values())
    is_whole = len(graph.nodes) << len(names) <= MOST_NODES and constant_bytes <= MOST_BYTES
    subsets = tuple(range(2 ** len(names))) if is_whole else tuple(dict.fromkeys(_telling(names)))
    states = []
    for subset in subsets:
        chosen = passes_named([name for bit, name in enumerate(names) if subset >> bit & 1])
        states.append(number_of(compile_graph(graph, batch, chosen, threads=threads).program))
    fixed = tuple(each.name for each in PASSES if each.name not in names)
    return Switches(f"{title}, batch {batch}", names, fixed, tuple(states), () if is_whole else subsets)


def _telling(names: Sequence[str]) -> Iterator[int]:
    """Give the subsets that answer a question: the first of them all passes, the others in no order that matters."""

    def subset(chosen: Collection[str]) -> int:
        return sum(1 << bit for bit, name in enumerate(names) if name in chosen)

    yield subset(names)
    yield from (subset(names) - subset([name]) for name in names)
    yield from (subset(names[:count]) for count in range(len(names)))
    yield from (subset([name]) for name in names)
    yield from (subset(ORDER[:count]) for count in range(len(ORDER)))


def _switched(graph: Graph, batch: int, steps: Sequence[PassStep], threads: int) -> tuple[str, ...]:
    """Return the passes that change something among all of them, or without code, or alone."""
    every = [each.name for each in PASSES]
    tried = [steps, compile_graph(graph, batch, passes_named([name for name in every if name != "codegen"]), threads=threads).steps]
    tried += [compile_graph(graph, batch, passes_named([name]), threads=threads).steps for name in every]
    active = {step.by.name for found in tried for step in found if not step.is_idle}
    return tuple(name for name in every if name in active)


def key_of(program: Program) -> str:
    """Return what tells programs of one network apart."""
    schedule = program.schedule
    return f"{program_text(program)} {schedule.is_static} {sorted(schedule.packed)}"
