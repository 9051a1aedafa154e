"""The TensorRT adapter, against a stand-in for its API, because there is no GPU where these tests run."""

from __future__ import annotations

import ctypes
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from mlbench.models import Model, mlp
from mlbench.runtime import check_result
from mlbench.studies.peers import as_numpy
from mlbench.studies.peers.adapters import tensorrt as tensor_rt


def test_without_a_gpu_tensorrt_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no driver sees a device the reason is the GPU, whether or not the packages are there."""
    monkeypatch.setattr(tensor_rt, "has_gpu", lambda: False)
    assert tensor_rt.missing() == "needs an NVIDIA GPU"


@pytest.mark.parametrize(
    ("initialised", "devices", "expected"), [(0, 1, True), (0, 0, False), (100, 1, False)], ids=["one", "none", "no-driver"]
)
def test_a_gpu_is_what_the_driver_sees(monkeypatch: pytest.MonkeyPatch, initialised: int, devices: int, expected: object) -> None:
    """A driver that starts and counts one device or more is a GPU."""

    def count(place: Any) -> int:
        place._obj.value = devices
        return 0

    driver = types.SimpleNamespace(cuInit=lambda flags: initialised, cuDeviceGetCount=count)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert tensor_rt.has_gpu() is expected


class Added:
    """A layer of the stand-in for TensorRT: a function of earlier values."""

    def __init__(self, compute: Callable[[], Any]) -> None:
        self.compute = compute
        self.name, self.alpha, self.axes = "", 0.0, 0

    def get_output(self, index: int) -> Added:
        return self


class Network:
    """Stands for a TensorRT network, and runs it with NumPy."""

    def __init__(self) -> None:
        self.x: Any = None
        self.output: Any = None

    def add_input(self, name: str, dtype: object, shape: tuple[int, ...]) -> Added:
        assert (name, len(shape)) == ("x", 2)
        return Added(lambda: self.x)

    def add_constant(self, shape: tuple[int, ...], weights: Any) -> Added:
        return Added(lambda: weights.reshape(shape))

    def add_matrix_multiply(self, one: Added, how: str, other: Added, how_other: str) -> Added:
        assert how == how_other == "plain"
        return Added(lambda: one.compute() @ other.compute())

    def add_elementwise(self, one: Added, other: Added, kind: str) -> Added:
        assert kind == "sum"
        return Added(lambda: one.compute() + other.compute())

    def add_activation(self, value: Added, kind: str) -> Added:
        kinds: dict[str, Callable[[Any], Any]] = {
            "relu": lambda z: np.maximum(z, 0),
            "leaky": lambda z: np.where(z > 0, z, added.alpha * z),
            "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
            "tanh": np.tanh,
        }
        added = Added(lambda: kinds[kind](value.compute()))
        return added

    def add_softmax(self, value: Added) -> Added:
        def compute() -> Any:
            assert added.axes == 2
            shares = np.exp(value.compute())
            return shares / shares.sum(axis=1, keepdims=True)

        added = Added(compute)
        return added

    def mark_output(self, value: Added) -> None:
        assert value.name == "y"
        self.output = value


class Context:
    """Stands for an execution context, which knows addresses only."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        Gpu.do(self.run)
        return True

    def run(self) -> None:
        self.network.x = Gpu.memory[self.addresses["x"]].view(np.float32).reshape(Gpu.batch, -1)
        y = np.ascontiguousarray(self.network.output.compute(), np.float32)
        ctypes.memmove(self.addresses["y"], y.ctypes.data, y.nbytes)


