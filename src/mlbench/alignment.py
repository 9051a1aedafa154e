"""Memory that begins at a cache line.

NumPy aligns arrays to 16 bytes, and large ones, which come straight from the kernel, begin 16 bytes into a page: every vector load of
64 bytes then touches two cache lines. So everything that mlbench makes begins at one: a model's arrays, for both runners, and what the
compiler adds. OpenBLAS reads a weight of the second cache 25 to 35 % faster where it begins at a cache line (products of one and of eight
rows, 256 x 256 and 64 x 1024, AVX-512); of values and results it makes little difference.
"""

from __future__ import annotations

import math

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
