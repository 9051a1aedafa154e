"""The runtimes that ours is measured against, one adapter a file.

An adapter takes the weights of an MLP of ours and a fixed input, and returns a call that computes the output with the settings that the
runtime's own documentation recommends for latency on a CPU; its docstring says which and where they are from. It imports its framework
inside `load`, so that a runtime that is missing is a reason to state and nothing more. Each runs in a worker process of its own,
because thread pools that meet in one process disturb each other.

To add a runtime, add a file with what `Adapter` asks for, and its row here; another package names its module in an entry point. A runtime
that reads ONNX files, or has a public converter, has `load_onnx` besides, and is then measured on the networks that people bring, from
their own file.
"""

from __future__ import annotations

import functools
import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from mlbench.errors import UsageError
from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.cases import Cell, inputs_of, model_of
from mlbench.studies.network_files import ZOO_PREFIX, is_zoo
from mlbench.studies.peers.packages import ONNX, Package, absent, versions
from mlbench.studies.peers.zoo_files import zoo_bytes
from mlbench.studies.subjects import NetworkFile, Subject, onnx_path

PEERS = {
    "onnxruntime": "mlbench.studies.peers.adapters.onnxruntime",
    "torch": "mlbench.studies.peers.adapters.torch_eager",
    "torch.compile": "mlbench.studies.peers.adapters.torch_compile",
    "torch.aot": "mlbench.studies.peers.adapters.aot_inductor",
    "xla": "mlbench.studies.peers.adapters.jax",
    "openvino": "mlbench.studies.peers.adapters.openvino",
    "litert": "mlbench.studies.peers.adapters.litert",
    "tensorflow": "mlbench.studies.peers.adapters.tensorflow",
    "mnn": "mlbench.studies.peers.adapters.mnn",
    "ncnn": "mlbench.studies.peers.adapters.ncnn",
    "iree": "mlbench.studies.peers.adapters.iree",
    "tract": "mlbench.studies.peers.adapters.tract",
    "sklearn": "mlbench.studies.peers.adapters.sklearn",
    "tvm": "mlbench.studies.peers.adapters.tvm",
    "tensorrt": "mlbench.studies.peers.adapters.tensorrt",
}
"""Name on the command line and in tables, and the module that holds the adapter."""


CANNOT_TAKE = "cannot take it"
"""How the reason begins why a runtime that is there takes something else alone."""


class Adapter(Protocol):
    """What the module of a runtime holds.

    Attributes:
        PACKAGES: what must be installed.
        SETTINGS: how it is made fast, in one line.

    It may have further ones. `VARIANTS` is for documented switches of which none is the faster one everywhere: a name, empty for the usual
    settings, to keyword arguments of `load` and `load_onnx`; all are built in each cell, and the fastest is measured. `ONNX_PACKAGES` is
    what `load_onnx` needs besides `PACKAGES`.
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
    """Return the adapter that a module is, or that it holds under a name: `module:name`."""
    place, _, name = module.partition(":")
    found = importlib.import_module(place)
    return cast("Adapter", functools.reduce(getattr, name.split("."), found) if name else found)


def variants_of(module: str) -> Mapping[str, Mapping[str, object]]:
    """Return the documented switches of a runtime: name to keyword arguments, the usual settings first."""
    return cast("Mapping[str, Mapping[str, object]]", getattr(adapter(module), "VARIANTS", {"": {}}))


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
    if not _has_onnx_file(subject):
        return f"{CANNOT_TAKE}: this network is in a file of mlbench, which no other runtime reads; name its .onnx"
    found = adapter(module)
    if not hasattr(found, "load_onnx"):
        return f"{CANNOT_TAKE}: this runtime takes no ONNX file, and its adapter builds MLPs alone"
    lacking = absent(getattr(found, "ONNX_PACKAGES", (ONNX,) if onnx_path(subject) is None else ()))
    return None if lacking is None else f"{CANNOT_TAKE}: what brings ONNX files to it is {lacking}"


def peer_loader(module: str, cell: Cell, variant: str = "") -> Callable[[], Callable[[], object]]:
    """Return what builds the cell in a runtime, whose arrays are there before.

    Args:
        module: the adapter.
        cell: what is built.
        variant: which of its documented switches.

    Raises:
        UsageError: where the runtime cannot take it.
    """
    model, xs, how = model_of(cell), inputs_of(cell), variants_of(module)[variant]
    if isinstance(model, Model):
        return partial(adapter(module).load, model, xs[0], cell.threads, **how)
    reason = cannot_take(module, cell.subject)
    if reason is not None:
        raise UsageError(f"{module}: {reason}")
    load: Callable[[OnnxFile], Callable[[], object]] = partial(
        cast("Any", adapter(module)).load_onnx,  # which takes the arguments of its variants
        xs=xs,
        threads=cell.threads,
        **how,
    )
    path = onnx_path(cell.subject)
    return partial(_load_file, load, OnnxFile("" if path is None else path, model.input_names, model.output_names), cell.subject)


def _load_file(load: Callable[[OnnxFile], Callable[[], object]], file: OnnxFile, subject: Subject) -> Callable[[], object]:
    """Build a network in a runtime from its file; one of the zoo is written for it."""
    if file.path:
        return load(file)
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(zoo_bytes(cast("NetworkFile", subject).path.removeprefix(ZOO_PREFIX)))
        return load(replace(file, path=str(path)))


def _has_onnx_file(subject: Subject) -> bool:
    return onnx_path(subject) is not None or (isinstance(subject, NetworkFile) and is_zoo(subject.path))


__all__ = [
    "CANNOT_TAKE",
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
    "variants_of",
    "versions",
]
