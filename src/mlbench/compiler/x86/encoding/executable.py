"""Memory that code runs in, and Python callables made of it."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from mlbench.errors import CodeError, CopyError

_FASTCALL, _KEYWORDS = 0x0080, 0x0002
"""METH_FASTCALL: the function gets an array of its arguments and their number; METH_KEYWORDS: and a tuple of the names of the last ones."""


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


class GeneratedCode(tuple[Any, ...]):
    """What a function of machine code needs for as long as it lives; it is the function's `__self__`.

    It is a tuple, because the collector of cycles clears no tuple before the function itself is gone. The first item is what a caller of
    `builtin` wants to find again, the second one the code.
    """

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied, pickled or sent to another process: the code is bound to where it lies.

        Raises:
            CopyError: saying what to do instead.
        """
        raise CopyError("a function of generated code cannot be copied or sent to another process: send the model, and make a runner there")


def builtin(name: str, code: Code, *kept: object, about: object = None, text: str = "", takes_keywords: bool = False) -> Callable[..., Any]:
    """Return a builtin function that runs code by CPython's convention for METH_FASTCALL: rdi its self, rsi its arguments, rdx how many.

    With keywords rcx has a tuple of their names, or 0, and their values follow the other arguments. The function's definition
    (`PyMethodDef`: name, address, flags, documentation) is an array, which the function keeps.

    Args:
        name: what the function is called.
        code: what it runs, from its beginning.
        kept: what lives as long as the function, because the code has its address.
        about: what `known_of` returns for the function.
        text: its documentation; a first line `name($self, ...)` and a line `--` become its signature.
        takes_keywords: it takes arguments by name.
    """
    named, told = (np.frombuffer(each.encode() + b"\0", np.uint8).copy() for each in (name, text))
    flags = _FASTCALL | (_KEYWORDS if takes_keywords else 0)
    definition = np.array([named.ctypes.data, code.address, flags, told.ctypes.data if text else 0], np.uint64)
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(("PyCFunction_NewEx", ctypes.pythonapi))
    needed = GeneratedCode((about, code, definition, named, told, kept))
    function: Callable[..., Any] = make(definition.ctypes.data, needed, None)
    return function


def known_of(function: object) -> Any:
    """Return what a builtin function of generated code was made with as `about`; None of anything else."""
    needed = getattr(function, "__self__", None)
    return needed[0] if isinstance(needed, GeneratedCode) else None


def code_of(function: Callable[..., Any]) -> Code:
    """Return the code that a builtin function runs."""
    code: Code = getattr(function, "__self__")[1]  # noqa: B009  # a callable need not have it, and a builtin function has
    return code


def interpreter_address(name: str) -> int:
    """Return the address of a function of CPython's C interface."""
    found = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert found is not None
    return found
