"""tract, the inference engine in Rust that Sonos made, through its Python package.

The model is an ONNX file, whose batch is fixed before tract optimizes it, because its kernels are chosen for the shapes they get. The
input is a tensor of tract's, made once. One state serves all calls, as in a loop that serves requests; `Runnable.run` makes one a call.
What a call gives stays a tensor of tract's: the array that the check reads is a copy, which no timed call pays.

The Python package has no setting for threads: it runs on one, whatever is asked.

Sources: github.com/sonos/tract/blob/main/api/py/README.md (loading, facts, runnable), sonos.github.io/tract/reference/ (states).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.onnx_models import fixed_file, load_mlp
from mlbench.studies.peers.packages import ONNX, Package, absent

PACKAGES = (Package("tract", "tract"), ONNX)
SETTINGS = "ONNX file with fixed shapes, optimized for this CPU, one state, input as its tensor; one thread"
_FACTS = {"float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32", "bool": "bool", "float16": "f16"}


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    return load_mlp(load_onnx, model, x, threads)


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], tuple[object, ...]]:
    """Return a call that computes the outputs of somebody's file for `xs`, with the batch fixed and in the types that it declares."""
    import tract  # noqa: PLC0415  # only where this runtime is measured

    with fixed_file(file, xs) as (path, given):
        read = tract.onnx().load(path)
        for index in range(read.input_count()):
            array = given[read.input_name(index)]
            read.set_input_fact(index, ",".join([*map(str, array.shape), _FACTS[str(array.dtype)]]))
        names = [read.input_name(index) for index in range(read.input_count())]
        for index in range(read.output_count()):
            read.set_output_fact(index, None)
        runnable = read.into_model().into_runnable()
    tensors = [tract.Tensor.from_numpy(given[name]) for name in names]
    run = runnable.spawn_state().run

    def call(kept: object = runnable) -> tuple[object, ...]:
        return tuple(map(_Result, run(tensors)))

    return call


class _Result:
    """A tensor of tract's, whose array is made when somebody reads it."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Any) -> None:  # tract.Tensor
        self._tensor = tensor

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> Any:
        return self._tensor.to_numpy().astype(dtype, copy=False)
