"""Graphs: the op table, the printed form, and one smallest violation for every law."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.errors import GraphError
from mlbench.ir import OPS, REFERENCES, FloatArray, Graph, Node, Op, Step, frozen, graph_text, op_named, verify
from mlbench.models import LEAKY_SLOPE, Model, mlp
from mlbench.runtime.numpy_backend.kernels import erf, erf_into, softmax, softmax_into
from mlbench.runtime.numpy_backend.lowering import NAMESPACE, attribute_fields, value_fields
from support.strategies import batch_of, models

ROW, SCALAR = frozen([1, 2, 3]), frozen(0.5)

# --- the op table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "columns", "shapes", "after"),
    [
        pytest.param("matmul", 3, [(3, 5)], 5, id="matmul"),
        pytest.param("matmul", 1, [(1, 1)], 1, id="matmul-1x1"),
        pytest.param("add", 3, [(3,)], 3, id="add-row"),
        pytest.param("add", 3, [(4, 3)], 3, id="add-strip"),
        pytest.param("add", 3, [()], 3, id="add-scalar"),
        pytest.param("maximum", 3, [(3,)], 3, id="maximum-row"),
        pytest.param("maximum", 3, [(1, 3)], 3, id="maximum-strip-of-one"),
        pytest.param("relu", 3, [], 3, id="relu"),
        pytest.param("leaky_relu", 3, [()], 3, id="leaky_relu"),
        pytest.param("sigmoid", 3, [], 3, id="sigmoid"),
        pytest.param("tanh", 3, [], 3, id="tanh"),
        pytest.param("softmax", 3, [], 3, id="softmax"),
    ],
)
def test_a_shape_rule_gives_the_columns_of_the_result(op: str, columns: int, shapes: list[tuple[int, ...]], after: int) -> None:
    """Where constants fit, the rule says how many columns the result has."""
    assert after == OPS[op].columns([columns], shapes)


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        pytest.param("matmul", (4, 3), id="matmul-transposed"),
        pytest.param("matmul", (3,), id="matmul-row"),
        pytest.param("matmul", (1, 3, 4), id="matmul-rank-3"),
        pytest.param("add", (4,), id="add-longer-row"),
        pytest.param("power", (1,), id="power-row-of-one"),
        pytest.param("clip", (3,), id="clip-row"),
        pytest.param("add", (1,), id="add-row-that-would-broadcast"),
        pytest.param("add", (2, 1), id="add-column-that-would-broadcast"),
        pytest.param("add", (0, 3), id="add-strip-of-no-rows"),
        pytest.param("maximum", (2,), id="maximum-shorter-row"),
        pytest.param("leaky_relu", (3,), id="leaky_relu-row"),
        pytest.param("leaky_relu", (1,), id="leaky_relu-row-of-one"),
    ],
)
def test_a_shape_rule_refuses_what_does_not_fit(op: str, shape: tuple[int, ...]) -> None:
    """A constant that does not fit is refused with its shape, even where NumPy would broadcast it."""
    with pytest.raises(GraphError) as caught:
        OPS[op].columns([3], [shape])
    assert str(shape) in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize(
    ("op", "flop"),
    [("matmul", 2 * 7 * 5 * 3), ("add", 35), ("maximum", 35), ("relu", 35), ("leaky_relu", 70), ("sigmoid", 350), ("tanh", 280),
     ("softmax", 420)],
)  # fmt: skip
def test_work_is_counted(op: str, flop: int) -> None:
    """A product takes 2 * rows * columns * inputs operations, every other op its own number an element."""
    assert flop == OPS[op].work_flop(rows=7, columns=5, inputs=3)


@pytest.mark.parametrize(
    ("op", "inputs", "shapes", "size"),
    [
        pytest.param("matmul", 3, [(3, 5)], 4 * (7 * 3 + 3 * 5 + 7 * 5), id="matmul"),
        pytest.param("add", 5, [(5,)], 4 * (35 + 5 + 35), id="add-row"),
        pytest.param("add", 5, [(2, 5)], 4 * (35 + 10 + 35), id="add-strip"),
        pytest.param("leaky_relu", 5, [()], 4 * (35 + 1 + 35), id="leaky_relu"),
        pytest.param("tanh", 5, [], 4 * (35 + 35), id="tanh"),
    ],
)
def test_traffic_is_the_value_the_constants_and_the_result(op: str, inputs: int, shapes: list[tuple[int, ...]], size: int) -> None:
    """Traffic counts each of the value, the constants and the result once, four bytes a number."""
    assert size == OPS[op].traffic_bytes(7, 5, inputs, shapes)


SCALARS = {"leaky_relu": (LEAKY_SLOPE,), "elu": (1.3,), "selu": (1.7, 1.1), "celu": (0.7,), "hard_sigmoid": (0.3, 0.6), "clip": (-0.5, 0.8)}
ROWS = {"layer_norm": 2, "rms_norm": 1}
POSITIVE = ("log", "sqrt", "power", "power_values", "reciprocal", "divide_values", "divide_into")


def _operands(op: Op) -> list[FloatArray]:
    random = np.random.default_rng(1)
    if op.name in SCALARS:
        return [frozen(each) for each in SCALARS[op.name]]
    if op.name in ROWS:
        return [*(frozen(random.standard_normal(3)) for _ in range(ROWS[op.name])), frozen(1e-5)]
    shape = {"matmul": (3, 5), "gather": (4, 1, 2)}.get(op.name, (3,))
    return [frozen(random.standard_normal(shape))] if op.constants else []


def _values(op: Op, rows: int = 7) -> list[FloatArray]:
    """Return as many values as an op reads, three where it reads any number; no two are equal."""
    values = [batch_of(rows, 1 if op.name == "repeat_column" else 3, seed) for seed in range(op.values or 3)]
    if op.name == "gather":
        return [np.random.default_rng(0).integers(-4, 4, (rows, 3)).astype(np.float32)]
    if op.name.startswith("where"):
        return [(values[0] > 0).astype(np.float32), *values[1:]]
    return [np.abs(value) + np.float32(0.1) if op.name in POSITIVE else value for value in values]


ATTRIBUTES = {"slice": (1, 3), "repeat_column": (4,), "gather": (6,)}


def _scope(op: Op, values: list[FloatArray], operands: list[FloatArray]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return what the names of a kernel line stand for, its fields, and the names of the constants."""
    named = {f"v{index}": value for index, value in enumerate(values)}
    constants = {f"c{index}": array for index, array in enumerate(operands)}
    fields: dict[str, Any] = {**value_fields(list(named)), **attribute_fields(ATTRIBUTES.get(op.name, ()))}
    return {**NAMESPACE, **named, **constants}, fields, list(constants)


