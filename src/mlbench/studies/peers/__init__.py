"""The runtimes that ours is measured against, one adapter a file.

An adapter takes the weights of an MLP of ours and a fixed input, and returns a call that computes the output with the settings that the
runtime's own documentation recommends for latency on a CPU; its docstring says which and where they are from. It imports its framework
inside `load`, so that a runtime that is missing is a reason to state and nothing more. Each runs in a worker process of its own,
because thread pools that meet in one process disturb each other.

To add a runtime, add a file with what `Adapter` asks for, and its row here. A runtime that reads ONNX files has `load_onnx` besides, and
is then measured on the networks that people bring, from their own file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import numpy as np

from mlbench.errors import UsageError
from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.cases import Cell, inputs_of, model_of
from mlbench.studies.peers.packages import Package, versions
from mlbench.studies.subjects import Subject, onnx_path

PEERS = {
    "onnxruntime": "mlbench.studies.peers.adapters.onnxruntime",
    "torch": "mlbench.studies.peers.adapters.torch_eager",
    "torch.compile": "mlbench.studies.peers.adapters.torch_compile",
    "xla": "mlbench.studies.peers.adapters.jax",
    "openvino": "mlbench.studies.peers.adapters.openvino",
    "tensorflow": "mlbench.studies.peers.adapters.tensorflow",
    "tvm": "mlbench.studies.peers.adapters.tvm",
    "tensorrt": "mlbench.studies.peers.adapters.tensorrt",
}
"""Name on the command line and in tables, and the module that holds the adapter."""


class Adapter(Protocol):
    """What the module of a runtime holds.

    Attributes:
        PACKAGES: what must be installed.
        SETTINGS: how it is made fast, in one line.
    """

    PACKAGES: tuple[Package, ...]
    SETTINGS: str

    def missing(self) -> str | None:
        """Return why it cannot run here and what to do, in one line; None where it can."""

    def load(self, model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
        """Return a call that computes the output for `x`, (batch, inputs) float32, with so many threads.

        What the call returns is an array to `as_numpy`; it is valid until the next call.
        """


class OnnxAdapter(Protocol):
    """What the module of a runtime that reads ONNX files holds besides."""

    def load_onnx(self, file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], object]:
        """Return a call that computes the outputs for `xs`, (batch, columns) float32 each, with so many threads.

        What the call returns is a tuple of arrays to `as_numpy`, in the order of the file's `outputs`; they are valid until the next call.
        """


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX file that somebody brought.

    Attributes:
        path: of the file, beside which its external data are.
        inputs: names of the inputs, in the order of the arrays.
        outputs: names of the outputs that are computed.
    """

    path: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def adapter(module: str) -> Adapter:
    """Return the adapter that a module holds."""
    return cast("Adapter", importlib.import_module(module))


def as_numpy(result: Any) -> FloatArray:  # an array of some framework
    """Return what a runtime's call gave as a NumPy array."""
    return cast("FloatArray", np.asarray(result) if hasattr(result, "__array__") else np.from_dlpack(result))


def as_outputs(result: Any) -> FloatArray | tuple[FloatArray, ...]:  # an array of some framework, or a tuple of them
    """Return what a runtime's call gave as matrices of float32, (batch, columns); what has one number a row becomes a column."""
    if not isinstance(result, tuple):
        return as_numpy(result)
    found = [as_numpy(each) for each in result]
    columns = tuple(np.ascontiguousarray(each, np.float32).reshape(len(each), -1) for each in found)
    return columns if len(columns) > 1 else columns[0]


def cannot_take(module: str, subject: Subject) -> str | None:
    """Return why a runtime cannot take what is to be measured, in one line; None where it can."""
    if isinstance(subject.model(), Model):
        return None
    if onnx_path(subject) is None:
        return "cannot take it: this network is in a file of mlbench, which no other runtime reads; name its .onnx"
    return None if hasattr(adapter(module), "load_onnx") else "cannot take it: its adapter builds MLPs of ours, and reads no ONNX file"


def peer_loader(module: str, cell: Cell) -> Callable[[], Callable[[], object]]:
    """Return what builds the cell in a runtime, whose arrays are there before.

    Raises:
        UsageError: where the runtime cannot take it.
    """
    model, xs = model_of(cell), inputs_of(cell)
    if isinstance(model, Model):
        return partial(adapter(module).load, model, xs[0], cell.threads)
    path, reason = onnx_path(cell.subject), cannot_take(module, cell.subject)
    if path is None or reason is not None:
        raise UsageError(f"{module}: {reason}")
    file = OnnxFile(path, model.input_names, model.output_names)
    return partial(cast("OnnxAdapter", adapter(module)).load_onnx, file, xs, cell.threads)


__all__ = [
    "PEERS",
    "Adapter",
    "OnnxAdapter",
    "OnnxFile",
    "Package",
    "adapter",
    "as_numpy",
    "as_outputs",
    "cannot_take",
    "peer_loader",
    "versions",
]
