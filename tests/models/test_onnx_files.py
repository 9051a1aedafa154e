"""ONNX files that are damaged, foreign, too large or malicious: a clear error, and nothing else happens."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from mlbench.errors import FileError, MissingExtraError, MlbenchError, ModelError
from mlbench.ir import interpret
from mlbench.models.onnx import from_onnx, load_onnx
from support.exhaustive import tries
from support.onnx_models import floats, model, node, perceptron


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"PK\x03\x04 an archive", id="zip"),
        pytest.param(b"\x08\x0a", id="no-graph"),
        pytest.param(b"\xff" * 100, id="noise"),
        pytest.param(perceptron().SerializeToString()[:-20], id="truncated"),
        pytest.param(b"ir_version: 8", id="text"),
        pytest.param(perceptron().SerializeToString().replace(b"brought", b"\xedrought"), id="name-that-is-no-text"),
    ],
)
def test_bytes_that_are_no_model(content: bytes) -> None:
    """They are refused as such."""
    with pytest.raises(FileError, match="damaged, truncated or no ONNX model"):
        from_onnx(content)


def broken(change: Callable[[ModelProto], Any]) -> ModelProto:
    """Return a perceptron after a change."""
    proto = perceptron()
    change(proto)
    return proto


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda proto: proto.graph.initializer.pop(0), "breaks a rule of ONNX", id="missing-weight"),
        pytest.param(lambda proto: proto.graph.node[0].input.__setitem__(0, "s"), "breaks a rule of ONNX", id="cycle"),
        pytest.param(lambda proto: proto.graph.node[0].input.__setitem__(0, "h"), "breaks a rule of ONNX", id="reads-itself"),
        pytest.param(lambda proto: proto.graph.node[1].output.__setitem__(0, "h"), "breaks a rule of ONNX", id="made-twice"),
        pytest.param(lambda proto: proto.graph.node[1].input.append("h"), "breaks a rule of ONNX", id="too-many-inputs"),
        pytest.param(lambda proto: proto.graph.initializer[0].dims.__setitem__(0, 5), "breaks a rule of ONNX", id="shapes-do-not-fit"),
        pytest.param(lambda proto: proto.graph.node[0].attribute.append(helper.make_attribute("frob", 1)), "frob", id="unknown-attribute"),
        pytest.param(lambda proto: proto.graph.initializer[2].ClearField("raw_data"), "w1", id="no-data"),
        pytest.param(lambda proto: proto.graph.initializer[2].__setattr__("raw_data", b"1234"), "w1", id="little-data"),
        pytest.param(lambda proto: proto.opset_import.pop(0), "breaks a rule of ONNX", id="no-opset"),
    ],
)
def test_a_model_that_breaks_a_rule(change: Callable[[ModelProto], Any], reason: str) -> None:
    """The error says which."""
    with pytest.raises(FileError, match=reason):
        from_onnx(broken(change))


def test_a_tensor_that_claims_to_be_huge() -> None:
    """No memory is made for numbers that are not there."""
    proto = model([node("MatMul", "x w")], {"x": 2**20}, {"w": floats((1, 1))})
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend([2**20, 2**30])
    with pytest.raises(FileError, match="take more than"):
        from_onnx(proto)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        pytest.param([node("ConstantOfShape", "s", "c"), node("Add", "x c")], {"s": np.array([2**40, 3])}, id="filled"),
        pytest.param([node("Expand", "o s", "c"), node("Add", "x c")],
                     {"o": np.ones((1, 1), np.float32), "s": np.array([2**40, 3])}, id="expanded"),
        pytest.param([node("Range", "a b d", "c"), node("Gather", "c i", "r"), node("Add", "x r")],
                     {"a": np.float32(0), "b": np.float32(1e12), "d": np.float32(1), "i": np.arange(3)}, id="range"),
        pytest.param([node("Mul", "p q", "c"), node("Gather", "c i", "r", axis=1), node("Gather", "r j", "k"), node("Add", "x k")],
                     {"p": np.ones((10**5, 1), np.float32), "q": np.ones((1, 10**5), np.float32), "i": np.arange(3), "j": np.array(0)},
                     id="outer-product"),
    ],
)  # fmt: skip
def test_constants_that_would_be_huge(nodes: list[Any], constants: dict[str, Any]) -> None:
    """What a constant takes is known before it is made."""
    with pytest.raises(ModelError, match="its constants would take more than"):
        from_onnx(model(nodes, constants=constants))


def test_a_model_above_the_limit() -> None:
    """A larger limit is the caller's to give."""
    content = perceptron().SerializeToString()
    with pytest.raises(FileError, match="a larger most_bytes allows it"):
        from_onnx(content, most_bytes=len(content) - 1)
    assert from_onnx(content, most_bytes=10 * len(content)).parameter_bytes == 4 * (4 * 8 + 8 + 8 * 3 + 3)


def test_the_model_stays_as_it_is() -> None:
    """A message is not written to, and the network does not share its memory."""
    proto = perceptron()
    before = proto.SerializeToString(deterministic=True)
    from_onnx(proto)
    assert proto.SerializeToString(deterministic=True) == before