def _eager(op: Op, values: list[FloatArray], operands: list[FloatArray]) -> FloatArray:
    scope, fields, constants = _scope(op, values, operands)
    result: FloatArray = eval(op.eager.format(*constants, **fields), scope)  # a line of the op table
    return result


def _into(op: Op, values: list[FloatArray], out: FloatArray, operands: list[FloatArray]) -> None:
    scope, fields, constants = _scope(op, values, operands)
    widest = max((out, *values), key=lambda value: value.shape[1])
    places = {f"s{index}": np.full_like(widest, np.nan) for index in range(op.scratch)}
    scope |= {"out": out, **places}
    for line in op.into:
        exec(line.format(*constants, out="out", **fields, **dict(zip(places, places, strict=True))), scope)  # the same


PLAIN = list(OPS.values())


@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_every_op_has_every_backend(op: Op) -> None:
    """Each row of the table has a reference, an eager kernel and one that writes into its result;"""
    missing = [name for name, line in (("reference", op.name in REFERENCES), ("eager", op.eager), ("into", op.into)) if not line]
    assert missing == []


def test_there_is_no_reference_without_an_op() -> None:
    """What the interpreter knows is what the table has."""
    assert set(REFERENCES) == {op.name for op in PLAIN}


@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_the_eager_kernel_computes_the_op(op: Op) -> None:
    """The eager expression of every op is the op, to the rounding of float32."""
    values, operands = _values(op), _operands(op)
    exact: npt.NDArray[np.float64] = REFERENCES[op.name](
        *(array.astype(np.float64) for array in (*values, *operands)), *ATTRIBUTES.get(op.name, ())
    )
    np.testing.assert_allclose(_eager(op, values, operands), exact, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_the_in_place_kernel_agrees_with_the_eager_one(op: Op) -> None:
    """Both kernels of an op give the same result, whatever stood in the result and the scratch before."""
    values, operands = _values(op), _operands(op)
    eager = _eager(op, values, operands)
    out = np.full_like(eager, np.nan)
    _into(op, values, out, operands)
    np.testing.assert_allclose(out, eager, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.in_place], ids=lambda op: op.name)
