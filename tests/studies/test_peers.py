"""The adapters of the runtimes: what is missing, what is right, and that nothing is imported before it is needed."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.measure import Worker
from mlbench.models import mlp
from mlbench.results.peers import MEASURED
from mlbench.studies.cases import mlp_cell
from mlbench.studies.peers import PEERS, Package, adapter, as_numpy, as_outputs, cannot_take, versions
from mlbench.studies.peers.adapters import tensorrt as tensor_rt
from mlbench.studies.peers.packages import absent
from mlbench.studies.peers.worker import introduce, prepare, turn
from mlbench.studies.subjects import NetworkFile, brought
from support.agree import agree, agree_on_a_file, cores
from support.branched import TWO_HEADS, network_of


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker can import what the tests ask it to call."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)


@pytest.fixture
def installed(request: pytest.FixtureRequest) -> str:
    """The module of an adapter whose runtime can run here; the test is skipped with the reason where it cannot."""
    reason = adapter(PEERS[request.param]).missing()
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    return PEERS[request.param]


@pytest.mark.parametrize("installed", PEERS, indirect=True)
def test_an_adapter_agrees_with_float64(installed: str) -> None:
    """Every activation, one and two hidden layers, batches 1 and 7, after 200 calls, when nobody else holds the input any more."""
    cases = [
        (1, (8,), "relu", "softmax"),
        (7, (5, 9), "leaky_relu", "sigmoid"),
        (3, (8,), "sigmoid", "tanh"),
        (2, (4,), "tanh", "identity"),
    ]
    with Worker() as worker:
        worker.call(introduce, "a peer", installed, 1)
        for batch, hidden, activation, output in cases:
            how = {"activation": activation, "output_activation": output}
            worst = worker.call(agree, installed, batch, hidden, how)
            assert 0 <= worst <= 1


@pytest.mark.parametrize("installed", PEERS, indirect=True)
def test_a_process_goes_from_cell_to_cell(installed: str) -> None:
    """A real runtime builds one cell after the other in one process, each is right, and turns take time."""
    with Worker() as worker:
        said = worker.call(introduce, "a peer", installed, 1)
        assert said.missing is None
        assert all(re.fullmatch(r"\S+ \d\S+", part) for part in said.versions.split(", "))
        for batch in (1, 3):
            prepared = worker.call(prepare, installed, mlp_cell(batch, (16,), 8, 4))
            assert prepared.state == MEASURED
            assert prepared.worst_error is not None
            assert prepared.worst_error <= 1
            assert worker.call(turn, 2, 1) > 0


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64-and-integers"])
@pytest.mark.parametrize("installed", ["onnxruntime", "openvino"], indirect=True)
def test_an_adapter_that_reads_onnx_agrees_with_float64(installed: str, double: bool, tmp_path: Path) -> None:
    """Inputs and outputs by any names, in any order, in the types and ranks that the file declares, after 200 calls."""
    pytest.importorskip("onnx", reason="ONNX files are written by the onnx package")
    with Worker() as worker:
        worker.call(introduce, "a peer", installed, 1)
        assert max(worker.call(agree_on_a_file, installed, str(tmp_path / "two.onnx"), double)) <= 1


def test_who_takes_what(tmp_path: Path) -> None:
    """Every peer takes an MLP of ours, those that read ONNX take such a file, and nobody else's network is taken by any."""
    ours = brought(mlp(4, 8, 2).save(tmp_path / "mlp.npz"))
    network = brought(network_of(TWO_HEADS).save(tmp_path / "net.npz"))
    file = NetworkFile(network.path, network.sha256, "net")
    assert [name for name, module in PEERS.items() if cannot_take(module, ours) is None] == list(PEERS)
    assert [name for name, module in PEERS.items() if cannot_take(module, file) is None] == []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mlbench.studies.peers.onnx_path", lambda subject: "net.onnx")
        takes = [name for name, module in PEERS.items() if cannot_take(module, file) is None]
    assert takes == ["onnxruntime", "openvino"]


def test_a_column_of_labels_is_a_column() -> None:
    """What a runtime gives as whole numbers, one a row, is compared as (rows, 1) float32."""
    both = as_outputs((np.array([3, 1]), np.ones((2, 4), np.float64)))
    assert [(each.shape, each.dtype) for each in both] == [((2, 1), np.float32), ((2, 4), np.float32)]
    assert np.shape(as_outputs((np.array([3, 1]),))) == (2, 1)


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


def test_without_a_compiler_torch_compile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inductor compiles C++, so that a compiler must be there as well."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert adapter(PEERS["torch.compile"]).missing() == "needs a C++ compiler (g++, clang++, cl)"
    monkeypatch.setattr("shutil.which", lambda name: f"bin/{name}" if name == "clang++" else None)
    assert adapter(PEERS["torch.compile"]).missing() is None


def test_only_what_is_missing_is_to_be_installed() -> None:
    """Packages that are there are not in the advice, and a module inside a missing package is missing too."""
    packages = (Package("numpy", "numpy"), Package("no_such_module", "no-such"), Package("no_such_module.inner", "no-such-inner"))
    assert absent(packages[:1]) is None
    assert absent(packages) == "not installed (python -m pip install no-such no-such-inner)"


def test_the_extra_installs_every_peer() -> None:
    """What an adapter asks for is in the extra `peers`; TensorRT, which needs a GPU, and what jax brings along are not."""
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {re.split(r"[>;]", line)[0] for line in project["optional-dependencies"]["peers"]}
    asked = {package.distribution for name, module in PEERS.items() if name != "tensorrt" for package in adapter(module).PACKAGES}
    assert asked - {"jaxlib"} == listed - {"tensorflow"}


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


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_stays_on_its_cores() -> None:
    """The process of a runtime may use as many cores as it has threads, the same ones for every runtime."""
    seen = []
    for _ in range(2):
        with Worker() as worker:
            worker.call(introduce, "ours", None, 1)
            seen.append(worker.call(cores))
    assert seen[0] == seen[1] == sorted(os.sched_getaffinity(0))[:1]
