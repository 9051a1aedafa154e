"""Graph -> Graph, one optimisation a file; its docstring explains it to a reader who never saw it.

Each pass module has `NAME`, `SUMMARY`, `apply(graph) -> graph` (the same object when it changed nothing) and
`explain(before, after) -> str` (what it did to this graph, in one paragraph).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mlbench.errors import GraphError, ModelError
from mlbench.graph import Graph, verify
from mlbench.passes import fold_bias, fuse, in_place, strips, tile


@dataclass(frozen=True, slots=True)
class Pass:
    """One optimisation.

    Attributes:
        name: what users call it.
        summary: one clause on what it does.
        apply: graph to graph; valid before, valid after.
        explain: what it did, from the graph before and the graph after.
    """

    name: str
    summary: str
    apply: Callable[[Graph], Graph]
    explain: Callable[[Graph, Graph], str]


PASSES = tuple(Pass(module.NAME, module.SUMMARY, module.apply, module.explain) for module in (fold_bias, fuse, tile, strips, in_place))


def passes_named(names: Sequence[str]) -> tuple[Pass, ...]:
    """Return the passes with these names, in the order in which they run, whatever the order of the names.

    Raises:
        ModelError: where no pass is called so; the message lists those there are.

    >>> [each.name for each in passes_named(["tile", "fuse"])]
    ['fuse', 'tile']
    """
    known = [each.name for each in PASSES]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ModelError(f"no optimisation is called {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    return tuple(each for each in PASSES if each.name in names)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A graph after its passes, and what each of them did.

    Attributes:
        source: the graph as the user wrote it.
        graph: the graph as it runs.
        notes: pass and its paragraph, in order.
    """

    source: Graph
    graph: Graph
    notes: tuple[tuple[Pass, str], ...]


def compile_graph(source: Graph, max_batch: int, passes: Sequence[Pass] = PASSES) -> Compiled:
    """Run the passes for calls of up to `max_batch` rows; the graph is verified before the first and after each.

    Raises:
        GraphError: naming the pass that broke a law.
    """
    verify(source)
    graph = replace(source, max_batch=max_batch)
    notes = []
    for each in passes:
        after = each.apply(graph)
        try:
            verify(after)
        except GraphError as error:
            raise GraphError(f"after the pass {each.name}: {error}") from error
        notes.append((each, each.explain(graph, after)))
        graph = after
    return Compiled(source, graph, tuple(notes))


__all__ = ["PASSES", "Compiled", "Pass", "compile_graph", "passes_named"]
