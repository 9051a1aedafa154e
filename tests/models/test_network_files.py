"""Networks: a graph with the names of its file, what it refuses to be, and its own file."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mlbench.errors import FileError, ModelError
from mlbench.ir import Graph, Node, Step, frozen
from mlbench.models import Network, network_file
from mlbench.models.network import MOST_COLUMNS
from support.branched import BRANCHED, TWO_HEADS, TWO_INPUTS, network_of
from support.exhaustive import tries

Arrays = dict[str, npt.NDArray[Any]]
NETWORK = Network("net", TWO_INPUTS, ("images:0", "größe"), ("probabilities/Softmax",), batch=8)


def _same(one: Network, other: Network) -> bool:
    mine, its = one.program, other.program
    return (
        (one.name, one.inputs, one.outputs, one.batch) == (other.name, other.inputs, other.outputs, other.batch)
        and (list(mine.inputs.items()), mine.nodes, mine.outputs) == (list(its.inputs.items()), its.nodes, its.outputs)
        and list(mine.constants) == list(its.constants)
        and all(np.array_equal(mine.constants[name], its.constants[name], equal_nan=True) for name in mine.constants)
    )


# --- the network --------------------------------------------------------------------------------------------------------


def test_a_network_says_what_it_is_made_of() -> None:
    """Inputs and outputs by the names of the file, parameters, and the nodes by op, most frequent first."""
    assert str(NETWORK).splitlines() == [
        "network net",
        "  inputs      images:0 (8 x 6), größe (8 x 3)",
        "  outputs     probabilities/Softmax (8 x 2)",
        "  batch       8 alone",
        "  parameters  67 (268 B)",
        "  nodes       8: 3 matmul, 3 add, 1 add_values, 1 relu",
    ]
    assert repr(NETWORK) == "<Network 'net': 8 nodes, 67 parameters>"
    assert str(network_of(TWO_HEADS)).count("rows x") == 3


def test_a_network_knows_its_sizes() -> None:
    """Columns by the names of the file, and the bytes of all constants."""
    assert NETWORK.inputs == {"images:0": 6, "größe": 3}
    assert NETWORK.outputs == {"probabilities/Softmax": 2}
    assert NETWORK.parameter_bytes == 268
    assert NETWORK.graph() is NETWORK.program


def test_a_network_keeps_copies_that_nobody_can_write() -> None:
    """An array that is read-only to the graph may be written by its owner, which does not change the network."""
    owned = np.ones((6, 2), np.float32)
    view = owned.view()
    view.flags.writeable = False
    graph = Graph({"x": 6}, {"w": view}, (Node("matmul", ("x", "w"), "y", 2),), ("y",))
    network = network_of(graph)
    owned[:] = 7
    assert network.program.constants["w"].max() == 1
    with pytest.raises(ValueError, match="read-only"):
        network.program.constants["w"][0, 0] = 7


@pytest.mark.parametrize("again", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))], ids=["deepcopy", "pickle"])
def test_a_copy_of_a_network_is_read_only_too(again: Callable[[Network], Network]) -> None:
    """It may be sent to other processes."""
    other = again(NETWORK)
    assert _same(NETWORK, other)
    assert not any(array.flags.writeable for array in other.program.constants.values())


def _renamed(old: str, new: str) -> Graph:
    """Return the graph of two inputs with a constant under another name."""
    nodes = tuple(replace(node, inputs=tuple(new if name == old else name for name in node.inputs)) for node in TWO_INPUTS.nodes)
    return replace(TWO_INPUTS, constants={new if name == old else name: each for name, each in TWO_INPUTS.constants.items()}, nodes=nodes)


WIDE = Graph({"x": MOST_COLUMNS + 1}, {}, (Node("relu", ("x",), "y", MOST_COLUMNS + 1),), ("y",))
FUSED = replace(TWO_INPUTS, nodes=(replace(TWO_INPUTS.nodes[0], epilogue=(Step("relu"),)), *TWO_INPUTS.nodes[1:]))
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "law": ({"program": replace(TWO_INPUTS, outputs=("nobody",))}, "network 'net': output: 'nobody' is bound by no node"),
    "code-as-name": ({"program": _renamed("w0", "w0; import os")}, "its graph has the name 'w0; import os'; expected an identifier"),
    "keyword-as-name": ({"program": _renamed("w0", "lambda")}, "its graph has the name 'lambda'"),
    "epilogue": ({"program": FUSED}, "node p0 has an epilogue, which only the compiler makes"),
    "columns": ({"program": WIDE, "input_names": ("x",)}, "x has 268,435,457 columns; expected 268,435,456 at most"),
    "few-names": ({"input_names": ("left",)}, "1 input names ('left',); its graph has the inputs left, right"),
    "many-names": ({"output_names": ("y", "z")}, "2 output names ('y', 'z'); its graph has the outputs s2"),
    "equal-names": ({"input_names": ("x", "x")}, "two inputs are called 'x'"),
    "a-text": ({"input_names": "xy"}, "input_names is 'xy'; expected a tuple of texts"),
    "no-text": ({"output_names": (1,)}, "output_names is (1,); expected a tuple of texts"),
    "half-a-character": ({"output_names": ("\ud800",)}, "expected a tuple of texts"),
    "name": ({"name": "\udfff"}, "the name of a network is '\\udfff'; expected text"),
    "batch": ({"batch": 0}, "its batch is 0; expected a whole number of 1 or more, or None for any"),
    "batch-of-a-half": ({"batch": 0.5}, "its batch is 0.5"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_network_is_refused(change: dict[str, Any], message: str) -> None:
    """The message says which network, what was found and what was expected."""
    with pytest.raises(ModelError) as caught:
        replace(NETWORK, **change)
    assert message in str(caught.value)


# --- the file -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", BRANCHED.values(), ids=BRANCHED)
def test_a_network_comes_back_as_it_was(graph: Graph, tmp_path: Path) -> None:
    """Graph, names, batch and every number, to the bit."""
    for network in (network_of(graph), replace(network_of(graph), batch=3, name="Zähler 数字")):
        path = network.save(tmp_path / "network.npz")
        assert _same(network, Network.load(path))


def test_numbers_and_shapes_of_constants_come_back(tmp_path: Path) -> None:
    """NaN, infinities, a scalar, a row, a weight, and the attributes of a node."""
    constants = {"w": frozen([[1.5, np.nan], [np.inf, -0.0]]), "row": frozen([1e-45, -3e38]), "slope": frozen(0.25)}
    nodes = (Node("matmul", ("x", "w"), "p", 2), Node("add", ("p", "row"), "s", 2), Node("leaky_relu", ("s", "slope"), "a", 2),
             Node("slice", ("a",), "y", 1, attributes=(1, 2)))  # fmt: skip
    network = network_of(Graph({"x": 2}, constants, nodes, ("y",)))
    again = Network.load(network.save(tmp_path / "network.npz"))
    assert _same(network, again)
    assert np.signbit(again.program.constants["w"][1, 1])


def test_a_network_too_large_for_a_file_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be refused when it is read is refused when it is written, and no file appears."""
    monkeypatch.setattr(network_file, "MOST_CONSTANTS", 5)
    with pytest.raises(FileError, match="has 6 constants; a file holds 4,194,304 and 5 at most"):
        NETWORK.save(tmp_path / "network.npz")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the file of a small network."""
    return NETWORK.save(tmp_path / "network.npz")


def _refused(path: Path, reason: str) -> None:
    with pytest.raises(FileError) as caught:
        Network.load(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def _arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _with(**changes: Any) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: np.asarray(array) for name, array in changes.items()}


def _without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def _text(**changes: Any) -> Callable[[Arrays], Arrays]:
    """Return what replaces some values of the graph's text."""
    return lambda arrays: arrays | {"graph": np.array(json.dumps(json.loads(str(arrays["graph"])) | changes))}


