"""The adapters of the runtimes: what is missing, what is right, and that nothing is imported before it is needed."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mlbench.measure import Worker
from mlbench.models import Model, mlp
from mlbench.peers import PEERS, Package, adapter, as_numpy, tensor_rt, versions
from mlbench.peers.packages import absent
from mlbench.runtime import check_result

AGREE = '''
"""What the worker of these tests is asked to call: an adapter against float64, in a process of its own."""
import gc, os
import numpy as np
from mlbench.models import mlp
from mlbench.peers import adapter, as_numpy
from mlbench.runtime import check_result

def agree(module, batch, hidden, how):
    model = mlp(6, hidden, 4, **how)
    x = np.random.default_rng(batch).standard_normal((batch, 6), dtype=np.float32)
    call = adapter(module).load(model, x.copy(), 1)
    gc.collect()
    for _ in range(200):
        call()
    return check_result(model, x, as_numpy(call()), module).worst

def cores():
    return sorted(os.sched_getaffinity(0))
'''


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that a worker can import."""
    (tmp_path / "asked_to_agree.py").write_text(textwrap.dedent(AGREE))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "asked_to_agree"


@pytest.fixture
def installed(request: pytest.FixtureRequest) -> str:
    """The module of an adapter whose runtime can run here; the test is skipped with the reason where it cannot."""
    reason = adapter(PEERS[request.param]).missing()
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    return PEERS[request.param]


@pytest.mark.parametrize("installed", PEERS, indirect=True)
def test_an_adapter_agrees_with_float64(installed: str, asked: str) -> None:
    """Every activation, one and two hidden layers, batches 1 and 7, after 200 calls, when nobody else holds the input any more."""
    cases = [
        (1, (8,), "relu", "softmax"),
        (7, (5, 9), "leaky_relu", "sigmoid"),
        (3, (8,), "sigmoid", "tanh"),
        (2, (4,), "tanh", "identity"),
    ]
    with Worker() as worker:
        worker.call("mlbench.peers.worker:introduce", module=installed, threads=1)
        for batch, hidden, activation, output in cases:
            how = {"activation": activation, "output_activation": output}
            worst = worker.call(f"{asked}:agree", module=installed, batch=batch, hidden=hidden, how=how)
            assert 0 <= worst <= 1


@pytest.mark.parametrize("installed", PEERS, indirect=True)
def test_a_process_goes_from_cell_to_cell(installed: str) -> None:
    """A real runtime builds one cell after the other in one process, each is right, and turns take time."""
    with Worker() as worker:
        said = worker.call("mlbench.peers.worker:introduce", module=installed, threads=1)
        assert said["missing"] is None
        assert all(re.fullmatch(r"\S+ \d\S+", part) for part in said["versions"].split(", "))
        for batch in (1, 3):
            cell = {"batch": batch, "hidden": [16], "inputs": 8, "outputs": 4, "threads": 1, "model": "mlp"}
            prepared = worker.call("mlbench.peers.worker:prepare", module=installed, cell=cell)
            assert prepared["wrong"] is None
            assert prepared["worst_error"] <= 1
            assert worker.call("mlbench.peers.worker:turn", calls=2, warm_ups=1) > 0


@pytest.mark.parametrize("name", PEERS)
def test_what_is_missing_is_said_in_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its packages an adapter says what to install, and imports nothing to find out."""
    found = adapter(PEERS[name])
    monkeypatch.setattr(tensor_rt, "has_gpu", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    reason = found.missing()
    assert reason == f"not installed (python -m pip install {' '.join(package.distribution for package in found.PACKAGES)})"
    assert found.SETTINGS
    assert "\n" not in found.SETTINGS


@pytest.mark.parametrize("name", PEERS)
def test_an_adapter_names_its_sources(name: str) -> None:
    """Each adapter's docstring says where its settings are recommended."""
    module = sys.modules[adapter(PEERS[name]).__name__]  # type: ignore[attr-defined]  # a module stands for the protocol
    assert module.__doc__ is not None
    assert "\nSource" in module.__doc__
    assert module.__doc__.partition("\nSource")[2].count("/") >= 2


def test_only_what_is_missing_is_to_be_installed() -> None:
    """Packages that are there are not in the advice, and a module inside a missing package is missing too."""
    packages = (Package("numpy", "numpy"), Package("no_such_module", "no-such"), Package("no_such_module.inner", "no-such-inner"))
    assert absent(packages[:1]) is None
    assert absent(packages) == "not installed (python -m pip install no-such no-such-inner)"


def test_a_version_is_found_under_another_name() -> None:
    """The distribution that brings the module may be called differently; one that nobody knows has a question mark."""
    assert versions((Package("numpy", "numpy-for-nobody", ("numpy",)),)) == f"numpy-for-nobody {np.__version__}"
    assert versions((Package("numpy", "numpy-for-nobody"),)) == "numpy-for-nobody ?"


def test_arrays_of_others_are_read() -> None:
    """What a call gave is read by `__array__`, or else by DLPack."""

    class Capsule:
        def __init__(self, inside: np.ndarray[Any, Any]) -> None:
            self.inside = inside

        def __dlpack__(self, **how: Any) -> Any:
            return self.inside.__dlpack__(**how)

        def __dlpack_device__(self) -> Any:
            return self.inside.__dlpack_device__()

    numbers = np.arange(3, dtype=np.float32)
    assert as_numpy(numbers) is numbers
    np.testing.assert_array_equal(as_numpy(Capsule(numbers)), numbers)


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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_stays_on_its_cores(asked: str) -> None:
    """The process of a runtime may use as many cores as it has threads, the same ones for every runtime."""
    seen = []
    for _ in range(2):
        with Worker() as worker:
            worker.call("mlbench.peers.worker:introduce", module=None, threads=1)
            seen.append(worker.call(f"{asked}:cores"))
    assert seen[0] == seen[1] == sorted(os.sched_getaffinity(0))[:1]
