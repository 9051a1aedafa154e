"""Each op of an ONNX model that is claimed: what a network computes is what `onnx.reference` computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto

from mlbench.ir import interpret
from mlbench.models.onnx import from_onnx
from support.onnx_models import expected, floats, model, node

Case = tuple[str, Sequence[NodeProto], dict[str, Any]]


def agree(proto: ModelProto, *, low: float = -2, high: float = 2, rtol: float = 2e-5) -> None:
    """Compare the float64 reference of the network with `onnx.reference`, which computes in float32."""
    network = from_onnx(proto.SerializeToString())
    xs = {name: floats((5, columns), 7 + index, low, high) for index, (name, columns) in enumerate(network.inputs.items())}
    found = interpret(network.graph(), list(xs.values()))
    for mine, its in zip(found, expected(proto, **xs), strict=True):
        assert its.dtype == np.float32
        np.testing.assert_allclose(mine.reshape(its.shape), its, rtol=rtol, atol=rtol)


UNARY: list[tuple[str, dict[str, Any]]] = [
    *((op, {}) for op in ("Abs", "Cos", "Erf", "Exp", "HardSwish", "Identity", "Mish", "Neg", "Relu", "Sigmoid", "Sin")),
    *((op, {}) for op in ("Softplus", "Softsign", "Tanh")),
    *(("Elu", {"alpha": alpha}) for alpha in (1.0, 0.3)),
    ("Selu", {}),
    ("Selu", {"alpha": 1.5, "gamma": 0.7}),
    *(("Celu", {"alpha": alpha}) for alpha in (1.0, 2.5)),
    ("HardSigmoid", {}),
    ("HardSigmoid", {"alpha": 0.5, "beta": 0.1}),
    *(("LeakyRelu", {"alpha": alpha}) for alpha in (0.01, 0.99, 1.0, 0.0, -0.5, 3.0)),
    ("LeakyRelu", {}),
    *(("Gelu", {"approximate": form}) for form in ("none", "tanh")),
    *(("Softmax", {"axis": axis}) for axis in (-1, 1)),
    *(("LogSoftmax", {"axis": axis}) for axis in (-1, 1)),
    ("Flatten", {}),
    ("Flatten", {"axis": -1}),
    ("Cast", {"to": TensorProto.FLOAT}),
]


@pytest.mark.parametrize(("op", "attributes"), UNARY, ids=str)
def test_an_op_of_one_value(op: str, attributes: dict[str, Any]) -> None:
    """It computes what the file says, with its attributes and with the defaults of its version."""
    agree(model([node(op, "x", **attributes)] if op != "Flatten" else [node("Neg", "x", "n"), node(op, "n", **attributes)]))


@pytest.mark.parametrize("op", ["Log", "Sqrt", "Reciprocal"])
def test_an_op_of_positive_numbers(op: str) -> None:
    """It computes what the file says where it is defined."""
    agree(model([node(op, "x")]), low=0.1)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_swish(alpha: float) -> None:
    """It is x * sigmoid(alpha x)."""
    network = from_onnx(model([node("Swish", "x", alpha=alpha)], opset=24))
    x = floats((4, 3))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(interpret(network.graph(), [x])[0], wide / (1 + np.exp(-alpha * wide)), rtol=1e-7)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (3,), (1, 3)], ids=str)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu", "Pow"])
def test_a_value_and_a_constant(op: str, shape: tuple[int, ...]) -> None:
    """A constant is a number or a row, whatever axes of 1 the file has before it."""
    agree(model([node(op, "x c")], constants={"c": floats(shape, low=0.5)}), low=0.1 if op == "Pow" else -2)


@pytest.mark.parametrize("shape", [(), (3,), (1, 3)], ids=str)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
def test_a_constant_and_a_value(op: str, shape: tuple[int, ...]) -> None:
    """The constant may come first, which matters to Sub and Div."""
    agree(model([node(op, "c x")], constants={"c": floats(shape)}), low=0.2)


@pytest.mark.parametrize("other", [3, 1])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max", "Pow"])
def test_two_values(op: str, other: int) -> None:
    """Values have the same columns, or one of them has one column, on either side."""
    agree(model([node(op, "x z")], {"x": 3, "z": other}), low=0.2)
    agree(model([node(op, "z x")], {"x": 3, "z": other}), low=0.2)


def test_a_column_and_a_row() -> None:
    """A value of one column is repeated where a constant has more."""
    agree(model([node("Sub", "x c")], {"x": 1}, {"c": floats((4,))}))


def test_a_whole_exponent() -> None:
    """An exponent may be of another type, where float32 has it."""
    agree(model([node("Pow", "x c")], constants={"c": np.array([2, 3, 0], np.int64)}))


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("inputs", ["x", "x z", "x c z", "x z c"])
def test_ops_of_many(op: str, inputs: str) -> None:
    """They take one tensor or more, constants among them."""
    names = {"x": 3, "z": 3} if "z" in inputs else {"x": 3}
    nodes = [node("Neg", "x", "n"), node(op, inputs.replace("x", "n"))]
    agree(model(nodes, names, {"c": floats((3,))} if "c" in inputs else {}))


@pytest.mark.parametrize("inputs", ["x low high", "x low", "x - high"])
def test_clip(inputs: str) -> None:
    """Either bound may be left out."""
    agree(model([node("Clip", inputs)], constants={"low": np.float32(-0.5), "high": np.float32(0.7)}))


@pytest.mark.parametrize("bounds", [{"min": -0.5, "max": 0.7}, {"min": -0.5}, {"max": 0.7}], ids=str)
def test_clip_before_version_11(bounds: dict[str, Any]) -> None:
    """The bounds are attributes there."""
    agree(model([node("Clip", "x", **bounds)], opset=6))


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("beta", [1.0, 2.0, 0.0])
@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("shift", [None, (), (1,), (2,), (1, 2)], ids=str)
def test_gemm(alpha: float, beta: float, turned: int, shift: tuple[int, ...] | None) -> None:
    """It has two factors, a weight of either order, and an addend that may be left out."""
    constants = {"w": floats((2, 3) if turned else (3, 2))} | ({} if shift is None else {"c": floats(shift)})
    inputs = "x w" if shift is None else "x w c"
    agree(model([node("Gemm", inputs, alpha=alpha, beta=beta, transB=turned)], constants=constants))


def test_gemm_of_two_values() -> None:
    """The addend may be a value, times its factor."""
    agree(model([node("Gemm", "x w z", beta=0.5)], {"x": 3, "z": 2}, {"w": floats((3, 2))}))


@pytest.mark.parametrize("shape", [(3, 2), (3, 1), (3,)], ids=str)
def test_matmul(shape: tuple[int, ...]) -> None:
    """A weight of one axis gives one number a row."""
    agree(model([node("MatMul", "x w")], constants={"w": floats(shape)}))


def test_a_weight_that_is_transposed_at_import() -> None:
    """Transpose of a constant is no node."""
    proto = model([node("Transpose", "w", "t"), node("MatMul", "x t")], constants={"w": floats((2, 3))})
    agree(proto)
    assert [each.op for each in from_onnx(proto).program.nodes] == ["matmul"]


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_batch_normalization(opset: int) -> None:
    """It is a factor and a shift for each column, in all versions; `onnx.reference` trains before version 14."""
    rows = {"s": floats((3,), 1), "b": floats((3,), 2), "m": floats((3,), 3), "v": floats((3,), 4, 0.1)}
    nodes = [node("BatchNormalization", "x s b m v", epsilon=1e-3)]
    agree(model(nodes, constants=rows, opset=15))
    x = floats((4, 3))
    found = [interpret(from_onnx(model(nodes, constants=rows, opset=each)).graph(), [x])[0] for each in (opset, 15)]
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("inputs", ["x s b", "x s"])
def test_layer_normalization(axis: int, inputs: str) -> None:
    """It goes along the columns; the shift may be left out."""
    rows = {"s": floats((3,), 1)} | ({"b": floats((3,), 2)} if "b" in inputs else {})
    agree(model([node("LayerNormalization", inputs, axis=axis, epsilon=1e-2)], constants=rows))


def test_rms_normalization() -> None:
    """It divides by the root of the mean square."""
    agree(model([node("RMSNormalization", "x s", epsilon=1e-2)], constants={"s": floats((3,))}, opset=23))


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp", "LogSum"])
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("opset", [11, 18])
def test_reductions(op: str, axis: int, keepdims: int, opset: int) -> None:
    """All columns become one, with the axes as an attribute or as an input; without keepdims the file has one axis left."""
    is_input = opset == 18 or (opset == 13 and op == "Sum")
    attributes: dict[str, Any] = {"keepdims": keepdims} | ({} if is_input else {"axes": [axis]})
    reduced = node(f"Reduce{op}", "x a" if is_input else "x", **attributes)
    agree(model([reduced], constants={"a": np.array([axis])} if is_input else {}, opset=opset), low=0.1)


def test_a_large_log_sum_exp() -> None:
    """It does not overflow where exp does."""
    network = from_onnx(model([node("ReduceLogSumExp", "x a")], constants={"a": np.array([1])}))
    (found,) = interpret(network.graph(), [np.full((1, 3), 1000, np.float32)])
    assert found[0, 0] == pytest.approx(1000 + np.log(3))


@pytest.mark.parametrize(("inputs", "axis"), [("n k", -1), ("n k n", 1), ("k", 1)])
def test_concat(inputs: str, axis: int) -> None:
    """It puts columns side by side, one value more than once as well."""
    names = {"n": node("Neg", "x", "n"), "k": node("Neg", "z", "k")}
    nodes = [each for name, each in names.items() if name in inputs]
    agree(model([*nodes, node("Concat", inputs, axis=axis)], {"x": 3, "z": 2} if "n" in inputs else {"z": 2}))


@pytest.mark.parametrize(
    ("opset", "inputs", "attributes"),
    [(11, "x", {"split": [1, 2]}), (13, "x sizes", {}), (18, "x sizes", {}), (18, "x", {"num_outputs": 2})],
    ids=str,
)
def test_split(opset: int, inputs: str, attributes: dict[str, Any]) -> None:
    """The sizes are an attribute, an input, or a number of parts, of which the last one may be smaller."""
    constants = {"sizes": np.array([1, 2])} if "sizes" in inputs else {}
    agree(model([node("Split", inputs, "y z", axis=1, **attributes)], constants=constants, outputs=("y", "z"), opset=opset))


def test_a_part_that_nobody_needs() -> None:
    """It is no node."""
    network = from_onnx(model([node("Split", "x", "y z", axis=1, num_outputs=2)], {"x": 4}))
    assert [each.op for each in network.program.nodes] == ["slice"]


@pytest.mark.parametrize(("first", "last"), [(0, 2), (1, 3), (-2, 2**31 - 1), (1, 2**63 - 1), (0, -1)], ids=str)
def test_slice(first: int, last: int) -> None:
    """It takes columns; ends may be counted from behind, or be as large as they can."""
    constants = {"a": np.array([first]), "b": np.array([last]), "axes": np.array([1])}
    agree(model([node("Slice", "x a b axes")], constants=constants))


def test_slice_before_version_10() -> None:
    """Its bounds are attributes there."""
    agree(model([node("Slice", "x", axes=[0, 1], starts=[0, 1], ends=[2**31 - 1, 3])], opset=9))


@pytest.mark.parametrize("indices", [[1], [0, 1], [2, 0], [-1, 1, 2]], ids=str)
def test_gather_of_columns(indices: list[int]) -> None:
    """Known columns in any order are parts of a row."""
    agree(model([node("Gather", "x i", axis=1)], constants={"i": np.array(indices)}))


def test_gather_of_one_column() -> None:
    """An index without an axis leaves one axis in the file and one column in the graph."""
    agree(model([node("Gather", "x i", axis=-1)], constants={"i": np.array(1)}))


@pytest.mark.parametrize("target", [[-1, 3], [0, 3], [0, -1], [-1, 3, 1], [0, 1, -1]], ids=str)
def test_reshape_that_keeps_the_rows(target: list[int]) -> None:
    """It is no node."""
    proto = model([node("Neg", "x", "n"), node("Reshape", "n t")], constants={"t": np.array(target)})
    agree(proto)
    assert [each.op for each in from_onnx(proto).program.nodes] == ["neg"]


def test_reshape_to_a_computed_shape() -> None:
    """The number of rows may be taken from the shape of a value, as PyTorch writes `x.view(x.size(0), -1)`."""
    nodes = [
        node("Neg", "x", "n"),
        node("Shape", "n", "shape"),
        node("Gather", "shape zero", "rows", axis=0),
        node("Unsqueeze", "rows axes", "rows1"),
        node("Concat", "rows1 rest", "target", axis=0),
        node("Reshape", "n target"),
    ]
    agree(model(nodes, constants={"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])}))


def test_squeeze_and_unsqueeze() -> None:
    """Axes of 1 come and go without a node."""
    nodes = [node("Unsqueeze", "x one", "u"), node("Neg", "u", "n"), node("Squeeze", "n one", "s"), node("Mul", "s s")]
    proto = model(nodes, constants={"one": np.array([1])})
    agree(proto)
    assert [each.op for each in from_onnx(proto).program.nodes] == ["neg", "multiply_values"]


def test_expand_of_a_column() -> None:
    """One column becomes as many as the shape says."""
    agree(model([node("Expand", "x t")], {"x": 1}, {"t": np.array([1, 4])}))


def test_dropout_is_seen_through() -> None:
    """It does nothing after training, in all versions."""
    versions: list[tuple[int, dict[str, Any]]] = [(6, {"is_test": 1}), (7, {}), (12, {}), (21, {})]
    for opset, attributes in versions:
        network = from_onnx(model([node("Neg", "x", "n"), node("Dropout", "n", **attributes)], opset=opset))
        assert [each.op for each in network.program.nodes] == ["neg"]


@pytest.mark.parametrize("offset", [[0.5], [0.5, 1.0, -1.0]], ids=str)
def test_the_scaler_of_scikit_learn(offset: list[float]) -> None:
    """It is (x - offset) * scale, with one number or one for each column."""
    agree(model([node("Scaler", "x", domain="ai.onnx.ml", offset=offset, scale=[2.0] * len(offset))]))


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_the_normalizer_of_scikit_learn(norm: str) -> None:
    """A row is divided by its norm, and a row of zeros stays one."""
    proto = model([node("Normalizer", "x", domain="ai.onnx.ml", norm=norm)])
    agree(proto)
    assert not interpret(from_onnx(proto).graph(), [np.zeros((2, 3), np.float32)])[0].any()


def test_the_linear_regressor_of_scikit_learn() -> None:
    """Its coefficients are a weight whose rows are targets."""
    linear = node("LinearRegressor", "x", domain="ai.onnx.ml", targets=2, coefficients=[1.0, 2, 3, 4, 5, 6], intercepts=[0.5, -0.5])
    agree(model([linear]))


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_the_linear_classifier_of_scikit_learn(transform: str) -> None:
    """Its scores are a product, a shift and what makes probabilities of them; its labels are left out."""
    linear = node(
        "LinearClassifier",
        "x",
        "label y",
        domain="ai.onnx.ml",
        classlabels_ints=[0, 1],
        coefficients=[1.0, 2, 3, 4, 5, 6],
        intercepts=[0.5, -0.5],
        post_transform=transform,
    )
    agree(model([linear]))


def test_weights_of_int8() -> None:
    """DequantizeLinear of a constant is computed at import, one scale for each column of the weight."""
    nodes = [node("DequantizeLinear", "w s z", "d", axis=1), node("MatMul", "x d")]
    constants = {
        "w": np.array([[-128, 3], [5, 127], [0, 1]], np.int8),
        "s": np.array([0.1, 0.2], np.float32),
        "z": np.array([1, -2], np.int8),
    }
    agree(model(nodes, constants=constants))


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32])
def test_a_constant_of_another_type(kind: type[np.generic]) -> None:
    """Cast of a constant rounds as the file says."""
    nodes = [node("Cast", "c", "f", to=TensorProto.FLOAT), node("Add", "x f")]
    agree(model(nodes, constants={"c": np.array([0.1, 2.7, 3], kind)}))


def test_an_axis_of_broadcasting_before_version_7() -> None:
    """A constant that begins at an axis has axes of 1 behind it."""
    proto = model([node("Add", "x c", broadcast=1, axis=1)], constants={"c": floats((3,))}, opset=6)
    network = from_onnx(proto)
    x = floats((2, 3))
    assert np.array_equal(interpret(network.graph(), [x])[0], x.astype(np.float64) + floats((3,)))


@pytest.mark.parametrize("bound", [16.0, 20.0])
def test_softplus_as_pytorch_writes_it(bound: float) -> None:
    """Above a bound it is x, which Softplus is there anyway, to the last bit of float32."""
    nodes = [node("Greater", "x c", "g"), node("Softplus", "x", "s"), node("Where", "g x s")]
    proto = model(nodes, constants={"c": np.float32(bound)})
    agree(proto, low=10, high=30, rtol=1e-7)
    assert [each.op for each in from_onnx(proto).program.nodes] == ["softplus"]