def _node(**changes: Any) -> Callable[[Arrays], Arrays]:
    """Return what replaces some values of the text of the first node."""

    def change(arrays: Arrays) -> Arrays:
        top = json.loads(str(arrays["graph"]))
        top["nodes"][0] |= changes
        return arrays | {"graph": np.array(json.dumps(top))}

    return change


FOREIGN: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "another-format": (_with(format="mlbench-model"), "its format is 'mlbench-model'; expected 'mlbench-network'"),
    "no-format": (_without("format"), "its format is 'None'"),
    "another-version": (_with(version=3), "its version is 3; this mlbench reads versions 1 to 2"),
    "no-version": (_without("version"), "its version is None"),
    "no-graph": (_without("graph"), "its graph is missing or no text"),
    "graph-of-numbers": (_with(graph=np.ones(3)), "its graph is missing or no text"),
    "graphs": (_with(graph=["{}", "{}"]), "its graph is missing or no text"),
    "no-json": (_with(graph="{"), "its graph is no JSON text"),
    "deep": (_with(graph="[" * 100_000), "its graph is no JSON text"),
    "long-number": (_with(graph="9" * 10_000), "its graph is no JSON text"),
    "list": (_with(graph="[]"), "graph: found a list; expected name, batch"),
    "one-key-more": (_text(extra=1), "graph: found the keys batch, constants, extra"),
    "name-is-a-number": (_text(name=1), "graph: its name is a int; expected a str"),
    "batch-is-a-text": (_text(batch="8"), "graph: its batch is a str; expected a int"),
    "batch-is-a-truth-value": (_text(batch=True), "graph: its batch is a bool"),
    "no-batch": (_text(batch=-1), "its batch is -1"),
    "no-inputs": (_text(inputs=[]), "inputs: found none"),
    "inputs-of-text": (_text(inputs=["x"]), "inputs: found a str; expected name, value, columns"),
    "an-input-twice": (_text(inputs=[{"name": name, "value": "left", "columns": 6} for name in "ab"]), "inputs: a value is there twice"),
    "columns-of-a-half": (_text(inputs=[{"name": "a", "value": "left", "columns": 6.5}]), "inputs: its columns is a float"),
    "output-nobody-binds": (_text(outputs=[{"name": "y", "value": "q"}]), "output: 'q' is bound by no node"),
    "one-constant-less": (_without("constant5"), "found 5 constants and 6 names"),
    "one-constant-more": (_with(constant6=np.ones(2, np.float32)), "found 7 constants and 6 names"),
    "a-constant-twice": (_text(constants=["w0"] * 6), "found 6 constants and 1 names"),
    "constants-of-numbers": (_text(constants=[1, 2]), "constants: found [1, 2]; expected names"),
    "float64": (_with(constant0=np.ones((6, 5))), "constant 'w0': found float64 of shape (6, 5)"),
    "other-byte-order": (_with(constant0=np.ones((6, 5), ">f4")), "constant 'w0': found >f4"),
    "four-dimensions": (_with(constant0=np.ones((6, 5, 1, 1), np.float32)), "constant 'w0': found float32 of shape (6, 5, 1, 1)"),
    "weight-that-does-not-fit": (_with(constant0=np.ones((4, 5), np.float32)), "node 0 (p0 = matmul): matmul: the value has 6 columns"),
    "unknown-op": (_node(op="system"), "node 0 (p0 = system): no op is called 'system'"),
    "node-with-more": (_node(code="import os"), "node 0: found the keys attributes, code"),
    "node-inputs": (_node(inputs=["left", 3]), "node 0: its inputs: found ['left', 3]; expected names"),
    "node-attributes": (_node(attributes=["a"]), "node 0: its attributes are ['a']; expected whole numbers"),
    "negative-columns": (_node(columns=-5), "says -5 columns; its shape rule gives 5"),
    "unbound": (_node(inputs=["right2", "w0"]), "reads 'right2', which is not bound yet"),
    "cycle": (_node(inputs=["s2", "w0"]), "reads 's2', which is not bound yet"),
    "code-as-name": (_node(output="p0=__import__('os')"), "node 1 (s0 = add): reads 'p0'"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_an_archive_that_is_no_network_is_refused(saved: Path, change: Callable[[Arrays], Arrays], reason: str) -> None:
    """Whatever does not belong to a network of this version is refused with the path and the reason."""
    np.savez(saved, **change(_arrays(saved)))  # type: ignore[arg-type]  # as in the library
    _refused(saved, reason)


def test_a_text_that_is_too_long_is_not_parsed(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python needs much more memory for a text's lists than for the text."""
    monkeypatch.setattr(network_file, "MOST_CHARACTERS", 100)
    _refused(saved, "characters; expected 100 at most")


def test_a_larger_network_is_read_on_request(saved: Path) -> None:
    """The limit is the caller's, of the file and of what is in it."""
    with pytest.raises(FileError, match="larger than 100 bytes"):
        Network.load(saved, most_bytes=100)
    with pytest.raises(FileError, match="its arrays would take"):
        Network.load(saved, most_bytes=saved.stat().st_size)


@pytest.mark.parametrize("tenth", range(10))
def test_a_truncated_network_is_refused(saved: Path, tenth: int) -> None:
    """Cut at any tenth of its length, a file is refused, the empty one included."""
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) * tenth // 10])
    _refused(saved, "damaged, truncated or no .npz archive")


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_refused_or_changes_nothing(saved: Path, bit: int) -> None:
    """Wherever a bit is flipped, the file is refused with its path, or (in a date, say) the network is as it was."""
    content = saved.read_bytes()
    refusals, step = 0, tries(31, 3)
    for place in range(bit, len(content), step):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        saved.write_bytes(damaged)
        try:
            assert _same(NETWORK, Network.load(saved))
        except FileError as error:
            refusals += 1
            assert str(saved) in str(error)  # noqa: PT017  # which files are refused is not known before
    assert refusals > len(content) // (2 * step)


def test_a_changed_character_of_the_graph_is_refused_or_a_network(saved: Path) -> None:
    """Whatever stands in the text, a load gives a network that keeps the laws or a `FileError`."""
    arrays, random = _arrays(saved), np.random.default_rng(5)
    text = str(arrays["graph"])
    refusals, number = 0, tries(200, 5000)
    for _ in range(number):
        place = int(random.integers(len(text)))
        other = '"{}[],:-019eEnulltrue_x \\'[int(random.integers(26)) % 25]
        changed = arrays | {"graph": np.array(text[:place] + other + text[place + 1 :])}
        np.savez(saved, **changed)  # type: ignore[arg-type]  # as in the library
        try:
            Network.load(saved)
        except FileError:
            refusals += 1
    assert refusals > number // 2