def test_an_in_place_kernel_may_write_over_what_it_reads(op: Op) -> None:
    """Where the table says in place, the result may take the storage of the first value."""
    values, operands = _values(op), _operands(op)
    apart = np.empty_like(values[0])
    _into(op, values, apart, operands)
    _into(op, values, values[0], operands)
    assert np.array_equal(apart, values[0])


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.elementwise], ids=lambda op: op.name)
def test_an_elementwise_op_does_not_look_at_its_neighbours(op: Op) -> None:
    """Where the table says element-wise, a row alone gives what it gives among others."""
    values, operands = _values(op), _operands(op)
    assert np.array_equal(_eager(op, values, operands)[2:3], _eager(op, [value[2:3] for value in values], operands))


@pytest.mark.parametrize("columns", [1, 2, 3, 8, 33])
def test_softmax_in_place_works_at_every_width(columns: int) -> None:
    """The tree of halves reduces odd, even and single columns; every row sums to 1."""
    x = batch_of(5, columns) * 20
    out, scratch, spread = (np.empty_like(x) for _ in range(3))
    softmax_into(x, out, scratch, spread)
    np.testing.assert_allclose(out.sum(axis=1), np.ones(5), rtol=1e-6)
    np.testing.assert_allclose(out, softmax(x), rtol=1e-6)


def test_softmax_of_large_logits_does_not_overflow() -> None:
    """Logits of 1e4 give 0 and 1, not NaN."""
    assert softmax(frozen([[1e4, 0, -1e4]])).tolist() == [[1.0, 0.0, 0.0]]


def test_sigmoid_of_large_numbers_does_not_warn() -> None:
    """Sigmoid of -1e4 is 0, of 1e4 is 1, without an overflow on the way."""
    with np.errstate(all="raise"):
        assert _eager(OPS["sigmoid"], [frozen([[-1e4, 1e4]])], []).tolist() == [[0.0, 1.0]]


def test_erf_is_off_by_two_and_a_half_units_in_the_last_place_at_most() -> None:
    """On a grid of all magnitudes, NaN and infinities included, in both forms."""
    magnitudes = np.concatenate([np.geomspace(1e-38, 1e30, 3_000), np.linspace(1e-3, 5, 20_000)])
    x = np.concatenate([magnitudes, -magnitudes, [0.0, np.inf, -np.inf]]).astype(np.float32)[np.newaxis]
    exact = np.array([[math.erf(each) for each in x[0]]])
    with np.errstate(over="ignore"):
        found = erf(x)
        erf_into(x, out := np.empty_like(x), np.empty_like(x), np.empty_like(x))
    assert (np.abs(found - exact) <= 2.5 * np.spacing(np.abs(exact).astype(np.float32))).all()
    assert np.array_equal(found, out)
    assert np.isnan(erf(frozen([[np.nan]]))).all()


