"""Passes and plans on graphs that are no chain of Linears: fusion, widening, strips, storage of either value, code beside new ops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlbench.compiler.memory import check_plan, plan_memory
from mlbench.compiler.passes import codegen, fold_bias, fuse, in_place, strips, widen
from mlbench.compiler.pipeline import compile_graph
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import NodeSchedule
from mlbench.compiler.schedule.schedule import OpSchedule, Schedule
from mlbench.compiler.schedule.verify import verify_program
from mlbench.compiler.x86 import find
from mlbench.errors import GraphError, PlanError
from mlbench.ir import Graph, Node, Step, frozen, graph_text, interpret
from mlbench.models import mlp
from mlbench.runtime import BaselineRunner, OptimizedRunner
from support.programs import program_of
from support.strategies import batch_of

WIDTH = 6
ROW, SCALAR = frozen(np.linspace(0.5, 1.5, WIDTH)), frozen(0.3)
WEIGHT = frozen(np.random.default_rng(1).standard_normal((WIDTH, WIDTH)) / 2)
CONSTANTS = {"w": WEIGHT, "v": frozen(WEIGHT * 2), "row": ROW, "s": SCALAR, "e": frozen(1e-5)}


def graph_of(*nodes: Node, outputs: tuple[str, ...] = ()) -> Graph:
    """Return a graph of x and the constants that its nodes read."""
    graph = Graph({"x": WIDTH}, CONSTANTS, nodes, outputs or (nodes[-1].output,))
    return graph.with_nodes(nodes)


def product(source: str, output: str, weight: str = "w") -> Node:
    """Return a product."""
    return Node("matmul", (source, weight), output, WIDTH)


CENTERED = graph_of(
    Node("tanh", ("x",), "t", WIDTH), Node("reduce_mean", ("t",), "m", 1), Node("subtract_values", ("t", "m"), "c", WIDTH),
    Node("divide_values", ("m", "c"), "q", WIDTH), Node("add_values", ("c", "q"), "y", WIDTH),
)  # fmt: skip


# --- fusion -------------------------------------------------------------------------------------------------------------


def test_branches_that_are_written_alternately_are_fused() -> None:
    """Each element-wise node goes to the node that it follows, wherever others stand between."""
    nodes = (
        product("x", "p"), product("x", "q", "v"), Node("add", ("p", "row"), "a", WIDTH), Node("add", ("q", "row"), "b", WIDTH),
        Node("gelu", ("a",), "g", WIDTH), Node("multiply_values", ("g", "b"), "m", WIDTH), Node("multiply", ("m", "s"), "y", WIDTH),
    )  # fmt: skip
    assert graph_text(fuse.apply(graph_of(*nodes))) == (
        "graph(x: rows x 6)\n"
        "  g: rows x 6 = matmul(x, w: 6 x 6) then add(row: 6) then gelu()\n"
        "  b: rows x 6 = matmul(x, v: 6 x 6) then add(row: 6)\n"
        "  y: rows x 6 = multiply_values(g, b) then multiply(s: scalar)\n"
        "  return y"
    )


@pytest.mark.parametrize("op", ["concat", "slice", "reduce_sum"])
def test_what_cannot_run_in_strips_takes_in_nothing(op: str) -> None:
    """Columns are moved or added up; what follows stays a node."""
    columns, attributes = {"concat": (WIDTH, ()), "slice": (2, (1, 3)), "reduce_sum": (1, ())}[op]
    graph = graph_of(Node(op, ("x",), "h", columns, attributes=attributes), Node("tanh", ("h",), "y", columns))
    assert fuse.apply(graph) is graph


# --- widening -----------------------------------------------------------------------------------------------------------


def test_a_column_is_repeated_once_for_all_that_need_it() -> None:
    """Two ops read the mean beside a wider value; they share the wide copy."""
    assert graph_text(widen.apply(CENTERED)) == (
        "graph(x: rows x 6)\n"
        "  t: rows x 6 = tanh(x)\n"
        "  m: rows x 1 = reduce_mean(t)\n"
        "  m_wide: rows x 6 = repeat_column(m, 6)\n"
        "  c: rows x 6 = subtract_values(t, m_wide)\n"
        "  q: rows x 6 = divide_values(m_wide, c)\n"
        "  y: rows x 6 = add_values(c, q)\n"
        "  return y"
    )
    assert widen.explain(CENTERED, widen.apply(CENTERED)) == "m repeated to 6 columns, by a copy that allocates nothing."


def test_columns_that_meet_columns_stay() -> None:
    """Where both values have one column there is nothing to repeat."""
    nodes = (Node("reduce_max", ("x",), "a", 1), Node("reduce_min", ("x",), "b", 1), Node("subtract_values", ("a", "b"), "y", 1))
    graph = graph_of(*nodes)
    assert widen.apply(graph) is graph


# --- in place -----------------------------------------------------------------------------------------------------------


def test_a_difference_takes_the_storage_of_the_value_that_dies() -> None:
    """The second value dies and the first one lives on; the printed form names the one that was taken."""
    nodes = (Node("tanh", ("x",), "a", WIDTH), Node("exp", ("a",), "b", WIDTH), Node("subtract_values", ("a", "b"), "c", WIDTH),
             Node("add_values", ("c", "a"), "y", WIDTH))  # fmt: skip
    program = in_place.PASS.apply(program_of(graph_of(*nodes)))  # type: ignore[misc]  # it has an apply
    assert "c: rows x 6 = subtract_values(a, b) in place of b\n" in program_text(program)
    check_plan(program, plan_memory(program))
    x = batch_of(4, WIDTH)
    y = OptimizedRunner(program.graph, 4, passes=["static", "in_place"]).run(x)
    np.testing.assert_allclose(y, interpret(program.graph, (x,))[0], rtol=1e-5, atol=1e-6)


def test_a_column_is_not_written_over_by_what_is_wider() -> None:
    """The mean dies at its reader, and its storage is too small."""
    nodes = (Node("reduce_mean", ("x",), "m", 1), Node("subtract_values", ("x", "m"), "y", WIDTH))
    program = in_place.PASS.apply(program_of(graph_of(*nodes)))  # type: ignore[misc]  # it has an apply
    assert not any(each.in_place for each in program.schedule.nodes.values())


@pytest.mark.parametrize("schedule", [NodeSchedule(in_place=True, taken=2), NodeSchedule(taken=1)], ids=["beyond", "without-in-place"])
def test_a_value_that_is_not_read_cannot_be_taken(schedule: NodeSchedule) -> None:
    """`taken` is the place of a value among those that are read, of a node in place."""
    graph = graph_of(Node("tanh", ("x",), "a", WIDTH), Node("exp", ("a",), "b", WIDTH), Node("add_values", ("a", "b"), "y", WIDTH))
    with pytest.raises(GraphError, match=r"node 2 \(y = add_values, in place\): takes the storage of value . of 2"):
        verify_program(program_of(graph, nodes={"y": schedule}))


def test_a_plan_that_shares_the_other_value_is_refused() -> None:
    """The schedule says which one is taken, and the plan must agree."""
    graph = graph_of(Node("tanh", ("x",), "a", WIDTH), Node("exp", ("x",), "b", WIDTH), Node("add_values", ("a", "b"), "y", WIDTH))
    first, second = (program_of(graph, nodes={"y": NodeSchedule(in_place=True, taken=index)}) for index in (0, 1))
    with pytest.raises(PlanError, match="y shares the buffer of a"):
        check_plan(second, plan_memory(first))


# --- strips and scratch -------------------------------------------------------------------------------------------------


def test_a_node_without_a_product_runs_in_strips() -> None:
    """A row that scales an input is repeated over a strip, and the loop is in the code; every row is right, the last strip's too."""
    graph = graph_of(Node("multiply", ("x", "row"), "y", WIDTH))
    runner = OptimizedRunner(graph, 2000, passes=["static", "strips"])
    assert "multiply(x, row_strip: 682 x 6)" in program_text(runner.compiled.program)
    x = batch_of(2000, WIDTH)
    assert np.array_equal(runner.run(x), x * ROW)
    assert "    for first, last, c0 in strips0:\n" in runner.sources[0]


