"""The judge of runners: right against a computation by hand, and neither blind nor quarrelsome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.errors import WrongResultError
from mlbench.ir import OPS, FloatArray, Graph, Node, deviations, frozen, interpret, rounding
from mlbench.models import LEAKY_SLOPE, OUTPUT_ACTIVATIONS, Layer, Model, Network, mlp
from mlbench.runtime import BaselineRunner, OptimizedRunner, check_result, reference
from support.branched import BRANCHED, CONCATENATION, INNER_RESIDUAL, TWO_HEADS, TWO_INPUTS
from support.exhaustive import tries
from support.graphs import random_graph
from support.strategies import batch_of, batches, models, with_bias


def _model(activation: str = "identity") -> Model:
    weight = frozen([[1, 2], [3, -4]])
    return Model("m", (Layer(weight, frozen([0.5, 1]), activation),))


def _answer(model: Model, x: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        return BaselineRunner(model).run(x)


LOGITS = (4.5, -1.0)  # (1, 1) @ [[1, 2], [3, -4]] + (0.5, 1)


@pytest.mark.parametrize(
    ("activation", "row"),
    [
        ("identity", LOGITS),
        ("relu", (4.5, 0.0)),
        ("leaky_relu", (4.5, -LEAKY_SLOPE)),
        ("sigmoid", (0.9890130573694068, 0.2689414213699951)),
        ("tanh", (0.9997532108480275, -0.7615941559557649)),
        ("softmax", (0.9959298622841039, 0.004070137715896128)),
    ],
)
def test_the_reference_is_the_model_by_hand(activation: str, row: tuple[float, float]) -> None:
    """One Linear and each activation, worked out by hand to sixteen digits."""
    np.testing.assert_allclose(reference(_model(activation), np.ones((1, 2), np.float32)), [row], rtol=1e-14)


def test_the_reference_goes_through_every_layer() -> None:
    """Linear -> ReLU -> Linear by hand: relu(4.5, -1) @ (2, 10) - 1 = 8."""
    last = Layer(frozen([[2], [10]]), frozen([-1]))
    model = Model("m", (*_model("relu").layers, last))
    assert reference(model, np.ones((1, 2), np.float32)).tolist() == [[8.0]]


def test_the_reference_is_float64() -> None:
    """Sums that float32 would round are exact."""
    model = Model("m", (Layer(frozen([[1.0], [2.0**-20]]), frozen([2**-40])),))
    assert reference(model, frozen([[1, 1]])).item() == 1 + 2**-20 + 2**-40


def test_the_reference_sees_what_the_runner_sees() -> None:
    """A float64 input counts as the float32 it is converted to."""
    model = Model("m", (Layer(frozen([[1]]), frozen([0])),))
    assert reference(model, np.array([[0.1]])).item() == float(np.float32(0.1))


@given(st.data(), models())
def test_a_right_answer_passes(data: st.DataObject, model: Model) -> None:
    """The plain float32 run of any model agrees, and the report says by how much."""
    x = data.draw(batches(model.inputs, st.integers(1, 20)))
    found = check_result(model, x, _answer(model, x))
    assert 0 <= found.worst <= 1
    assert found.max_error >= 0


def test_an_empty_batch_passes() -> None:
    """No rows, no error."""
    assert check_result(mlp(), np.zeros((0, 64), np.float32), np.zeros((0, 10), np.float32)).worst == 0


@pytest.mark.parametrize("activation", OUTPUT_ACTIVATIONS)
@pytest.mark.parametrize("place", [(0, 0), (3, 1), (7, 9)])
def test_one_element_off_by_a_hundredth_is_wrong(activation: str, place: tuple[int, int]) -> None:
    """A single wrong element anywhere is found, and the message names its row, its column and both numbers."""
    model = mlp(output_activation=activation)
    x = batch_of(8, 64)
    y = _answer(model, x)
    y[place] += 1e-2
    with pytest.raises(WrongResultError) as caught:
        check_result(model, x, y, who="the subject")
    assert f"the subject gave {y[place]!r} at row {place[0]}, column {place[1]}" in str(caught.value)
    assert f"{reference(model, x)[place]:.9g}" in str(caught.value)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_forgotten_bias_is_wrong(layer: int) -> None:
    """A runner that leaves out any layer's bias is found."""
    model = mlp(hidden=(32, 16))
    layers = list(model.layers)
    layers[layer] = Layer(layers[layer].weight, np.zeros_like(layers[layer].bias), layers[layer].activation)
    x = batch_of(8, 64)
    with pytest.raises(WrongResultError):
        check_result(model, x, _answer(Model("m", tuple(layers)), x))


