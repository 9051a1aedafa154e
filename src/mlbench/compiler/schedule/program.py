"""A program: a graph, which says what is computed, and its schedule, which says how.

A schedule is complete from the first moment on: a program that no pass has touched runs its whole batch at once, node by node on the
calling thread, and allocates every result. Each pass changes some of these facts, and nothing else decides anything when a program runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlbench.ir import FloatArray, Graph, Node, Step, op_named

ROWS = "rows"
FEATURES = "features"
LAYOUTS = (ROWS, FEATURES)
"""How a value lies in memory: row of the batch after row (row-major), or feature after feature (feature-major)."""
COLUMNS = "columns"
SHARED = (ROWS, COLUMNS)
"""What the workers share: rows of the batch, each on its way through the whole graph, or the columns of each product."""


@dataclass(frozen=True, slots=True)
class NodeSchedule:
    """How a node runs.

    Attributes:
        layout: how its value lies in memory, ROWS or FEATURES.
        parts: its columns are computed in so many parts of about equal size, one product after the other.
        in_place: its value takes the storage of a value that it reads, which nobody reads afterwards.
        packed: name of the packed weight, which generated code reads in its weight's place; empty where NumPy computes the node.
        width: vectors of a panel of the packed weight; 0 where NumPy computes the node.
        lanes: lanes of these vectors; 0 where NumPy computes the node.
        inner: steps of the epilogue, from the first on, that run inside the generated code.
        swept: a sweep of generated code computes what no product's registers do: of a product the steps behind `inner`, of another node
            all of it.
        within: name of a concatenation whose columns its value is written into, so that they need not be copied there; empty where its
            value has columns of its own.
        taken: which of the values that it reads is the one whose storage it takes; 0 where it is not in place.
    """

    layout: str = ROWS
    parts: int = 1
    in_place: bool = False
    packed: str = ""
    width: int = 0
    lanes: int = 0
    inner: int = 0
    taken: int = 0
    swept: bool = False
    within: str = ""

    @property
    def is_generated(self) -> bool:
        """Whether generated code computes the node, all of it or up to some step of its epilogue."""
        return bool(self.packed) or self.swept


PLAIN = NodeSchedule()


@dataclass(frozen=True, slots=True, eq=False)
class ProgramSchedule:
    """How a graph runs.

    Attributes:
        max_batch: most rows a call may have.
        tile_rows: the nodes run on at most this many rows at a time, tile after tile; `max_batch` runs the whole batch at once.
        nodes: for each node, by the name of the value it binds, how it runs.
        packed: the packed weights by their names.
        is_static: every value has its place in one arena that lives as long as the runner; else each call allocates anew.
        threads: threads that may be used.
        workers: threads that share the work of a call; 1 leaves it to the calling thread.
        shared: what they share, ROWS or COLUMNS; COLUMNS only of generated code.
        blas_threads: threads that BLAS uses while the program runs; 0 leaves them as they are.
    """

    max_batch: int
    tile_rows: int
    nodes: Mapping[str, NodeSchedule]
    packed: Mapping[str, FloatArray] = field(default_factory=dict)
    is_static: bool = False
    threads: int = 1
    workers: int = 1
    shared: str = ROWS
    blas_threads: int = 0

    @property
    def is_tiled(self) -> bool:
        """Whether the largest batch takes more than one tile."""
        return self.tile_rows < self.max_batch


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A graph and how it runs.

    Attributes:
        graph: what is computed.
        schedule: how.
    """

    graph: Graph
    schedule: ProgramSchedule

    def of(self, node: Node) -> NodeSchedule:
        """Return how a node runs."""
        return self.schedule.nodes[node.output]

    def outer_steps(self, node: Node) -> tuple[Step, ...]:
        """Return the steps of a node's epilogue that NumPy runs."""
        schedule = self.of(node)
        return () if schedule.swept else node.epilogue[schedule.inner :]

    def swept_steps(self, node: Node) -> tuple[Step, ...]:
        """Return the steps of a node's epilogue that a sweep of generated code runs."""
        schedule = self.of(node)
        return node.epilogue[schedule.inner :] if schedule.swept else ()

    def scratch_of(self, node: Node) -> int:
        """Return how many scratch matrices NumPy needs for a node and its epilogue."""
        own = 0 if self.of(node).is_generated else op_named(node.op).scratch
        return max([own, *(op_named(step.op).scratch for step in self.outer_steps(node))])

    @property
    def read_constants(self) -> set[str]:
        """Names of the constants that are read as it runs: all but weights that are read in their packed form alone."""
        return {name for node in self.graph.nodes for name in (node.constants[1:] if self.of(node).packed else node.constants)}

    def runs_generated(self, node: Node) -> bool:
        """Whether generated code computes all of a node, its epilogue too."""
        schedule = self.of(node)
        return schedule.is_generated and not self.outer_steps(node)

    @property
    def is_generated(self) -> bool:
        """Whether generated code runs the whole of it, and NumPy has no part in it."""
        return bool(self.graph.nodes) and all(self.runs_generated(node) for node in self.graph.nodes)

    @property
    def has_code(self) -> bool:
        """Whether generated code runs some of it."""
        return any(schedule.is_generated for schedule in self.schedule.nodes.values())

    def home_of(self, name: str) -> tuple[str, int]:
        """Return the value in whose columns the value `name` lies, itself or a concatenation, and the first of these columns."""
        within = self.schedule.nodes[name].within if name in self.schedule.nodes else ""
        if not within:
            return name, 0
        values = next(node.values for node in self.graph.nodes if node.output == within)
        return within, sum(map(self.graph.columns_of, values[: values.index(name)]))

    def layout_of(self, name: str) -> str:
        """How the value `name` lies in memory; an input always row after row."""
        return ROWS if name in self.graph.inputs else self.schedule.nodes[name].layout

    def with_graph(self, graph: Graph) -> Program:
        """Return a program with another graph; a node that computes the same from the same runs as before, another plainly."""
        if graph is self.graph:
            return self
        before = {node.output: (node.op, node.inputs, node.attributes) for node in self.graph.nodes}
        same = {node.output for node in graph.nodes if before.get(node.output) == (node.op, node.inputs, node.attributes)}
        nodes = {node.output: self.schedule.nodes[node.output] if node.output in same else PLAIN for node in graph.nodes}
        return Program(graph, replace(self.schedule, nodes=nodes))

    def scheduled(self, **facts: Any) -> Program:  # the fields of ProgramSchedule, which `replace` checks
        """Return the same graph with other facts in its schedule; the same object where they are no other."""
        known = all(getattr(self.schedule, name) == fact for name, fact in facts.items())
        return self if known else replace(self, schedule=replace(self.schedule, **facts))


def plain_program(graph: Graph, max_batch: int, threads: int = 1) -> Program:
    """Return a program that no pass has touched."""
    return Program(graph, ProgramSchedule(max_batch, max_batch, {node.output: PLAIN for node in graph.nodes}, threads=threads))