def test_a_norm_keeps_its_rows_unless_an_epilogue_reads_one() -> None:
    """It makes many calls, so it runs on all rows at once; behind it a row needs strips, which are high."""
    norm = Node("rms_norm", ("x", "row", "e"), "n", WIDTH)
    program = program_of(graph_of(norm), 4000)
    assert strips.apply(program) is program
    with_row = program_of(graph_of(replace(norm, epilogue=(Step("add", ("row",)),))), 10_000)
    assert "rms_norm(x, row_strip: 5461 x 6, e: scalar) then add(row_strip: 5461 x 6)" in program_text(strips.apply(with_row))


def test_scratch_of_a_reduction_is_as_wide_as_what_it_reads() -> None:
    """The largest of six columns is found in a matrix of six columns; a narrower one is refused."""
    program = program_of(graph_of(Node("reduce_max", ("x",), "y", 1)), 8)
    plan = plan_memory(program)
    scratch = next(buffer for buffer in plan.buffers if not buffer.values)
    assert (scratch.rows, scratch.columns) == (8, WIDTH)
    narrow = replace(scratch, columns=1, size_bytes=8 * 4)
    with pytest.raises(PlanError, match="scratch: node 0"):
        check_plan(program, replace(plan, buffers=tuple(narrow if each is scratch else each for each in plan.buffers)))


