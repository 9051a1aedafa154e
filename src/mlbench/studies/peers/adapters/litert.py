"""LiteRT (TensorFlow Lite) on the CPU, whose products XNNPACK computes.

The model is a flatbuffer with a FULLY_CONNECTED for each layer and ReLU fused into it, as the converter of LiteRT writes it; it is written
here with the schema that the package brings, so TensorFlow is not needed. The interpreter gives it to XNNPACK, its default delegate, which
packs constant weights once. The input is written into the interpreter's own tensor, and the output stays in its tensor. It refuses a call
while an array views a tensor, so the array that the check reads is a copy, which no timed call pays.

Tried on one core of an EPYC (Zen 3), 64-64-10 at batch 1: the interpreter 1.8 us, `CompiledModel.run_by_index` with its own buffers 5.4, of
which a part is a copy of the output: buffers in the memory of NumPy arrays have one dimension, and the model refuses them. The interpreter
was the faster one in each of eight cells.

Sources: ai.google.dev/edge/litert/inference (interpreter, zero-copy `tensor()`), github.com/google-ai-edge/LiteRT/blob/main/tflite/
delegates/xnnpack/README.md (default delegate, threads, packed weights), ai.google.dev/edge/litert/models/best_practices (threads).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import IDENTITY, LEAKY_SLOPE, Layer, Model
from mlbench.studies.peers.packages import Package, absent

PACKAGES = (Package("ai_edge_litert", "ai-edge-litert"),)
SETTINGS = "interpreter with XNNPACK, static shapes, input and output in its tensors"
_FUSED = "relu"
_VERSION = 3
"""Of the schema, which every file has had since 2017."""


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415  # only where this runtime is measured

    interpreter = Interpreter(model_content=flatbuffer(model, x.shape[0]), num_threads=threads)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.tensor(given["index"])()[...] = x
    found, invoke = _Result(interpreter.tensor(result["index"])), interpreter.invoke

    def call() -> object:
        invoke()
        return found

    return call


def flatbuffer(model: Model, batch: int) -> bytes:
    """Return the model as a file of LiteRT for one batch size."""
    import flatbuffers  # noqa: PLC0415  # as above
    from ai_edge_litert import schema_py_generated as schema  # noqa: PLC0415  # as above

    file = _File(schema)
    value = first = file.tensor("x", (batch, model.inputs))
    for index, layer in enumerate(model.layers):
        value = file.layer(index, layer, value, batch)
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = file.tensors, file.operators, [first], [value]
    whole = schema.ModelT()
    whole.version, whole.operatorCodes, whole.subgraphs, whole.buffers = _VERSION, file.codes, [graph], file.buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _Result:
    """The output's tensor, whose array is made when somebody reads it."""

    __slots__ = ("_view",)

    def __init__(self, view: Callable[[], FloatArray]) -> None:
        self._view = view

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> FloatArray:
        return np.array(self._view(), dtype)


class _File:
    """Tensors, buffers, operators and their codes, as they are added.

    Args:
        schema: the module that the package has generated from its schema.
    """

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]  # the first one is that of every tensor without content

    def tensor(self, name: str, shape: tuple[int, ...], content: FloatArray | None = None) -> int:
        """Add a tensor and return its number."""
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), self._schema.TensorType.FLOAT32, 0
        if content is not None:
            buffer = self._schema.BufferT()
            buffer.data = np.ascontiguousarray(content).view(np.uint8).reshape(-1)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def layer(self, index: int, layer: Layer, value: int, batch: int) -> int:
        """Add a layer and return the number of its result."""
        schema, shape = self._schema, (batch, layer.bias.size)
        weight = self.tensor(f"w{index}", layer.weight.T.shape, np.array(layer.weight.T, order="C"))
        bias = self.tensor(f"b{index}", layer.bias.shape, layer.bias)
        result = self.tensor(f"z{index}", shape)
        how = schema.FullyConnectedOptionsT()
        if layer.activation == _FUSED:
            how.fusedActivationFunction = schema.ActivationFunctionType.RELU
        self._operator("FULLY_CONNECTED", "FullyConnectedOptions", how, [value, weight, bias], result)
        if layer.activation in {IDENTITY, _FUSED}:
            return result
        code, options, how = _activation(schema, layer.activation)
        activated = self.tensor(f"v{index}", shape)
        self._operator(code, options, how, [result], activated)
        return activated

    def _operator(self, code: str, options: str | None, how: Any, inputs: list[int], output: int) -> None:
        schema = self._schema
        number = getattr(schema.BuiltinOperator, code)
        known = [each.builtinCode for each in self.codes]
        if number not in known:
            added = schema.OperatorCodeT()
            added.builtinCode = added.deprecatedBuiltinCode = number
            added.version = 1
            self.codes.append(added)
            known.append(number)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = known.index(number), inputs, [output]
        if options is not None:
            operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, options), how
        self.operators.append(operator)


def _activation(schema: Any, name: str) -> tuple[str, str | None, Any]:
    """Return operator, name of its options, and the options."""
    if name == "leaky_relu":
        leaky = schema.LeakyReluOptionsT()
        leaky.alpha = LEAKY_SLOPE
        return "LEAKY_RELU", "LeakyReluOptions", leaky
    if name == "softmax":
        softmax = schema.SoftmaxOptionsT()
        softmax.beta = 1.0
        return "SOFTMAX", "SoftmaxOptions", softmax
    return {"sigmoid": "LOGISTIC", "tanh": "TANH"}[name], None, None
