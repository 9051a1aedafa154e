"""Inputs of whole numbers of a network in a file: random ones fit its tables, and given ones are looked at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.errors import UsageError
from mlbench.ir import Graph, Node, frozen
from mlbench.models import Network
from mlbench.studies.network_files import _with_outputs
from mlbench.studies.subjects import brought

ENTRIES = (3, 50)
NODES = (
    Node("slice", ("x0",), "a", 1, attributes=(0, 1)),
    Node("slice", ("x0",), "b", 1, attributes=(1, 2)),
    Node("gather", ("a", "t"), "e", 2, attributes=(2,)),
    Node("gather", ("b", "u"), "f", 2, attributes=(2,)),
    Node("concat", ("e", "f"), "g", 4),
    Node("argmax", ("g",), "label", 1),
)
TABLES = {name: frozen(np.ones((entries, 1, 2))) for name, entries in zip("tu", ENTRIES, strict=True)}
NETWORK = Network(
    "ids", Graph({"x0": 2, "x1": 1}, TABLES, NODES, ("g", "label")), ("ids", "is_new"), ("scores", "label"), None,
    ("int32", "bool"), ("float32", "text"), {"label": ("a", "b", "c", "d")},
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return the file of a network with indices and truth as inputs."""
    return str(NETWORK.save(tmp_path / "ids.npz"))


def _given(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "given.npz", **arrays)
    return str(folder / "given.npz")


def test_random_inputs_fit(path: str) -> None:
    """They have the type of the file, and each column is an index of its own table."""
    ids, truth = brought(path).arrays(500)
    assert (ids.dtype.name, truth.dtype.name) == ("int32", "bool")
    assert ids.min(axis=0).tolist() == [0, 0]
    assert ids.max(axis=0).tolist() == [2, 49]
    assert set(truth.ravel().tolist()) == {True, False}


def test_given_inputs_keep_their_type(path: str, tmp_path: Path) -> None:
    """Whole numbers of another type are converted; the rows begin anew where there are too few."""
    given = _given(tmp_path, ids=np.array([[0.0, 49.0], [-3, 1]]), is_new=np.array([[1], [0]]))
    ids, truth = brought(path, inputs=given).arrays(3)
    assert (ids.dtype.name, truth.dtype.name) == ("int32", "bool")
    assert ids.tolist() == [[0, 49], [-3, 1], [0, 49]]


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([[0, 0], [3, 0]], "ids has 3 in row 1, column 0; expected an index of 3 entries"),
        ([[0.5, 0], [0, 0]], "ids is float64; this model takes whole numbers"),
    ],
    ids=["out-of-range", "no-whole-number"],
)
def test_given_inputs_that_do_not_fit(path: str, tmp_path: Path, ids: list[list[float]], reason: str) -> None:
    """The error names the file and the place."""
    given = _given(tmp_path, ids=np.array(ids), is_new=np.zeros((2, 1), bool))
    with pytest.raises(UsageError, match=re.escape(f"--inputs {given}: {reason}")):
        brought(path, inputs=given)


def test_some_outputs_keep_their_types() -> None:
    """A network with one output less has the types and labels of the others."""
    found = _with_outputs(NETWORK, ("label",), "ids.npz")
    assert isinstance(found, Network)
    assert (found.input_dtypes, found.output_dtypes, found.labels) == (("int32", "bool"), ("text",), NETWORK.labels)
