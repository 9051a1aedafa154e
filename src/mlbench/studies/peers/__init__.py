"""The runtimes that ours is measured against, one adapter a file.

An adapter takes the weights of a model and a fixed input, and returns a call that computes the output with the settings that the
runtime's own documentation recommends for latency on a CPU; its docstring says which and where they are from. It imports its framework
inside `load`, so that a runtime that is missing is a reason to state and nothing more. Each runs in a worker process of its own,
because thread pools that meet in one process disturb each other.

To add a runtime, add a file with what `Adapter` asks for, and its row here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.peers.packages import Package, versions

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


def adapter(module: str) -> Adapter:
    """Return the adapter that a module holds."""
    return cast("Adapter", importlib.import_module(module))


def as_numpy(result: Any) -> FloatArray:  # an array of some framework
    """Return what a runtime's call gave as a NumPy array."""
    return cast("FloatArray", np.asarray(result) if hasattr(result, "__array__") else np.from_dlpack(result))


__all__ = ["PEERS", "Adapter", "Package", "adapter", "as_numpy", "versions"]
