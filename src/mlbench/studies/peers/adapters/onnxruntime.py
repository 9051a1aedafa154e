"""ONNX Runtime on the CPU.

Every graph optimisation is on, which fuses Gemm and activation, and weights are initializers, which the session packs once. Operators run
one after the other, as the documentation advises for a model without branches, and threads may spin while they wait. Input and output
are bound to arrays that stay where they are, so that a call neither looks names up nor allocates its result.

Sources: onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html (levels),
onnxruntime.ai/docs/performance/tune-performance/threading.html (threads, execution mode, spinning),
onnxruntime.ai/docs/performance/tune-performance/iobinding.html (binding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import IDENTITY, LEAKY_SLOPE, Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.packages import Package, absent

PACKAGES = (Package("onnxruntime", "onnxruntime"), Package("onnx", "onnx"))
SETTINGS = "ORT_ENABLE_ALL, sequential, weights as initializers, input and output bound"
_OPS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": LEAKY_SLOPE}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "softmax": ("Softmax", {"axis": 1}),
}
_OPSET, _IR_VERSION = 17, 8
"""Old enough for each ONNX Runtime that the extra allows; these operators have not changed since."""


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    session = _session(onnx_bytes(model, x.shape[0]), threads)
    y = np.empty((x.shape[0], model.outputs), np.float32)
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
    run = session.run_with_iobinding

    def call(bound: FloatArray = x) -> FloatArray:  # the binding knows addresses only, so the call keeps both arrays alive
        run(binding)
        return y

    return call


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], object]:
    """Return a call that computes the outputs of somebody's file for `xs`, which get the types that it declares."""
    session = _session(file.path, threads)
    declared = {each.name: each for each in session.get_inputs()}
    given = {name: _as_declared(x, declared[name]) for name, x in zip(file.inputs, xs, strict=True)}
    names = list(file.outputs)
    ys = session.run(names, given)
    for name, y in zip(names, ys, strict=True):
        if not isinstance(y, np.ndarray):
            raise TypeError(f"the output {name} is a {type(y).__name__}, which cannot be bound; choose others with --outputs")
    binding = session.io_binding()
    for name, x in given.items():
        binding.bind_input(name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    for name, y in zip(names, ys, strict=True):
        binding.bind_output(name, "cpu", 0, y.dtype, y.shape, y.ctypes.data)
    run, results = session.run_with_iobinding, tuple(ys)

    def call(bound: object = tuple(given.values())) -> tuple[object, ...]:  # as above
        run(binding)
        return results

    return call


def _session(model: bytes | str, threads: int) -> Any:  # onnxruntime.InferenceSession
    """Return a session of a file's bytes or its path."""
    import onnxruntime as ort  # noqa: PLC0415  # only where this runtime is measured

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


_TYPES = {"float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32, "bool": np.bool_, "float16": np.float16}


def _as_declared(x: FloatArray, declared: Any) -> Any:  # onnxruntime.NodeArg; an array of its type
    """Return an input in the type and the rank that a file declares."""
    kind = declared.type.removeprefix("tensor(").removesuffix(")")
    array: Any = np.ascontiguousarray(x, _TYPES[kind])  # of any of these types
    return array.reshape(len(x)) if len(declared.shape) == 1 else array


def onnx_bytes(model: Model, batch: int) -> bytes:
    """Return the model as an ONNX file, a Gemm for each layer."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  # as above

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
