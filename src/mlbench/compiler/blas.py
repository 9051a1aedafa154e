"""What is known of the BLAS that NumPy has loaded: the core of its kernels, its small products, and the workspace that it keeps."""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path

import numpy as np

_SMALL_CORES = ("SkylakeX", "Cooperlake", "Sapphirerapids")
SMALL_WORK = 100.0**3
"""OpenBLAS has kernels for small products on cores with AVX-512, up to so many multiplications."""
_COPIED_INPUTS = 32
_SET_UP_SIZE = 512
"""Rows, inputs and columns of a product that every kernel packs (SMALL_WORK is 1 % of it), and that 64 threads share."""
_PREFIXES, _SUFFIXES = ("scipy_", ""), ("64_", "_", "")


@functools.cache
def core() -> str | None:
    """Return the core that NumPy's OpenBLAS chose its kernels for, in its own words; None where it is another BLAS or cannot be asked."""
    if sys.platform != "linux":
        return None
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    paths = {Path(line.split(maxsplit=5)[5]) for line in maps.splitlines() if "openblas" in line.rpartition("/")[2].lower()}
    own = [path for path in paths if path.parent.name == "numpy.libs"] or sorted(paths)
    if len(own) != 1:
        return None
    handle = ctypes.CDLL(str(own[0]))
    names = [f"{prefix}openblas_get_corename{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES]
    core_name = next((getattr(handle, name) for name in names if hasattr(handle, name)), None)
    if core_name is None:
        return None
    core_name.restype = ctypes.c_char_p
    return str(core_name().decode())


def unpacked_work() -> float | None:
    """Return the multiplications up to which a product packs nothing; None where that is not known of this BLAS."""
    return SMALL_WORK if core() in _SMALL_CORES else None


def small_product_allocates(inputs: int, lanes: int | None) -> bool:
    """Whether a small product of untransposed operands may allocate inside the library.

    OpenBLAS's small kernel for AVX-512 copies the last 1 to 8 lanes (columns of the result in C order) of every 16 to memory that it
    allocates in each call, from 32 inputs on (sgemm_small_kernel_nn_skylakex.c, 2021). Other orders of the operands do not.

    Args:
        inputs: inputs of the weight.
        lanes: columns of the result as it lies in memory; None where they differ from call to call.
    """
    has_small = core() is None or core() in _SMALL_CORES
    is_small = 2 * inputs * (lanes or 2) <= SMALL_WORK
    return has_small and is_small and inputs >= _COPIED_INPUTS and (lanes is None or 1 <= lanes % 16 <= 8)


def set_up() -> None:
    """Let BLAS take the workspace that it keeps for the whole process, so that what is counted afterwards does not hold it.

    OpenBLAS takes 32 MB for each of its threads at the first product that packs its operands. Which products do depends on the kernels
    that it chose for the processor: a product of one row does with some of them and not with others.
    """
    square = np.ones((_SET_UP_SIZE, _SET_UP_SIZE), np.float32)
    np.dot(square, square)
