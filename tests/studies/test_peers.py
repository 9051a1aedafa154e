"""The adapters of the runtimes: what is missing, what is right, and that nothing is imported before it is needed."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.errors import ModelError
from mlbench.measure import Worker
from mlbench.models import mlp
from mlbench.models.zoo import ZOO
from mlbench.results.peers import MEASURED, OURS
from mlbench.studies.cases import Cell, mlp_cell
from mlbench.studies.peers import PEERS, Package, adapter, as_numpy, as_outputs, cannot_take, versions
from mlbench.studies.peers.adapters import tensorrt as tensor_rt
from mlbench.studies.peers.adapters.ncnn import files_of
from mlbench.studies.peers.adapters.sklearn import estimator
from mlbench.studies.peers.flatbuffer import OnnxGraph
from mlbench.studies.peers.measure import PeerEffort, find_runtimes, measure
from mlbench.studies.peers.packages import absent
from mlbench.studies.peers.plugins import brought_peers
from mlbench.studies.peers.worker import introduce, prepare, turn
from mlbench.studies.subjects import NetworkFile, brought
from support.agree import agree, agree_on_a_file, cores
from support.branched import TWO_HEADS, network_of

TAKE_ONNX = ["onnxruntime", "torch", "torch.compile", "torch.aot", "openvino", "litert", "mnn", "iree", "tract"]
FLOAT32_ALONE = {"litert", "mnn"}
"""Whose adapters take no other inputs."""


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


CASES = [(1, (8,), "relu", "softmax"), (7, (5, 9), "leaky_relu", "sigmoid"), (3, (8,), "sigmoid", "tanh"), (2, (4,), "tanh", "identity")]
CASES_OF = {PEERS["sklearn"]: [CASES[0], (7, (5, 9), "sigmoid", "sigmoid"), CASES[3]], PEERS["torch.aot"]: CASES[:2]}
"""Of one that cannot take every model, and of one that builds a model for half a minute."""


@pytest.mark.parametrize("installed", PEERS, indirect=True)
def test_an_adapter_agrees_with_float64(installed: str) -> None:
    """Every activation, one and two hidden layers, batches 1 and 7, after 200 calls, when nobody else holds the input any more."""
    with Worker() as worker:
        worker.call(introduce, "a peer", installed, 1)
        for batch, hidden, activation, output in CASES_OF.get(installed, CASES):
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


@pytest.mark.parametrize(
    ("installed", "double"),
    [(name, double) for name in TAKE_ONNX for double in (False, True) if not (double and name in FLOAT32_ALONE)],
    indirect=["installed"],
    ids=lambda value: {False: "float32", True: "float64-and-integers"}.get(value, value),
)
def test_an_adapter_that_reads_onnx_agrees_with_float64(installed: str, double: bool, tmp_path: Path) -> None:
    """Inputs and outputs by any names, in any order, in the types and ranks that the file declares, after 200 calls."""
    pytest.importorskip("onnx", reason="ONNX files are written by the onnx package")
    with Worker() as worker:
        worker.call(introduce, "a peer", installed, 1)
        lacking = absent(getattr(adapter(installed), "ONNX_PACKAGES", ()))
        if lacking is not None:
            pytest.skip(lacking)
        assert max(worker.call(agree_on_a_file, installed, str(tmp_path / "two.onnx"), double)) <= 1


def test_who_takes_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every peer takes an MLP of ours, those that read ONNX take such a file and the zoo, and nobody else's network is taken by any."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    ours = brought(mlp(4, 8, 2).save(tmp_path / "mlp.npz"))
    network = brought(network_of(TWO_HEADS).save(tmp_path / "net.npz"))
    file = NetworkFile(network.path, network.sha256, "net")
    assert [name for name, module in PEERS.items() if cannot_take(module, ours) is None] == list(PEERS)
    assert [name for name, module in PEERS.items() if cannot_take(module, file) is None] == []
    assert [name for name, module in PEERS.items() if cannot_take(module, brought("zoo:policy")) is None] == TAKE_ONNX
    monkeypatch.setattr("mlbench.studies.peers.onnx_path", lambda subject: "net.onnx")
    assert [name for name, module in PEERS.items() if cannot_take(module, file) is None] == TAKE_ONNX


def test_without_its_converter_a_runtime_cannot_take_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch takes a network in a file only where the converter is installed, and says which package that is."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnx2torch" else object())
    reason = cannot_take(PEERS["torch"], brought("zoo:policy"))
    assert reason == "cannot take it: what brings ONNX files to it is not installed (python -m pip install onnx2torch)"
    assert "takes no ONNX file" in str(cannot_take(PEERS["ncnn"], brought("zoo:policy")))


@pytest.mark.parametrize("installed", TAKE_ONNX, indirect=True)
def test_a_network_of_the_zoo_is_right(installed: str) -> None:
    """It gets the network as an ONNX file with the batch of the cell, and gives what float64 gives."""
    reason = cannot_take(installed, brought("zoo:policy"))
    if reason is not None:
        pytest.skip(reason)
    with Worker() as worker:
        worker.call(introduce, "a peer", installed, 1)
        prepared = worker.call(prepare, installed, Cell(2, brought("zoo:policy"), 1))
    assert (prepared.state, prepared.detail) == (MEASURED, "")


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("installed", ["litert"], indirect=True)
def test_litert_takes_the_whole_zoo(installed: str, name: str) -> None:
    """Products with constants folded into them, norms, gates, concatenations and two outputs are written so that the result is right."""
    prepared = prepare(installed, Cell(2, brought(f"zoo:{name}"), 1))
    assert (prepared.state, prepared.detail) == (MEASURED, "")


@pytest.mark.parametrize(
    ("kind", "attributes", "told"),
    [
        ("Erf", {}, "the operator Erf is not among those"),
        ("Softmax", {"axis": 0}, "Softmax over the axis 0"),
        ("ReduceMean", {"axes": [0]}, r"a mean over the axes \[0\]"),
        ("Gemm", {"transB": 1}, "a transposed operand"),
    ],
    ids=["operator", "axis", "axes", "gemm"],
)
def test_what_is_not_written_for_litert_is_refused(kind: str, attributes: dict[str, Any], told: str) -> None:
    """An operator, or a form of one, that has no counterpart among what is written is an error that names it."""
    written = OnnxGraph(MadeUpFile(), {"x": (2, 2), "y": (2, 2)}, {"w": np.ones((2, 2), np.float32)}, Counter("xw"))  # type: ignore[arg-type]  # which counts tensors alone
    written.given("x")
    with pytest.raises(ModelError, match=told):
        written.add(kind, ["x", "w"] if kind == "Gemm" else ["x"], "y", attributes)


class MadeUpFile:
    """Stands for a file of LiteRT, whose schema comes with its package."""

    def tensor(self, name: str, shape: tuple[int, ...]) -> int:
        """Add nothing."""
        return 0


@pytest.mark.parametrize("installed", ["torch"], indirect=True)
def test_a_gelu_of_a_file_is_one_module_of_torch(installed: str) -> None:
    """The converter knows no Gelu, and the older operator set that it wants has none; each becomes `nn.GELU`, and the network is right."""
    if (reason := cannot_take(installed, brought("zoo:residual-mlp"))) is not None:
        pytest.skip(reason)
    prepared = prepare(installed, Cell(2, brought("zoo:residual-mlp"), 1))
    assert (prepared.state, prepared.detail) == (MEASURED, "")


def test_the_files_of_ncnn() -> None:
    """A layer is an InnerProduct with its activation fused where it can be; weights lie by outputs behind four bytes, then the biases."""
    model = mlp(3, (5,), 2, activation="leaky_relu", output_activation="softmax")
    text, weights = files_of(model)
    assert text.decode().splitlines() == [
        "7767517",
        "4 4",
        "Input x 0 1 x",
        "InnerProduct fc0 1 1 x v0 0=5 1=1 2=15 9=2 -23310=1,1.000000e-02",
        "InnerProduct fc1 1 1 v0 z1 0=2 1=1 2=10",
        "Softmax a1 1 1 z1 y 0=-1 1=1",
    ]
    first = model.layers[0]
    assert weights.startswith(bytes(4) + first.weight.T.tobytes() + first.bias.tobytes() + bytes(4))
    assert len(weights) == model.parameter_bytes + 8


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"activation": "leaky_relu"}, "cannot take it: hidden layers with leaky_relu"),
        ({"output_activation": "tanh"}, "and tanh at the end"),
        ({"hidden": (4, 4)}, None),
    ],
    ids=["hidden", "output", "both-have-it"],
)
def test_scikit_learn_takes_what_its_estimators_have(how: dict[str, Any], told: str | None) -> None:
    """One activation for all hidden layers, and softmax, sigmoid or none at the end; else the message says which are there."""
    pytest.importorskip("sklearn")
    model = mlp(**{"inputs": 6, "hidden": 8, "outputs": 4} | how)
    if told is None:
        assert estimator(model).n_layers_ == 4
        return
    with pytest.raises(ModelError, match=told):
        estimator(model)


# --- peers of other packages --------------------------------------------------------------------------------------------

BROUGHT = """
import numpy as np
from mlbench.studies.peers import Package
PACKAGES, SETTINGS = (Package("numpy", "numpy"),), "by hand"
def missing(): return None
def load(model, x, threads):
    from mlbench.runtime import BaselineRunner
    run = BaselineRunner(model).run
    return lambda: run(x)