def test_a_forgotten_activation_is_wrong() -> None:
    """A runner that leaves out the ReLU is found."""
    x = batch_of(8, 64)
    with pytest.raises(WrongResultError):
        check_result(mlp(), x, _answer(mlp(activation="identity"), x))


def test_rows_in_another_order_are_wrong() -> None:
    """A runner that mixes up rows is found."""
    x = batch_of(8, 64)
    with pytest.raises(WrongResultError):
        check_result(mlp(), x, _answer(mlp(), x)[::-1])


@pytest.mark.parametrize("shape", [(7, 10), (9, 10), (8, 9), (80,), (8, 10, 1)])
def test_another_shape_is_wrong(shape: tuple[int, ...]) -> None:
    """A result of another shape is refused with both shapes, even one that would broadcast."""
    with pytest.raises(WrongResultError) as caught:
        check_result(mlp(), batch_of(8, 64), np.zeros(shape, np.float32))
    assert f"gave shape {shape}; the float64 reference gives (8, 10)" in str(caught.value)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_nothing_but_a_number_is_right_where_a_number_is(number: float) -> None:
    """NaN and infinities are wrong where the reference is finite."""
    x = batch_of(8, 64)
    y = _answer(mlp(), x)
    y[2, 3] = number
    with pytest.raises(WrongResultError, match="row 2, column 3"):
        check_result(mlp(), x, y)


LAST_BIAS = {"inf": np.inf, "minus-inf": -np.inf, "nan": np.nan}


@pytest.mark.parametrize("number", LAST_BIAS.values(), ids=LAST_BIAS)
def test_the_same_infinity_or_nan_is_right(number: float) -> None:
    """Where the reference is infinite or NaN, the same in the output is right."""
    model = with_bias(mlp(), 1, 4, number)
    x = batch_of(8, 64)
    check_result(model, x, _answer(model, x))


@pytest.mark.parametrize("number", LAST_BIAS.values(), ids=LAST_BIAS)
@pytest.mark.parametrize("given", [0.0, 1e38, np.inf, -np.inf, np.nan])
def test_another_infinity_is_wrong(number: float, given: float) -> None:
    """Where the reference is infinite or NaN, a number, the other infinity or the other kind is wrong."""
    model = with_bias(mlp(), 1, 4, number)
    x = batch_of(8, 64)
    y = _answer(model, x)
    if np.array_equal(y[:, 4], np.full(8, given, np.float32), equal_nan=True):
        return
    y[5, 4] = given
    with pytest.raises(WrongResultError, match="row 5, column 4"):
        check_result(model, x, y)


@pytest.mark.parametrize(("activation", "is_right"), [("identity", True), ("leaky_relu", False)])
def test_an_infinity_is_right_for_nan_behind_two_linears(activation: str, is_right: bool) -> None:
    """Two Linears may be computed as one, which gives an infinity where they give NaN; a number is wrong all the same."""
    model, x = mlp(8, 16, 4, activation=activation), batch_of(3, 8)
    x[1, 2] = np.inf
    y = _answer(model, x)
    assert np.isnan(y[1]).all()
    y[1] = np.inf
    if is_right:
        check_result(model, x, y)
        y[1, 0] = 0
    with pytest.raises(WrongResultError, match="row 1, column 0"):
        check_result(model, x, y)