def test_an_unknown_op_is_refused_with_those_there_are() -> None:
    """An op that is not in the table is refused; the message lists the table."""
    with pytest.raises(GraphError, match=r"no op is called 'swiglu'; there are abs, .*tanh"):
        op_named("swiglu")


# --- graphs as data -----------------------------------------------------------------------------------------------------


def test_a_frozen_array_is_a_read_only_copy() -> None:
    """`frozen` copies to C-contiguous float32 that nobody can write, and leaves the original alone."""
    original = np.arange(6.0).reshape(2, 3).T
    copy = frozen(original)
    original[0, 0] = 99
    assert (copy.dtype.name, copy.flags.c_contiguous, copy.flags.writeable) == ("float32", True, False)
    assert copy[0, 0] == 0


def test_a_graph_cannot_be_changed() -> None:
    """Graphs and nodes are frozen."""
    graph = mlp().graph()
    with pytest.raises(FrozenInstanceError):
        graph.outputs = ("v0",)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        graph.nodes[0].columns = 3  # type: ignore[misc]


def test_constants_that_nobody_reads_are_left_behind() -> None:
    """A graph with fewer nodes keeps the constants that they, or their epilogues, read."""
    graph = mlp().graph()
    node = replace(graph.nodes[0], epilogue=(Step("add", ("b0",)),))
    assert {"w0", "b0"} == set(graph.with_nodes((node,)).constants)


# --- the printed form ---------------------------------------------------------------------------------------------------


def test_the_graph_of_a_model_is_what_a_user_would_write() -> None:
    """Each Linear is a product and a sum, each activation a node; the printed form says so."""
    assert graph_text(mlp(inputs=4, hidden=8, outputs=2, output_activation="softmax").graph()) == (
        "graph(x: rows x 4)\n"
        "  v0: rows x 8 = matmul(x, w0: 4 x 8)\n"
        "  v1: rows x 8 = add(v0, b0: 8)\n"
        "  v2: rows x 8 = relu(v1)\n"
        "  v3: rows x 2 = matmul(v2, w1: 8 x 2)\n"
        "  v4: rows x 2 = add(v3, b1: 2)\n"
        "  v5: rows x 2 = softmax(v4)\n"
        "  return v5"
    )


def test_the_printed_form_shows_every_fact() -> None:
    """Epilogues, scalars and strips are all in the text."""
    constants = {"w": frozen(np.ones((4, 3))), "s": SCALAR, "b_strip": frozen(np.ones((2, 3)))}
    product = Node("matmul", ("x", "w"), "h", 3, epilogue=(Step("add", ("b_strip",)), Step("leaky_relu", ("s",)), Step("tanh")))
    graph = Graph({"x": 4}, constants, (product, Node("softmax", ("h",), "y", 3)), ("y",))
    verify(graph)
    assert graph_text(graph) == (
        "graph(x: rows x 4)\n"
        "  h: rows x 3 = matmul(x, w: 4 x 3) then add(b_strip: 2 x 3) then leaky_relu(s: scalar) then tanh()\n"
        "  y: rows x 3 = softmax(h)\n"
        "  return y"
    )


# --- the laws -----------------------------------------------------------------------------------------------------------


def _graph(*nodes: Node, constants: dict[str, FloatArray] | None = None, output: str = "") -> Graph:
    given = {"w": frozen(np.ones((3, 3))), "b": ROW, "s": SCALAR} if constants is None else constants
    return Graph({"x": 3}, given, nodes, (output or (nodes[-1].output if nodes else "x"),))


def _writeable() -> FloatArray:
    return np.ones(3, np.float32)


def _with_epilogue(*steps: Step, **constants: FloatArray) -> Graph:
    return _graph(Node("matmul", ("x", "w"), "y", 3, epilogue=steps), constants={"w": frozen(np.ones((3, 3))), **constants})


