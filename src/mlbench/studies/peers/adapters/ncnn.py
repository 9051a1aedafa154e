"""ncnn, Tencent's engine, through its Python package.

The model is an InnerProduct for each layer, with the activations fused that the layer has, as ncnn's converters write it: a text with the
layers, and a binary of the weights. A row is a row of ncnn's matrix, and at batch 1 the input is a vector. Every call makes an extractor,
because one serves a single inference. Blobs come from pools, as in ncnn's own benchmark, so that a call takes no memory from the system.

Half precision is off (`use_fp16_*`, `use_bf16_storage`): with it, weights are rounded to 11 bits and no output agrees with float32.

Networks in files are not taken: ONNX files pass through pnnx, a program that the package does not bring.

Sources: github.com/Tencent/ncnn/wiki/param-and-model-file-structure (files), github.com/Tencent/ncnn/wiki/operators (InnerProduct),
github.com/Tencent/ncnn/blob/master/benchmark/benchncnn.cpp (pools, options), github.com/Tencent/ncnn/blob/master/python/README.md.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import IDENTITY, LEAKY_SLOPE, Model
from mlbench.studies.peers.packages import Package, absent

PACKAGES = (Package("ncnn", "ncnn"),)
SETTINGS = "InnerProduct layers with fused activations, float32, pools for blobs and workspace, an extractor a call"
_MAGIC = 7767517
_FLOAT32 = struct.pack("<I", 0)
"""What stands before weights that are not compressed."""
_FUSED = {"relu": "9=1", "leaky_relu": f"9=2 -23310=1,{LEAKY_SLOPE:e}", "sigmoid": "9=4"}
"""Activations that an InnerProduct has itself."""
_LAYERS = {"tanh": ("TanH", ""), "softmax": ("Softmax", "0=-1 1=1")}
_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    import ncnn  # noqa: PLC0415  # only where this runtime is measured

    net, pools = ncnn.Net(), (ncnn.UnlockedPoolAllocator(), ncnn.PoolAllocator())
    net.opt.num_threads = threads
    net.opt.blob_allocator, net.opt.workspace_allocator = pools
    for name in _HALF:
        setattr(net.opt, name, False)
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        places = Path(folder) / "mlp.param", Path(folder) / "mlp.bin"
        for place, content in zip(places, files_of(model), strict=True):
            place.write_bytes(content)
        if net.load_param(str(places[0])) or net.load_model(str(places[1])):
            raise RuntimeError("ncnn refused the files of the model")
    given, shape, extractor = ncnn.Mat(x[0] if len(x) == 1 else x), (len(x), model.outputs), net.create_extractor

    def call(kept: object = (x, pools)) -> object:
        one = extractor()
        one.input("x", given)
        return _Result(one.extract("y")[1], shape)

    return call


def files_of(model: Model) -> tuple[bytes, bytes]:
    """Return the model as ncnn's two files: the text with the layers, and the weights."""
    layers, weights, value = ["Input x 0 1 x"], [], "x"
    for index, layer in enumerate(model.layers):
        last = "y" if index == len(model.layers) - 1 else f"v{index}"
        is_fused = layer.activation in {IDENTITY, *_FUSED}
        product = last if is_fused else f"z{index}"
        how = f"0={layer.bias.size} 1=1 2={layer.weight.size} {_FUSED.get(layer.activation, '')}"
        layers.append(f"InnerProduct fc{index} 1 1 {value} {product} {how}".rstrip())
        if not is_fused:
            kind, parameters = _LAYERS[layer.activation]
            layers.append(f"{kind} a{index} 1 1 {product} {last} {parameters}".rstrip())
        weights += [_FLOAT32, np.ascontiguousarray(layer.weight.T).tobytes(), layer.bias.tobytes()]
        value = last
    return "\n".join([str(_MAGIC), f"{len(layers)} {len(layers)}", *layers, ""]).encode(), b"".join(weights)


class _Result:
    """A matrix of ncnn's, whose array is made when somebody reads it."""

    __slots__ = ("_mat", "_shape")

    def __init__(self, mat: Any, shape: tuple[int, int]) -> None:  # ncnn.Mat
        self._mat, self._shape = mat, shape

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> Any:
        return np.array(self._mat, dtype).reshape(self._shape)
