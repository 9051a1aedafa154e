"""Arrays out of a NumPy `.npz` archive, of which nothing is trusted before it was checked.

A zip of megabytes may say that it holds gigabytes, a header of an array may be any Python, and each layer has errors of its own kind. So
names, methods and sizes are read first, from the directory alone; then the header of each array, in the one form that NumPy writes for
plain numbers and text; and only what has the size that its header says is unpacked. No object is ever unpickled.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import sys
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.errors import FileError
from mlbench.files import read_limited
from mlbench.units import format_bytes

MOST_BYTES = 1 << 30
"""Most bytes of all arrays together; a caller with a larger model allows more."""
_MOST_MEMBERS = 10_000
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|][biufU][0-9]{1,9})', 'fortran_order': (?P<turned>True|False), "
    rb"'shape': \((?P<shape>|[0-9]{1,18},|[0-9]{1,18}(?:, [0-9]{1,18})+)\), \} *\n"
)
"""What `numpy.lib.format` writes in version 1.0 for an array of numbers or text, to the letter."""
_DAMAGE = (OSError, ValueError, EOFError, NotImplementedError, OverflowError, struct.error, zlib.error, zipfile.BadZipFile)
"""What `zipfile` raises on a damaged directory, and on members that are stored or deflated."""


def read_arrays(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> dict[str, npt.NDArray[Any]]:
    """Return every array of an archive by its name.

    Args:
        path: the archive.
        most_bytes: of the file, and of all arrays together.

    Raises:
        FileError: when it is missing, damaged, truncated, too large, or holds anything but arrays of numbers and text.
    """
    return arrays_in(read_limited(path, most_bytes), path, most_bytes)


def arrays_in(content: bytes, path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> dict[str, npt.NDArray[Any]]:
    """Return every array of an archive that was read; `path` is for messages alone.

    Raises:
        FileError: as `read_arrays` does.
    """
    if content.startswith(_MAGIC[:6]):
        raise FileError(f"{path}: a single array; expected an .npz archive")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_directory(members, most_bytes)
            return {each.filename.removesuffix(".npy"): _read(archive, each) for each in members}
    except _DAMAGE as error:
        raise FileError(f"{path}: damaged, truncated or no .npz archive ({str(error) or type(error).__name__})") from error


def _check_directory(members: list[zipfile.ZipInfo], most_bytes: int) -> None:
    names = [each.filename for each in members]
    if len(members) > _MOST_MEMBERS or len(set(names)) < len(names):
        raise ValueError(
            f"found {len(names)} members, {len(names) - len(set(names))} of them twice; expected {_MOST_MEMBERS:,} at most, each once"
        )
    for each in members:
        if not each.filename.endswith(".npy"):
            raise ValueError(f"found {each.filename[:80]!r}; expected arrays alone, which end in .npy")
        if each.flag_bits & 0x1 or each.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{each.filename[:80]!r} is encrypted or packed in another way than stored or deflated")
    total = sum(each.file_size for each in members)
    if total > most_bytes:
        raise ValueError(f"its arrays would take {format_bytes(total)}; allowed are {format_bytes(most_bytes)}")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """Return an array, whose bytes are unpacked once its header and its declared size agree."""
    name = member.filename[:80]
    with archive.open(member) as stream:
        start = stream.read(len(_MAGIC) + 2)
        if len(start) < len(_MAGIC) + 2 or not start.startswith(_MAGIC):
            raise ValueError(f"{name!r} does not begin as an array of NumPy does")
        text = stream.read(int.from_bytes(start[len(_MAGIC) :], "little"))
        header = _HEADER.fullmatch(text)
        if header is None:
            objects = ", or Python objects, which are never loaded (allow_pickle=False)" if b"O" in text else ""
            raise ValueError(f"{name!r} has a damaged header{objects}")
        dtype = _dtype(header["dtype"].decode())
        shape = tuple(int(size) for size in header["shape"].decode().split(",") if size)
        size = math.prod(shape) * dtype.itemsize
        if size != member.file_size - len(start) - len(text):
            raise ValueError(f"{name!r} has {member.file_size - len(start) - len(text)} bytes; its header says {size}")
        content = stream.read()
    if len(content) != size:
        raise ValueError(f"{name!r} ends after {len(content)} of {size} bytes")
    if dtype.kind == "U" and not _is_text(np.frombuffer(content, f"{header['dtype'].decode()[0]}u4")):
        raise ValueError(f"{name!r} holds characters that do not exist")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if header["turned"] == b"True" else "C")


def _is_text(codes: npt.NDArray[np.uint32]) -> bool:
    """Whether each number is that of a character; halves of surrogate pairs are none, and could neither be printed nor written."""
    return bool(np.all((codes < 0xD800) | (codes > 0xDFFF) & (codes <= sys.maxunicode)))


def _dtype(text: str) -> np.dtype[Any]:
    try:
        return np.dtype(text)
    except TypeError as error:
        raise ValueError(f"there are no numbers of type {text!r}") from error
