"""What objects hold: the bytes of everything that can be reached from them, each counted once.

What a process has anyway is not in it: modules, classes, the globals of functions, frames, loggers, threads, and what runs the tests, to
which the fixtures of a test lead. Neither are texts and numbers of a few bytes, which differ between two runs of the same code: a path of a
temporary folder, a time, a process number. So the sum is the same in every run, and can be compared exactly.

An object whose class defines `__sizeof__` in Python says itself what it holds, and nothing is followed from there. That is also the way
for memory that nobody can see from outside, such as what an extension in C has allocated.

This file needs the standard library alone, so that it can run by its path in the Python of another project.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import logging
import sys
import threading
import types
from collections.abc import Callable, Iterable
from typing import Any

SMALL = 512
"""Bytes of a text or a number that are not counted."""
_ATOMS = (str, bytes, int, float, complex, type(None))
_SHARED = (types.ModuleType, type, types.CodeType, types.FrameType, logging.Logger, logging.Handler, threading.Thread)
_OF_TESTS = ("_pytest", "pytest", "pluggy", "pytest_benchmark", "mlbench.pytest_plugin.plugin", "mlbench.pytest_plugin.recorder")
"""Packages and modules that run tests: a fixture leads to all other tests of its session."""
_OF_C = (ctypes.Array, ctypes.Structure, ctypes.Union)


def object_bytes(roots: Iterable[object], is_left_out: Callable[[object], object] = lambda _: False) -> int:
    """Return how many bytes everything holds that can be reached from these objects.

    Args:
        roots: the objects.
        is_left_out: tells of an object whether it, and what can be reached through it alone, is left out; it is asked once of each.

    >>> object_bytes([bytearray(1000)]) - object_bytes([bytearray(900)])
    100
    """
    todo: list[Any] = list(roots)
    kept: dict[int, object] = {}  # alive, so that nothing new gets the address of something that was counted
    total = 0
    while todo:
        each = todo.pop()
        if id(each) in kept or isinstance(each, _SHARED) or _runs_tests(type(each).__module__):
            continue
        kept[id(each)] = each
        if is_left_out(each):
            continue
        size = own_bytes(each)
        if size > SMALL or not isinstance(each, _ATOMS):
            total += size
        if not _says_itself(each):
            todo += parts_of(each)
    return total


def own_bytes(each: Any) -> int:  # anything at all
    """Return the bytes of an object without those that it refers to."""
    if isinstance(each, _OF_C) and each._b_base_ is None:  # of which `sys.getsizeof` knows the head alone
        return sys.getsizeof(each) + ctypes.sizeof(each)
    return sys.getsizeof(each)


def parts_of(each: Any) -> list[Any]:  # anything at all
    """Return the objects that an object refers to, of a function without its globals."""
    if isinstance(each, types.FunctionType):
        return [*closed_over(each), *(each.__defaults__ or ()), *(each.__kwdefaults__ or {}).values(), *each.__dict__.values()]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(each, numpy.ndarray):  # into which the garbage collector does not see
        return [each.base, *(each.ravel().tolist() if each.dtype.hasobject else ())]
    return gc.get_referents(each)


def closed_over(function: types.FunctionType) -> list[Any]:
    """Return what a function closes over, as far as it is there."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # the name has no value yet
            continue
    return found


@functools.lru_cache(maxsize=None)  # noqa: UP033  # Python 3.8 has no `cache`
def _runs_tests(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _OF_TESTS)


def _says_itself(each: object) -> bool:
    return isinstance(getattr(type(each), "__sizeof__", None), types.FunctionType)
