"""Graph -> Graph, one optimisation a file; its docstring explains it to a reader who never saw it.

Each pass module has `NAME`, `SUMMARY`, `apply(graph) -> graph` (the same object when it changed nothing) and
`explain(before, after) -> str` (what it did to this graph, in one paragraph). A pass that is free to choose has
`choose(graph, choices) -> graph` as well; its `apply` chooses by the default rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlbench.compiler.passes import canonicalize, codegen, fold_bias, fuse, in_place, layout, parallelize, static, strips, tile
from mlbench.compiler.schedule.choices import Choices, Way, check_choices, choices_from_json, choices_to_json, default_choices
from mlbench.errors import GraphError, ModelError
from mlbench.ir import Graph, verify


@dataclass(frozen=True, slots=True)
class Pass:
    """One optimisation.

    Attributes:
        name: what users call it.
        summary: one clause on what it does.
        apply: graph to graph; valid before, valid after.
        explain: what it did, from the graph before and the graph after.
        choose: as `apply`, but as chosen; None where there is nothing to choose.
    """

    name: str
    summary: str
    apply: Callable[[Graph], Graph]
    explain: Callable[[Graph, Graph], str]
    choose: Callable[[Graph, Choices], Graph] | None = None


PASSES = (
    Pass(canonicalize.NAME, canonicalize.SUMMARY, canonicalize.apply, canonicalize.explain),
    Pass(fuse.NAME, fuse.SUMMARY, fuse.apply, fuse.explain),
    Pass(static.NAME, static.SUMMARY, static.apply, static.explain),
    Pass(tile.NAME, tile.SUMMARY, tile.apply, tile.explain, tile.choose),
    Pass(layout.NAME, layout.SUMMARY, layout.apply, layout.explain, layout.choose),
    Pass(codegen.NAME, codegen.SUMMARY, codegen.apply, codegen.explain, codegen.choose),
    Pass(fold_bias.NAME, fold_bias.SUMMARY, fold_bias.apply, fold_bias.explain),
    Pass(strips.NAME, strips.SUMMARY, strips.apply, strips.explain),
    Pass(in_place.NAME, in_place.SUMMARY, in_place.apply, in_place.explain),
    Pass(parallelize.NAME, parallelize.SUMMARY, parallelize.apply, parallelize.explain, parallelize.choose),
)


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
    """A graph after its passes.

    Attributes:
        source: the graph as the user wrote it; of a runner, a constant that what runs does not need has its shape alone, see `released`.
        graph: the graph as it runs.
        passes: what ran, in order.
        choices: what the passes that may choose were told; None where none of them ran.
    """

    source: Graph
    graph: Graph
    passes: tuple[Pass, ...]
    choices: Choices | None = None

    @property
    def notes(self) -> tuple[tuple[Pass, str], ...]:
        """Each pass and its paragraph on what it did, in order.

        The passes run once more for it. So no explanation is made, or can fail, while a graph is compiled, and no graph between two passes
        is kept with its copies of weights.
        """
        graph = replace(self.source, max_batch=self.graph.max_batch, threads=self.graph.threads)
        notes = []
        for each in self.passes:
            after = _after(each, graph, self.choices)
            notes.append((each, each.explain(graph, after)))
            graph = after
        return tuple(notes)


def released(compiled: Compiled) -> Compiled:
    """Return the same without the numbers of constants that the graph does not read as it runs: they are NaN, and take no memory.

    A weight that was packed is then kept by the model alone, and goes with it.
    """
    needed = {id(array) for array in compiled.graph.constants.values()}
    constants = {
        name: array if id(array) in needed else np.broadcast_to(np.float32(np.nan), array.shape)
        for name, array in compiled.source.constants.items()
    }
    return replace(compiled, source=replace(compiled.source, constants=constants))


def compile_graph(
    source: Graph, max_batch: int, passes: Sequence[Pass] | None = None, choices: Choices | None = None, threads: int = 1
) -> Compiled:
    """Run the passes for calls of up to `max_batch` rows; the graph is verified before the first and after each.

    Args:
        source: the graph as written.
        max_batch: most rows of a call.
        passes: what runs, in this order; None for all of them.
        choices: what the passes that may choose are told; None leaves it to the default rules.
        threads: threads that may be used.

    Raises:
        GraphError: naming the pass that broke a law.
        ModelError: for choices that were made for another graph.
    """
    passes = PASSES if passes is None else passes
    verify(source)
    graph = replace(source, max_batch=max_batch, threads=threads)
    used: Choices | None = None
    for each in passes:
        if each.choose is not None and used is None:
            used = choices or default_choices(graph, [other.name for other in passes])
            check_choices(graph, used)
        graph = _after(each, graph, used)
    return Compiled(source, graph, tuple(passes), used)


def _after(each: Pass, graph: Graph, choices: Choices | None) -> Graph:
    """Return the graph after a pass, verified."""
    after = each.apply(graph) if each.choose is None or choices is None else each.choose(graph, choices)
    try:
        verify(after)
    except GraphError as error:
        raise GraphError(f"after the pass {each.name}: {error}") from error
    return after


__all__ = [
    "PASSES",
    "Choices",
    "Compiled",
    "Pass",
    "Way",
    "check_choices",
    "choices_from_json",
    "choices_to_json",
    "compile_graph",
    "default_choices",
    "passes_named",
    "released",
]
