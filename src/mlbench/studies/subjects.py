"""What a cell measures: a seeded MLP of given sizes, the trained digits, or a network in a file that somebody brought.

Each says the same things of itself: how its cells are called, its program, the inputs of a batch, the work of its products, and what
identifies it in a saved result. Nothing else asks which of the three it is.

A file is read by every process that measures it. What identifies it is the hash of its content, and a process that finds another content
refuses it, so that no result mixes two networks.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from mlbench.errors import UsageError
from mlbench.ir import FloatArray, Graph, op_named
from mlbench.models import Digits, Model, load_digits_mlp, mlp
from mlbench.models.archive import MOST_BYTES
from mlbench.models.zoo import ZOO
from mlbench.studies.network_files import (
    ZOO_PREFIX,
    AnyModel,
    Arrays,
    is_onnx,
    is_zoo,
    random_inputs,
    read_inputs,
    read_network,
    sha256_of,
)

DIGITS = "digits"
MLP = "mlp"
FILE = "file"
WHOLE_ZOO = "zoo"
INPUT_SEED = 1


_LAYERS = re.compile(r"[1-9]\d{0,8}(-[1-9]\d{0,8}){2,}")


@dataclass(frozen=True, slots=True)
class Sizes:
    """A seeded MLP.

    Attributes:
        hidden: columns of each hidden activation.
        inputs: columns of the input.
        outputs: columns of the output.
    """

    hidden: tuple[int, ...]
    inputs: int = 64
    outputs: int = 10

    def cell_name(self, batch: int) -> str:
        """Return the sizes, short where they are the default ones."""
        sizes = "" if (self.inputs, self.outputs) == (64, 10) else f"-i{self.inputs}-o{self.outputs}"
        return f"b{batch}-h{'x'.join(map(str, self.hidden))}{sizes}"

    def sizes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Return all of them."""
        depth = len(self.hidden)
        return {"batch": (batch,), "hidden": self.hidden, "inputs": (self.inputs,), "outputs": (self.outputs,), "depth": (depth,)}

    def work_flop(self, batch: int) -> float:
        """Return the work without making the weights, because a sweep leaves out cells by it."""
        sizes = (self.inputs, *self.hidden, self.outputs)
        return float(sum(2 * batch * one * other for one, other in itertools.pairwise(sizes)))

    def size(self, batch: int) -> tuple[int, int]:
        """Return it without making the weights either."""
        sizes = (self.inputs, *self.hidden, self.outputs)
        return batch * sum(sizes) + sum(one * other for one, other in itertools.pairwise(sizes)), len(self.hidden) + 1

    def model(self) -> Model:
        """Return the model, whose weights are the same every time."""
        return mlp(self.inputs, self.hidden, self.outputs)

    def arrays(self, batch: int) -> tuple[FloatArray, ...]:
        """Return seeded normal numbers."""
        return _normal(batch, [self.inputs])

    def identity(self) -> dict[str, Any]:
        """Return the sizes."""
        return {"hidden": list(self.hidden), "inputs": self.inputs, "outputs": self.outputs, "model": MLP}


@dataclass(frozen=True, slots=True)
class TrainedDigits:
    """The trained model that ships with mlbench, on its held-out images."""

    @property
    def images(self) -> int:
        """How many held-out images there are."""
        return len(_digits()[1].images)

    def cell_name(self, batch: int) -> str:
        """Return its name and the number of images."""
        return f"{DIGITS}-b{batch}"

    def sizes(self, batch: int) -> dict[str, tuple[int, ...]]:  # noqa: ARG002  # it is in every sweep
        """Return none: it is in every sweep."""
        return {}

    def work_flop(self, batch: int) -> float:
        """Return the work of its layers."""
        return work_flop(self.model().graph(), batch)

    def size(self, batch: int) -> tuple[int, int]:
        """Return the size of its layers."""
        return _size(self.model().graph(), batch)

    def model(self) -> Model:
        """Return the model."""
        return _digits()[0]

    def arrays(self, batch: int) -> tuple[FloatArray, ...]:
        """Return the first images, in an array that may be written to."""
        return (_digits()[1].images[:batch].copy(),)

    def identity(self) -> dict[str, Any]:
        """Return its name and its sizes."""
        model = self.model()
        return {"hidden": list(model.hidden), "inputs": model.inputs, "outputs": model.outputs, "model": DIGITS}


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A network in a file, as it was when somebody named it.

    Attributes:
        path: absolute.
        sha256: of the content.
        name: what its cells are called.
        outputs: names of the outputs that are computed; empty for all.
        inputs_path: an archive with the inputs, absolute; empty for random ones.
        inputs_sha256: of its content; empty for random ones.
        most_bytes: of each file that is read.
    """

    path: str
    sha256: str
    name: str
    outputs: tuple[str, ...] = ()
    inputs_path: str = ""
    inputs_sha256: str = ""
    most_bytes: int = MOST_BYTES

    def cell_name(self, batch: int) -> str:
        """Return its name and the batch."""
        return f"{self.name}-b{batch}"

    def sizes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Return the batch, which is all that is free."""
        return {"batch": (batch,)}

    def work_flop(self, batch: int) -> float:
        """Return the work of its matrix products."""
        return work_flop(self.model().graph(), batch)

    def size(self, batch: int) -> tuple[int, int]:
        """Return the size of its graph."""
        return _size(self.model().graph(), batch)

    def model(self) -> AnyModel:
        """Return what the file holds.

        Raises:
            FileError: when it is missing, damaged, or has changed.
        """
        return read_network(self.path, self.sha256, self.outputs, self.most_bytes)

    def arrays(self, batch: int) -> Arrays:
        """Return the rows of the archive, from the first on again where it has fewer, or else seeded random numbers that fit.

        Raises:
            FileError: when a file is missing or has changed.
        """
        if not self.inputs_path:
            return random_inputs(self.model(), batch, np.random.default_rng(INPUT_SEED))
        given = self._given()
        rows = np.arange(batch) % len(given[0])
        return tuple(np.ascontiguousarray(array[rows]) for array in given)

    @property
    def rows(self) -> int | None:
        """Rows of the archive with the inputs; None for random ones."""
        return len(self._given()[0]) if self.inputs_path else None

    def _given(self) -> Arrays:
        return read_inputs(self.inputs_path, self.inputs_sha256, self.model(), self.most_bytes)

    def identity(self) -> dict[str, Any]:
        """Return where the file is, and the hash of everything that decides what runs."""
        network = {"name": self.name, "file": self.path, "sha256": self.sha256, "outputs": list(self.outputs)}
        given = {"inputs_file": self.inputs_path or None, "inputs_sha256": self.inputs_sha256 or None}
        return {"model": FILE, "network": network | given}


