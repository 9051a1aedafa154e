"""What an ONNX model has and a graph has not: refused in one error before anything runs, with op, node and reason."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from mlbench.errors import FileError, ModelError
from mlbench.models.onnx import from_onnx
from support.onnx_models import BATCH, floats, model, node, perceptron, tensor_info

SQUARE = {"c": floats((3, 3))}


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        pytest.param([node("MatMul", "c x")], SQUARE, "its first input is a constant", id="weight-on-the-left"),
        pytest.param([node("Neg", "x", "n"), node("MatMul", "x n")], {}, "its second input is computed", id="product-of-values"),
        pytest.param([node("Gemm", "c x")], SQUARE, "its A is a constant", id="gemm-constant-a"),
        pytest.param([node("Gemm", "x c", transA=1)], SQUARE, "transposed", id="gemm-rows-as-columns"),
        pytest.param([node("Softmax", "x", axis=0)], {}, "axis 0 of", id="softmax-over-the-batch"),
        pytest.param([node("ReduceSum", "x a")], {"a": np.array([0])}, "reduces axis 0", id="sum-over-the-batch"),
        pytest.param([node("ReduceSum", "x")], {}, "reduces axes 0, 1", id="sum-of-everything"),
        pytest.param([node("Transpose", "x")], {}, "expected the rows first", id="transposed-value"),
        pytest.param([node("Reshape", "x t")], {"t": np.array([1, -1])}, "keeps the rows", id="rows-as-columns"),
        pytest.param(
            [node("Reshape", "x t", "n"), node("Neg", "n")], {"t": np.array([-1])}, "several rows made of each", id="one-long-row"
        ),
        pytest.param([node("Squeeze", "x")], {}, "expected axes", id="squeeze-of-anything"),
        pytest.param([node("Concat", "x x", axis=0)], {}, "on axis 0", id="more-rows"),
        pytest.param([node("Add", "x c")], {"c": floats((5, 3))}, "differs from row to row", id="constant-of-rows"),
        pytest.param([node("Sub", "x c")], {"c": floats((1, 1, 3))}, "does not fit the value", id="constant-of-three-axes"),
        pytest.param([node("Pow", "c x")], {"c": floats((3,), low=1)}, "expected a value first", id="power-of-a-constant"),
        pytest.param([node("Pow", "x c")], {"c": np.array([2**24 + 1])}, "float32 does not have", id="exponent-without-float"),
        pytest.param([node("Cast", "x", to=TensorProto.FLOAT16)], {}, "makes float16", id="rounding-to-half"),
        pytest.param([node("Cast", "x", to=TensorProto.DOUBLE)], {}, "makes float64", id="more-digits"),
        pytest.param([node("Sinh", "x")], {}, "the graph has no such op", id="unknown-op"),
        pytest.param([node("Frob", "x", domain="com.example")], {}, "the operators of 'com.example'", id="unknown-domain"),
        pytest.param([node("Dropout", "x r t")], {"r": np.float32(0.5), "t": np.array(True)}, "it trains", id="training"),
        pytest.param([node("Gather", "x i", axis=0)], {"i": np.array([0])}, "of axis 0", id="some-rows"),
        pytest.param([node("Slice", "x a b")], {"a": np.array([0]), "b": np.array([2])}, "some of the rows", id="slice-of-rows"),
        pytest.param([node("Split", "x", "y z", axis=0, num_outputs=2)], {}, "splits axis 0", id="split-of-rows"),
        pytest.param([node("Mul", "c c")], {"c": floats((3,))}, "is a constant", id="nothing-depends-on-an-input"),
    ],
)
def test_what_a_graph_cannot_hold(nodes: Sequence[NodeProto], constants: dict[str, np.ndarray], reason: str) -> None:
    """It is refused with the reason, and never approximated."""
    with pytest.raises(ModelError, match=re.escape(reason)):
        from_onnx(model(nodes, constants=constants))


def test_the_error_lists_every_node_and_what_is_fine() -> None:
    """It has op, name and reason of each, the ops that are fine, and nothing of what only follows from others."""
    nodes = [
        node("Relu", "x", "a"),
        node("Sinh", "a", "b", name="first"),
        node("Tanh", "b", "c"),
        node("Cosh", "c", "d", name="second"),
        node("Add", "d d"),
    ]
    with pytest.raises(ModelError) as caught:
        from_onnx(model(nodes, name="my net"))
    assert str(caught.value).splitlines() == [
        "'my net' cannot run:",
        "  Sinh, node 'first': the graph has no such op",
        "  Cosh, node 'second': the graph has no such op",
        "  the other ops of this model are fine: Add, Relu, Tanh",
    ]


def test_the_error_is_of_a_readable_length() -> None:
    """Hundreds of refused nodes are counted."""
    nodes = [node("Sinh", "x", f"v{index}", name=f"n{index}") for index in range(100)]
    with pytest.raises(ModelError) as caught:
        from_onnx(model([*nodes, node("Sum", " ".join(f"v{index}" for index in range(100)))]))
    lines = str(caught.value).splitlines()
    assert len(lines) == 23
    assert lines[-2] == "  and 80 more"


LABELS = [
    node("Gemm", "x w", "scores"),
    node("Softmax", "scores", "p"),
    node("TopK", "p one", "most index", axis=1),
    node("ArrayFeatureExtractor", "classes index", "label", domain="ai.onnx.ml"),
    node("ZipMap", "p", "probabilities", domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
]


def labelled() -> bytes:
    """Return a classifier almost as skl2onnx writes it: labels, by an op that no graph has, and probabilities in a dict for each row."""
    proto = model(
        LABELS, constants={"w": floats((3, 2)), "classes": np.array([[0, 1]]), "one": np.array([1])}, outputs=("label", "probabilities")
    )
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, ()))
    proto.graph.output[1].type.CopyFrom(helper.make_sequence_type_proto(kind))
    return bytes(proto.SerializeToString())


def test_labels_are_refused_with_the_way_out() -> None:
    """The error says which outputs leave the labels out."""
    with pytest.raises(ModelError, match=r"TopK.*no such op(.|\n)*outputs=\['probabilities'\] leaves out what cannot run"):
        from_onnx(labelled())


def test_outputs_leave_out_what_cannot_run() -> None:
    """Nodes that no wanted output needs are not judged, and a ZipMap is seen through."""
    network = from_onnx(labelled(), outputs=["probabilities"])
    assert [each.op for each in network.program.nodes] == ["matmul", "softmax"]
    assert network.outputs == {"probabilities": 2}


@pytest.mark.parametrize("outputs", [[], ["z"], "y", ["y", "z"]], ids=str)
def test_outputs_that_are_not_there(outputs: Sequence[str]) -> None:
    """The error names those of the file."""
    with pytest.raises(ModelError, match=r"expected some of \['y'\]"):
        from_onnx(perceptron(), outputs=outputs)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (tensor_info("x", (BATCH, 3), TensorProto.DOUBLE), "is double; expected float32"),
        (tensor_info("x", (BATCH, 3), TensorProto.FLOAT16), "is float16; expected float32"),
        (tensor_info("x", (3,)), "has the shape (3); expected two axes"),
        (tensor_info("x", (BATCH, 3, 2)), "has the shape (batch, 3, 2); expected two axes"),
        (tensor_info("x", (BATCH, "columns")), "a known number of columns"),
        (tensor_info("x", (BATCH, 0)), "a known number of columns"),
        (tensor_info("x", (BATCH, 2**40)), "takes more than"),
    ],
    ids=str,
)
def test_an_input_that_is_no_matrix_of_floats(info: object, reason: str) -> None:
    """It is refused with its type and its shape."""
    proto = model([node("Neg", "x")])
    del proto.graph.input[:]
    proto.graph.input.append(info)
    proto.graph.output[0].CopyFrom(info)
    proto.graph.output[0].name = "y"
    with pytest.raises(ModelError, match=re.escape(reason)):
        from_onnx(proto)


def test_inputs_of_different_batches() -> None:
    """All inputs have the same rows."""
    with pytest.raises(ModelError, match="'x' has 1 row, 'z' has any number of rows"):
        from_onnx(model([node("Add", "x z")], {"x": (1, 3), "z": 3}))


def test_what_is_neither_bytes_nor_a_model() -> None:
    """A path is for `mlbench.load`."""
    with pytest.raises(ModelError, match=r"got a str; expected bytes or an onnx.ModelProto; mlbench.load reads a file"):
        from_onnx("model.onnx")


def test_a_newer_op_than_the_table_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An op that changed since is refused, because it may mean something else."""
    monkeypatch.setattr("mlbench.models.onnx.walk.NEWEST", 12)
    with pytest.raises(ModelError, match="Relu, node 'r': it changed in version 14 of its operators; known are those up to 12"):
        from_onnx(model([node("Relu", "x", name="r")]))


def test_an_operator_set_that_nobody_knows() -> None:
    """The error says which ones the package knows."""
    proto = model([node("Relu", "x")])
    proto.opset_import[0].version = 999
    with pytest.raises(FileError, match="uses version 999 of the ONNX operators; the installed onnx package knows 1 to"):
        from_onnx(proto)
