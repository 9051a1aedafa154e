"""MNN, Alibaba's engine, through the sessions of its Python package.

The model is an ONNX file with its batch fixed, which the converter in the package makes a file of MNN of. Precision `high` keeps float32;
`normal` and `low` may compute in half precision where the processor has it. Memory and power `high` leave every algorithm to choose from.
Every call copies the input into the session's own tensor, because a session keeps intermediates in that memory too. The output stays in
its tensor: the array that the check reads is a copy, which no timed call pays. MNN has neither float64 nor wide integers.

The converter is called directly. The module of the command `mnnconvert` is not imported: it installs a package by itself, and sends away
a log of what it converts.

Tried on one core of an EPYC (Zen 3), 64-64-10 at batch 8: a session 2.9 us without the copies, with that of the output the same, a module
of `MNN.nn` 4.3.

Sources: mnn-docs.readthedocs.io/en/latest/inference/session.html (precision, memory, power, threads),
mnn-docs.readthedocs.io/en/latest/pymnn/Interpreter.html (sessions in Python), mnn-docs.readthedocs.io/en/latest/tools/convert.html.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.ir import FloatArray
from mlbench.models import Model
from mlbench.studies.peers import OnnxFile
from mlbench.studies.peers.onnx_models import fixed_file, load_mlp
from mlbench.studies.peers.packages import ONNX, Package, absent, versions
from mlbench.studies.peers.scratch import compiled_once

PACKAGES = (Package("MNN", "mnn"), ONNX)
SETTINGS = "converted from ONNX with fixed shapes, a session with precision high (float32), input and output in its tensors"


def missing() -> str | None:
    """Return why it cannot run here; None where it can."""
    return absent(PACKAGES)


def load(model: Model, x: FloatArray, threads: int) -> Callable[[], object]:
    """Return a call that computes the output for `x`."""
    return load_mlp(load_onnx, model, x, threads)


def load_onnx(file: OnnxFile, xs: Sequence[FloatArray], threads: int) -> Callable[[], tuple[object, ...]]:
    """Return a call that computes the outputs of somebody's file for `xs`, with the batch fixed.

    Raises:
        TypeError: for an input that is not float32.
    """
    import MNN  # noqa: PLC0415  # only where this runtime is measured

    with fixed_file(file, xs) as (path, given):
        for name, array in given.items():
            if array.dtype != np.float32:
                raise TypeError(f"the input {name} is {array.dtype}; this adapter gives MNN float32 alone")
        made = compiled_once(f"mnn {versions(PACKAGES)}", Path(path).read_bytes(), partial(_converted, path))
    with tempfile.TemporaryDirectory(prefix="mlbench-") as folder:
        place = Path(folder) / "model.mnn"
        place.write_bytes(made)
        interpreter = MNN.Interpreter(str(place))
    how = {"backend": "CPU", "numThread": threads, "precision": "high", "memory": "high", "power": "high"}
    session = interpreter.createSession(how)
    fills = [
        partial(
            interpreter.getSessionInput(session, name).copyFrom,
            MNN.Tensor(array.shape, MNN.Halide_Type_Float, array, MNN.Tensor_DimensionType_Caffe),
        )
        for name, array in given.items()
    ]
    run = interpreter.runSession
    results = tuple(_Result(interpreter.getSessionOutput(session, name)) for name in file.outputs)

    def call(kept: object = given) -> tuple[object, ...]:
        for fill in fills:
            fill()
        run(session)
        return results

    return call


def _converted(path: str) -> bytes:
    """Return an ONNX file as one of MNN."""
    import MNN  # noqa: F401, PLC0415  # which loads what the converter needs
    from _tools import mnnconvert  # noqa: PLC0415  # where the package has it

    made = Path(path).with_suffix(".mnn")
    mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", path, "--MNNModel", str(made), "--bizCode", "mlbench"])
    if not made.exists():
        raise RuntimeError("MNN's converter made no file of this network")
    return made.read_bytes()


class _Result:
    """A tensor of the session, whose array is made when somebody reads it."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Any) -> None:  # MNN.Tensor
        self._tensor = tensor

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> Any:
        import MNN  # noqa: PLC0415  # as above

        shape = self._tensor.getShape()
        found = MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32), MNN.Tensor_DimensionType_Caffe)
        self._tensor.copyToHostTensor(found)
        return np.array(found.getNumpyData(), dtype).reshape(shape)
