"""Comparisons, choices, indices, tables and labels of an ONNX model, against `onnx.reference`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto

from mlbench.errors import ModelError
from mlbench.ir import interpret
from mlbench.models import Network
from mlbench.models.network_file import VERSION
from mlbench.models.onnx import from_onnx
from mlbench.runtime import BaselineRunner, OptimizedRunner
from support.onnx_models import BATCH, Array, expected, floats, model, node

ML = "ai.onnx.ml"
WHOLE = np.array([[0, 1, 2], [4, 3, 0], [1, 1, 4], [-1, -5, 3]])
"""Indices of five entries."""
NUMBERS = np.array([[0.5, -1.0, 2.0], [2.0, 2.0, -3.0], [0.0, 0.25, 0.0], [-0.5, 1.5, 7.0]], np.float32)
TABLE = floats((5, 2))


def with_ids(nodes: Sequence[NodeProto], constants: Mapping[str, Any] | None = None, kind: int = TensorProto.INT64) -> ModelProto:
    """Return a model whose input x is whole numbers in three columns."""
    return model(nodes, constants=constants, kind=kind)


def agree(proto: ModelProto, x: Array, *, rtol: float = 2e-6) -> Network:
    """Compare the float64 reference and both runners with `onnx.reference`, types included; return the network."""
    network = from_onnx(proto.SerializeToString())
    right = expected(proto, x=x)
    rows = x.reshape((len(x), -1))
    runs: list[Any] = [
        [each.astype(np.float32) for each in interpret(network.graph(), [rows])],
        BaselineRunner(network).run(rows),
        OptimizedRunner(network, max_batch=len(x)).run(rows),
    ]
    for found in runs:
        results = (found,) if isinstance(found, np.ndarray) else tuple(found)
        assert all(each.dtype == np.float32 for each in results)
        for mine, its in zip(network.as_declared(results), right, strict=True):
            if its.dtype.kind in "OU":
                assert mine.reshape(its.shape).tolist() == its.tolist()
                continue
            assert mine.dtype == its.dtype
            np.testing.assert_allclose(mine.reshape(its.shape), its, rtol=rtol, atol=1e-6)
    return network


COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


@pytest.mark.parametrize("inputs", ["x c", "c x", "x r", "r x", "x n", "x m", "m x"])
@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons(op: str, inputs: str) -> None:
    """Of values, of one column, and with a number or a row on either side; equal numbers are among them."""
    nodes = [node("ReduceMax", "x axis", "m"), node("Neg", "x", "n"), node(op, inputs)]
    agree(model(nodes, constants={"c": np.float32(2), "r": np.array([0, 2, 2], np.float32), "axis": np.array([1])}), NUMBERS)


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_of_whole_numbers(op: str) -> None:
    """With a constant of whole numbers."""
    agree(with_ids([node(op, "x c")], {"c": np.array([1, 3, 4])}), WHOLE)


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
@pytest.mark.parametrize("inputs", ["a b", "a c", "c a"])
def test_logic(op: str, inputs: str) -> None:
    """Of two values and of a constant."""
    nodes = [node("Greater", "x z", "a"), node("Less", "x o", "b"), node(op, inputs)]
    agree(model(nodes, constants={"z": np.float32(0), "o": np.float32(1), "c": np.array([True, False, True])}), NUMBERS)


@pytest.mark.parametrize("op", ["Not", "IsNaN", "IsInf"])
def test_questions_of_one_value(op: str) -> None:
    """NaN and infinities of either sign are told apart."""
    x = np.array([[0, np.nan, np.inf], [-np.inf, 1, -2]], np.float32)
    before = [node("Greater", "x z", "g")] if op == "Not" else []
    agree(model([*before, node(op, "g" if before else "x")], constants={"z": np.float32(0)} if before else {}), x)


@pytest.mark.parametrize(("positive", "negative"), [(1, 0), (0, 1)])
def test_infinities_of_one_sign(positive: int, negative: int) -> None:
    """An attribute says which."""
    x = np.array([[0, np.inf, -np.inf]], np.float32)
    agree(model([node("IsInf", "x", detect_positive=positive, detect_negative=negative)]), x)


CHOICES = ("g x n", "g x c", "g c x", "g c r", "g r c", "g i c", "g x m", "h x n", "h r c", "k x n", "k x c", "g x x")


@pytest.mark.parametrize("inputs", CHOICES)
def test_where(inputs: str) -> None:
    """Of values and constants in each place, of one column, and of infinities."""
    asked = [node("ReduceMax", "x axis", "m"), node("Neg", "x", "n"), node("Greater", "x z", "g"), node("Greater", "m z", "h")]
    constants = {
        "z": np.float32(1),
        "c": np.float32(5),
        "r": np.array([1, 2, 3], np.float32),
        "i": np.array([-np.inf, 0, np.inf], np.float32),
        "k": np.array([True, False, True]),
        "axis": np.array([1]),
    }
    agree(model([*asked, node("Where", inputs)], constants=constants), NUMBERS)


def test_where_does_not_calculate() -> None:
    """What is not chosen may be NaN or infinite."""
    x = np.array([[np.nan, np.inf, -np.inf]], np.float32)
    agree(model([node("IsNaN", "x", "g"), node("Where", "g c x")], constants={"c": np.float32(0)}), x)


@pytest.mark.parametrize(("axis", "keepdims", "last"), [(1, 1, 0), (-1, 0, 0), (1, 1, 1)])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_the_place_of_the_largest(op: str, axis: int, keepdims: int, last: int) -> None:
    """The first of several that are equal, or the last."""
    network = agree(model([node(op, "x", axis=axis, keepdims=keepdims, select_last_index=last)]), NUMBERS)
    assert network.output_dtypes == ("int64",)


@pytest.mark.parametrize("op", ["Floor", "Ceil", "Round", "Sign"])
def test_ops_that_cut(op: str) -> None:
    """Halves go to the even neighbour."""
    agree(model([node(op, "x")]), NUMBERS)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64, TensorProto.INT32])
def test_casts_of_numbers(kind: int) -> None:
    """Truth is what is not 0, and whole numbers are cut towards 0."""
    agree(model([node("Cast", "x", to=kind)]), NUMBERS)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT32])
def test_casts_of_whole_numbers(kind: int) -> None:
    """They are numbers as they are."""
    agree(with_ids([node("Cast", "x", to=kind)]), WHOLE)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min"])
def test_arithmetic_of_indices(op: str) -> None:
    """Small whole numbers are computed exactly."""
    agree(model([node("ArgMax", "x", "i", axis=1), node(op, "i c")], constants={"c": np.array([2, 3, 4])}), NUMBERS)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_an_embedding(kind: int) -> None:
    """The entries of each row lie side by side; an index below 0 counts from the end."""
    nodes = [node("Gather", "t x", "e"), node("Flatten", "e", "f"), node("MatMul", "f w")]
    x = WHOLE.astype(np.int32 if kind == TensorProto.INT32 else np.int64)
    network = agree(with_ids(nodes, {"t": TABLE, "w": floats((6, 4), 1)}, kind), x)
    assert network.input_dtypes == ("int32" if kind == TensorProto.INT32 else "int64",)


def test_a_table_for_each_column() -> None:
    """As recommenders have them: columns are split, and each is an index of its own table."""
    nodes = [
        node("Gather", "x zero", "a", axis=1), node("Slice", "x first last axis", "b"), node("Gather", "t a", "e"),
        node("Gather", "u b", "g"), node("Squeeze", "g axis", "h"), node("Concat", "e h", axis=1),
    ]  # fmt: skip
    constants = {"zero": np.array(0), "first": np.array([1]), "last": np.array([2]), "axis": np.array([1]), "t": TABLE, "u": floats((7, 3))}
    agree(with_ids(nodes, constants), np.array([[4, 6, 100], [-5, -7, -100]]))


def test_offsets_into_one_table() -> None:
    """A sum that may be too large for float32 is read by a look-up alone, which refuses what is out of range."""
    nodes = [node("Add", "x o", "i"), node("Gather", "t i", "e"), node("Flatten", "e")]
    agree(with_ids(nodes, {"o": np.array([0, 5, 10]), "t": floats((15, 2))}), np.array([[4, 4, 4], [0, 0, 0]]))


def test_an_embedding_as_keras_writes_it() -> None:
    """An index below 0 is counted from the end before the table is read."""
    nodes = [
        node("Less", "x zero", "below"),
        node("Add", "x count", "sum"),
        node("Where", "below sum x", "i"),
        node("Gather", "t i", "e"),
        node("Flatten", "e"),
    ]
    agree(with_ids(nodes, {"zero": np.array(0), "count": np.array(5), "t": TABLE}), WHOLE)


def test_the_entry_of_the_largest() -> None:
    """A place is an index as well."""
    agree(model([node("ArgMax", "x", "i", axis=1, keepdims=0), node("Gather", "t i")], constants={"t": floats((3, 4))}), NUMBERS)


def test_a_table_of_whole_numbers() -> None:
    """Its entries are whole numbers, which may be indices again."""
    agree(with_ids([node("Gather", "t x", "i"), node("Gather", "u i")], {"t": np.array([2, 0, 1, 1, 0]), "u": floats((3,))}), WHOLE)


@pytest.mark.parametrize("fmod", [0, 1])
def test_a_remainder_of_whole_numbers(fmod: int) -> None:
    """Python's or C's, with a divisor above 0."""
    agree(with_ids([node("Mod", "x c", fmod=fmod)], {"c": np.array([2, 3, 4])}), WHOLE)


def test_a_remainder_of_numbers() -> None:
    """C's."""
    agree(model([node("Mod", "x c", fmod=1)], constants={"c": np.array([0.75, -0.5, 2], np.float32)}), NUMBERS)