class Broken:
    SETTINGS = "none"
    @staticmethod
    def missing(): raise OSError("its library is of another system")
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that installs a distribution on the path, as pip leaves it, with these entry points."""
    folder = tmp_path / "brought"
    (folder / "tiny_peer-1.0.dist-info").mkdir(parents=True)
    (folder / "tiny_peer.py").write_text(BROUGHT)
    (folder / "tiny_peer-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-peer\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    place = folder / "tiny_peer-1.0.dist-info" / "entry_points.txt"

    def install(lines: str) -> None:
        place.write_text(f"[mlbench.peers]\n{lines}\n")

    return install


def test_a_package_brings_a_peer(distribution: Callable[[str], None]) -> None:
    """Its entry point makes it a peer by that name, whose module is imported by the process that measures it alone."""
    distribution("tiny = tiny_peer")
    found, trouble = brought_peers(frozenset(PEERS))
    assert (found, trouble) == ({"tiny": "tiny_peer"}, [])
    assert "tiny_peer" not in sys.modules
    (cell,) = measure([mlp_cell(64, (256,))], {OURS: None, **found}, PeerEffort(1, 1, weigh=False))
    assert cell.outcomes["tiny"].state == MEASURED


def test_a_broken_peer_of_a_package_is_a_row_with_its_error(distribution: Callable[[str], None]) -> None:
    """A module that is not there, one without the object, and one that raises are missing with the reason, and the others are there."""
    distribution("gone = no_such_peer\nempty = tiny_peer:nothing\nraising = tiny_peer:Broken\ntiny = tiny_peer")
    found, _ = brought_peers(frozenset(PEERS))
    rows = {each.name: str(each.missing) for each in find_runtimes(found, 1, mlp_cell(2, (8,), 4, 3).subject)}
    assert list(rows) == ["empty", "gone", "raising", "tiny"]
    assert "No module named 'no_such_peer'" in rows["gone"]
    assert "no attribute 'nothing'" in rows["empty"]
    assert rows["raising"] == "OSError: its library is of another system"
    assert rows["tiny"] == "None"


def test_a_name_that_is_taken_is_left_out(distribution: Callable[[str], None]) -> None:
    """A package cannot take the place of a peer of ours, or of ours itself, and it is said which package tried."""
    distribution("torch = tiny_peer\nmlbench = tiny_peer\ntiny = tiny_peer")
    found, trouble = brought_peers(frozenset(PEERS))
    assert list(found) == ["tiny"]
    assert [line.split(";")[0] for line in trouble] == [
        f"{name}: tiny-peer brings a peer of this name, which is taken" for name in ("mlbench", "torch")
    ]


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
    adapters = [adapter(module) for name, module in PEERS.items() if name != "tensorrt"]
    asked = {package.distribution for each in adapters for package in (*each.PACKAGES, *getattr(each, "ONNX_PACKAGES", ()))}
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