def test_what_may_overflow_is_not_judged() -> None:
    """Finite inputs near the end of float32 overflow in one order of a sum and not in another; rows beside them are judged."""
    model = mlp(8, 16, 4)
    x = batch_of(3, 8)
    x[1] = 3e38
    y = _answer(model, x)
    y[1] = (np.nan, np.inf, 0, 1)
    check_result(model, x, y)
    y[2, 3] += 1
    with pytest.raises(WrongResultError, match="row 2, column 3"):
        check_result(model, x, y)


@pytest.mark.parametrize(
    ("activation", "number"), [("relu", -np.inf), ("tanh", -np.inf), ("tanh", np.inf), ("sigmoid", -np.inf), ("sigmoid", np.inf)]
)
def test_a_hidden_unit_that_is_switched_off_is_no_mistake(activation: str, number: float) -> None:
    """An infinite hidden bias that the activation makes finite leaves finite outputs, which the plain run gets right."""
    model = with_bias(mlp(inputs=8, hidden=16, outputs=4, activation=activation), 0, 3, number)
    x = batch_of(8, 8)
    assert np.isfinite(reference(model, x)).all()
    check_result(model, x, _answer(model, x))


def test_a_class_that_is_masked_out_is_no_mistake() -> None:
    """A logit of minus infinity gives a share of 0 and leaves the others to rounding, which the plain run gets right."""
    model = with_bias(mlp(inputs=8, hidden=16, outputs=4, output_activation="softmax"), 1, 2, -np.inf)
    x = batch_of(8, 8)
    assert reference(model, x)[:, 2].tolist() == [0.0] * 8
    check_result(model, x, _answer(model, x))


# --- any graph ----------------------------------------------------------------------------------------------------------

WIDTH = 24
NORM = Graph(
    {"x": WIDTH},
    {"w": frozen(np.random.default_rng(3).standard_normal((WIDTH, WIDTH)) / 5), "b": frozen(np.linspace(-1, 1, WIDTH)),
     "scale": frozen(np.linspace(0.5, 1.5, WIDTH)), "shift": frozen(np.linspace(1, -1, WIDTH)), "e": frozen(1e-5)},
    (Node("layer_norm", ("x", "scale", "shift", "e"), "n", WIDTH), Node("matmul", ("n", "w"), "p", WIDTH),
     Node("add", ("p", "b"), "s", WIDTH), Node("gelu", ("s",), "g", WIDTH), Node("subtract_values", ("x", "g"), "r", WIDTH),
     Node("softmax", ("r",), "y", WIDTH)),
    ("y",),
)  # fmt: skip
"""A residual block of today."""


def inputs_of(graph: Graph, rows: int = 9) -> tuple[FloatArray, ...]:
    """Return a batch for each input."""
    return tuple(batch_of(rows, columns, seed) for seed, columns in enumerate(graph.inputs.values()))


def answer(graph: Graph, xs: tuple[FloatArray, ...]) -> FloatArray | tuple[FloatArray, ...]:
    """Return what the plain float32 run gives."""
    with np.errstate(all="ignore"):
        found: FloatArray | tuple[FloatArray, ...] = BaselineRunner(graph).run(*xs)
        return found


def test_every_op_says_how_it_rounds() -> None:
    """An op that is new needs a row, or no graph with it could be judged."""
    assert set(rounding.ROUNDINGS) == set(OPS)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("block", range(10))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_right_answer_of_any_graph_passes(block: int, compiled: bool) -> None:
    """Whatever its ops, branches, inputs and outputs: rounding explains what float32 gives, with a margin."""
    for seed in range(tries(10, 1000)):
        graph, xs = random_graph(1_000_000 * block + seed)
        found = OptimizedRunner(graph, len(xs[0])).run(*xs) if compiled else answer(graph, xs)
        assert check_result(graph, xs, found, f"graph {block}, {seed}").worst < 0.7


