"""Where objects of CPython and NumPy have what machine code reads of them, and a check that they have it there.

An extension module is compiled against these structures: `PyObject` and `PyTupleObject` of CPython, `PyArrayObject_fields` of NumPy's C
interface. Both projects keep them within a major version, and a build with another one (free threads, reference tracing) fails the check.
"""

from __future__ import annotations

import ctypes
import platform

import numpy as np

OBJECT_TYPE = 8
"""Offset of an object's type; its reference count comes before it."""
TUPLE_SIZE, TUPLE_ITEMS = 16, 24
"""Offsets of the number of a tuple's items, and of the first item."""
ARRAY_DATA, ARRAY_RANK, ARRAY_SHAPE, ARRAY_DTYPE, ARRAY_FLAGS = 16, 24, 32, 56, 64
"""Offsets of the address of an array's data, its number of dimensions (32 bits), the address of its shape, its dtype, and its flags
(32 bits)."""
IS_READABLE = 0x0001 | 0x0100
"""NumPy's flags C_CONTIGUOUS and ALIGNED."""
IS_WRITEABLE = IS_READABLE | 0x0400
"""The same, and WRITEABLE."""


def difference() -> str:
    """Return what lies in memory in another way than expected; empty where nothing does."""
    if not objects_are_as_expected():
        return f"an object of Python {platform.python_version()} lies in memory in another way than in 3.11 to 3.14"
    if not arrays_are_as_expected():
        return f"an array of NumPy {np.__version__} lies in memory in another way than in NumPy 1 and 2"
    return ""


def arrays_are_as_expected() -> bool:
    """Whether the fields of an array that the code reads lie where NumPy's C interface has them."""
    array = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    place = id(array)
    shape, strides = _number(place + ARRAY_SHAPE), _number(place + ARRAY_SHAPE + 8)
    return (
        _number(place + OBJECT_TYPE) == id(np.ndarray)
        and _number(place + ARRAY_DATA) == array.ctypes.data
        and ctypes.c_int.from_address(place + ARRAY_RANK).value == array.ndim
        and ctypes.c_int.from_address(place + ARRAY_FLAGS).value == array.flags.num
        and _number(place + ARRAY_DTYPE) == id(np.dtype(np.float32))
        and strides == shape + 8 * array.ndim  # else nobody knows what lies there
        and [_number(shape), _number(shape + 8)] == [2, 3]
    )


def objects_are_as_expected() -> bool:
    """Whether the fields of an object and of a tuple lie where CPython's C interface has them, and a reference more is one added."""
    item = object()
    items = (item,)
    before = _number(id(item))
    more = [item]
    return (
        _number(id(items) + OBJECT_TYPE) == id(tuple)
        and _number(id(items) + TUPLE_SIZE) == len(items)
        and _number(id(items) + TUPLE_ITEMS) == id(item)
        and _number(id(item)) == before + len(more)
    )


def _number(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value
