"""Graphs: the op table, the printed form, and one smallest violation for every law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.errors import GraphError
from mlbench.ir import FEATURES, OPS, FloatArray, Graph, Node, Op, Step, frozen, graph_text, op_named, verify
from mlbench.models import LEAKY_SLOPE, Model, mlp
from mlbench.runtime.numpy_backend.kernels import softmax, softmax_into
from mlbench.runtime.numpy_backend.lowering import NAMESPACE
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
    assert after == OPS[op].columns(columns, shapes)


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        pytest.param("matmul", (4, 3), id="matmul-transposed"),
        pytest.param("matmul", (3,), id="matmul-row"),
        pytest.param("matmul", (1, 3, 4), id="matmul-rank-3"),
        pytest.param("add", (4,), id="add-longer-row"),
        pytest.param("add", (), id="add-scalar"),
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
        OPS[op].columns(3, [shape])
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


def _operands(op: Op) -> list[FloatArray]:
    random = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {"matmul": (3, 5), "add": (3,), "maximum": (3,)}
    if op.name == "leaky_relu":
        return [frozen(LEAKY_SLOPE)]
    return [frozen(random.standard_normal(shapes[op.name]))] if op.constants else []


def _eager(op: Op, x: FloatArray, operands: list[FloatArray]) -> FloatArray:
    names = {f"c{index}": array for index, array in enumerate(operands)}
    scope = {"np": np, "softmax": softmax, "x": x, **names}
    result: FloatArray = eval(op.eager.format(*names, x="x"), scope)  # a line of the op table
    return result


def _into(op: Op, x: FloatArray, out: FloatArray, operands: list[FloatArray]) -> None:
    names = {f"c{index}": array for index, array in enumerate(operands)}
    places = {f"s{index}": np.full_like(out, np.nan) for index in range(op.scratch)}
    scope = {**NAMESPACE, "x": x, "out": out, **names, **places}
    for line in op.into:
        exec(line.format(*names, x="x", out="out", held="out", **dict(zip(places, places, strict=True))), scope)  # the same


REFERENCES: dict[str, Callable[..., Any]] = {
    "matmul": lambda x, w: x @ w,
    "add": lambda x, b: x + b,
    "maximum": np.maximum,
    "relu": lambda x: np.where(x > 0, x, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True),
}


PLAIN = [op for op in OPS.values() if not op.generated]
"""Rows with an eager kernel; generated code is judged in test_codegen.py."""


@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_the_eager_kernel_computes_the_op(op: Op) -> None:
    """The eager expression of every op is the op, to the rounding of float32."""
    x, operands = batch_of(7, 3), _operands(op)
    exact: npt.NDArray[np.float64] = REFERENCES[op.name](x.astype(np.float64), *(a.astype(np.float64) for a in operands))
    np.testing.assert_allclose(_eager(op, x, operands), exact, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("op", PLAIN, ids=lambda op: op.name)
def test_the_in_place_kernel_agrees_with_the_eager_one(op: Op) -> None:
    """Both kernels of an op give the same result, whatever stood in the result and the scratch before."""
    x, operands = batch_of(7, 3), _operands(op)
    eager = _eager(op, x, operands)
    out = np.full_like(eager, np.nan)
    _into(op, x, out, operands)
    np.testing.assert_allclose(out, eager, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.in_place], ids=lambda op: op.name)
def test_an_in_place_kernel_may_write_over_what_it_reads(op: Op) -> None:
    """Where the table says in place, the result may take the storage of the value."""
    x, operands = batch_of(7, 3), _operands(op)
    apart = np.empty_like(x)
    _into(op, x, apart, operands)
    _into(op, x, x, operands)
    assert np.array_equal(apart, x)


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.elementwise], ids=lambda op: op.name)
def test_an_elementwise_op_does_not_look_at_its_neighbours(op: Op) -> None:
    """Where the table says element-wise, a row alone gives what it gives among others."""
    x, operands = batch_of(7, 3), _operands(op)
    assert np.array_equal(_eager(op, x, operands)[2:3], _eager(op, x[2:3], operands))


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
        assert _eager(OPS["sigmoid"], frozen([[-1e4, 1e4]]), []).tolist() == [[0.0, 1.0]]


def test_an_unknown_op_is_refused_with_those_there_are() -> None:
    """An op that is not in the table is refused; the message lists the table."""
    with pytest.raises(GraphError, match=r"no op is called 'gelu'; there are add, leaky_relu, .*tanh"):
        op_named("gelu")


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
        graph.output = "v0"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        graph.nodes[0].columns = 3  # type: ignore[misc]


def test_constants_that_nobody_reads_are_left_behind() -> None:
    """A graph with fewer nodes keeps the constants that they, or their epilogues, read."""
    graph = mlp().graph()
    node = replace(graph.nodes[0], epilogue=(Step("add", ("b0",)),))
    assert {"w0", "b0"} == set(graph.with_nodes((node,)).constants)


@pytest.mark.parametrize(("max_batch", "tile_rows", "rows"), [(None, None, None), (8, None, 8), (8, 4, 4)])
def test_rows_at_once_are_the_tile_or_the_batch(max_batch: int | None, tile_rows: int | None, rows: int | None) -> None:
    """The nodes see a tile where there are tiles, else the batch, else nothing is known."""
    assert rows == replace(mlp().graph(), max_batch=max_batch, tile_rows=tile_rows).rows_at_once


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
    """Batch, tiles, epilogues, scalars, strips and in-place nodes are all in the text."""
    constants = {"w": frozen(np.ones((4, 3))), "s": SCALAR, "b_strip": frozen(np.ones((2, 3)))}
    product = Node("matmul", ("x", "w"), "h", 3, epilogue=(Step("add", ("b_strip",)), Step("leaky_relu", ("s",)), Step("tanh")))
    graph = Graph("x", 4, constants, (product, Node("softmax", ("h",), "y", 3, in_place=True)), "y", max_batch=9, tile_rows=4)
    verify(graph)
    assert graph_text(graph) == (
        "graph(x: rows x 4) max_batch=9, tiles of 4 rows\n"
        "  h: rows x 3 = matmul(x, w: 4 x 3) then add(b_strip: 2 x 3) then leaky_relu(s: scalar) then tanh()\n"
        "  y: rows x 3 = softmax(h) in place of h\n"
        "  return y"
    )


# --- the laws -----------------------------------------------------------------------------------------------------------


def _graph(*nodes: Node, constants: dict[str, FloatArray] | None = None, output: str = "") -> Graph:
    given = {"w": frozen(np.ones((3, 3))), "b": ROW, "s": SCALAR} if constants is None else constants
    return Graph("x", 3, given, nodes, output or (nodes[-1].output if nodes else "x"))


def _writeable() -> FloatArray:
    return np.ones(3, np.float32)


def _with_epilogue(*steps: Step, **constants: FloatArray) -> Graph:
    return _graph(Node("matmul", ("x", "w"), "y", 3, epilogue=steps), constants={"w": frozen(np.ones((3, 3))), **constants})


TANH_X = Node("tanh", ("x",), "h", 3)
VIOLATIONS = {
    "input-without-columns": (replace(_graph(TANH_X), input_columns=0), "sizes: input_columns is 0; expected 1 or more"),
    "batch-of-none": (replace(_graph(TANH_X), max_batch=0), "sizes: max_batch is 0; expected 1 or more"),
    "tile-of-none": (replace(_graph(TANH_X), max_batch=4, tile_rows=0), "sizes: tile_rows is 0; expected 1 or more"),
    "tile-without-batch": (replace(_graph(TANH_X), tile_rows=2), "sizes: tiles of 2 rows with max_batch None"),
    "tile-as-high-as-the-batch": (replace(_graph(TANH_X), max_batch=4, tile_rows=4), "sizes: tiles of 4 rows with max_batch 4"),
    "constant-in-float64": (_graph(TANH_X, constants={"b": np.ones(3)}), "constants: b is float64; expected float32"),  # type: ignore[dict-item]
    "constant-of-another-byte-order": (_graph(TANH_X, constants={"b": ROW.astype(">f4")}), "constants: b is >f4; expected"),
    "constant-that-can-be-written": (_graph(TANH_X, constants={"b": _writeable()}), "constants: b can be written to"),
    "value-bound-twice": (_graph(TANH_X, TANH_X), "node 1 (h = tanh): binds 'h' a second time"),
    "input-bound-again": (_graph(Node("tanh", ("x",), "x", 3)), "node 0 (x = tanh): binds 'x' a second time"),
    "value-named-as-a-constant": (_graph(Node("tanh", ("x",), "b", 3)), "node 0 (b = tanh): binds 'b' a second time"),
    "input-named-as-a-constant": (_graph(TANH_X, constants={"x": ROW}), "x"),
    "value-not-bound-yet": (_graph(Node("tanh", ("h",), "y", 3), TANH_X), "node 0 (y = tanh): reads ('h',) which is not bound"),
    "node-that-reads-itself": (_graph(Node("tanh", ("y",), "y", 3)), "node 0 (y = tanh): reads ('y',) which is not bound yet"),
    "node-that-reads-nothing": (_graph(Node("tanh", (), "y", 3)), "node 0 (y = tanh): reads () which is not bound yet"),
    "node-that-reads-a-constant-first": (_graph(Node("tanh", ("b",), "y", 3)), "node 0 (y = tanh): reads ('b',)"),
    "unknown-op": (_graph(Node("gelu", ("x",), "y", 3)), "node 0 (y = gelu): no op is called 'gelu'"),
    "unknown-op-in-the-epilogue": (_with_epilogue(Step("gelu")), "node 0 (y = matmul): no op is called 'gelu'"),
    "too-few-constants": (_graph(Node("add", ("x",), "y", 3)), "node 0 (y = add): add has 0 constants; expected 1"),
    "too-many-constants": (_graph(Node("tanh", ("x", "b"), "y", 3)), "node 0 (y = tanh): tanh has 1 constants; expected 0"),
    "constant-that-is-missing": (_graph(Node("add", ("x", "c"), "y", 3)), "node 0 (y = add): reads the constant 'c'"),
    "constant-that-does-not-fit": (_graph(Node("add", ("x", "s"), "y", 3)), "node 0 (y = add): the value has 3 columns"),
    "wrong-columns": (_graph(Node("tanh", ("x",), "y", 4)), "node 0 (y = tanh): says 4 columns; its shape rule gives 3"),
    "softmax-in-an-epilogue": (_with_epilogue(Step("softmax")), "node 0 (y = matmul): softmax in the epilogue; only"),
    "product-in-an-epilogue": (_with_epilogue(Step("matmul", ("w",))), "node 0 (y = matmul): matmul in the epilogue"),
    "epilogue-behind-no-product": (
        _graph(Node("tanh", ("x",), "y", 3, epilogue=(Step("tanh"),))),
        "node 0 (y = tanh): has an epilogue; only a matrix product may have one",
    ),
    "epilogue-that-does-not-fit": (
        _with_epilogue(Step("add", ("b",)), b=frozen([1, 2])),
        "node 0 (y = matmul): the value has 3 columns and the operand shape (2,)",
    ),
    "strips-of-two-heights": (
        _with_epilogue(Step("add", ("b2",)), Step("maximum", ("b4",)), b2=frozen(np.ones((2, 3))), b4=frozen(np.ones((4, 3)))),
        "node 0 (y = matmul): strips of [2, 4] rows in one epilogue; expected one height",
    ),
    "unknown-layout": (_graph(replace(TANH_X, layout="diagonal")), "node 0 (h = tanh): the layout is 'diagonal'; expected rows or"),
    "no-parts": (_graph(replace(TANH_X, parts=0)), "node 0 (h = tanh): 0 parts of 3 columns, rows; only features can be parted"),
    "parts-of-rows": (_graph(replace(TANH_X, parts=2)), "node 0 (h = tanh): 2 parts of 3 columns, rows"),
    "more-parts-than-features": (
        _graph(Node("matmul", ("x", "w"), "h", 3, layout=FEATURES, parts=4), Node("matmul", ("h", "w"), "y", 3)),
        "node 0 (h = matmul): 4 parts of 3 columns, features",
    ),
    "op-that-cannot-turn": (_graph(replace(TANH_X, layout=FEATURES)), "node 0 (h = tanh): tanh cannot write feature after feature"),
    "strip-over-features": (
        _graph(
            Node("matmul", ("x", "w"), "h", 3, epilogue=(Step("add", ("b2",)),), layout=FEATURES),
            Node("matmul", ("h", "w"), "y", 3),
            constants={"w": frozen(np.ones((3, 3))), "b2": frozen(np.ones((2, 3)))},
        ),
        "node 0 (h = matmul): a strip in the epilogue of a value that lies feature after feature",
    ),
    "features-read-by-no-product": (
        _graph(Node("matmul", ("x", "w"), "h", 3, layout=FEATURES), Node("tanh", ("h",), "y", 3)),
        "node 1 (y = tanh): reads h, which lies feature after feature; only a matrix product can",
    ),
    "output-in-features": (
        _graph(Node("matmul", ("x", "w"), "y", 3, layout=FEATURES)),
        "output: 'y' lies feature after feature; the caller expects rows",
    ),
    "no-threads": (replace(_graph(TANH_X), threads=0), "sizes: threads is 0; expected 1 or more"),
    "one-worker": (replace(_graph(TANH_X), threads=2, workers=1), "sizes: 1 workers with 2 threads allowed"),
    "more-workers-than-threads": (replace(_graph(TANH_X), threads=2, workers=3), "sizes: 3 workers with 2 threads allowed"),
    "output-bound-by-nobody": (_graph(TANH_X, output="y"), "output: 'y' is bound by no node; expected one of h"),
    "output-that-is-the-input": (_graph(TANH_X, output="x"), "output: 'x' is the input; expected a value that a node binds"),
    "output-that-is-a-constant": (_graph(TANH_X, output="b"), "output: 'b' is bound by no node"),
    "generated-without-panels": (
        replace(_graph(Node("linear_generated", ("x", "w"), "y", 3)), is_static=True),
        "node 0 (y = linear_generated): panels of 0 vectors of 0 lanes; expected 1 or more of both",
    ),
    "generated-without-static-buffers": (
        _graph(Node("linear_generated", ("x", "w"), "y", 3, width=1, lanes=8)),
        "node 0 (y = linear_generated): the graph has no static buffers; generated code has addresses in it",
    ),
    "generated-features": (
        _graph(Node("linear_generated", ("x", "w"), "h", 3, layout=FEATURES, width=1, lanes=8), Node("matmul", ("h", "w"), "y", 3)),
        "node 0 (h = linear_generated): linear_generated cannot write feature after feature",
    ),
    "more-steps-inside-than-there-are": (
        replace(_graph(Node("linear_generated", ("x", "w"), "y", 3, width=1, lanes=8, inner=1)), is_static=True),
        "node 0 (y = linear_generated): 1 of 0 steps inside the code; expected no more than there are",
    ),
    "a-strip-inside": (
        replace(_graph(Node("linear_generated", ("x", "w"), "y", 3, (Step("add", ("w",)),), width=1, lanes=8, inner=1)), is_static=True),
        "node 0 (y = linear_generated): a strip in a step inside the code; expected a row or a scalar",
    ),
    "an-operand-with-gaps-inside": (
        replace(
            _graph(
                Node("linear_generated", ("x", "w"), "y", 3, (Step("add", ("gaps",)),), width=1, lanes=8, inner=1),
                constants={"w": frozen(np.ones((3, 3))), "gaps": frozen(np.ones(6))[::2]},
            ),
            is_static=True,
        ),
        "node 0 (y = linear_generated): an operand of add with gaps in a step inside the code; expected number after number",
    ),
    "panels-of-numpy": (
        _graph(Node("matmul", ("x", "w"), "y", 3, width=2)),
        "node 0 (y = matmul): panels of 2 vectors and 0 steps inside; only generated code has them",
    ),
    "steps-inside-numpy": (
        _graph(Node("matmul", ("x", "w"), "y", 3, (Step("relu"),), inner=1)),
        "node 0 (y = matmul): panels of 0 vectors and 1 steps inside; only generated code has them",
    ),
    "shared-by-nobody-knows-what": (replace(_graph(TANH_X), shared="all"), "sizes: the workers share 'all'; expected one of rows, columns"),
    "shared-columns-of-numpy": (
        replace(_graph(TANH_X), threads=2, workers=2, shared="columns"),
        "sizes: the workers share columns of a graph that NumPy has a part in; only generated code can share them",
    ),
    "product-in-place": (
        _graph(TANH_X, Node("matmul", ("h", "w"), "y", 3, in_place=True)),
        "node 1 (y = matmul, in place): matmul cannot write over what it reads",
    ),
    "in-place-of-the-input": (
        _graph(Node("tanh", ("x",), "y", 3, in_place=True)),
        "node 0 (y = tanh, in place): would write over the input, which belongs to the caller",
    ),
    "in-place-of-a-value-read-later": (
        _graph(TANH_X, Node("tanh", ("h",), "y", 3, in_place=True), Node("relu", ("h",), "z", 3)),
        "node 1 (y = tanh, in place): h is still read afterwards",
    ),
    "in-place-of-the-output": (
        _graph(TANH_X, Node("tanh", ("h",), "y", 3, in_place=True), output="h"),
        "node 1 (y = tanh, in place): h is still read afterwards",
    ),
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
        pytest.param(replace(_graph(TANH_X), input_columns=3, max_batch=1), id="batch-of-one"),
        pytest.param(replace(_graph(TANH_X), max_batch=2, tile_rows=1), id="tile-one-below-the-batch"),
        pytest.param(_graph(TANH_X, Node("relu", ("h",), "y", 3), Node("tanh", ("h",), "z", 3)), id="value-read-twice"),
        pytest.param(_graph(TANH_X, Node("relu", ("h",), "y", 3, in_place=True)), id="in-place-of-a-dead-value"),
        pytest.param(
            _graph(TANH_X, Node("relu", ("h",), "y", 3), Node("tanh", ("h",), "z", 3, in_place=True)),
            id="in-place-at-the-last-reader",
        ),
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
    assert model.outputs == graph.columns_of(graph.output)


def test_the_printed_form_shows_layouts_and_threads() -> None:
    """Feature-major values, parts, Fortran order, static buffers, workers and BLAS threads are in the text as well."""
    weight = np.asfortranarray(np.ones((4, 4), np.float32))
    weight.flags.writeable = False
    nodes = (Node("matmul", ("x", "w"), "h", 4, layout=FEATURES, parts=2), Node("matmul", ("h", "w"), "y", 4))
    graph = Graph("x", 4, {"w": weight}, nodes, "y", max_batch=9, is_static=True, threads=2, workers=2, blas_threads=1)
    verify(graph)
    assert graph_text(graph) == (
        "graph(x: rows x 4) max_batch=9, shared by 2 threads, BLAS on 1 thread, static buffers\n"
        "  h: 4 x rows = matmul(x, w: 4 x 4 Fortran) in 2 parts\n"
        "  y: rows x 4 = matmul(h, w: 4 x 4 Fortran)\n"
        "  return y"
    )


def test_a_frozen_array_begins_at_a_cache_line() -> None:
    """`frozen` copies in either order to a multiple of 64 bytes."""
    for order in ("C", "F"):
        copy = frozen(np.arange(6.0).reshape(2, 3), order)
        assert (copy.dtype.name, copy.flags.writeable, copy.ctypes.data % ALIGNMENT_BYTES) == ("float32", False, 0)
        assert (copy.flags.c_contiguous, copy.flags.f_contiguous) == (order == "C", order == "F")
        assert copy.tolist() == [[0, 1, 2], [3, 4, 5]]