Subject: TypeAlias = Sizes | TrainedDigits | NetworkFile
"""What a cell measures. A process that is sent a cell tells them apart by their fields."""


def brought(
    path: str | os.PathLike[str],
    outputs: tuple[str, ...] = (),
    inputs: str | os.PathLike[str] | None = None,
    most_bytes: int = MOST_BYTES,
) -> NetworkFile:
    """Return the network in a file, which was read once: it and its inputs are fine.

    Args:
        path: of the file.
        outputs: names of the outputs that are computed; empty for all.
        inputs: an archive with an array for each input; None for random numbers.
        most_bytes: of each file, and of the arrays in it together.

    Raises:
        FileError: when a file is missing, damaged or foreign.
        ModelError: when the network cannot run here; the message says why.
        MissingExtraError: when reading it needs a package that is not installed.
        UsageError: when it has no such output, or the arrays do not fit its inputs.
    """
    place = _absolute(path)
    given = "" if inputs is None else _absolute(inputs)
    inputs_sha256 = sha256_of(given, most_bytes) if given else ""
    found = NetworkFile(place, sha256_of(place, most_bytes), name_of(place), outputs, given, inputs_sha256, most_bytes)
    found.arrays(1)
    return found


def layers(model: str) -> Sizes | None:
    """Return the MLP that sizes of layers name; None for any other text.

    >>> layers("64-300-200-10")
    Sizes(hidden=(300, 200), inputs=64, outputs=10)
    """
    if _LAYERS.fullmatch(model) is None:
        return None
    inputs, *hidden, outputs = map(int, model.split("-"))
    return Sizes(tuple(hidden), inputs, outputs)


def brought_all(
    model: str, outputs: tuple[str, ...] = (), inputs: str | os.PathLike[str] | None = None, most_bytes: int = MOST_BYTES
) -> tuple[NetworkFile, ...]:
    """Return what `brought` does, in a tuple, or every network of the zoo where `model` is `zoo`; same errors."""
    if model != WHOLE_ZOO:
        return (brought(model, outputs, inputs, most_bytes),)
    if outputs or inputs:
        raise UsageError(f"inputs and outputs belong to one network; name one of the zoo, such as {ZOO_PREFIX}{next(iter(ZOO))}")
    return tuple(brought(ZOO_PREFIX + name) for name in ZOO)


def of_identity(network: Mapping[str, Any]) -> NetworkFile:
    """Return the network that a saved result names; nothing is read yet."""
    return NetworkFile(
        network["file"],
        network["sha256"],
        network["name"],
        tuple(network["outputs"]),
        network["inputs_file"] or "",
        network["inputs_sha256"] or "",
    )


def names_of(model: str) -> tuple[str, ...]:
    """Return what the cells of `model` are called, of each network where it is the whole zoo.

    >>> names_of("/nets/policy.onnx"), len(names_of("zoo"))
    (('policy',), 8)
    """
    return tuple(ZOO) if model == WHOLE_ZOO else (name_of(model),)


def name_of(path: str) -> str:
    """Return what the cells of a file are called: its name without the ending, in characters that an id may have.

    >>> name_of("/nets/my net.v2.onnx"), name_of("digits.npz")
    ('my_net.v2', 'digits.npz')
    """
    if is_zoo(path):
        return path.removeprefix(ZOO_PREFIX)
    place = Path(path)
    stem = re.sub(r"[^\w.-]+", "_", place.stem)
    return f"{stem}{place.suffix}" if stem in (DIGITS, MLP) else stem


def onnx_path(subject: Subject) -> str | None:
    """Return where the ONNX file of a network is; None of everything else."""
    return subject.path if isinstance(subject, NetworkFile) and is_onnx(subject.path) else None


def work_flop(graph: Graph, batch: int) -> float:
    """Return the floating point operations of the matrix products of a call."""
    products = [node for node in graph.nodes if op_named(node.op).is_product]
    return float(sum(op_named(node.op).work_flop(batch, node.columns, graph.columns_of(node.values[0])) for node in products))


def _size(graph: Graph, batch: int) -> tuple[int, int]:
    products = [node.columns for node in graph.nodes if op_named(node.op).is_product]
    constants = sum(array.size for array in graph.constants.values())
    return batch * (sum(graph.inputs.values()) + sum(products)) + constants, len(products)


def _normal(batch: int, columns: list[int]) -> tuple[FloatArray, ...]:
    random = np.random.default_rng(INPUT_SEED)
    return tuple(random.standard_normal((batch, each), dtype=np.float32) for each in columns)


@cache
def _digits() -> tuple[Model, Digits]:
    return load_digits_mlp()


def _absolute(path: str | os.PathLike[str]) -> str:
    return str(path) if is_zoo(str(path)) else str(Path(path).expanduser().absolute())
