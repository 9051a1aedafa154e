"""What is derived from a graph of any form: its bare products, its programs for the time breakdown, its bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.compiler.pipeline import PASSES
from mlbench.ir import Graph, Node, frozen, op_named, verify
from mlbench.models import mlp
from mlbench.results import BASELINE, OPTIMIZED
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.studies import autotune
from mlbench.studies.ablation.breakdown import ARMS, PREALLOCATED, PRODUCTS, programs
from mlbench.studies.ablation.tiny import tiny_graph
from mlbench.studies.cases import Case, Cell
from mlbench.studies.explain import explanation
from mlbench.studies.floor import ends_bytes
from mlbench.studies.products import product_sources
from mlbench.studies.roofline.measure import must_move_bytes, pieces_of
from mlbench.studies.subjects import brought
from mlbench.studies.sweep import products_call
from support.branched import BRANCHED, CONCATENATION, INNER_RESIDUAL, TWO_HEADS, network_of


def normal(*shape: int) -> Any:
    """Return a constant."""
    return frozen(np.random.default_rng(3).standard_normal(shape) / 3)


MIXED = Graph(
    {"x": 6, "z": 2},
    {"w0": normal(6, 4), "w1": normal(6, 5), "w2": normal(7, 4), "g": normal(4), "h": normal(4), "e": frozen(1e-5), "half": frozen(0.5)},
    (
        Node("matmul", ("x", "w0"), "a", 4),
        Node("layer_norm", ("a", "g", "h", "e"), "n", 4),
        Node("concat", ("n", "z"), "c", 6),
        Node("matmul", ("c", "w1"), "p", 5),
        Node("slice", ("p",), "s", 3, attributes=(1, 4)),
        Node("concat", ("s", "z", "z"), "d", 7),
        Node("multiply", ("d", "half"), "m", 7),
        Node("matmul", ("m", "w2"), "q", 4),
        Node("add_values", ("q", "n"), "r", 4),
        Node("reduce_mean", ("r",), "t", 1),
        Node("multiply_values", ("r", "t"), "u", 4),
        Node("slice", ("u",), "first", 2, attributes=(0, 2)),
    ),
    ("u", "first"),
)
"""A norm, slices that are views, sums with parts side by side, a reduction that is broadcast, and two readers of one value."""
UNEVEN = Graph(
    {"a": 2, "b": 4, "c": 1},
    {},
    (
        Node("concat", ("a", "b"), "left", 6),
        Node("concat", ("c", "a", "c", "a"), "right", 6),
        Node("add_values", ("left", "right"), "y", 6),
    ),
    ("y",),
)
"""Two parts are added to four, so that no value but `c` can have one column."""
GRAPHS = {**BRANCHED, "mixed": MIXED, "uneven": UNEVEN}


def inputs(graph: Graph, rows: int) -> list[Any]:
    """Return an array for each input."""
    random = np.random.default_rng(5)
    return [random.standard_normal((rows, columns), dtype=np.float32) for columns in graph.inputs.values()]


def outputs(result: Any) -> list[Any]:
    """Return the arrays that a call gave."""
    return [np.array(each) for each in (result if isinstance(result, tuple) else (result,))]


def test_products_of_an_mlp_are_a_chain() -> None:
    """Each reads what the one before wrote, as in the model itself."""
    graph = mlp(6, (8, 5), 3, activation="leaky_relu", output_activation="softmax").graph()
    found = product_sources(graph)
    assert [source for _, source in found] == ["x", *(node.output for node, _ in found[:-1])]


def test_a_product_behind_anything_else_reads_an_array_of_its_own() -> None:
    """Sums of values, concatenations and norms change the numbers, so that a chain would be another yardstick."""
    assert [source for _, source in product_sources(INNER_RESIDUAL)] == ["x", "p0", "h"]
    assert [source for _, source in product_sources(CONCATENATION)] == ["x", "x", "h"]
    assert [source for _, source in product_sources(TWO_HEADS)] == ["x", "p0", "p0"]
    assert [source for _, source in product_sources(MIXED)] == ["x", "c", "m"]


@pytest.mark.parametrize("name", BRANCHED)
def test_bare_products_of_a_network_are_each_called_once(tmp_path: Path, name: str) -> None:
    """NumPy's own function, once for each product, on operands of the right shape, and results that are numbers."""
    graph = BRANCHED[name]
    call = products_call(Cell(5, brought(network_of(graph).save(tmp_path / "net.npz"))))
    call()
    steps = next(each.cell_contents for each in call.__closure__ or () if isinstance(each.cell_contents, list))
    assert [weight.shape for _, weight, _ in steps] == [
        graph.constants[node.operands[0]].shape for node in graph.nodes if op_named(node.op).is_product
    ]
    for dot, weight, result in steps:
        np.testing.assert_allclose(result, dot.__self__ @ weight, rtol=1e-5, atol=1e-5)
        assert np.isfinite(result).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_the_preallocated_program_of_a_graph_is_right(name: str) -> None:
    """It gives what the baseline gives, also when it runs again: no storage is reused too early."""
    graph = GRAPHS[name]
    xs = inputs(graph, 5)
    call = programs(graph, xs)[PREALLOCATED]
    call()
    for found, expected in zip(outputs(call()), outputs(BaselineRunner(graph).run(*xs)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_program_of_a_graph_runs(name: str) -> None:
    """The products alone too, and the tiny ones, on one row."""
    calls = programs(GRAPHS[name], inputs(GRAPHS[name], 5))
    assert set(calls) == set(ARMS)
    rows = {each: {len(y) for y in outputs(call())} for each, call in calls.items()}
    assert rows == {each: {5} if each in (PREALLOCATED, PRODUCTS) else {1} for each in ARMS}


@pytest.mark.parametrize(
    ("name", "widths"),
    [("residual", {1}), ("two-inputs", {1}), ("concatenation", {1, 3}), ("mixed", {1, 2, 3}), ("uneven", {1, 3, 4})],
)
def test_a_tiny_graph_keeps_every_rule(name: str, widths: set[int]) -> None:
    """It has the operations of the original, fits together, and is no wider than it must be."""
    tiny = tiny_graph(GRAPHS[name])
    verify(tiny)
    assert [node.op for node in tiny.nodes] == [node.op for node in GRAPHS[name].nodes]
    assert {*tiny.inputs.values(), *(node.columns for node in tiny.nodes)} <= widths


def test_the_ends_of_a_graph() -> None:
    """Constants, inputs and outputs, each once, whatever reads them."""
    constants = sum(array.nbytes for array in MIXED.constants.values())
    assert ends_bytes(MIXED, 10) == constants + 4 * 10 * (6 + 2 + 4 + 2)


def test_an_input_that_nobody_reads_is_not_touched() -> None:
    """As where only some outputs are computed."""
    graph = Graph({"x": 6, "z": 2}, {}, (Node("relu", ("x",), "y", 6),), ("y",))
    assert ends_bytes(graph, 10) == 4 * 10 * (6 + 6)


def test_a_search_runs_at_a_fixed_batch() -> None:
    """It takes at most 512 rows of a call, but for a network that runs at no other batch."""
    network = network_of(TWO_HEADS, 513)
    schedule = OptimizedRunner(network, 513).compiled.schedule
    assert schedule is not None
    (seconds,) = autotune._compared(network, 513, 1, [each.name for each in PASSES], [schedule])
    assert seconds > 0


def test_what_a_network_must_move(tmp_path: Path) -> None:
    """What two products read is written and read once, as a hidden activation is."""
    cell = Cell(10, brought(network_of(TWO_HEADS).save(tmp_path / "net.npz")))
    assert must_move_bytes(cell) == ends_bytes(TWO_HEADS, 10) + 2 * 4 * 10 * 9


@pytest.mark.parametrize("runner", [BASELINE, OPTIMIZED])
def test_the_pieces_of_a_network(tmp_path: Path, runner: str) -> None:
    """Each product is there with its work, and what adds two values moves three."""
    cell = Cell(10, brought(network_of(INNER_RESIDUAL).save(tmp_path / "net.npz")))
    pieces = pieces_of(Case(cell, runner))
    assert sum(piece.work_flop for piece in pieces) == cell.work_flop
    if runner == BASELINE:
        assert [piece.moved_bytes for piece in pieces if not piece.is_product].count(3 * 4 * 10 * 9) == 1


def test_a_network_is_explained(tmp_path: Path) -> None:
    """The graph as it was imported, what runs, and the memory map."""
    text = explanation(Cell(8, brought(network_of(TWO_HEADS).save(tmp_path / "net.npz"))))
    for part in ("The graph as written (net, batch 8)", "class: rows x 4 = softmax(s1)", "What each optimisation did", "The memory map"):
        assert part in text