def external(tmp_path: Path, location: str, offset: int = 0, length: int | None = None) -> Path:
    """Return a model whose weight is in another file."""
    proto = model([node("MatMul", "x w")], constants={"w": floats((3, 2))})
    tensor = proto.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(len(content) if length is None else length))):
        tensor.external_data.add(key=key, value=value)
    folder = tmp_path / "models"
    folder.mkdir()
    for place in (folder / "weights.bin", tmp_path / "outside.bin"):
        place.write_bytes(bytes(8) + content)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_tensors_in_a_file_of_the_folder(tmp_path: Path) -> None:
    """They are read from where the model says."""
    network = load_onnx(external(tmp_path, "weights.bin", 8))
    assert network.name == "model"
    x = floats((2, 3))
    np.testing.assert_allclose(interpret(network.graph(), [x])[0], x.astype(np.float64) @ floats((3, 2)))


@pytest.mark.parametrize(
    ("location", "offset", "length", "reason"),
    [
        ("../outside.bin", 8, None, "expected a file in the folder of the model"),
        ("/etc/passwd", 0, None, "expected a file in the folder of the model"),
        ("", 0, None, "expected a file in the folder of the model"),
        (".", 0, None, "expected a file in the folder of the model"),
        ("missing.bin", 0, None, "cannot be read"),
        ("weights.bin", 100, None, "needs 24 bytes"),
        ("weights.bin", -1, None, "needs 24 bytes"),
        ("weights.bin", 0, 8, "needs 24 bytes"),
        ("a\0b", 0, None, "no usable place"),
    ],
)
def test_tensors_anywhere_else(tmp_path: Path, location: str, offset: int, length: int | None, reason: str) -> None:
    """Nothing outside of the folder is read, and nothing beyond the file."""
    with pytest.raises(FileError, match=reason):
        load_onnx(external(tmp_path, location, offset, length))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links")
def test_a_link_that_leads_outside(tmp_path: Path) -> None:
    """It counts as what it leads to."""
    path = external(tmp_path, "link.bin", 8)
    (path.parent / "link.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(FileError, match="expected a file in the folder of the model"):
        load_onnx(path)


def test_bytes_have_no_folder(tmp_path: Path) -> None:
    """Tensors in another file need the path of the model."""
    with pytest.raises(FileError, match=r"mlbench\.load"):
        from_onnx(external(tmp_path, "weights.bin", 8).read_bytes())


def test_a_function_that_calls_itself() -> None:
    """It is refused before anybody follows it."""
    inner = helper.make_function(
        "com.example", "F", ["a"], ["b"], [node("F", "a", "b", domain="com.example")], [helper.make_opsetid("", 21)]
    )
    with pytest.raises(FileError, match="'F' calls itself"):
        from_onnx(model([node("F", "x", domain="com.example")], functions=[inner]))


def test_functions_that_make_millions_of_nodes() -> None:
    """They are counted before they are written out."""
    functions = [helper.make_function("com.example", "F0", ["a"], ["b"], [node("Neg", "a", "b")], [helper.make_opsetid("", 21)])]
    for level in range(1, 30):
        nodes = [node(f"F{level - 1}", "a", "c", domain="com.example"), node(f"F{level - 1}", "c", "b", domain="com.example")]
        versions = [helper.make_opsetid("", 21), helper.make_opsetid("com.example", 1)]
        functions.append(helper.make_function("com.example", f"F{level}", ["a"], ["b"], nodes, versions))
    proto = model([node("Neg", "x", "n"), node("F29", "n", domain="com.example")], functions=functions)
    with pytest.raises(ModelError, match="536,870,913 nodes with its functions written out"):
        from_onnx(proto)


def test_the_package_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names it."""
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"'\.\[onnx\]'"):
        from_onnx(b"")


def seeds() -> list[bytes]:
    """Return models whose bytes are changed."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s i", "r"),
        node("Unsqueeze", "r i1", "r1"),
        node("Concat", "r1 m", "t", axis=0),
        node("Reshape", "x t", "f"),
        node("Split", "f", "a b", axis=1, num_outputs=2),
        node("LayerNormalization", "a g", "n"),
        node("Concat", "n b", "c", axis=1),
        node("Clip", "c - h"),
    ]
    constants = {"i": np.array(0), "i1": np.array([0]), "m": np.array([-1]), "g": floats((2,)), "h": np.float32(1)}
    body = helper.make_function("f", "F", ["a"], ["b"], [node("Tanh", "a", "b")], [helper.make_opsetid("", 21)])
    others = [
        model(nodes, {"x": 4}, constants),
        model([node("F", "x", domain="f")], functions=[body]),
        model([node("Scaler", "x", domain="ai.onnx.ml", offset=[1.0], scale=[2.0])]),
    ]
    return [proto.SerializeToString() for proto in (perceptron(), *others)]


def test_mutated_files_give_an_error_or_a_network() -> None:
    """Whatever bytes change, nothing but the project's own errors comes out, and a network that came out runs."""
    random = np.random.default_rng(15)
    files = seeds()
    outcomes = {True: 0, False: 0}
    for turn in range(tries(300, 10_000)):
        content = bytearray(files[turn % len(files)])
        for _ in range(int(random.integers(1, 4))):
            place = int(random.integers(len(content)))
            kind = random.integers(3)
            if kind == 0:
                content[place] = int(random.integers(256))
            elif kind == 1:
                del content[place : place + int(random.integers(1, 9))]
            else:
                content[place:place] = content[int(random.integers(len(content))) :][: int(random.integers(1, 30))]
        try:
            network = from_onnx(bytes(content), most_bytes=1 << 24)
        except MlbenchError:
            outcomes[False] += 1
            continue
        outcomes[True] += 1
        if sum(network.inputs.values()) < 10_000:
            interpret(network.graph(), [floats((network.batch or 2, columns)) for columns in network.inputs.values()])
    assert min(outcomes.values()) > 0
