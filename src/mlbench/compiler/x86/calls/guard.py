"""Who is inside: a word in memory that machine code and Python read and write.

A fork copies the word and not the thread that took it. What Python took, Python looks into (`mlbench.runtime.dispatch`). What machine code
took without the interpreter's lock is free in the child, because the thread that forks is never inside such code.
"""

from __future__ import annotations

import ctypes
import os
import weakref

FREE, TAKEN, LOOKED_AT, IN_CODE = range(4)
"""Nobody is inside; a call of Python is; somebody looks whether it still is; code that has given the interpreter's lock away is."""


class Guard:
    """A word that says whether somebody is inside.

    Attributes:
        word: its first byte is FREE, TAKEN, LOOKED_AT or IN_CODE.
        address: where it lies.
    """

    def __init__(self) -> None:
        self.word = bytearray(4)
        self._view = ctypes.c_char.from_buffer(self.word)
        self.address = ctypes.addressof(self._view)
        _guards.add(self)


_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _free_all() -> None:
    """Free every guard that code on a thread of the parent had taken."""
    for guard in list(_guards):
        if guard.word[0] == IN_CODE:
            guard.word[0] = FREE


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_all)