@pytest.mark.parametrize("graph", BRANCHED.values(), ids=BRANCHED)
def test_the_agreement_of_a_graph_is_that_of_its_worst_output(graph: Graph) -> None:
    """A right answer of a small network is off by some units in the last place."""
    xs = inputs_of(graph)
    found = check_result(graph, xs, answer(graph, xs))
    assert 0 < found.worst < 0.5
    assert 0 < found.max_error < 1e-5


def with_constant(graph: Graph, name: str, change: Callable[[FloatArray], FloatArray]) -> Graph:
    """Return a graph with another constant."""
    return replace(graph, constants={**graph.constants, name: frozen(change(np.array(graph.constants[name])))})


def with_node(graph: Graph, output: str, **changes: object) -> Graph:
    """Return a graph in which one node is another."""
    return replace(graph, nodes=tuple(replace(each, **changes) if each.output == output else each for each in graph.nodes))  # type: ignore[arg-type]


def one_off(array: FloatArray) -> FloatArray:
    """Change one element by a thousandth."""
    array.flat[array.size // 2] += np.float32(1e-3)
    return array


PLANTED: dict[str, tuple[Graph, Graph]] = {
    "bias": (INNER_RESIDUAL, with_constant(INNER_RESIDUAL, "b2", one_off)),
    "weight": (INNER_RESIDUAL, with_constant(INNER_RESIDUAL, "w2", one_off)),
    "hidden-bias": (CONCATENATION, with_constant(CONCATENATION, "b1", one_off)),
    "activation": (INNER_RESIDUAL, with_node(INNER_RESIDUAL, "a1", op="abs")),
    "order-of-a-concatenation": (CONCATENATION, with_node(CONCATENATION, "h", inputs=("a1", "x", "a0"))),
    "another-branch": (INNER_RESIDUAL, with_node(INNER_RESIDUAL, "h", inputs=("a1", "a1"))),
    "one-head-of-two": (TWO_HEADS, with_constant(TWO_HEADS, "b2", one_off)),
    "one-input-of-two": (TWO_INPUTS, with_constant(TWO_INPUTS, "b1", one_off)),
    "order-of-a-difference": (NORM, with_node(NORM, "r", inputs=("g", "x"))),
    "scale-of-a-norm": (NORM, with_constant(NORM, "scale", one_off)),
    "shift-of-a-norm": (NORM, with_constant(NORM, "shift", one_off)),
    "epsilon-of-a-norm": (NORM, with_constant(NORM, "e", lambda e: e * 10)),
    "another-gelu": (NORM, with_node(NORM, "g", op="gelu_tanh")),
}


@pytest.mark.parametrize(("graph", "other"), PLANTED.values(), ids=PLANTED)
def test_a_small_error_in_a_graph_is_found(graph: Graph, other: Graph) -> None:
    """The right run of a graph that differs in one number or one node is wrong for this one, and not for its own."""
    xs = inputs_of(graph)
    check_result(other, xs, answer(other, xs))
    with pytest.raises(WrongResultError):
        check_result(graph, xs, answer(other, xs))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_error_in_any_graph_is_found() -> None:
    """One element of one output that is off by a ten-thousandth of the largest of its column is refused, unless rounding explains it."""
    found = 0
    for seed in range(tries(100, 2000)):
        graph, xs = random_graph(seed)
        right = answer(graph, xs)
        ys = list(right) if isinstance(right, tuple) else [right]
        index = seed % len(ys)
        y = ys[index] = np.array(ys[index])
        place = seed % len(y), (7 * seed) % y.shape[1]
        y[place] += 1e-4 * np.abs(y[:, place[1]]).max() + 1e-6
        try:
            check_result(graph, xs, ys if len(ys) > 1 else ys[0])
        except WrongResultError:
            found += 1
            continue
        exact, deviation = deviations(graph, xs)[index]
        assert not np.isfinite(exact[place]) or not deviation[place] * 8 < 1e-4 * np.abs(exact[:, place[1]]).max()
    assert found > tries(85, 1700)


def test_inputs_and_outputs_of_a_network_have_its_names() -> None:
    """Inputs come in order or by name, and the message says which output is wrong."""
    network = Network("net", TWO_HEADS, ("pixels",), ("policy", "value"))
    (x,) = inputs_of(TWO_HEADS)
    policy, value = BaselineRunner(network).run(x)
    for form in (x, (x,), {"pixels": x}):
        check_result(network, form, (policy, value))
    value[2, 0] += 1e-3
    with pytest.raises(
        WrongResultError, match=r"the subject, output value, gave np\.float32\(.*\) at row 2, column 0; the float64 reference"
    ):
        check_result(network, x, (policy, value), "the subject")


def test_another_number_of_outputs_is_wrong() -> None:
    """One output of two, and a tuple for one."""
    xs = inputs_of(TWO_HEADS)
    policy, value = BaselineRunner(TWO_HEADS).run(*xs)
    with pytest.raises(WrongResultError, match="gave 1 outputs; the float64 reference gives class, a2"):
        check_result(TWO_HEADS, xs, (policy,))
    with pytest.raises(WrongResultError, match="gave a tuple; the float64 reference gives one array"):
        check_result(NORM, inputs_of(NORM), (policy, value))
    with pytest.raises(WrongResultError, match=r"output class, gave shape \(9, 1\); the float64 reference gives \(9, 4\)"):
        check_result(TWO_HEADS, xs, (value, policy))


def test_the_reference_of_a_graph_is_the_interpreter() -> None:
    """An array for one output, a tuple for several, of the inputs as float32."""
    xs = inputs_of(TWO_HEADS)
    for found, exact in zip(reference(TWO_HEADS, xs), interpret(TWO_HEADS, xs), strict=True):
        assert np.array_equal(found, exact)
    graph = Graph({"x": 1}, {}, (Node("neg", ("x",), "y", 1),), ("y",))
    assert reference(graph, np.array([[0.1]])).item() == -float(np.float32(0.1))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_graph_gives_numbers_where_numbers_are(number: float) -> None:
    """NaN and infinities are wrong where the interpreter is finite."""
    xs = inputs_of(NORM)
    y = np.array(answer(NORM, xs))
    y[2, 3] = number
    with pytest.raises(WrongResultError, match="row 2, column 3"):
        check_result(NORM, xs, y)


def test_a_graph_gives_no_number_where_none_is() -> None:
    """A row with an infinity in it gives NaN, and any number is wrong there."""
    x = batch_of(9, WIDTH)
    x[4, 5] = np.inf
    y = np.array(answer(NORM, (x,)))
    check_result(NORM, x, y)
    y[4, 0] = 0
    with pytest.raises(WrongResultError, match="row 4, column 0"):
        check_result(NORM, x, y)


OPEN: dict[str, tuple[Graph, float]] = {
    "overflow": (Graph({"x": 2}, {"w": frozen([[3e38], [-3e38]])}, (Node("matmul", ("x", "w"), "y", 1),), ("y",)), 1.0),
    "squares-overflow": (Graph({"x": 2}, {}, (Node("reduce_l2", ("x",), "y", 1),), ("y",)), 1e20),
    "divisor-near-zero": (
        Graph({"x": 2}, {"c": frozen(1.0)},
              (Node("softmax", ("x",), "s", 2), Node("reduce_sum", ("s",), "t", 1), Node("subtract_from", ("t", "c"), "d", 1),
               Node("divide_values", ("x", "d"), "y", 2)), ("y",)), 1.0),
    "root-near-zero": (
        Graph({"x": 2}, {"c": frozen(1.0)},
              (Node("softmax", ("x",), "s", 2), Node("reduce_sum", ("s",), "t", 1), Node("subtract_from", ("t", "c"), "d", 1),
               Node("sqrt", ("d",), "y", 1)), ("y",)), 1.0),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "size"), OPEN.values(), ids=OPEN)
