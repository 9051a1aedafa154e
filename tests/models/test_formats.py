"""`mlbench.load`: which file is what, by its suffix and its first bytes."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import mlbench
from mlbench.errors import FileError, MissingExtraError
from mlbench.models import Model, Network, mlp
from support.branched import TWO_HEADS, network_of


@pytest.mark.parametrize("name", ["model.npz", "model", "model.NPZ", "model.bin"])
def test_both_kinds_of_npz_are_told_apart(name: str, tmp_path: Path) -> None:
    """What is inside decides, whatever the file is called."""
    model = mlbench.load(mlp(3, 4, 2).save(tmp_path / name))
    assert isinstance(model, Model)
    assert model.name == "3-4-2"
    network = mlbench.load(str(network_of(TWO_HEADS).save(tmp_path / name)))
    assert isinstance(network, Network)
    assert list(network.outputs) == ["class", "a2"]


FOREIGN = {
    ".pkl": "no pickle is ever opened.*mlbench.from_sklearn",
    ".joblib": "no pickle is ever opened",
    ".pt": r"no pickle is ever opened.*torch\.onnx\.export",
    ".PTH": r"torch\.onnx\.export",
    ".keras": r"model\.export",
    ".h5": r"model\.export",
    ".safetensors": "weights without a graph",
    ".tflite": "tf2onnx",
}


@pytest.mark.parametrize(("suffix", "advice"), FOREIGN.items(), ids=FOREIGN)
def test_the_file_of_another_tool_says_what_to_do(suffix: str, advice: str, tmp_path: Path) -> None:
    """It is not opened: the folder of that name would be another error."""
    path = tmp_path / f"model{suffix}"
    path.mkdir()
    with pytest.raises(FileError, match=advice):
        mlbench.load(path)


class _Bomb:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.trace,)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["model", "model.npz", "model.onnx"])
def test_a_pickle_under_another_name_is_never_opened(protocol: int, name: str, tmp_path: Path) -> None:
    """Its first bytes say what it is, and its code does not run."""
    (tmp_path / name).write_bytes(pickle.dumps(_Bomb(tmp_path / "trace"), protocol))
    with pytest.raises(FileError, match="no pickle is ever opened"):
        mlbench.load(tmp_path / name)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["model.npz", "model"])
def test_the_archive_of_somebody_else_is_refused(name: str, tmp_path: Path) -> None:
    """The message says which formats it may have."""
    with (tmp_path / name).open("wb") as stream:
        np.savez(stream, a=np.ones(3))
    with pytest.raises(FileError, match="its format is 'None'; expected 'mlbench-model' or 'mlbench-network'"):
        mlbench.load(tmp_path / name)


def test_a_zip_of_another_tool_is_refused(tmp_path: Path) -> None:
    """Some tools keep a pickle in an archive."""
    with zipfile.ZipFile(tmp_path / "model", "w") as archive:
        archive.writestr("archive/data.pkl", "c")
    with pytest.raises(FileError, match=r"found 'archive/data\.pkl'; expected arrays alone"):
        mlbench.load(tmp_path / "model")


@pytest.mark.parametrize("content", [b"", b"hello", json.dumps([1]).encode(), b"\x7fELF"], ids=["empty", "text", "json", "program"])
def test_anything_else_is_refused(content: bytes, tmp_path: Path) -> None:
    """The message says what would fit."""
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(FileError, match=r"no file that mlbench knows; expected an \.npz that save wrote, \.onnx or \.skops"):
        mlbench.load(tmp_path / "model")


@pytest.mark.parametrize("name", ["none.npz", "none.onnx", "none"])
def test_a_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    """Whatever it is called."""
    with pytest.raises(FileError, match="no such file"):
        mlbench.load(tmp_path / name)


@pytest.mark.parametrize("name", ["model.npz", "model.onnx"])
def test_the_limit_is_of_every_format(name: str, tmp_path: Path) -> None:
    """A file that is larger than the caller allows is not read."""
    (tmp_path / name).write_bytes(bytes(2000))
    with pytest.raises(FileError, match="larger than 1,000 bytes"):
        mlbench.load(tmp_path / name, most_bytes=1000)


# --- ONNX ---------------------------------------------------------------------------------------------------------------


def test_onnx_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message names the extra; the file itself may be anything."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(MissingExtraError, match=r"needs onnx, which is not installed: .*\[onnx\]"):
        mlbench.load(tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["model.onnx", "model.ONNX", "model"])
def test_an_onnx_file_is_a_network(name: str, tmp_path: Path) -> None:
    """By its suffix, or by its first byte where it has none."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    value = onnx.helper.make_tensor_value_info
    shape = ["batch", 3]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["in"], ["out"])], "g", [value("in", 1, shape)], [value("out", 1, shape)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / name).write_bytes(model.SerializeToString())
    network = mlbench.load(tmp_path / name)
    assert isinstance(network, Network)
    assert (network.name, network.inputs, network.outputs) == ("model", {"in": 3}, {"out": 3})


def test_a_damaged_onnx_file_is_refused(tmp_path: Path) -> None:
    """With its path."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    (tmp_path / "model.onnx").write_bytes(b"\x08hello")
    with pytest.raises(FileError, match=r"model\.onnx"):
        mlbench.load(tmp_path / "model.onnx")
