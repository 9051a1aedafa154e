"""Copies of constants in another form, which all that need the same one share for as long as one of them lives.

Two runners of one model pack its weights alike where their tiles are alike. Weights are read-only, so the second one need not have a copy
of its own. Nothing here keeps an array alive: neither the model's, nor a copy that no runner holds any more.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable

from mlbench.ir import FloatArray

_Entry = tuple["weakref.ref[FloatArray]", "weakref.ref[FloatArray]"]
_copies: dict[tuple[int, Hashable], _Entry] = {}
"""By the address of the source object and the form: the source, because another array may have that address later, and the copy."""


def shared_copy(source: FloatArray, form: Hashable, make: Callable[[], FloatArray]) -> FloatArray:
    """Return the copy of a read-only array in this form that somebody holds, or else what `make` returns.

    Args:
        source: the array.
        form: what tells this copy from others of the same array.
        make: makes the copy, a new read-only array.
    """
    key = id(source), form
    entry = _copies.get(key)
    if entry is not None and entry[0]() is source:
        copy = entry[1]()
        if copy is not None:
            return copy
    made = make()

    def forget(gone: weakref.ref[FloatArray]) -> None:
        if key in _copies and _copies[key][1] is gone:
            del _copies[key]

    _copies[key] = weakref.ref(source), weakref.ref(made, forget)
    return made