def test_what_depends_on_the_order_of_operations_is_not_judged(graph: Graph, size: float) -> None:
    """Any number, infinity or NaN may be right where a sum may overflow, or a divisor be zero, in one order and not in another."""
    x = (1 + np.abs(batch_of(5, 2))) * np.float32(size)
    columns = graph.columns_of("y")
    for number in (np.nan, np.inf, 0, 1e3):
        check_result(graph, x, np.full((5, columns), number, np.float32))


def test_errors_that_are_the_same_cancel() -> None:
    """A rounded number less itself has the error of the difference alone; the errors of two different numbers stay."""
    exps = Node("exp", ("x",), "e", 1), Node("exp", ("z",), "f", 1)
    for other, units in (("e", 2), ("f", (2**2 + 2 * 4**2) ** 0.5)):
        graph = Graph({"x": 1, "z": 1}, {}, (*exps, Node("subtract_values", ("e", other), "y", 1)), ("y",))
        ((exact, deviation),) = deviations(graph, (np.zeros((500, 1), np.float32),) * 2)
        assert (exact == 0).all()
        assert np.sqrt(np.square(deviation).mean()) * 2**24 == pytest.approx(units, rel=0.1)


def test_the_deviation_does_not_depend_on_how_rows_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large batches are judged block by block: the reference to the bit, its deviation but for chance."""
    xs = inputs_of(NORM, 64)
    ((exact, deviation),) = deviations(NORM, xs)
    monkeypatch.setattr(rounding, "_BLOCK_NUMBERS", 17 * WIDTH * 5)
    ((other, deviations_of_blocks),) = deviations(NORM, xs)
    np.testing.assert_allclose(exact, other, rtol=1e-12)
    assert np.median(deviations_of_blocks / deviation) == pytest.approx(1, abs=0.1)


def test_a_graph_without_rows_passes() -> None:
    """No rows, no error."""
    assert check_result(NORM, inputs_of(NORM, 0), np.zeros((0, WIDTH), np.float32)).worst == 0


TABLE = np.arange(8.0).reshape(4, 1, 2)
STEPS = {
    "comparison": (Node("less", ("p", "edge"), "y", 1),),
    "rounding": (Node("floor", ("p",), "y", 1),),
    "index": (Node("concat", ("e", "p"), "r", 2), Node("argmax", ("r",), "y", 1)),
    "choice": (Node("less", ("p", "edge"), "c", 1), Node("where_else", ("c", "p", "zero"), "y", 1)),
    "table": (Node("less", ("p", "edge"), "c", 1), Node("gather", ("c", "table"), "y", 2, attributes=(2,))),
}


def stepped(name: str) -> Graph:
    """Return a graph that jumps where the product of x is 2; rounding moves that product."""
    constants = {"w": frozen([[1 / 3]]), "edge": frozen(2), "zero": frozen(0), "table": frozen(TABLE)}
    first = (Node("matmul", ("x", "w"), "p", 1), Node("multiply", ("x", "zero"), "n", 1), Node("add", ("n", "edge"), "e", 1))
    graph = Graph({"x": 1}, constants, (*first, *STEPS[name]), ("y",))
    return graph.with_nodes(graph.nodes)


@pytest.mark.parametrize("name", STEPS)
def test_either_side_of_a_step_is_right_where_rounding_decides(name: str) -> None:
    """Near the step any result is right, as where two probabilities tie."""
    graph, x = stepped(name), np.array([[6.0], [1.0]], np.float32)
    y = np.array(answer(graph, (x,)))
    y[0] += 1
    check_result(graph, x, y)


@pytest.mark.parametrize("name", STEPS)
def test_the_wrong_side_of_a_step_is_found(name: str) -> None:
    """A thousandth away from it rounding explains nothing."""
    graph, x = stepped(name), np.array([[6.0], [5.99]], np.float32)
    y = np.array(answer(graph, (x,)))
    y[1] += 1
    with pytest.raises(WrongResultError, match="at row 1, column 0"):
        check_result(graph, x, y)
