"""The pass `recognize`: what exporters write out becomes one node, and what only looks like it stays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlbench.compiler.passes import recognize
from mlbench.ir import FloatArray, Graph, Node, frozen, interpret, verify
from support.strategies import batch_of

COLUMNS = 6
NUMBERS = {
    "half": 0.5, "one": 1.0, "zero": 0.0, "two": 2.0, "three": 3.0, "root2": math.sqrt(2), "root_half": math.sqrt(0.5),
    "tanh_root": math.sqrt(2 / math.pi), "cubic": 0.044715, "sixth": 1 / 6, "epsilon": 1e-5, "minus_half": -0.5, "wrong": 0.51,
}  # fmt: skip
GELUS = {
    "half-last": "d = divide x root2; e = erf d; g = add e one; m = multiply_values x g; y = multiply m half",
    "half-first": "d = multiply x root_half; e = erf d; g = add e one; m = multiply x half; y = multiply_values m g",
    "half-of-the-gate": "d = divide x root2; e = erf d; g = add e one; m = multiply g half; y = multiply_values m x",
}
GELU_TANHS = {
    "power": "c = power x three; d = multiply c cubic; s = add_values x d; i = multiply s tanh_root; t = tanh i; g = add t one; "
             "m = multiply x half; y = multiply_values m g",
    "products": "q = multiply_values x x; c = multiply_values q x; d = multiply c cubic; s = add_values d x; i = multiply s tanh_root; "
                "t = tanh i; g = add t one; m = multiply_values g x; y = multiply m half",
    "factored": "q = multiply_values x x; c = multiply q cubic; o = add c one; r = multiply x tanh_root; i = multiply_values r o; "
                "t = tanh i; g = add t one; m = multiply_values x g; y = multiply m half",
}  # fmt: skip
OTHERS = {
    "silu": ("silu", "s = sigmoid x; y = multiply_values s x"),
    "silu-quotient": ("silu", "n = neg x; e = exp n; s = add e one; y = divide_values x s"),
    "mish": ("mish", "p = softplus x; t = tanh p; y = multiply_values x t"),
    "hard-swish": ("hard_swish", "h = hard_sigmoid x sixth half; y = multiply_values x h"),
    "hard-swish-by-clip": ("hard_swish", "s = multiply x sixth; h = add s half; c = clip h zero one; y = multiply_values c x"),
    "softmax": ("softmax", "m = reduce_max x; s = subtract_values x m; e = exp s; t = reduce_sum e; y = divide_values e t"),
    "rms-norm": ("rms_norm", "q = square x; v = reduce_mean q; w = add v epsilon; r = sqrt w; y = divide_values x r"),
    "rms-norm-reciprocal": (
        "rms_norm",
        "q = power x two; v = reduce_mean q; w = add v epsilon; r = power w minus_half; y = multiply_values r x",
    ),
}
NORM = (
    "m = reduce_mean x; c = subtract_values x m; q = power c two; v = reduce_mean q; w = add v epsilon; r = sqrt w; n = divide_values c r"
)
NORMS = {
    "scaled-and-shifted": f"{NORM}; k = multiply n row; y = add k other_row",
    "scaled": f"{NORM}; y = multiply n row",
    "shifted": f"{NORM}; y = add n row",
    "two-differences": "m = reduce_mean x; c = subtract_values x m; q = multiply_values c c; v = reduce_mean q; w = add v epsilon; "
                       "r = sqrt w; i = reciprocal r; d = subtract_values x m; y = multiply_values d i",
}  # fmt: skip
FORMS = {
    **{f"gelu-{name}": ("gelu", text) for name, text in GELUS.items()},
    **{f"gelu-tanh-{name}": ("gelu_tanh", text) for name, text in GELU_TANHS.items()},
    **OTHERS,
    **{f"layer-norm-{name}": ("layer_norm", text) for name, text in NORMS.items()},
}


def written(text: str, *outputs: str) -> Graph:
    """Return the graph that a line of `name = op value value constant` says."""
    constants: dict[str, FloatArray] = {name: frozen(number) for name, number in NUMBERS.items()}
    constants |= {"row": frozen(np.linspace(0.5, 2, COLUMNS)), "other_row": frozen(np.linspace(-1, 1, COLUMNS))}
    nodes = []
    for each in text.split("; "):
        output, _, op, *inputs = each.split()
        columns = 1 if op.startswith("reduce") or (output in ("v", "w", "r", "i") and "v = reduce" in text) else COLUMNS
        nodes.append(Node(op, tuple(inputs), output, columns))
    graph = Graph({"x": COLUMNS}, constants, tuple(nodes), outputs or ("y",))
    return graph.with_nodes(graph.nodes)


@pytest.mark.parametrize(("op", "text"), FORMS.values(), ids=FORMS)
def test_what_is_written_out_becomes_one_node(op: str, text: str) -> None:
    """One node of the op is left, and it computes what the nodes computed."""
    graph = written(text)
    verify(graph)
    found = recognize.apply(graph)
    verify(found)
    assert [node.op for node in found.nodes] == [op]
    x = batch_of(20, COLUMNS) * 2
    np.testing.assert_allclose(interpret(found, (x,))[0], interpret(graph, (x,))[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GELUS["half-last"].replace("m half", "m wrong"), id="gelu-of-another-half"),
        pytest.param(GELUS["half-last"].replace("root2", "two"), id="gelu-of-another-root"),
        pytest.param("n = neg x; s = sigmoid n; y = multiply_values x s", id="gate-of-another-value"),
        pytest.param("e = exp x; t = reduce_sum e; y = divide_values e t", id="softmax-that-overflows"),
        pytest.param(f"{NORM.replace('v = reduce_mean', 'v = reduce_sum')}; y = tanh n", id="norm-by-the-sum"),
    ],
)  # fmt: skip
def test_what_only_looks_like_it_stays(text: str) -> None:
    """Other numbers, other values, or a function with other limits: the graph is the same object."""
    graph = written(text)
    assert recognize.apply(graph) is graph


@pytest.mark.parametrize("outputs", [("y", "s"), ("s", "y")])
def test_what_somebody_else_reads_stays(outputs: tuple[str, ...]) -> None:
    """A gate that is an output, or that another node reads, is needed anyway."""
    graph = written("s = sigmoid x; y = multiply_values s x", *outputs)
    assert recognize.apply(graph) is graph
    graph = written("s = sigmoid x; h = multiply_values s x; y = add_values h s")
    assert recognize.apply(graph) is graph


def test_a_norm_that_scales_takes_in_no_second_row() -> None:
    """Two rows would be rounded together; the second one stays a node."""
    found = recognize.apply(written(f"{NORM}; k = multiply n row; y = multiply k other_row"))
    assert [node.op for node in found.nodes] == ["layer_norm", "multiply"]


def test_the_explanation_names_what_was_found() -> None:
    """Each value with its op, and how many nodes went; or that there was none."""
    graph = written(OTHERS["silu"][1])
    assert recognize.explain(graph, recognize.apply(graph)) == "y is silu: 2 nodes became 1."
    assert recognize.explain(graph, graph).startswith("Nothing recognised")