# --- generated code and folding -----------------------------------------------------------------------------------------


@pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
@pytest.mark.parametrize(
    ("steps", "inner"),
    [
        pytest.param([Step("add", ("row",)), Step("gelu")], 1, id="known-then-new"),
        pytest.param([Step("add", ("s",)), Step("relu")], 0, id="scalar-where-code-reads-a-row"),
        pytest.param([Step("add", ("row",)), Step("multiply", ("row",)), Step("relu")], 1, id="multiply"),
        pytest.param([Step("clip", ("s", "s"))], 0, id="clip"),
    ],
)
def test_new_ops_in_an_epilogue_stay_with_numpy(steps: list[Step], inner: int) -> None:
    """Code runs the steps before the first one that it does not know, and NumPy the others."""
    graph = graph_of(replace(product("x", "y"), epilogue=tuple(steps)))
    compiled = compile_graph(graph, 8, schedule=Schedule(None, (OpSchedule(generated=True),)))
    assert compiled.program.schedule.nodes["y"].inner == inner
    assert codegen.explain(compiled.program, compiled.program).startswith("y computed by generated code")
    x = batch_of(8, WIDTH)
    np.testing.assert_allclose(OptimizedRunner(graph, 8).run(x), BaselineRunner(graph).run(x), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
def test_a_scalar_inside_code_is_refused() -> None:
    """Code would read a row where one number is."""
    graph = graph_of(replace(product("x", "y"), epilogue=(Step("add", ("s",)),)))
    schedule = NodeSchedule(packed="w_packed", width=1, lanes=8, inner=1)
    with pytest.raises(GraphError, match="a scalar in add inside the code; expected a row"):
        verify_program(program_of(graph, nodes={"y": schedule}, packed={"w_packed": WEIGHT}, is_static=True))


@pytest.mark.parametrize(("op", "folds"), [("tanh", True), ("gelu", False), ("exp", False), ("square", False)])
def test_nothing_is_folded_behind_an_op_that_folding_does_not_know(op: str, folds: bool) -> None:
    """A hidden bias behind it stays, because nobody can say how large the activation is."""
    graph = mlp(WIDTH, 64, 3).graph()
    layers = (replace(node, inputs=tuple("h" if name == "x" else name for name in node.inputs)) for node in graph.nodes)
    nodes = (Node(op, ("x",), "h", WIDTH), *layers)
    folded = fold_bias.fold(replace(graph, nodes=nodes))
    assert folds == any(node.op == "maximum" for node in folded.nodes)