@pytest.mark.parametrize("texts", [False, True])
def test_labels_as_skl2onnx_writes_them(texts: bool) -> None:
    """The entry of a list at the place of the largest, whole numbers or text, of which the network keeps the labels."""
    classes = np.array(["blue", "red", "sea"]) if texts else np.array([10, 20, 30])
    nodes = [
        node("ArgMax", "x", "i", axis=1), node("ArrayFeatureExtractor", "classes i", "a", domain=ML), node("Reshape", "a shape", "label"),
        node("Identity", "label", "y"),
    ]  # fmt: skip
    network = agree(model(nodes, constants={"classes": classes, "shape": np.array([-1])}), NUMBERS)
    assert network.labels == ({"y": ("blue", "red", "sea")} if texts else {})
    assert network.output_dtypes == ("text" if texts else "int64",)


def test_known_columns_of_a_value() -> None:
    """Indices that are known move columns."""
    agree(model([node("ArrayFeatureExtractor", "x i", domain=ML)], constants={"i": np.array([2, 0])}), NUMBERS)


ENCODERS: dict[str, dict[str, Any]] = {
    "numbers-to-numbers": {"keys_int64s": [0, 2, 1], "values_int64s": [7, 8, 9], "default_int64": -3},
    "numbers-to-text": {"keys_int64s": [0, 2], "values_strings": ["a", "b"], "default_string": "none"},
    "numbers-to-floats": {"keys_int64s": [0, 2], "values_floats": [0.5, 1.5], "default_float": 0.25},
}


