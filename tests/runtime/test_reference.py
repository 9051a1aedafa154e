"""The judge of runners: right against a computation by hand, and neither blind nor quarrelsome."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.errors import WrongResultError
from mlbench.ir import FloatArray, frozen
from mlbench.models import LEAKY_SLOPE, OUTPUT_ACTIVATIONS, Layer, Model, mlp
from mlbench.runtime import BaselineRunner, check_result, reference
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
