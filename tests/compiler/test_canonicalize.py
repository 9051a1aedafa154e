"""Constant folding and clean-up: what goes, what stays, and that the answer is the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench import BaselineRunner, Layer, Model, OptimizedRunner, mlp
from mlbench.compiler.passes import canonicalize
from mlbench.ir import Graph, Node, frozen, graph_text
from mlbench.models import OUTPUT_ACTIVATIONS
from mlbench.runtime import check_result
from support.strategies import batch_of


def linear(*sizes: int, last: str = "identity") -> Model:
    """Return Linears without an activation between them."""
    return mlp(sizes[0], sizes[1:-1], sizes[-1], activation="identity", output_activation=last)


def test_two_linears_become_one() -> None:
    """Where it takes fewer operations, one product of the folded weight is left."""
    assert graph_text(canonicalize.apply(linear(4, 8, 2).graph())) == (
        "graph(x: rows x 4)\n  v2: rows x 2 = matmul(x, w0_w1: 4 x 2)\n  v3: rows x 2 = add(v2, b0_b1: 2)\n  return v3"
    )


@pytest.mark.parametrize("last", ["leaky_relu", "softmax"])
def test_a_chain_of_linears_becomes_one(last: str) -> None:
    """Folding goes on until nothing is left to fold, and the activation behind stays."""
    assert [node.op for node in canonicalize.apply(linear(4, 8, 8, 8, 3, last=last).graph()).nodes] == ["matmul", "add", last]


@pytest.mark.parametrize("last", ["relu", "sigmoid", "tanh"])
def test_linears_stay_before_what_makes_a_number_of_an_infinity(last: str) -> None:
    """An infinite input gives NaN behind two Linears and an infinity behind one, of which these would make a number."""
    graph = linear(4, 8, 8, 3, last=last).graph()
    assert canonicalize.apply(graph) is graph


def test_linears_behind_an_activation_are_merged() -> None:
    """What lies before two Linears does not matter."""
    layers = (*mlp(4, (), 8, output_activation="relu").layers, *linear(8, 8, 2).layers)
    assert [node.op for node in canonicalize.apply(Model("m", layers).graph()).nodes] == ["matmul", "add", "relu", "matmul", "add"]


@pytest.mark.parametrize(("hidden", "merges"), [(2, False), (3, True)])
def test_a_bottleneck_stays(hidden: int, merges: bool) -> None:
    """4 x h x 4: 16 numbers against 8 h; at h = 2 nothing is gained, at 3 it is."""
    graph = linear(4, hidden, 4).graph()
    assert (canonicalize.apply(graph) is not graph) == merges


@given(st.lists(st.integers(1, 12), min_size=3, max_size=5), st.integers(0, 2**32 - 1))
def test_folding_agrees_with_float64(sizes: list[int], seed: int) -> None:
    """Whatever the sizes, the folded graph gives what the layers give in float64."""
    model = replace(linear(*sizes), name=str(seed))
    x = batch_of(5, sizes[0], seed)
    check_result(model, x, BaselineRunner(canonicalize.apply(model.graph())).run(x))


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_weights_that_are_not_finite_are_left_alone(number: float) -> None:
    """What an infinity would turn into depends on the order, so nothing is reordered."""
    first, second = linear(4, 8, 2).layers
    weight = np.array(first.weight)
    weight[0, 0] = number
    graph = Model("odd", (Layer(frozen(weight), first.bias), second)).graph()
    assert canonicalize.apply(graph) is graph


def test_an_overflow_is_left_alone() -> None:
    """Weights whose product is no float32 are not folded."""
    big = Layer(frozen(np.full((4, 8), 1e30)), frozen(np.zeros(8) + 1))
    graph = Model("big", (big, Layer(frozen(np.full((8, 2), 1e30)), frozen(np.ones(2))))).graph()
    assert canonicalize.apply(graph) is graph


@pytest.mark.parametrize(("size", "merges"), [(1e-18, True), (1e-20, False), (1e-30, False)])
def test_an_underflow_is_left_alone(size: float, merges: bool) -> None:
    """Weights whose product is subnormal, or zero, would lose digits; so they are not folded."""
    first, second = linear(4, 8, 2).layers
    small = (Layer(frozen(np.full((4, 8), size)), first.bias), Layer(frozen(np.full((8, 2), size)), second.bias))
    graph = Model("small", small).graph()
    assert (canonicalize.apply(graph) is not graph) is merges


def test_what_would_overflow_between_two_linears_is_left_alone() -> None:
    """1e4 times 1e36 is an infinity between the two, whatever the second one makes of it; in one there would be none."""
    layers = (Layer(frozen(np.full((4, 8), 1e36)), frozen(np.ones(8))), Layer(frozen(np.full((8, 2), 1e-30)), frozen(np.ones(2))))
    model = Model("big", layers)
    assert canonicalize.apply(model.graph()).nodes == model.graph().nodes
    x = np.full((1, 4), 1e4, np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf(OptimizedRunner(model, 1).run(x)).all()


@pytest.mark.parametrize("last", OUTPUT_ACTIVATIONS)
@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("sizes", [(6, 12, 5), (6, 12, 9, 5)])
def test_an_infinite_input_never_becomes_a_number(sizes: tuple[int, ...], number: float, last: str) -> None:
    """Where Linears without an activation give NaN or an infinity, so does the compiled runner; elsewhere it gives the number."""
    model, x = linear(*sizes, last=last), batch_of(9, 6)
    x[[0, 4, 8], [1, 5, 2]] = number
    with np.errstate(all="ignore"):
        plain, fast = BaselineRunner(model).run(x), OptimizedRunner(model, 9).run(x)
    assert np.array_equal(np.isfinite(plain), np.isfinite(fast))
    assert np.array_equal(np.isfinite(fast).all(axis=1), np.isfinite(x).all(axis=1))


def test_a_value_that_somebody_else_reads_stays() -> None:
    """A value between two Linears that a third node reads cannot be folded away."""
    graph = linear(4, 8, 2).graph()
    spy = (*graph.nodes, Node("tanh", (graph.nodes[1].output,), "spy", 8), Node("matmul", ("spy", "w1"), "z", 2))
    kept = canonicalize.apply(replace(graph, nodes=spy, outputs=("z",)))
    assert [node.op for node in kept.nodes] == ["matmul", "add", "tanh", "matmul"]


def test_a_bias_of_zeros_vanishes() -> None:
    """Adding zeros changes nothing, in the middle and at the end."""
    layers = [Layer(layer.weight, frozen(np.zeros_like(layer.bias)), layer.activation) for layer in mlp(4, 8, 2).layers]
    assert [node.op for node in canonicalize.apply(Model("zeros", tuple(layers)).graph()).nodes] == ["matmul", "relu", "matmul"]


def test_a_second_relu_vanishes() -> None:
    """A ReLU of a ReLU is that ReLU."""
    graph = Graph({"x": 3}, {}, (Node("relu", ("x",), "a", 3), Node("relu", ("a",), "b", 3), Node("tanh", ("b",), "y", 3)), ("y",))
    assert [(node.op, node.inputs) for node in canonicalize.apply(graph).nodes] == [("relu", ("x",)), ("tanh", ("a",))]


def test_a_dead_value_vanishes_with_what_fed_it_alone() -> None:
    """A node whose value nobody reads goes, and then the node that only it read."""
    nodes = (Node("tanh", ("x",), "a", 3), Node("relu", ("a",), "b", 3), Node("sigmoid", ("x",), "y", 3))
    assert [node.op for node in canonicalize.apply(Graph({"x": 3}, {}, nodes, ("y",))).nodes] == ["sigmoid"]


def test_nothing_to_clean_is_the_same_graph() -> None:
    """A ReLU network has nothing to fold, and the pass says so."""
    graph = mlp(4, 8, 2).graph()
    assert canonicalize.apply(graph) is graph
    assert canonicalize.explain(graph, graph).startswith("Nothing to do")


def test_cleaning_says_what_went() -> None:
    """Nodes and products that are gone are counted."""
    graph = linear(4, 8, 2).graph()
    assert canonicalize.explain(graph, canonicalize.apply(graph)) == "2 nodes are gone, 1 matrix products among them."


@pytest.mark.parametrize(("op", "number"), [("multiply", 1.0), ("divide", 1.0), ("power", 1.0), ("add", 0.0)])
def test_what_changes_nothing_vanishes(op: str, number: float) -> None:
    """A factor, a divisor or an exponent of ones, and a shift of zeros, as a scalar or as a row."""
    for constant in (frozen(number), frozen(np.full(3, number))):
        nodes = (Node("tanh", ("x",), "h", 3), Node(op, ("h", "c"), "i", 3), Node("exp", ("i",), "y", 3))
        found = canonicalize.apply(Graph({"x": 3}, {"c": constant}, nodes, ("y",)))
        assert [node.op for node in found.nodes] == ["tanh", "exp"]


def test_a_power_of_two_is_a_square() -> None:
    """Another power stays what it is."""
    nodes = (Node("power", ("x", "two"), "h", 3), Node("power", ("h", "three"), "y", 3))
    found = canonicalize.apply(Graph({"x": 3}, {"two": frozen(2), "three": frozen(3)}, nodes, ("y",)))
    assert [node.op for node in found.nodes] == ["square", "power"]