@pytest.mark.parametrize("attributes", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("searched", [False, True], ids=["table", "searched"])
def test_a_label_encoder(attributes: dict[str, Any], searched: bool) -> None:
    """Through a table where the range is known, and key by key where it is not."""
    encoder = node("LabelEncoder", "x" if searched else "i", domain=ML, **attributes)
    if searched:
        agree(with_ids([encoder]), WHOLE)
    else:
        agree(model([node("ArgMax", "x", "i", axis=1), encoder]), NUMBERS)


def test_a_label_encoder_of_numbers() -> None:
    """A key is a float32 number."""
    agree(model([node("LabelEncoder", "x", domain=ML, keys_floats=[0.25, 2.0], values_floats=[1.0, 5.0], default_float=-1.0)]), NUMBERS)


def test_text_to_other_text() -> None:
    """The labels are mapped when the file is read."""
    nodes = [
        node("ArgMax", "x", "i", axis=1), node("ArrayFeatureExtractor", "classes i", "a", domain=ML), node("Reshape", "a shape", "b"),
        node("LabelEncoder", "b", domain=ML, keys_strings=["blue", "red"], values_strings=["x", "x"], default_string="z"),
    ]  # fmt: skip
    network = agree(model(nodes, constants={"classes": np.array(["blue", "red", "sea"]), "shape": np.array([-1])}), NUMBERS)
    assert network.labels == {"y": ("x", "z")}


def test_the_labels_of_a_linear_classifier() -> None:
    """Those of the largest score."""
    linear = node("LinearClassifier", "x", "y z", domain=ML, classlabels_strings=["a", "b"], coefficients=[1.0, -1, 2, 0.5, 0.5, 0.5],
                  intercepts=[0.0, 0.25])  # fmt: skip
    network = agree(model([linear], outputs=("y", "z")), NUMBERS)
    assert network.output_dtypes == ("text", "float32")


def test_the_binarizer_of_scikit_learn() -> None:
    """1 above the threshold."""
    agree(model([node("Binarizer", "x", domain=ML, threshold=0.25)]), NUMBERS)


def test_the_normalizer_by_the_largest() -> None:
    """The text of ONNX-ML divides by max(X), with its sign, and leaves a row whose largest is 0; `onnx.reference` leaves the sign out."""
    x = np.array([[1, -4, 2], [-1, -2, -4], [0, -1, 0]], np.float32)
    network = from_onnx(model([node("Normalizer", "x", domain=ML, norm="MAX")]))
    right = x / np.array([[2], [-1], [1]], np.float32)
    for found in (BaselineRunner(network).run(x), OptimizedRunner(network, 3).run(x), *interpret(network.graph(), [x])):
        np.testing.assert_array_equal(found, right)


def test_more_rows_of_each() -> None:
    """The exporter of scikit-learn writes the targets of a regressor one behind another; the graph has them side by side."""
    agree(model([node("MatMul", "x w", "v"), node("Reshape", "v s")], constants={"w": floats((3, 2)), "s": np.array([-1, 1])}), NUMBERS)


def test_inputs_of_rows_alone() -> None:
    """(rows,) of the file is (rows, 1)."""
    proto = model([node("Gather", "t x")], {"x": (BATCH,)}, {"t": TABLE}, kind=TensorProto.INT64)
    network = agree(proto, np.array([3, -1, 0]))
    assert network.inputs == {"x": 1}


REFUSED: dict[str, tuple[list[NodeProto], dict[str, Any], str]] = {
    "large-constant": ([node("Equal", "x c")], {"c": np.array([2**24 + 1])}, "the whole number 16,777,217"),
    "large-entry": ([node("Gather", "t x")], {"t": np.array([2**24 + 1, 0])}, "its table has the whole number"),
    "sum-out-of-range": ([node("Add", "x c")], {"c": np.array([1])}, "the output 'y' may be a whole number above"),
    "sum-that-is-compared": ([node("Add", "x c", "s"), node("Less", "s c")], {"c": np.array([1])}, "its whole numbers may be above"),
    "division": ([node("Div", "x c")], {"c": np.array([2])}, "it computes with int64"),
    "narrow-type": ([node("Cast", "x", to=TensorProto.UINT8)], {}, "makes uint8 of int64"),
    "columns-of-a-table": ([node("Gather", "t x", axis=1)], {"t": TABLE}, "of axis 1 of a table"),
    "remainder": ([node("Mod", "c x")], {"c": np.array([2])}, "expected a value first"),
}


@pytest.mark.parametrize(("nodes", "constants", "reason"), REFUSED.values(), ids=REFUSED)
def test_whole_numbers_that_are_refused(nodes: list[NodeProto], constants: dict[str, Any], reason: str) -> None:
    """Nothing is rounded silently."""
    with pytest.raises(ModelError, match=re.escape(reason)):
        from_onnx(with_ids(nodes, constants))


def test_a_network_with_types_is_saved_and_read(tmp_path: Any) -> None:
    """Types and labels come back; the version of the file says that it has them."""
    network = from_onnx(with_ids([node("Gather", "t x")], {"t": TABLE}))
    typed = Network("n", network.program, ("ids",), ("y",), None, ("int64",), ("text",), {"y": ("a", "b")})
    again = Network.load(typed.save(tmp_path / "n.npz"))
    assert (again.input_dtypes, again.output_dtypes, again.labels) == (("int64",), ("text",), {"y": ("a", "b")})
    with np.load(tmp_path / "n.npz") as archive:
        assert int(archive["version"]) == VERSION
