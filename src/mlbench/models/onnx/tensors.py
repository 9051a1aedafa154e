"""Arrays out of the tensors of a file, of which nothing is trusted before it was checked.

A tensor of some bytes may say that it has 2 ** 60 numbers, or that its numbers are in another file anywhere on the machine. So the size
that it says is compared with the bytes that are there before an array is made, and the other file is read only inside the folder of the
model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from mlbench.errors import FileError
from mlbench.models.onnx.values import Array
from mlbench.units import format_bytes

_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_PACKED_BITS = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4}


@dataclass(slots=True)
class Store:
    """Where the tensors of a file come from.

    Attributes:
        folder: of the file, for tensors whose numbers are in another one; None for a model that is no file.
        most_bytes: of all tensors together.
        spent_bytes: of those that were read so far.
    """

    folder: Path | None
    most_bytes: int
    spent_bytes: int = 0

    def array(self, tensor: TensorProto) -> Array:
        """Return the numbers of a tensor.

        Raises:
            FileError: where it says other sizes than it has, is of a type that NumPy does not have, or is too large.
        """
        where = f"tensor {tensor.name!r}"
        if any(length < 0 for length in tensor.dims):
            raise FileError(f"{where} has the shape {tuple(tensor.dims)}; expected lengths of 0 or more")
        count, dtype = math.prod(tensor.dims), _dtype(tensor, where)
        size = (count * _PACKED_BITS[tensor.data_type] + 7) // 8 if tensor.data_type in _PACKED_BITS else count * dtype.itemsize
        self.spent_bytes += count * dtype.itemsize
        if self.spent_bytes > self.most_bytes:
            raise FileError(f"{where}: all tensors take more than {format_bytes(self.most_bytes)}; a larger most_bytes allows them")
        if tensor.data_location == TensorProto.EXTERNAL:
            content = _external(tensor, self.folder, size)
            tensor = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=content)
        found = _bytes_found(tensor)
        if found is not None and found != size:
            raise FileError(f"{where} has {found:,} bytes; its shape {tuple(tensor.dims)} and type need {size:,}")
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, TypeError, OverflowError, KeyError, UnicodeDecodeError) as error:
            raise FileError(f"{where}: its numbers do not fit its shape {tuple(tensor.dims)} and its type ({error})") from error


def _dtype(tensor: TensorProto, where: str) -> np.dtype[np.generic]:
    if tensor.data_type == TensorProto.STRING:
        return np.dtype(object)
    try:
        found: np.dtype[np.generic] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, ValueError, TypeError) as error:
        raise FileError(f"{where} is of the type {tensor.data_type}, which the installed onnx package does not know") from error
    return found


def _bytes_found(tensor: TensorProto) -> int | None:
    """Bytes that the shape must account for; None where the numbers are counted by `to_array` alone."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    if not any(len(getattr(tensor, each)) for each in (*_FIELDS, "string_data")):
        return 0
    if math.prod(tensor.dims) > 2 * max(len(getattr(tensor, each)) for each in (*_FIELDS, "string_data")):
        return 0  # fewer numbers than even two in each would be
    return None


def _external(tensor: TensorProto, folder: Path | None, size: int) -> bytes:
    """Return the bytes that are in another file, which lies in the folder of the model or below it."""
    where = f"tensor {tensor.name!r}"
    says = {entry.key: entry.value for entry in tensor.external_data}
    location = says.get("location", "")
    if folder is None:
        raise FileError(f"{where} is in the file {location!r}; give the path of the model to mlbench.load, which reads it there")
    try:
        home = folder.resolve(strict=True)
        path = (home / location).resolve(strict=True)
        first, length = int(says.get("offset") or 0), int(says.get("length") or size)
        if not location or not path.is_relative_to(home) or not path.is_file():
            raise FileError(f"{where} is in {location!r}; expected a file in the folder of the model, which is {home}")
        if length != size or not 0 <= first <= path.stat().st_size - size:
            raise FileError(
                f"{where} needs {size:,} bytes; {location!r} has {path.stat().st_size:,} and is to be read from {first:,} for {length:,}"
            )
        with path.open("rb") as stream:
            stream.seek(first)
            content: bytes = stream.read(size)
    except OSError as error:
        raise FileError(f"{where} is in {location!r}, which cannot be read ({error.strerror})") from error
    except (ValueError, RuntimeError) as error:
        raise FileError(f"{where} is in {location!r}: no usable place ({error})") from error
    if len(content) != size:
        raise FileError(f"{where}: {location!r} ended after {len(content):,} of {size:,} bytes")
    return content
