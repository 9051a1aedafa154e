"""ONNX files for runtimes that read them: an MLP of ours, and a file of somebody's with its batch fixed.

A runtime that compiles a file wants to know every shape. Files have a symbol for the batch, or none of their inner shapes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import IDENTITY, LEAKY_SLOPE, Model
from mlbench.studies.peers import OnnxFile

_OPS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": LEAKY_SLOPE}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "softmax": ("Softmax", {"axis": 1}),
}
_OPSET, _IR_VERSION = 17, 8
"""Old enough for each runtime that the extra allows; these operators have not changed since."""


def onnx_bytes(model: Model, batch: int) -> bytes:
    """Return the model as an ONNX file, a Gemm for each layer."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  # only where a runtime that reads such files is measured

    nodes, weights, value = [], [], "x"
    for index, layer in enumerate(model.layers):
        last = "y" if index == len(model.layers) - 1 else f"v{index}"
        gemm = last if layer.activation == IDENTITY else f"z{index}"
        nodes.append(helper.make_node("Gemm", [value, f"w{index}", f"b{index}"], [gemm]))
        if layer.activation != IDENTITY:
            op, attributes = _OPS[layer.activation]
            nodes.append(helper.make_node(op, [gemm], [last], **attributes))
        weights += [numpy_helper.from_array(layer.weight, f"w{index}"), numpy_helper.from_array(layer.bias, f"b{index}")]
        value = last
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width])
        for name, width in (("x", model.inputs), ("y", model.outputs))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    return bytes(made.SerializeToString())


@contextmanager
def onnx_file(model: Model, batch: int) -> Iterator[OnnxFile]:
    """Give the model as a file, which is there inside the `with`."""
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        path = Path(folder) / "mlp.onnx"
        path.write_bytes(onnx_bytes(model, batch))
        yield OnnxFile(str(path), ("x",), ("y",))


def load_mlp(
    load_onnx: Callable[[OnnxFile, Sequence[FloatArray], int], Callable[[], Any]], model: Model, x: FloatArray, threads: int
) -> Callable[[], object]:
    """Return a call that computes the output of the model for `x`, in a runtime that takes files alone."""
    with onnx_file(model, len(x)) as file:
        call = load_onnx(file, (x,), threads)

    def first() -> object:
        (y,) = call()
        return y

    return first


@contextmanager
def fixed_file(file: OnnxFile, xs: Sequence[FloatArray]) -> Iterator[tuple[str, dict[str, Any]]]:  # arrays of the declared types
    """Give a copy of a file in which every input has the shape of its array, with the wanted outputs alone.

    Yields:
        the path of the copy, which is there inside the `with`, and the arrays as the file declares them, by name and in its order.
    """
    import onnx  # noqa: PLC0415  # as above

    model = onnx.load(file.path)  # with the tensors that lie in other files
    held = {each.name: each for each in model.graph.initializer}
    arrays = dict(zip(file.inputs, xs, strict=True))
    given = {}
    for entry in list(model.graph.input):
        if entry.name in held:  # old files name their weights as inputs
            model.graph.input.remove(entry)
            continue
        kind = entry.type.tensor_type
        array: Any = np.ascontiguousarray(arrays[entry.name], onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
        given[entry.name] = array.reshape(len(array)) if len(kind.shape.dim) == 1 else array
        for dimension, size in zip(kind.shape.dim, given[entry.name].shape, strict=True):
            dimension.dim_value = size
    outputs = {each.name: each for each in model.graph.output}
    del model.graph.output[:]
    del model.graph.value_info[:]
    for name in file.outputs:
        batch_free = onnx.helper.make_tensor_value_info(name, outputs[name].type.tensor_type.elem_type, None)
        model.graph.output.append(batch_free)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        path = Path(folder) / "fixed.onnx"
        onnx.save(inferred, path)
        yield str(path), given
