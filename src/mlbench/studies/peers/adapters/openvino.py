"""OpenVINO on the CPU.

The LATENCY hint runs one request on all threads it may use. The precision is forced to f32: on a CPU with bfloat16 instructions the
default takes bfloat16, whose result is not the float32 one. Input and output are tensors that share the memory of NumPy arrays, set once.

The request keeps no reference to such an array: only the `Tensor` object does, and `set_output_tensor` copies what is inside it. A
temporary `Tensor` therefore leaves the request with freed memory (glibc says "corrupted double-linked list" some calls later), so the call
keeps tensors and arrays alive.

Tried on one core, 64-64-10 at batch 1: `infer` 5.5 us, `start_async` and `wait` 9.1 (they wake another thread), `compiled(x)` 30.

Sources: docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference/high-level-performance-hints.html,
docs.openvino.ai/2025/openvino-workflow/running-inference/optimize-inference/precision-control.html,
docs.openvino.ai/2025/openvino-workflow/running-inference/inference-request/python-api-advanced-inference.html (shared memory).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import LEAKY_SLOPE, Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.packages import Package, absent

PACKAGES = (Package("openvino", "openvino"),)
SETTINGS = "LATENCY hint, f32, one request, input and output in shared memory"


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    import openvino as ov  # noqa: PLC0415  # only where this runtime is measured

    request = ov.Core().compile_model(program(model, x.shape[0]), "CPU", _how(threads)).create_infer_request()
    y = np.empty((x.shape[0], model.outputs), np.float32)
    bound = ov.Tensor(x, shared_memory=True), ov.Tensor(y, shared_memory=True)
    request.set_input_tensor(bound[0])
    request.set_output_tensor(bound[1])
    infer = request.infer

    def call(kept: object = (*bound, x)) -> FloatArray:
        infer()
        return y

    return call


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], object]:
    """Return a call that computes the outputs of somebody's file for `xs`, with the batch fixed and in the types that it declares."""
    import openvino as ov  # noqa: PLC0415  # as above

    core = ov.Core()
    read = core.read_model(file.path)
    given = {}
    for name, x in zip(file.inputs, xs, strict=True):
        port = read.input(name)
        array = np.ascontiguousarray(x, port.get_element_type().to_dtype())
        given[name] = array.reshape(len(x)) if port.get_partial_shape().rank.get_length() == 1 else array
    read.reshape({name: list(array.shape) for name, array in given.items()})
    compiled = core.compile_model(read, "CPU", _how(threads))
    request = compiled.create_infer_request()
    ports = [compiled.output(name) for name in file.outputs]
    ys = tuple(np.empty(tuple(port.get_shape()), port.get_element_type().to_dtype()) for port in ports)
    bound = [ov.Tensor(array, shared_memory=True) for array in (*given.values(), *ys)]
    for port, tensor in zip([*(compiled.input(name) for name in given), *ports], bound, strict=True):
        request.set_tensor(port, tensor)
    infer = request.infer

    def call(kept: object = (bound, given)) -> tuple[object, ...]:
        infer()
        return ys

    return call


def _how(threads: int) -> dict[str, Any]:
    return {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}


def program(model: Model, batch: int) -> Any:  # openvino.Model
    """Return the model as an OpenVINO graph."""
    import openvino as ov  # noqa: PLC0415  # as above
    from openvino import opset13 as ops  # noqa: PLC0415  # as above

    activations: dict[str, Callable[[Any], Any]] = {
        "identity": lambda value: value,
        "relu": ops.relu,
        "leaky_relu": lambda value: ops.prelu(value, ops.constant(np.float32(LEAKY_SLOPE))),
        "sigmoid": ops.sigmoid,
        "tanh": ops.tanh,
        "softmax": lambda value: ops.softmax(value, 1),
    }
    value = given = ops.parameter([batch, model.inputs], np.float32, name="x")
    for layer in model.layers:
        product = ops.matmul(value, ops.constant(layer.weight), transpose_a=False, transpose_b=False)
        value = activations[layer.activation](ops.add(product, ops.constant(layer.bias)))
    return ov.Model([value], [given], "mlp")
