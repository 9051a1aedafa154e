"""Named, seeded models: Linear layers and activations, the graph they make, and their file.

A model file is a NumPy `.npz` archive without pickled objects, so that opening one runs no code. It is read whole and
checked before anything is built from it.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.arrays import ReadOnly, read_only
from mlbench.errors import FileError, ModelError
from mlbench.files import write_atomically
from mlbench.ir import FloatArray, Graph, Node, frozen
from mlbench.models.archive import MOST_BYTES, read_arrays

IDENTITY = "identity"
HIDDEN_ACTIVATIONS = (IDENTITY, "relu", "leaky_relu", "sigmoid", "tanh")
OUTPUT_ACTIVATIONS = (*HIDDEN_ACTIVATIONS, "softmax")
LEAKY_SLOPE = 0.01
FORMAT = "mlbench-model"
_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Layer(ReadOnly):
    """A Linear and the activation behind it.

    Attributes:
        weight: (inputs, outputs) float32, read-only.
        bias: (outputs,) float32, read-only.
        activation: one of OUTPUT_ACTIVATIONS; `softmax` in the last layer only.
    """

    weight: FloatArray
    bias: FloatArray
    activation: str = IDENTITY


@dataclass(frozen=True, slots=True, eq=False)
class Model(ReadOnly):
    """A multi-layer perceptron. Arrays are copied in and read-only, so runners and threads can share it.

    It may be copied, pickled and sent to other processes, where its arrays are read-only as well.

    Attributes:
        name: what tables call it.
        layers: from the input to the output.

    Raises:
        ModelError: when layers do not fit each other; the message names the layer.
    """

    name: str
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _check_layers(self.layers)
        copies = tuple(Layer(frozen(layer.weight), frozen(layer.bias), layer.activation) for layer in self.layers)
        object.__setattr__(self, "layers", copies)

    @property
    def inputs(self) -> int:
        """Columns of the input."""
        return int(self.layers[0].weight.shape[0])

    @property
    def outputs(self) -> int:
        """Columns of the output."""
        return int(self.layers[-1].weight.shape[1])

    @property
    def hidden(self) -> tuple[int, ...]:
        """Columns of each hidden activation."""
        return tuple(layer.weight.shape[1] for layer in self.layers[:-1])

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all weights and biases."""
        return sum(layer.weight.nbytes + layer.bias.nbytes for layer in self.layers)

    def graph(self) -> Graph:
        """Return the program as a user would write it: a node for each NumPy operation."""
        constants: dict[str, FloatArray] = {}
        nodes: list[Node] = []
        value = "x"
        for index, layer in enumerate(self.layers):
            constants |= {f"w{index}": layer.weight, f"b{index}": layer.bias}
            operations: list[tuple[str, tuple[str, ...]]] = [("matmul", (f"w{index}",)), ("add", (f"b{index}",))]
            if layer.activation == "leaky_relu":
                constants["slope"] = frozen(LEAKY_SLOPE)
                operations.append((layer.activation, ("slope",)))
            elif layer.activation != IDENTITY:
                operations.append((layer.activation, ()))
            for op, operands in operations:
                output = f"v{len(nodes)}"
                nodes.append(Node(op, (value, *operands), output, layer.weight.shape[1]))
                value = output
        return Graph({"x": self.inputs}, constants, tuple(nodes), (value,))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to a `.npz` file, whole or not at all.

        Raises:
            FileError: when the file cannot be written.
        """
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "format": np.array(FORMAT),
            "version": np.array(_VERSION),
            "name": np.array(self.name),
            "activations": np.array([layer.activation for layer in self.layers]),
        }
        for index, layer in enumerate(self.layers):
            arrays |= {f"weight{index}": layer.weight, f"bias{index}": layer.bias}
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # the stub wants the keywords to be options
        return write_atomically(path, content.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> Model:
        """Read a model that `save` wrote.

        Args:
            path: the file.
            most_bytes: of the file, and of all its arrays together: a small file may unpack to many gigabytes.

        Raises:
            FileError: when the file is missing, damaged, truncated, foreign, of an unknown version, or too large.
        """
        return cls.of_arrays(read_arrays(path, most_bytes), path)

    @classmethod
    def of_arrays(cls, arrays: dict[str, npt.NDArray[Any]], path: str | os.PathLike[str]) -> Model:
        """Make a model of what its file holds; `path` is for messages alone.

        Raises:
            FileError: when these are no arrays of a model.
        """
        try:
            return cls(*_parse(arrays))
        except (KeyError, ModelError) as error:
            raise FileError(f"{path}: not a usable mlbench model: {_reason(error)}") from error


def mlp(
    inputs: int = 64,
    hidden: int | Sequence[int] = 256,
    outputs: int = 10,
    seed: int = 0,
    activation: str = "relu",
    output_activation: str = IDENTITY,
) -> Model:
    """Make a seeded multi-layer perceptron: Linear -> activation, once for each hidden size, then Linear.

    Weights are normal with the standard deviation sqrt(2 / inputs of the layer) (He et al., 2015, "Delving Deep into
    Rectifiers", equation 10), so that activations keep their size whatever the depth; biases are normal with 0.1.

    Args:
        inputs: columns of x.
        hidden: columns of the hidden activation, or of each of them.
        outputs: columns of y.
        seed: the same seed gives the same model on every machine.
        activation: of the hidden layers: identity, relu, leaky_relu, sigmoid or tanh.
        output_activation: of the last layer; softmax as well.

    Raises:
        ModelError: for sizes below 1, no size at all or unknown activations.

    >>> mlp(inputs=4, hidden=(8, 8), outputs=2).hidden
    (8, 8)
    """
    depths = tuple(hidden) if isinstance(hidden, Sequence) else (hidden,)
    sizes = (inputs, *depths, outputs)
    for size in sizes:
        if not _is_size(size):
            raise ModelError(f"sizes {sizes}: found {size!r}; expected whole numbers of 1 or more")
    if activation not in HIDDEN_ACTIVATIONS:
        raise ModelError(f"activation {activation!r}; expected one of {', '.join(HIDDEN_ACTIVATIONS)}")
    random = np.random.default_rng(seed)
    layers = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        weight = random.standard_normal((fan_in, fan_out)) * np.sqrt(2.0 / fan_in)
        bias = random.standard_normal(fan_out) * 0.1
        layers.append(Layer(frozen(weight), frozen(bias), activation))
    last = layers[-1]
    layers[-1] = Layer(last.weight, last.bias, output_activation)
    name = "-".join(str(size) for size in sizes)
    return Model(name, tuple(layers))


@dataclass(frozen=True, slots=True, eq=False)
class Digits(ReadOnly):
    """Held-out images of handwritten digits.

    Attributes:
        images: (batch, 64) float32, 8 x 8 pixels row by row, each from 0 to 1; read-only.
        labels: (batch,) int64, 0 to 9; read-only.
    """

    images: FloatArray
    labels: npt.NDArray[np.int64]


def load_digits_mlp() -> tuple[Model, Digits]:
    """Return a trained 64-128-10 model and the images that were held out from its training.

    The data are the test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998, UCI Machine Learning
    Repository, CC BY 4.0) as scikit-learn ships it; `scripts/train_digits.py` makes both files again.

    >>> model, digits = load_digits_mlp()
    >>> model.inputs, model.outputs, digits.images.shape
    (64, 10, (360, 64))
    """
    folder = resources.files("mlbench.models") / "data"
    with resources.as_file(folder / "digits_model.npz") as path:
        model = Model.load(path)
    with resources.as_file(folder / "digits_heldout.npz") as path:
        arrays = read_arrays(path)
    images = frozen(arrays["images"].astype(np.float32) / 16)
    return model, Digits(images, read_only(arrays["labels"].astype(np.int64)))


def _is_size(size: object) -> bool:
    return isinstance(size, (int, np.integer)) and int(size) >= 1


def _check_layers(layers: Sequence[Layer]) -> None:
    if not layers:
        raise ModelError("found no layers; expected one or more")
    for index, layer in enumerate(layers):
        if layer.weight.ndim != 2 or 0 in layer.weight.shape:
            raise ModelError(f"layer {index}: weight has shape {layer.weight.shape}; expected (inputs, outputs)")
        if layer.bias.shape != layer.weight.shape[1:]:
            raise ModelError(f"layer {index}: bias has shape {layer.bias.shape}; expected {layer.weight.shape[1:]}")
        if layer.weight.dtype != np.float32 or layer.bias.dtype != np.float32:
            raise ModelError(f"layer {index}: {layer.weight.dtype} weight, {layer.bias.dtype} bias; expected float32")
        allowed = OUTPUT_ACTIVATIONS if index == len(layers) - 1 else HIDDEN_ACTIVATIONS
        if layer.activation not in allowed:
            raise ModelError(f"layer {index}: activation {layer.activation!r}; expected one of {', '.join(allowed)}")
        if index and layers[index - 1].weight.shape[1] != layer.weight.shape[0]:
            raise ModelError(
                f"layer {index}: takes {layer.weight.shape[0]} columns; layer {index - 1} gives {layers[index - 1].weight.shape[1]}"
            )


def _parse(arrays: dict[str, npt.NDArray[np.generic]]) -> tuple[str, tuple[Layer, ...]]:
    if str(arrays.get("format")) != FORMAT:
        raise ModelError(f"its format is {str(arrays.get('format'))!r}; expected {FORMAT!r}")
    if str(arrays["version"]) != str(_VERSION):
        raise ModelError(f"its version is {arrays['version']}; this mlbench reads version {_VERSION}")
    if arrays["activations"].size > len(arrays):
        raise ModelError(f"found {arrays['activations'].size} activations and {len(arrays)} arrays; expected two arrays for each")
    activations = [str(name) for name in np.ravel(arrays["activations"])]
    expected = {"format", "version", "name", "activations"}
    expected |= {f"{kind}{index}" for kind in ("weight", "bias") for index in range(len(activations))}
    if set(arrays) != expected:
        raise ModelError(f"found the arrays {sorted(set(arrays) ^ expected)} missing or too many")
    layers = []
    for index, activation in enumerate(activations):
        weight, bias = arrays[f"weight{index}"], arrays[f"bias{index}"]
        if weight.dtype != np.float32 or bias.dtype != np.float32:
            raise ModelError(f"layer {index}: {weight.dtype} weight, {bias.dtype} bias; expected float32")
        layers.append(Layer(weight.astype(np.float32), bias.astype(np.float32), activation))
    return str(arrays["name"]), tuple(layers)


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
