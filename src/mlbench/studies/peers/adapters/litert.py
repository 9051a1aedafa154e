"""LiteRT (TensorFlow Lite) on the CPU, whose products XNNPACK computes.

The model is a flatbuffer with a FULLY_CONNECTED for each layer and ReLU fused into it, as the converter of LiteRT writes it; it is written
here with the schema that the package brings, so TensorFlow is not needed. An ONNX file is written so too, operator by operator. The
interpreter gives it to XNNPACK, its default delegate, which packs constant weights once. The input is written into the interpreter's own
tensor, and the output stays in its tensor. It refuses a call while an array views a tensor, so the array that the check reads is a copy,
which no timed call pays.

Tried on one core of an EPYC (Zen 3), 64-64-10 at batch 1: the interpreter 1.8 us, `CompiledModel.run_by_index` with its own buffers 5.4, of
which a part is a copy of the output: buffers in the memory of NumPy arrays have one dimension, and the model refuses them. The interpreter
was the faster one in each of eight cells.

Sources: ai.google.dev/edge/litert/inference (interpreter, zero-copy `tensor()`), github.com/google-ai-edge/LiteRT/blob/main/tflite/
delegates/xnnpack/README.md (default delegate, threads, packed weights), ai.google.dev/edge/litert/models/best_practices (threads).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import IDENTITY, LEAKY_SLOPE, Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.flatbuffer import File, OnnxGraph, Product
from mlbench.studies.peers.onnx_models import fixed_file
from mlbench.studies.peers.packages import ONNX, Package, absent

PACKAGES = (Package("ai_edge_litert", "ai-edge-litert"),)
ONNX_PACKAGES = (ONNX,)
"""What a network in an ONNX file needs besides."""
SETTINGS = "interpreter with XNNPACK, static shapes, input and output in its tensors"
_FUSED = "relu"
_ACTIVATIONS: dict[str, tuple[str, str | None, dict[str, object]]] = {
    "leaky_relu": ("LEAKY_RELU", "LeakyReluOptions", {"alpha": LEAKY_SLOPE}),
    "softmax": ("SOFTMAX", "SoftmaxOptions", {"beta": 1.0}),
    "sigmoid": ("LOGISTIC", None, {}),
    "tanh": ("TANH", None, {}),
}
"""The operator, the name of its options, and the options."""


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    call = _load(flatbuffer(model, x.shape[0]), [x], threads)
    (found,) = call()

    def first() -> object:
        call()
        return found

    return first


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], tuple[object, ...]]:
    """Return a call that computes the outputs of somebody's file for `xs`, with the batch fixed.

    Raises:
        TypeError: for an input that is not float32.
        ModelError: for operators that are not written.
    """
    import onnx  # noqa: PLC0415  # only where this runtime is measured

    with fixed_file(file, xs) as (path, given):
        model = onnx.load(path)
    for name, array in given.items():
        if array.dtype != np.float32:
            raise TypeError(f"the input {name} is {array.dtype}; this adapter gives LiteRT float32 alone")
    return _load(_file_of(model.graph, list(given), file.outputs), list(given.values()), threads)


def _load(content: bytes, xs: Sequence[FloatArray], threads: int) -> Callable[[], tuple[object, ...]]:
    """Return a call of a file for inputs in the order that it has them."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415  # as above

    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    for given, x in zip(interpreter.get_input_details(), xs, strict=True):
        interpreter.tensor(given["index"])()[...] = x
    found = tuple(_Result(interpreter.tensor(result["index"])) for result in interpreter.get_output_details())
    invoke = interpreter.invoke

    def call() -> tuple[object, ...]:
        invoke()
        return found

    return call


def flatbuffer(model: Model, batch: int) -> bytes:
    """Return the model as a file of LiteRT for one batch size."""
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415  # as above

    file = File(schema)
    value = first = file.tensor("x", (batch, model.inputs))
    for index, layer in enumerate(model.layers):
        product = Product("", layer.weight, layer.bias)
        value = file.fully_connected(f"z{index}", value, product, batch, relu=layer.activation == _FUSED)
        if layer.activation not in {IDENTITY, _FUSED}:
            code, options, fields = _ACTIVATIONS[layer.activation]
            value = file.operator(code, [value], file.tensor(f"v{index}", (batch, layer.bias.size)), options, **fields)
    return file.content([first], [value])


def _file_of(graph: Any, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:  # onnx.GraphProto
    """Return an ONNX graph whose shapes are known as a file of LiteRT."""
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415  # as above
    from onnx import helper, numpy_helper  # noqa: PLC0415  # as above

    known = [*graph.input, *graph.value_info, *graph.output]
    shapes = {each.name: tuple(dimension.dim_value for dimension in each.type.tensor_type.shape.dim) for each in known}
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    uses = Counter([*(name for node in graph.node for name in node.input), *outputs])
    file = File(schema)
    written = OnnxGraph(file, shapes, constants, uses)
    numbers = [written.given(name) for name in inputs]
    for node in graph.node:
        attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        written.add(node.op_type, list(node.input), node.output[0], attributes)
    return file.content(numbers, [written.number(name) for name in outputs])


class _Result:
    """The output's tensor, whose array is made when somebody reads it."""

    __slots__ = ("_view",)

    def __init__(self, view: Callable[[], FloatArray]) -> None:
        self._view = view

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> FloatArray:
        return np.array(self._view(), dtype)
