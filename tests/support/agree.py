"""What the worker of a test is asked to call: an adapter against float64, in a process of its own."""

from __future__ import annotations

import gc
import os
from functools import partial
from typing import Any

import numpy as np

from mlbench.models import mlp
from mlbench.runtime import check_result
from mlbench.studies.peers import OnnxFile, adapter, as_numpy, as_outputs
from mlbench.studies.peers.heap import faults_per_call, keep_freed_memory, release_freed_memory


def agree(module: str, batch: int, hidden: tuple[int, ...], how: dict[str, Any]) -> float:
    """Return error / tolerance of an adapter after many calls, when nobody else holds the input any more."""
    model = mlp(6, hidden, 4, **how)
    x = np.random.default_rng(batch).standard_normal((batch, 6), dtype=np.float32)
    call = adapter(module).load(model, x.copy(), 1)
    gc.collect()
    junk = [np.full((batch, width), 1e9, np.float32) for width in (6, 4) for _ in range(100)]
    for _ in range(200):
        call()
    del junk
    return check_result(model, x, as_numpy(call()), module).worst


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def faults() -> list[float]:
    """Return the page faults of a call that frees 8 MB: in a new process, on a warm heap, and with that taken back."""
    call = partial(bytearray, 8_000_000)
    found = [faults_per_call(call)]
    keep_freed_memory()
    call()
    found.append(faults_per_call(call))
    release_freed_memory()
    return [*found, faults_per_call(call)]


def agree_on_a_file(module: str, path: str, double: bool) -> tuple[float, float]:
    """Return error / tolerance of an adapter for both outputs of an ONNX file with two inputs, after many calls.

    With `double` the file declares one input as float64 and the other as a list of whole numbers, as an importer may accept them.
    """
    import onnx  # noqa: PLC0415  # only where a peer brings it
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  # as above

    model = mlp(6, 8, 4)
    (w0, b0), (w1, b1) = ((layer.weight, layer.bias) for layer in model.layers)
    kinds = (TensorProto.DOUBLE, TensorProto.INT64) if double else (TensorProto.FLOAT, TensorProto.FLOAT)
    nodes = [
        helper.make_node("Cast", ["my x"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Gemm", ["x", "w0", "b0"], ["z"]),
        helper.make_node("Relu", ["z"], ["h"]),
        helper.make_node("Gemm", ["h", "w1", "b1"], ["the scores"]),
        helper.make_node("Cast", ["k"], ["k1"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["k1", "column"], ["k2"]),
        helper.make_node("Mul", ["the scores", "k2"], ["scaled"]),
    ]
    ends = [
        helper.make_tensor_value_info("my x", kinds[0], ["rows", 6]),
        helper.make_tensor_value_info("k", kinds[1], ["rows"] if double else ["rows", 1]),
        helper.make_tensor_value_info("scaled", TensorProto.FLOAT, ["rows", 4]),
        helper.make_tensor_value_info("the scores", TensorProto.FLOAT, ["rows", 4]),
    ]
    named = {"w0": w0, "b0": b0, "w1": w1, "b1": b1, "column": np.array([-1, 1])}
    weights = [numpy_helper.from_array(np.array(array), name) for name, array in named.items()]
    graph = helper.make_graph(nodes, "two", ends[:2], ends[2:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = np.random.default_rng(3).standard_normal((3, 6), dtype=np.float32)
    k = np.array([[1], [2], [3]], np.float32)
    file = OnnxFile(path, ("my x", "k"), ("the scores", "scaled"))
    call = adapter(module).load_onnx(file, (x.copy(), k.copy()), 1)  # type: ignore[attr-defined]  # of an adapter that reads ONNX
    gc.collect()
    junk = [np.full((3, width), 1e9, np.float32) for width in (6, 1, 4) for _ in range(100)]
    for _ in range(200):
        call()
    del junk
    scores, scaled = as_outputs(call())
    return check_result(model, x, scores, module).worst, check_result(model, x, scaled / k, module).worst
