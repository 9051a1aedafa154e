"""Arrays and expected numbers for generated code."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def guarded(array: Floats) -> Floats:
    """Return a copy that ends right before a page which may not be touched."""
    page = mmap.PAGESIZE
    size = max(1, -(-array.nbytes // page)) * page
    room = mmap.mmap(-1, size + page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(page), 0) == 0
    copy = np.frombuffer(room, np.float32, array.size, size - array.nbytes).reshape(array.shape)
    np.copyto(copy, array)
    return copy


def numbers(*shape: int, seed: int = 0) -> Floats:
    """Return seeded normal numbers that end right before a page which may not be touched."""
    return guarded(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def expected_of(x: npt.NDArray[np.float64], steps: Sequence[str], operands: Sequence[Floats]) -> npt.NDArray[np.float64]:
    """Return the steps in float64."""
    left = iter(operands)
    for step in steps:
        if step == "add":
            x = x + next(left)
        elif step == "maximum":
            x = np.maximum(x, next(left))
        elif step == "relu":
            x = np.maximum(x, 0)
        else:
            x = np.maximum(x, next(left) * x)
    return x