TANH_X = Node("tanh", ("x",), "h", 3)
VIOLATIONS = {
    "input-without-columns": (replace(_graph(TANH_X), inputs={"x": 0}), "inputs: x has 0 columns; expected 1 or more"),
    "no-input": (Graph({}, {}, (), ("y",)), "inputs: found none; expected one or more"),
    "no-output": (replace(_graph(TANH_X), outputs=()), "outputs: found (); expected one or more, each once"),
    "output-twice": (replace(_graph(TANH_X), outputs=("h", "h")), "outputs: found ('h', 'h'); expected one or more, each once"),
    "second-output-bound-by-nobody": (replace(_graph(TANH_X), outputs=("h", "z")), "output: 'z' is bound by no node; expected one of h"),
    "constant-in-float64": (_graph(TANH_X, constants={"b": np.ones(3)}), "constants: b is float64; expected float32"),  # type: ignore[dict-item]
    "constant-of-another-byte-order": (_graph(TANH_X, constants={"b": ROW.astype(">f4")}), "constants: b is >f4; expected"),
    "constant-that-can-be-written": (_graph(TANH_X, constants={"b": _writeable()}), "constants: b can be written to"),
    "value-bound-twice": (_graph(TANH_X, TANH_X), "node 1 (h = tanh): binds 'h' a second time"),
    "input-bound-again": (_graph(Node("tanh", ("x",), "x", 3)), "node 0 (x = tanh): binds 'x' a second time"),
    "value-named-as-a-constant": (_graph(Node("tanh", ("x",), "b", 3)), "node 0 (b = tanh): binds 'b' a second time"),
    "input-named-as-a-constant": (_graph(TANH_X, constants={"x": ROW}), "x"),
    "value-not-bound-yet": (_graph(Node("tanh", ("h",), "y", 3), TANH_X), "node 0 (y = tanh): reads 'h', which is not bound yet"),
    "node-that-reads-itself": (_graph(Node("tanh", ("y",), "y", 3)), "node 0 (y = tanh): reads 'y', which is not bound yet"),
    "node-that-reads-nothing": (_graph(Node("tanh", (), "y", 3)), "node 0 (y = tanh): reads (); expected 1 value"),
    "node-that-reads-a-constant-first": (_graph(Node("tanh", ("b",), "y", 3)), "node 0 (y = tanh): reads 'b', which is not bound yet"),
    "unknown-op": (_graph(Node("swiglu", ("x",), "y", 3)), "node 0 (y = swiglu): no op is called 'swiglu'"),
    "unknown-op-in-the-epilogue": (_with_epilogue(Step("swiglu")), "node 0 (y = matmul): no op is called 'swiglu'"),
    "too-few-constants": (_graph(Node("add", ("x",), "y", 3)), "node 0 (y = add): reads ('x',); expected 1 value and 1 constant"),
    "too-many-constants": (_graph(Node("tanh", ("x", "b"), "y", 3)), "node 0 (y = tanh): reads ('x', 'b'); expected 1 value"),
    "constant-that-is-missing": (_graph(Node("add", ("x", "c"), "y", 3)), "node 0 (y = add): reads the constant 'c'"),
    "constant-that-does-not-fit": (_graph(Node("leaky_relu", ("x", "b"), "y", 3)), "node 0 (y = leaky_relu): the operand has shape (3,)"),
    "no-attributes": (_graph(Node("slice", ("x",), "y", 2)), "node 0 (y = slice): has the attributes (); expected 2 whole numbers"),
    "attributes-of-no-use": (_graph(Node("tanh", ("x",), "y", 3, attributes=(1,))), "has the attributes (1,); expected 0 whole numbers"),
    "slice-beyond-the-end": (_graph(Node("slice", ("x",), "y", 2, attributes=(2, 4))), "(2, 4); expected 0 <= first < last <= columns"),
    "slice-of-nothing": (_graph(Node("slice", ("x",), "y", 1, attributes=(1, 1))), "(1, 1); expected 0 <= first < last <= columns"),
    "row-that-is-repeated": (_graph(Node("repeat_column", ("x",), "y", 6, attributes=(2,))), "3 columns and the attribute is 2"),
    "wrong-columns": (_graph(Node("tanh", ("x",), "y", 4)), "node 0 (y = tanh): says 4 columns; its shape rule gives 3"),
    "softmax-in-an-epilogue": (_with_epilogue(Step("softmax")), "node 0 (y = matmul): softmax in the epilogue; only"),
    "product-in-an-epilogue": (_with_epilogue(Step("matmul", ("w",))), "node 0 (y = matmul): matmul in the epilogue"),
    "epilogue-behind-no-product": (
        _graph(Node("concat", ("x",), "y", 3, epilogue=(Step("tanh"),))),
        "node 0 (y = concat): has an epilogue; expected one behind a matrix product",
    ),
    "epilogue-that-does-not-fit": (
        _with_epilogue(Step("add", ("b",)), b=frozen([1, 2])),
        "node 0 (y = matmul): the value has 3 columns and the operand shape (2,)",
    ),
    "strips-of-two-heights": (
        _with_epilogue(Step("add", ("b2",)), Step("maximum", ("b4",)), b2=frozen(np.ones((2, 3))), b4=frozen(np.ones((4, 3)))),
        "node 0 (y = matmul): strips of [2, 4] rows in one node; expected one height",
    ),
    "output-bound-by-nobody": (_graph(TANH_X, output="y"), "output: 'y' is bound by no node; expected one of h"),
    "output-that-is-the-input": (_graph(TANH_X, output="x"), "output: 'x' is an input; expected a value that a node binds"),
    "output-that-is-a-constant": (_graph(TANH_X, output="b"), "output: 'b' is bound by no node"),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "message"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_broken_law_is_named_with_its_place(graph: Graph, message: str) -> None:
    """A graph that breaks one law is refused; the message names the law and the place."""
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(_graph(TANH_X), id="one-node"),
        pytest.param(_graph(TANH_X, Node("relu", ("h",), "y", 3), Node("tanh", ("h",), "z", 3)), id="value-read-twice"),
        pytest.param(_graph(TANH_X, Node("relu", ("x",), "y", 3), output="h"), id="output-that-is-not-last"),
        pytest.param(
            _with_epilogue(Step("add", ("b",)), Step("maximum", ("c",)), b=frozen(np.ones((2, 3))), c=frozen(np.zeros((2, 3)))),
            id="strips-of-one-height",
        ),
        pytest.param(_with_epilogue(Step("add", ("b",)), Step("add", ("r",)), b=frozen(np.ones((2, 3))), r=ROW), id="strip-and-row"),
    ],
)
def test_a_graph_that_keeps_every_law_passes(graph: Graph) -> None:
    """Just inside each law nothing is raised."""
    verify(graph)


@given(models())
def test_the_graph_of_every_model_is_valid(model: Model) -> None:
    """Whatever its depth, widths and activations, a model's graph keeps every law and ends with the model's columns."""
    graph = model.graph()
    verify(graph)
    assert model.outputs == graph.columns_of(graph.outputs[0])


def test_a_frozen_array_begins_at_a_cache_line() -> None:
    """`frozen` copies in either order to a multiple of 64 bytes."""
    for order in ("C", "F"):
        copy = frozen(np.arange(6.0).reshape(2, 3), order)
        assert (copy.dtype.name, copy.flags.writeable, copy.ctypes.data % ALIGNMENT_BYTES) == ("float32", False, 0)
        assert (copy.flags.c_contiguous, copy.flags.f_contiguous) == (order == "C", order == "F")
        assert copy.tolist() == [[0, 1, 2], [3, 4, 5]]
