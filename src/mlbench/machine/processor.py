"""Whether code can be generated here, and for which instructions."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
import sysconfig

import numpy as np

from mlbench.machine.assembler import R10, RAX, RBX, RCX, RDI, Assembler, Mem
from mlbench.machine.callables import ARRAY_DATA, ARRAY_FLAGS, Code
from mlbench.machine.vectors import AVX2, AVX512, Vectors

_FEATURES, _MORE_FEATURES, _MOST_LEAF = 1, 7, 0
_FMA, _OSXSAVE, _AVX = 1 << 12, 1 << 27, 1 << 28
_AVX2, _AVX512F = 1 << 5, 1 << 16
_KEEPS_YMM, _KEEPS_ZMM = 0x06, 0xE6
"""Bits of XCR0: which registers the operating system keeps when it switches threads (SDM volume 1, section 13.3)."""


@functools.cache
def find() -> tuple[Vectors | None, str]:
    """Return the instructions to generate code for, and the reason where there are none."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return None, f"there is code for Linux on x86_64, and this is {platform.system()} on {platform.machine()}"
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED") or hasattr(sys, "getobjects"):
        return None, f"there is code for CPython with its lock and without debugging, and this is another {sys.implementation.name}"
    if not _arrays_are_as_expected():
        return None, f"an array of NumPy {np.__version__} lies in memory in another way than in NumPy 1 and 2"
    try:
        return _instructions()
    except OSError as error:
        return None, f"this system gives no memory that code may run in ({error.strerror})"


def _arrays_are_as_expected() -> bool:
    """Whether the fields of an array that the code reads lie where NumPy's C interface has them."""
    array = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    data = ctypes.c_void_p.from_address(id(array) + ARRAY_DATA).value
    flags = ctypes.c_int.from_address(id(array) + ARRAY_FLAGS).value
    return data == array.ctypes.data and flags == array.flags.num


def _instructions() -> tuple[Vectors | None, str]:
    most, _, _ = _cpuid(_MOST_LEAF)
    _, base, kept = _cpuid(_FEATURES)
    if most < _MORE_FEATURES or not base & _OSXSAVE or not base & _AVX or not base & _FMA or kept & _KEEPS_YMM != _KEEPS_YMM:
        return None, "this processor has no AVX2 with FMA"
    more, _, _ = _cpuid(_MORE_FEATURES, wanted_ebx=True)
    if more & _AVX512F and kept & _KEEPS_ZMM == _KEEPS_ZMM:
        return AVX512, ""
    return (AVX2, "") if more & _AVX2 else (None, "this processor has no AVX2 with FMA")


def _cpuid(leaf: int, *, wanted_ebx: bool = False) -> tuple[int, int, int]:
    """Return eax (or ebx), ecx and, where the system has it, XCR0."""
    a = Assembler()
    a.push(RBX)
    a.mov(R10, RDI)
    a.mov_number(RAX, leaf)
    a.mov_number(RCX, 0)
    a.cpuid()
    a.store32(Mem(R10), RBX if wanted_ebx else RAX)
    a.store32(Mem(R10, 4), RCX)
    if leaf == _FEATURES:
        a.mov_number(RCX, 0)
        a.xgetbv()
        a.store32(Mem(R10, 8), RAX)
    a.pop(RBX)
    a.ret()
    found = (ctypes.c_uint32 * 3)()
    code = Code(a.finish())
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address)(ctypes.addressof(found))
    return found[0], found[1], found[2]
