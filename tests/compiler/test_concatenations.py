"""Concatenations in generated code: what is written straight into their columns, and what the verifiers say about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlbench.compiler.memory import check_plan, plan_memory
from mlbench.compiler.memory.traffic import Traffic, traffic_of
from mlbench.compiler.pipeline import compile_graph
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.verify import verify_program
from mlbench.compiler.x86 import find
from mlbench.compiler.x86.sweeps.rowwise import Sweep
from mlbench.errors import GraphError, PlanError
from mlbench.ir import BYTES_PER_NUMBER, Graph, Node, frozen, interpret
from mlbench.models.zoo import load_zoo
from mlbench.runtime import OptimizedRunner, check_result
from mlbench.runtime.x86_backend import stages_of, whole_run

pytestmark = pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
INPUTS, WIDTH, ENTRIES = 3, 10, 7
RANDOM = np.random.default_rng(0)
CONSTANTS = {
    "w": frozen(RANDOM.standard_normal((INPUTS, WIDTH))),
    "u": frozen(RANDOM.standard_normal((WIDTH, WIDTH))),
    "v": frozen(RANDOM.standard_normal((2 * WIDTH + INPUTS, 5))),
    "t": frozen(RANDOM.standard_normal((ENTRIES, 1, WIDTH))),
}


def graph_of(*nodes: Node, outputs: tuple[str, ...] = ("y",), index: bool = False) -> Graph:
    """Return a graph on x, and on an index beside it."""
    used = {name for node in nodes for name in node.constants}
    inputs = {"x": INPUTS, **({"i": 1} if index else {})}
    return Graph(inputs, {name: array for name, array in CONSTANTS.items() if name in used}, nodes, outputs)


def product(value: str, weight: str, output: str) -> Node:
    """Return a product."""
    return Node("matmul", (value, weight), output, CONSTANTS[weight].shape[1])


JOINED = Node("concat", ("b", "x", "c"), "j", 2 * WIDTH + INPUTS)
BRANCHES = graph_of(product("x", "w", "a"), Node("tanh", ("a",), "b", WIDTH), product("b", "u", "c"), JOINED, product("j", "v", "y"))
"""A value that another operand is computed from, an input, and a product, one beside the other."""
LOOKED_UP = graph_of(
    Node("gather", ("i", "t"), "b", WIDTH, attributes=(WIDTH,)), product("x", "w", "c"), JOINED, product("j", "v", "y"), index=True,
)  # fmt: skip


def program_of(graph: Graph, rows: int = 8) -> Program:
    """Return what is compiled for a graph."""
    return compile_graph(graph, rows).program


def within(program: Program) -> dict[str, str]:
    """Return the values that lie in columns of a concatenation."""
    return {name: each.within for name, each in program.schedule.nodes.items() if each.within}


@pytest.mark.parametrize("graph", [BRANCHES, LOOKED_UP], ids=["branches", "looked-up"])
@pytest.mark.parametrize("outputs", [("y",), ("j", "y")], ids=["inside", "result"])
def test_operands_are_written_where_they_belong(graph: Graph, outputs: tuple[str, ...]) -> None:
    """Only the input is copied, whether the concatenation is a result or not, and any rows are right in tiles of any size."""
    graph = replace(graph, outputs=outputs)
    program = program_of(graph, 40)
    assert within(program) == {"b": "j", "c": "j"}
    plan = plan_memory(program)
    stages = stages_of(program, plan, {buffer.name: buffer.offset for buffer in plan.buffers}, whole_run(program, plan))
    copies = [stage for stage in stages if isinstance(stage, Sweep) and all(each.kind == "read" for _, each in stage.writes)]
    assert len(copies) == 1
    assert "within j" in program_text(program)
    runner = OptimizedRunner(graph, 40)
    for rows in (1, 7, 40):
        random = np.random.default_rng(rows)
        xs = [random.standard_normal((rows, INPUTS)).astype(np.float32), random.integers(0, ENTRIES, (rows, 1)).astype(np.float32)]
        found: Any = runner.run(*xs[: len(graph.inputs)])
        for one, exact in zip(found if len(outputs) > 1 else (found,), interpret(graph, xs[: len(graph.inputs)]), strict=True):
            np.testing.assert_allclose(one, exact, rtol=1e-4, atol=1e-5)


def test_the_traffic_of_a_concatenation_is_what_is_copied() -> None:
    """Of 8 rows only the columns of the input are read and written; where every operand is copied, all of them."""
    program = program_of(BRANCHES)
    joined = next(node for node in program.graph.nodes if node.op == "concat")
    copied = BYTES_PER_NUMBER * 8 * INPUTS
    assert traffic_of(program, joined) == Traffic(copied, copied)
    apart = program.scheduled(nodes={name: replace(each, within="") for name, each in program.schedule.nodes.items()})
    whole = BYTES_PER_NUMBER * 8 * joined.columns
    assert traffic_of(apart, joined) == Traffic(whole, whole)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_skip_connection_is_not_copied(threads: int) -> None:
    """The hidden layers of a NeRF that are concatenated lie where they are read."""
    network = load_zoo("nerf")
    assert set(within(program_of(network.graph()))) == {"v14", "v29"}
    runner = OptimizedRunner(network, 70, threads=threads)
    xs = tuple(np.random.default_rng(1).standard_normal((70, columns)).astype(np.float32) for columns in network.inputs.values())
    check_result(network, xs, runner.run(*xs))


@pytest.mark.parametrize(
    "graph",
    [
        replace(BRANCHES, outputs=("b", "y")),
        graph_of(product("x", "w", "b"), Node("concat", ("b", "b"), "j", 2 * WIDTH), Node("exp", ("j",), "y", 2 * WIDTH)),
        graph_of(product("x", "w", "b"), Node("concat", ("b", "x"), "j", WIDTH + INPUTS), Node("reduce_max", ("j",), "m", 1),
                 Node("add_values", ("b", "m"), "y", WIDTH)),
    ],
    ids=["result", "twice", "read-behind"],
)  # fmt: skip
def test_an_operand_that_somebody_else_needs_stays_where_it_is(graph: Graph) -> None:
    """A result, one that is there twice, and one that is read behind the concatenation have memory of their own."""
    assert "b" not in within(program_of(graph))
    x = np.random.default_rng(1).standard_normal((8, INPUTS)).astype(np.float32)
    found: Any = OptimizedRunner(graph, 8).run(x)
    for one, exact in zip(found if len(graph.outputs) > 1 else (found,), interpret(graph, (x,)), strict=True):
        np.testing.assert_allclose(one, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("value", "where", "message"),
    [
        ("b", "c", "expected a concatenation behind it that reads it once"),
        ("y", "j", "expected a concatenation behind it that reads it once"),
        ("j", "j", "expected a concatenation behind it"),
    ],
)
def test_a_place_in_no_concatenation_is_refused(value: str, where: str, message: str) -> None:
    """Only what a concatenation reads can lie in its columns."""
    program = program_of(BRANCHES)
    nodes = program.schedule.nodes
    with pytest.raises(GraphError, match=message):
        verify_program(program.scheduled(nodes={**nodes, value: replace(nodes[value], within=where)}))


def test_a_result_within_a_concatenation_is_refused() -> None:
    """The caller reads it row after row."""
    program = program_of(BRANCHES)
    graph = replace(program.graph, outputs=("y", "c"))
    with pytest.raises(GraphError, match="within 'j', and it is a result, or read behind that"):
        verify_program(program.with_graph(graph))


def test_rows_that_are_apart_are_refused_where_numpy_has_a_part() -> None:
    """Its kernels allocate a buffer for them."""
    program = program_of(BRANCHES)
    nodes = program.schedule.nodes
    with pytest.raises(GraphError, match="only generated code writes rows that are apart"):
        verify_program(program.scheduled(nodes={**nodes, "j": replace(nodes["j"], swept=False)}))


def test_a_plan_that_parts_an_operand_from_its_columns_is_refused() -> None:
    """The value and the concatenation have one buffer."""
    program = program_of(BRANCHES)
    nodes = program.schedule.nodes
    apart = program.scheduled(nodes={**nodes, "c": replace(nodes["c"], within="")})
    with pytest.raises(PlanError, match=r"size: c needs|within: c lies in c; expected j, which has j"):
        check_plan(program, plan_memory(apart))
