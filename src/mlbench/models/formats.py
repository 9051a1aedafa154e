"""Which file is what: our two kinds of `.npz`, ONNX, and what to do with the files of others.

The suffix and the first bytes decide. A file that could run code when it is opened is not opened.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlbench.errors import FileError
from mlbench.files import read_limited
from mlbench.models.archive import MOST_BYTES, arrays_in
from mlbench.models.model import FORMAT as MODEL
from mlbench.models.model import Model
from mlbench.models.network import Network
from mlbench.models.network_file import FORMAT as NETWORK

_ESTIMATOR = "and hand the estimator to mlbench.from_sklearn"
_PICKLE = f"a pickle, which may run any code: no pickle is ever opened. Load it where you trust it, {_ESTIMATOR}, or export it to ONNX"
_TORCH = "a file of PyTorch, a pickle: no pickle is ever opened. Export the module to ONNX: torch.onnx.export(module, (x,), 'model.onnx')"
_KERAS = "a file of Keras. Export the model to ONNX: model.export('model.onnx', format='onnx')"
_TENSORS = "a file of weights without a graph. Load them into their model, and export that to ONNX"
_TENSORFLOW = "a file of TensorFlow. Convert it to ONNX: python -m tf2onnx.convert"
_FOREIGN_SUFFIXES = {
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".ckpt": _TORCH,
    ".keras": _KERAS,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".safetensors": _TENSORS,
    ".gguf": _TENSORS,
    ".tflite": _TENSORFLOW,
    ".pb": _TENSORFLOW,
}
_FOREIGN_STARTS = {b"\x80\x02": _PICKLE, b"\x80\x03": _PICKLE, b"\x80\x04": _PICKLE, b"\x80\x05": _PICKLE, b"\x89HDF": _KERAS}
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY")
_ONNX_START = b"\x08"
"""Of a protobuf message whose first field is a number, as the version of a model is."""


def load(path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES) -> Model | Network:
    """Read a model from a file: a `.npz` that `save` wrote, `.onnx`, or `.skops` with a fitted scikit-learn estimator.

    Args:
        path: the file.
        most_bytes: of the file, and of all its arrays together.

    Raises:
        FileError: when the file is missing, damaged, foreign, of an unknown version, or too large.
        ModelError: when an ONNX graph has an op or a shape that is not supported.
        MissingExtraError: for `.onnx` without the extra `onnx`, for `.skops` without `skops`.

    >>> import tempfile, pathlib
    >>> from mlbench import load, mlp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(mlp(4, 8, 2).save(pathlib.Path(folder) / "model.npz")).name
    '4-8-2'
    """
    suffix = Path(os.fsdecode(path)).suffix.lower()
    if suffix in _FOREIGN_SUFFIXES:
        raise FileError(f"{path}: {_FOREIGN_SUFFIXES[suffix]}")
    content = read_limited(path, most_bytes)
    for start, advice in _FOREIGN_STARTS.items():
        if content.startswith(start):
            raise FileError(f"{path}: {advice}")
    if suffix == ".skops":
        return _skops(path, content, most_bytes)
    if suffix == ".onnx" or (suffix != ".npz" and content.startswith(_ONNX_START)):
        return _onnx(path, most_bytes)
    if suffix == ".npz" or content.startswith(_ARCHIVES):
        return _archive(path, content, most_bytes)
    raise FileError(f"{path}: no file that mlbench knows; expected an .npz that save wrote, .onnx or .skops")


def _archive(path: str | os.PathLike[str], content: bytes, most_bytes: int) -> Model | Network:
    arrays = arrays_in(content, path, most_bytes)
    kind = str(arrays.get("format"))
    if kind == NETWORK:
        return Network.of_arrays(arrays, path)
    if kind == MODEL:
        return Model.of_arrays(arrays, path)
    raise FileError(f"{path}: an .npz of somebody else: its format is {kind[:80]!r}; expected {MODEL!r} or {NETWORK!r}")


def _onnx(path: str | os.PathLike[str], most_bytes: int) -> Network:
    from mlbench.models.onnx import load_onnx  # noqa: PLC0415  # which needs the extra

    return load_onnx(path, most_bytes=most_bytes)


def _skops(path: str | os.PathLike[str], content: bytes, most_bytes: int) -> Network:
    from mlbench.models.skops import load_skops  # noqa: PLC0415  # which needs the extra

    return load_skops(path, content, most_bytes)
