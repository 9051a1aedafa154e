"""ONNX Runtime on the CPU.

Every graph optimisation is on, which fuses Gemm and activation. Operators run one after the other, as the documentation advises for a
model without branches, and threads may spin while they wait. Input and output are bound to arrays that stay where they are, so that a call
neither looks names up nor allocates its result.

Weights are initializers, which the session packs once, or not: `session.disable_prepacking` is a documented switch, and neither is the
faster one everywhere. Both are built in each cell, and the faster one is measured.

Sources: onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html (levels),
onnxruntime.ai/docs/performance/tune-performance/threading.html (threads, execution mode, spinning),
onnxruntime.ai/docs/performance/tune-performance/iobinding.html (binding),
github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_session_options_config_keys.h (prepacking).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.onnx_models import onnx_bytes
from mlbench.studies.peers.packages import ONNX, Package, absent

PACKAGES = (Package("onnxruntime", "onnxruntime"), ONNX)
SETTINGS = "ORT_ENABLE_ALL, sequential, weights as initializers, input and output bound"
VARIANTS: dict[str, dict[str, Any]] = {"": {}, "session.disable_prepacking": {"prepacking": False}}
"""Packing pays where products are large; reading packed weights takes longer at batch 1, by 8 to 13 % of a call in three of four shapes."""


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int, *, prepacking: bool = True) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    session = _session(onnx_bytes(model, x.shape[0]), threads, prepacking=prepacking)
    y = np.empty((x.shape[0], model.outputs), np.float32)
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
    run = session.run_with_iobinding

    def call(bound: FloatArray = x) -> FloatArray:  # the binding knows addresses only, so the call keeps both arrays alive
        run(binding)
        return y

    return call


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int, *, prepacking: bool = True) -> Callable[[], object]:
    """Return a call that computes the outputs of somebody's file for `xs`, which get the types that it declares."""
    session = _session(file.path, threads, prepacking=prepacking)
    declared = {each.name: each for each in session.get_inputs()}
    given = {name: _as_declared(x, declared[name]) for name, x in zip(file.inputs, xs, strict=True)}
    names = list(file.outputs)
    ys = session.run(names, given)
    for name, y in zip(names, ys, strict=True):
        if not isinstance(y, np.ndarray):
            raise TypeError(f"the output {name} is a {type(y).__name__}, which cannot be bound; choose others with --outputs")
    binding = session.io_binding()
    for name, x in given.items():
        binding.bind_input(name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    for name, y in zip(names, ys, strict=True):
        binding.bind_output(name, "cpu", 0, y.dtype, y.shape, y.ctypes.data)
    run, results = session.run_with_iobinding, tuple(ys)

    def call(bound: object = tuple(given.values())) -> tuple[object, ...]:  # as above
        run(binding)
        return results

    return call


def _session(model: bytes | str, threads: int, *, prepacking: bool) -> Any:  # onnxruntime.InferenceSession
    """Return a session of a file's bytes or its path."""
    import onnxruntime as ort  # noqa: PLC0415  # only where this runtime is measured

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if not prepacking:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


_TYPES = {"float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32, "bool": np.bool_, "float16": np.float16}


def _as_declared(x: FloatArray, declared: Any) -> Any:  # onnxruntime.NodeArg; an array of its type
    """Return an input in the type and the rank that a file declares."""
    kind = declared.type.removeprefix("tensor(").removesuffix(")")
    array: Any = np.ascontiguousarray(x, _TYPES[kind])  # of any of these types
    return array.reshape(len(x)) if len(declared.shape) == 1 else array