class Gpu:
    """Stands for the CUDA runtime: memory is the host's, and what is captured runs when the graph is launched."""

    memory: ClassVar[dict[int, Any]] = {}
    captured: ClassVar[list[Callable[[], object]]] = []
    is_capturing: ClassVar[bool] = False
    batch: ClassVar[int] = 0

    @classmethod
    def do(cls, action: Callable[[], object]) -> None:
        if cls.is_capturing:
            cls.captured.append(action)
        else:
            action()

    @classmethod
    def cudaMalloc(cls, size: int) -> tuple[int, int]:  # noqa: N802  # CUDA's name
        block = np.zeros(size, np.uint8)
        cls.memory[block.ctypes.data] = block
        return 0, block.ctypes.data

    @classmethod
    def cudaMemcpyAsync(cls, to: int, given: int, size: int, kind: int, stream: int) -> tuple[int]:  # noqa: N802  # as above
        cls.do(lambda: ctypes.memmove(to, given, size))
        return (0,)

    @classmethod
    def cudaStreamBeginCapture(cls, stream: int, mode: int) -> tuple[int]:  # noqa: N802  # as above
        cls.is_capturing = True
        return (0,)

    @classmethod
    def cudaStreamEndCapture(cls, stream: int) -> tuple[int, list[Callable[[], object]]]:  # noqa: N802  # as above
        cls.is_capturing = False
        return 0, cls.captured

    @staticmethod
    def cudaGraphLaunch(graph: list[Callable[[], object]], stream: int) -> tuple[int]:  # noqa: N802  # as above
        for action in graph:
            action()
        return (0,)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Gpu]]:
    """A stand-in for `tensorrt` and `cuda.bindings.runtime`."""
    config = types.SimpleNamespace(builder_optimization_level=0, clear_flag=lambda flag: None)

    def build(network: Network, given: Any) -> Network:
        assert given.builder_optimization_level == tensor_rt.OPTIMIZATION_LEVEL
        return network

    builder = types.SimpleNamespace(
        create_network=lambda flags: Network(), create_builder_config=lambda: config, build_serialized_network=build
    )
    kinds = types.SimpleNamespace(RELU="relu", LEAKY_RELU="leaky", SIGMOID="sigmoid", TANH="tanh")
    engine = lambda network: types.SimpleNamespace(create_execution_context=lambda: Context(network))  # noqa: E731  # a stand-in in one line
    trt = types.ModuleType("tensorrt")
    vars(trt).update(
        Logger=type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None}),
        Builder=lambda logger: builder,
        Runtime=lambda logger: types.SimpleNamespace(deserialize_cuda_engine=engine),
        Weights=np.array,
        float32="float32",
        NetworkDefinitionCreationFlag=types.SimpleNamespace(STRONGLY_TYPED=1),
        BuilderFlag=types.SimpleNamespace(TF32="tf32"),
        MatrixOperation=types.SimpleNamespace(NONE="plain"),
        ElementWiseOperation=types.SimpleNamespace(SUM="sum"),
        ActivationType=kinds,
    )
    bindings = types.ModuleType("cuda.bindings")
    vars(bindings)["runtime"] = types.SimpleNamespace(
        **{name: getattr(Gpu, name) for name in vars(Gpu) if name.startswith("cuda")},
        cudaMallocHost=Gpu.cudaMalloc,
        cudaStreamCreate=lambda: (0, 7),
        cudaStreamSynchronize=lambda stream: (0,),
        cudaGraphInstantiate=lambda graph, flags: (0, graph),
        cudaMemcpyKind=types.SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2),
        cudaStreamCaptureMode=types.SimpleNamespace(cudaStreamCaptureModeThreadLocal=1),
    )
    for name, module in (("tensorrt", trt), ("cuda", types.ModuleType("cuda")), ("cuda.bindings", bindings)):
        monkeypatch.setitem(sys.modules, name, module)
    yield Gpu
    Gpu.memory.clear()
    Gpu.captured.clear()


@pytest.mark.parametrize(
    ("activation", "output"), [("relu", "softmax"), ("leaky_relu", "sigmoid"), ("sigmoid", "tanh"), ("tanh", "identity")]
)
def test_tensorrt_runs_what_it_captured(gpu: type[Gpu], activation: str, output: str) -> None:
    """Against a stand-in for its API: a call copies the input, runs the engine and copies the output, all from the graph."""
    model: Model = mlp(6, (5,), 4, activation=activation, output_activation=output)
    x = np.random.default_rng(0).standard_normal((3, 6), dtype=np.float32)
    gpu.batch = 3
    call = tensor_rt.load(model, x, 1)
    assert len(gpu.captured) == 3
    result = as_numpy(call())
    result[...] = 0
    check_result(model, x, as_numpy(call()), "tensorrt")


def test_a_cuda_error_is_raised() -> None:
    """A status other than 0 is an error that names it."""
    with pytest.raises(RuntimeError, match="CUDA answered 2"):
        tensor_rt._get((2, None))
