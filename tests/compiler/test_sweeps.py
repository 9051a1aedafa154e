"""From graphs to sweeps: what is one stage, what may wait, what stays with NumPy, and which schedules are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mlbench.compiler.memory import plan_memory
from mlbench.compiler.pipeline import compile_graph
from mlbench.compiler.schedule.printer import program_text
from mlbench.compiler.schedule.program import FEATURES, ROWS, NodeSchedule
from mlbench.compiler.schedule.verify import verify_program
from mlbench.compiler.x86 import AVX2, Argument, Product, Stage, View, find
from mlbench.compiler.x86.sweeps.elementwise import EMITS
from mlbench.compiler.x86.sweeps.expressions import ANY_BIT, MAX, MIN, SUM, apply, read, reduce
from mlbench.compiler.x86.sweeps.formula import Formula
from mlbench.compiler.x86.sweeps.rowwise import Sweep
from mlbench.errors import GraphError
from mlbench.ir import Graph, Node, Step, frozen, interpret
from mlbench.models.zoo import load_zoo
from mlbench.runtime import OptimizedRunner
from mlbench.runtime.x86_backend import stages_of, whole_run
from support.programs import program_of

pytestmark = pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
COLUMNS = 6
CONSTANTS = {
    "w": frozen(np.random.default_rng(0).standard_normal((COLUMNS, COLUMNS))),
    "row": frozen(np.linspace(0.5, 1.5, COLUMNS)),
    "strip": frozen(np.ones((4, COLUMNS))),
    "nan": frozen(np.full(COLUMNS, np.nan)),
    "half": frozen(0.5),
}


def graph_of(*nodes: Node, outputs: Sequence[str] = ("y",)) -> Graph:
    """Return a graph on one input x."""
    used = {name for node in nodes for name in node.constants}
    return Graph({"x": COLUMNS}, {name: array for name, array in CONSTANTS.items() if name in used}, nodes, tuple(outputs))


def node(op: str, inputs: str, output: str, columns: int = COLUMNS) -> Node:
    """Return a node; inputs are parted by blanks."""
    return Node(op, tuple(inputs.split()), output, columns)


def stages(graph: Graph, rows: int = 8) -> tuple[Stage, ...]:
    """Return the stages of a graph that is all generated."""
    program = compile_graph(graph, rows).program
    assert program.is_generated
    plan = plan_memory(program)
    return stages_of(program, plan, {buffer.name: buffer.offset for buffer in plan.buffers}, whole_run(program, plan))


def check(graph: Graph, rows: int = 8) -> None:
    """Compare a compiled runner with the float64 interpreter."""
    x = np.random.default_rng(1).standard_normal((rows, COLUMNS)).astype(np.float32)
    found: Any = OptimizedRunner(graph, rows).run(x)
    for one, exact in zip(found if len(graph.outputs) > 1 else (found,), interpret(graph, (x,)), strict=True):
        np.testing.assert_allclose(one, exact, rtol=1e-4, atol=1e-5)


def test_nodes_that_follow_each_other_are_one_sweep() -> None:
    """Three nodes read x, and nothing between is written."""
    graph = graph_of(node("exp", "x", "a"), node("tanh", "x", "b"), node("multiply_values", "a b", "y"))
    (sweep,) = stages(graph)
    assert isinstance(sweep, Sweep)
    assert len(sweep.writes) == 1
    check(graph)


def test_what_somebody_else_reads_is_written() -> None:
    """A value that a product or the caller needs goes to memory, though a later node of the same sweep reads it as well."""
    graph = graph_of(node("exp", "x", "a"), node("tanh", "a", "y"), node("matmul", "a w", "p"), outputs=("y", "p"))
    sweep, product = stages(graph)
    assert isinstance(sweep, Sweep)
    assert isinstance(product, Product)
    assert len(sweep.writes) == 2
    check(graph)


def test_a_sweep_waits_for_the_product_that_it_is_combined_with() -> None:
    """The SiLU of a SwiGLU is computed with the multiplication, behind both products."""
    found = stages(load_zoo("swiglu").graph())
    assert [type(stage).__name__ for stage in found] == ["Sweep", "Product", "Product", "Sweep", "Product", "Sweep"]


def test_no_sweep_waits_for_a_product_that_writes_where_it_reads() -> None:
    """An output has its place in the arena, and may lie where a value lay that the sweep reads."""
    graph = graph_of(
        node("matmul", "x w", "a"), node("maximum", "a half", "b"), node("reduce_l2", "b", "c", 1), node("matmul", "a w", "p"),
        node("add", "p row", "d"), node("log_softmax", "d", "e"), node("multiply_values", "e c", "y"), outputs=("p", "y"),
    )  # fmt: skip
    check(graph)


def test_several_outputs_are_one_function() -> None:
    """A policy with two heads, and a NeRF with two inputs and two outputs, have no part for NumPy."""
    for name in ("policy", "nerf", "residual-mlp", "swiglu", "autoencoder"):
        assert compile_graph(load_zoo(name).graph(), 8).program.is_generated


def test_the_note_says_what_stays_with_numpy_and_why() -> None:
    """The other nodes are generated all the same, and the results are right."""
    last = node("maximum", "a nan", "y")
    reason = "NumPy computes y, because an operand of maximum is a strip, has gaps, or has NaN."
    graph = graph_of(Node("reduce_max", ("x",), "m", 1), Node("subtract_values", ("x", "m"), "a", COLUMNS), last)
    compiled = compile_graph(graph, 8)
    assert reason in {each.name: note for each, note in compiled.notes}["codegen"]
    assert not compiled.program.is_generated
    assert "swept by generated code" in program_text(compiled.program)
    x = np.random.default_rng(1).standard_normal((8, COLUMNS)).astype(np.float32)
    np.testing.assert_allclose(OptimizedRunner(graph, 8).run(x), interpret(graph, (x,))[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "layout", "is_static", "message"),
    [
        ((), ROWS, False, "no static buffers"),
        ((), FEATURES, True, "generated code reads or writes feature after feature|cannot write feature"),
        ((Step("add", ("strip",)),), ROWS, True, "a strip, or an operand with gaps, in a sweep"),
    ],
    ids=["not-static", "features", "strip"],
)
def test_a_sweep_that_cannot_run_is_refused(steps: tuple[Step, ...], layout: str, message: str, *, is_static: bool) -> None:
    """The verifier knows what a sweep reads and writes, whichever pass asked for it."""
    graph = graph_of(Node("tanh", ("x",), "y", COLUMNS, steps))
    program = program_of(graph, nodes={"y": NodeSchedule(layout, swept=True)}, is_static=is_static)
    with pytest.raises(GraphError, match=message):
        verify_program(program)


def test_a_sweep_whose_numbers_of_a_row_find_no_registers_does_not_fit() -> None:
    """A power of numbers of the row takes registers beside those that are kept, though each loop over the columns has enough."""
    x, target = (View(Argument(index), 4 * COLUMNS) for index in range(2))
    result = read(x)
    total, most, least, _ = numbers = [reduce(reduction, read(x)) for reduction in (SUM, MAX, MIN, ANY_BIT)]
    for each in numbers:
        result = apply(Formula.mul, result, each)
    assert Sweep(COLUMNS, ((target, result),)).fits(AVX2)
    angles = [apply(EMITS["sin"], each) for each in (total, most, least)]
    angle = apply(lambda f, a, b, c, d: f.add(f.mul(a, b), f.mul(c, d)), *angles, apply(EMITS["power"], most, least))
    assert not Sweep(COLUMNS, ((target, apply(Formula.mul, result, angle)),)).fits(AVX2)
