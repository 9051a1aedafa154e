"""Memory that begins at a cache line.

NumPy aligns arrays to 16 bytes, and large ones, which come straight from the kernel, begin 16 bytes into a page: every vector load of
64 bytes then touches two cache lines. So everything that mlbench makes begins at one: a model's arrays, for both runners, and what the
compiler adds. OpenBLAS reads a weight of the second cache 25 to 35 % faster where it begins at a cache line (products of one and of eight
rows, 256 x 256 and 64 x 1024, AVX-512); of values and results it makes little difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

ALIGNMENT_BYTES = 64
"""A cache line, which is also the widest vector load."""


def aligned_bytes(size: int) -> npt.NDArray[np.uint8]:
    """Return `size` bytes of zeros that begin at a cache line."""
    raw = np.zeros(size + ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[start : start + size]


def aligned_floats(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a C-contiguous float32 array of zeros that begins at a cache line."""
    return aligned_bytes(4 * math.prod(shape)).view(np.float32).reshape(shape)


class ReadOnly:
    """Base of a frozen dataclass whose arrays are read-only and begin at a cache line: its copies are equal, independent, and such as well.

    NumPy's own copies, pickled or not, can be written to and begin anywhere.
    """

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how `copy`, `deepcopy` and `pickle` make it again."""
        return _again, (type(self), tuple(getattr(self, each.name) for each in fields(self)))  # type: ignore[arg-type]  # a dataclass


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only copy of an array that begins at a cache line; it keeps the dtype, and the order in memory."""
    is_turned = array.flags.f_contiguous and not array.flags.c_contiguous
    source = array.T if is_turned else array
    copy = aligned_bytes(source.nbytes).view(source.dtype).reshape(source.shape)
    copy[...] = source
    copy.flags.writeable = False
    return copy.T if is_turned else copy


def _again(kind: type[ReadOnly], values: tuple[object, ...]) -> ReadOnly:
    return kind(*map(_kept, values))


def _kept(value: object) -> object:
    if isinstance(value, np.ndarray):
        return read_only(value)
    return {name: _kept(each) for name, each in value.items()} if isinstance(value, Mapping) else value
