"""Memory that code runs in, and Python callables made of it."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from mlbench.errors import CodeError

ARRAY_DATA, ARRAY_FLAGS = 16, 64
"""Where an array has the address of its data and its flags (`PyArrayObject_fields` of NumPy's C interface, which extension modules are
compiled against, with the two words of CPython's object head in front)."""
IS_READABLE = 0x0001 | 0x0100
"""NumPy's flags C_CONTIGUOUS and ALIGNED."""
_FASTCALL = 0x0080
"""METH_FASTCALL: the function gets an array of its arguments and their number."""


class Code:
    """Machine code in memory that it may run in, for as long as this object lives. Nobody may write there once it is complete.

    Args:
        code: the bytes.

    Attributes:
        address: where they lie.

    Raises:
        CodeError: when the system gives no such memory.
    """

    def __init__(self, code: bytes) -> None:
        try:
            self._memory = mmap.mmap(-1, len(code), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            raise CodeError(error.errno, error.strerror) from error
        self._memory.write(code)
        self._view = ctypes.c_char.from_buffer(self._memory)
        self.address = ctypes.addressof(self._view)
        libc = ctypes.CDLL(None, use_errno=True)
        size = -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE
        if libc.mprotect(ctypes.c_void_p(self.address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
            number = ctypes.get_errno()
            raise CodeError(number, os.strerror(number))
        self.size_bytes = size


class Guard:
    """A word in memory that code and Python read and write: whether somebody is inside.

    Attributes:
        word: its first byte is 0 or 1.
        address: where it lies.
    """

    def __init__(self) -> None:
        self.word = bytearray(4)
        self._view = ctypes.c_char.from_buffer(self.word)
        self.address = ctypes.addressof(self._view)


def builtin(name: str, code: Code, *kept: object) -> Callable[..., Any]:
    """Return a builtin function that runs code by CPython's convention for METH_FASTCALL: rdi its self, rsi its arguments, rdx how many.

    The function's `__self__` holds what it needs. It is a tuple, and the definition (`PyMethodDef`: name, address, flags, documentation)
    an array, because the collector of cycles clears neither of them before the function itself is gone.

    Args:
        name: what the function is called.
        code: what it runs, from its beginning.
        kept: what lives as long as the function, because the code has its address.
    """
    named = np.frombuffer(name.encode() + b"\0", np.uint8).copy()
    definition = np.array([named.ctypes.data, code.address, _FASTCALL, 0], np.uint64)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(("PyCFunction_NewEx", ctypes.pythonapi))
    function: Callable[..., Any] = make(definition.ctypes.data, (definition, named, code, kept), None)
    return function


def code_of(function: Callable[..., Any]) -> Code:
    """Return the code that a builtin function runs."""
    code: Code = getattr(function, "__self__")[2]  # noqa: B009  # a callable need not have it, and a builtin function has
    return code


def interpreter_address(name: str) -> int:
    """Return the address of a function of CPython's C interface."""
    found = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert found is not None
    return found
