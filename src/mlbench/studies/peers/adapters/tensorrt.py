"""TensorRT on an NVIDIA GPU.

The engine is built once for the fixed shape at the highest optimisation level, in float32 without TF32, whose products have ten bits. A
call copies the input to the GPU, runs the engine and copies the output back, because input and output are NumPy's; both lie in page-locked
memory, and the three steps are captured in a CUDA graph, which the documentation recommends where launching takes longer than computing.

Nobody has run this on a GPU yet: it is written after the documentation, and its tests run it against a stand-in for the API.

Sources: docs.nvidia.com/deeplearning/tensorrt/latest/performance/optimization.html (CUDA graphs, optimisation level),
docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/python-api-docs.html (building and running),
docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/accuracy-considerations.html (TF32).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import IDENTITY, LEAKY_SLOPE, Model
from mlbench.studies.peers.packages import Package, absent

PACKAGES = (Package("tensorrt", "tensorrt"), Package("cuda.bindings", "cuda-python", ("cuda-bindings",)))
SETTINGS = "float32 without TF32, optimization level 5, page-locked copies and engine in one CUDA graph"
OPTIMIZATION_LEVEL = 5
_DRIVERS = ("libcuda.so.1", "nvcuda.dll")


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES) if has_gpu() else "needs an NVIDIA GPU"


def has_gpu() -> bool:
    """Whether an NVIDIA driver is installed and sees a device."""
    for name in _DRIVERS:
        with suppress(OSError):
            driver, count = ctypes.CDLL(name), ctypes.c_int(0)
            if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
                return count.value > 0
    return False


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`; threads of the CPU play no part."""
    import tensorrt as trt  # noqa: PLC0415  # only where this runtime is measured
    from cuda.bindings import runtime as cuda  # noqa: PLC0415  # as above

    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(engine_bytes(model, x.shape[0]))
    context, stream = engine.create_execution_context(), _get(cuda.cudaStreamCreate())
    given, y = _page_locked(cuda, x.shape), _page_locked(cuda, (x.shape[0], model.outputs))
    given[...] = x
    on_gpu = {"x": _get(cuda.cudaMalloc(given.nbytes)), "y": _get(cuda.cudaMalloc(y.nbytes))}
    for name, address in on_gpu.items():
        context.set_tensor_address(name, int(address))

    def enqueue() -> None:
        to_gpu, to_host = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _get(cuda.cudaMemcpyAsync(on_gpu["x"], given.ctypes.data, given.nbytes, to_gpu, stream))
        if not context.execute_async_v3(int(stream)):
            raise RuntimeError("TensorRT could not enqueue the engine")
        _get(cuda.cudaMemcpyAsync(y.ctypes.data, on_gpu["y"], y.nbytes, to_host, stream))

    enqueue()  # what is made at the first call must not be captured
    _get(cuda.cudaStreamSynchronize(stream))
    _get(cuda.cudaStreamBeginCapture(stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal))
    enqueue()
    graph = _get(cuda.cudaGraphInstantiate(_get(cuda.cudaStreamEndCapture(stream)), 0))

    def call(kept: object = (engine, context, given)) -> FloatArray:
        _get(cuda.cudaGraphLaunch(graph, stream))
        _get(cuda.cudaStreamSynchronize(stream))
        return y

    return call


def engine_bytes(model: Model, batch: int) -> Any:  # trt.IHostMemory
    """Return the serialized engine of the model for one batch size."""
    import tensorrt as trt  # noqa: PLC0415  # as above

    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    value = network.add_input("x", trt.float32, (batch, model.inputs))
    plain = trt.MatrixOperation.NONE
    for layer in model.layers:
        weight = network.add_constant(layer.weight.shape, trt.Weights(np.array(layer.weight))).get_output(0)
        bias = network.add_constant((1, layer.bias.size), trt.Weights(np.array(layer.bias))).get_output(0)
        product = network.add_matrix_multiply(value, plain, weight, plain).get_output(0)
        value = network.add_elementwise(product, bias, trt.ElementWiseOperation.SUM).get_output(0)
        if layer.activation != IDENTITY:
            value = _activated(trt, network, layer.activation, value)
    value.name = "y"
    network.mark_output(value)
    config = builder.create_builder_config()
    config.builder_optimization_level = OPTIMIZATION_LEVEL
    config.clear_flag(trt.BuilderFlag.TF32)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise RuntimeError("TensorRT could not build an engine for this model")
    return built


def _activated(trt: Any, network: Any, name: str, value: Any) -> Any:  # all of tensorrt
    if name == "softmax":
        added = network.add_softmax(value)
        added.axes = 1 << 1
        return added.get_output(0)
    kinds = {
        "relu": trt.ActivationType.RELU,
        "leaky_relu": trt.ActivationType.LEAKY_RELU,
        "sigmoid": trt.ActivationType.SIGMOID,
        "tanh": trt.ActivationType.TANH,
    }
    added = network.add_activation(value, kinds[name])
    if name == "leaky_relu":
        added.alpha = LEAKY_SLOPE
    return added.get_output(0)


def _page_locked(cuda: Any, shape: tuple[int, ...]) -> FloatArray:
    size = int(np.prod(shape))
    address = _get(cuda.cudaMallocHost(4 * size))
    numbers = (ctypes.c_float * size).from_address(int(address))
    return np.ctypeslib.as_array(numbers).reshape(shape)


def _get(answer: tuple[Any, ...]) -> Any:
    """Return what a CUDA call gave besides its status, or raise with it."""
    status, *rest = answer
    if int(status) != 0:
        raise RuntimeError(f"CUDA answered {status}")
    return rest[0] if rest else None
