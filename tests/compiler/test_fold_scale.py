"""The pass `fold_scale`: rows beside a Linear go into its weight and bias, where rounding does not tell."""

from __future__ import annotations

import numpy as np
import pytest

from mlbench.compiler.passes import fold_scale
from mlbench.ir import FloatArray, Graph, Node, frozen, graph_text, interpret, verify
from support.strategies import batch_of

INPUTS, HIDDEN = 5, 7
_random = np.random.default_rng(3)
CONSTANTS: dict[str, FloatArray] = {
    "w": frozen(_random.standard_normal((INPUTS, HIDDEN))),
    "strip": frozen(np.ones((4, HIDDEN))),
    "u": frozen(_random.standard_normal((HIDDEN, HIDDEN))),
    "b": frozen(_random.standard_normal(HIDDEN)),
    "scale": frozen(_random.uniform(0.5, 2, HIDDEN)),
    "shift": frozen(_random.standard_normal(HIDDEN)),
    "in_scale": frozen(_random.uniform(0.5, 2, INPUTS)),
    "large_scale": frozen(np.full(INPUTS, 100.0)),
    "in_shift": frozen(_random.uniform(-1, 1, INPUTS)),
    "far": frozen(np.full(INPUTS, 30.0)),
    "half": frozen(0.5),
    "tiny": frozen(np.full(HIDDEN, 1e-38)),
    "huge": frozen(np.full(HIDDEN, 1e30)),
    "zero": frozen(np.zeros(HIDDEN)),
    "nan": frozen(np.full(HIDDEN, np.nan)),
}


def chain(*steps: str, outputs: tuple[str, ...] = (), **more: FloatArray) -> Graph:
    """Return a chain of `op constant`, each of which reads the value before."""
    nodes: list[Node] = []
    for index, step in enumerate(steps):
        op, *operands = step.split()
        before = nodes[-1].output if nodes else "x"
        columns = HIDDEN if op == "matmul" or (nodes and nodes[-1].columns == HIDDEN) else INPUTS
        nodes.append(Node(op, (before, *operands), f"h{index}", columns))
    graph = Graph({"x": INPUTS}, {**CONSTANTS, **more}, tuple(nodes), outputs or (nodes[-1].output,))
    return graph.with_nodes(graph.nodes)


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        pytest.param(["matmul w", "multiply scale"], ["matmul"], id="product-scale"),
        pytest.param(["matmul w", "multiply half"], ["matmul"], id="product-scalar"),
        pytest.param(["matmul w", "divide scale"], ["matmul"], id="product-quotient"),
        pytest.param(["matmul w", "add b", "multiply scale", "add shift"], ["matmul", "add"], id="linear-batch-norm"),
        pytest.param(["matmul w", "multiply scale", "add shift"], ["matmul", "add"], id="product-batch-norm"),
        pytest.param(["matmul w", "add b", "add half"], ["matmul", "add"], id="two-shifts"),
        pytest.param(["multiply in_scale", "add in_shift", "matmul w", "add b"], ["matmul", "add"], id="batch-norm-linear"),
        pytest.param(["add in_shift", "divide in_scale", "matmul w"], ["matmul", "add"], id="scaler-product"),
        pytest.param(["add in_shift", "matmul w"], ["matmul", "add"], id="shift-product"),
    ],
)
def test_rows_go_into_the_linear(steps: list[str], left: list[str]) -> None:
    """Fewer nodes are left, and they compute the same."""
    graph = chain(*steps)
    verify(graph)
    folded = fold_scale.apply(graph)
    verify(folded)
    assert [node.op for node in folded.nodes] == left
    x = batch_of(20, INPUTS)
    np.testing.assert_allclose(interpret(folded, (x,))[0], interpret(graph, (x,))[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(["add far", "matmul w", "add b"], id="shift-that-would-cancel-out"),
        pytest.param(["add in_shift", "multiply large_scale", "matmul w"], id="scaler-of-a-small-deviation"),
        pytest.param(["matmul w", "multiply tiny"], id="subnormal"),
        pytest.param(["matmul w", "multiply huge"], id="overflow"),
        pytest.param(["matmul w", "divide zero"], id="division-by-zero"),
        pytest.param(["matmul w", "multiply nan"], id="nan"),
        pytest.param(["matmul w", "add b", "add nan"], id="nan-shift"),
        pytest.param(["matmul w", "relu", "multiply scale"], id="activation-between"),
        pytest.param(["matmul w", "add b", "matmul u"], id="two-linears"),
        pytest.param(["matmul w", "add b", "add strip"], id="strip"),
        pytest.param(["matmul w", "subtract_from shift"], id="op-that-is-not-known"),
    ],
)
def test_what_rounding_or_range_would_tell_stays(steps: list[str]) -> None:
    """The graph is the same object."""
    graph = chain(*steps)
    assert fold_scale.apply(graph) is graph


def test_a_value_that_somebody_else_reads_stays() -> None:
    """An output between product and row is needed as it is."""
    graph = chain("matmul w", "multiply scale", outputs=("h1", "h0"))
    assert fold_scale.apply(graph) is graph


def test_a_weight_that_two_products_read_is_scaled_for_one() -> None:
    """The other product keeps the weight as it was."""
    graph = chain("matmul w", "multiply scale")
    nodes = (*graph.nodes, Node("matmul", ("x", "w"), "other", HIDDEN))
    both = fold_scale.apply(Graph(graph.inputs, graph.constants, nodes, ("h1", "other")))
    assert "other: rows x 7 = matmul(x, w: 5 x 7)" in graph_text(both)
    assert "h1: rows x 7 = matmul(x, w_scaled: 5 x 7)" in graph_text(both)


def test_the_explanation_counts_the_rows() -> None:
    """Rows that scale and rows that shift; or why there are none."""
    graph = chain("matmul w", "add b", "multiply scale", "add shift")
    text = fold_scale.explain(graph, fold_scale.apply(graph))
    assert text == "1 rows that scale and 1 that shift a value went into weights and biases of Linears."
    assert fold_scale.explain(graph, graph).startswith("Nothing folded")
