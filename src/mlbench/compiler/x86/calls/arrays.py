"""What machine code looks at before it reads an array, or writes to it, by its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.compiler.x86.encoding.assembler import R9, R10, R11, RAX, RDI, Assembler, Label, Mem
from mlbench.compiler.x86.layout import ARRAY_DATA, ARRAY_DTYPE, ARRAY_FLAGS, ARRAY_RANK, ARRAY_SHAPE, OBJECT_TYPE

FLOAT_BYTES = 4
F32 = np.dtype(np.float32)
"""NumPy has one such object, which all plain arrays share."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """The arrays that come with a call.

    Attributes:
        inputs: columns of each input.
        outputs: columns of each output.
        most_rows: rows that a call may have.
        least_rows: the same, where it is not just any number from 1 on.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    most_rows: int
    least_rows: int = 1


class ArrayChecks:
    """Writes checks, which go elsewhere where an array does not fit. They take rax, rdi, r9 and r11; r10 has the rows.

    Args:
        a: the code so far.
        otherwise: where they go.
    """

    def __init__(self, a: Assembler, otherwise: Label) -> None:
        self.a = a
        self._otherwise = otherwise

    def plain(self, place: int, columns: int, flags: int, other: np.dtype[Any] | None = None) -> None:
        """Go on where an object is a plain array of so many columns with these flags; the address of its shape is in r9 then.

        Its numbers are float32, or of the other type.
        """
        a = self.a
        a.load(R9, Mem(place, OBJECT_TYPE))
        self.same(R9, id(np.ndarray))
        a.load(R9, Mem(place, ARRAY_DTYPE))
        known = Label()
        if other is not None:
            a.mov_number(RDI, id(other))
            a.cmp(R9, RDI)
            a.jump_if("e", known)
        self.same(R9, id(F32))
        a.put(known)
        a.load32(R9, Mem(place, ARRAY_RANK))
        a.cmp_number(R9, 2)
        a.jump_if("ne", self._otherwise)
        self.flags(place, flags)
        a.load(R9, Mem(place, ARRAY_SHAPE))
        a.load(R11, Mem(R9, 8))
        a.cmp_number(R11, columns)
        a.jump_if("ne", self._otherwise)

    def same(self, register: int, number: int) -> None:
        """Go on where a register has this number."""
        self.a.mov_number(RDI, number)
        self.a.cmp(register, RDI)
        self.a.jump_if("ne", self._otherwise)

    def flags(self, place: int, flags: int) -> None:
        """Go on where an array has all these flags."""
        a = self.a
        a.load32(R9, Mem(place, ARRAY_FLAGS))
        a.and_number(R9, flags)
        a.cmp_number(R9, flags)
        a.jump_if("ne", self._otherwise)

    def load_span(self, place: int, columns: int) -> None:
        """Load the address of an array's data into rdi, and their end into r11."""
        self.a.load(RDI, Mem(place, ARRAY_DATA))
        self.a.mov(R11, RDI)
        self.move_on(R11, columns)

    def move_on(self, register: int, columns: int) -> None:
        """Add the bytes of all rows of an array."""
        self.a.multiply_number(RAX, R10, FLOAT_BYTES * columns)
        self.a.add(register, RAX)

    def apart(self, memory: npt.NDArray[np.uint8]) -> None:
        """Go on where what lies from rdi to r11 has no byte of this memory."""
        a, apart = self.a, Label()
        a.mov_number(R9, memory.ctypes.data)
        a.cmp(R11, R9)
        a.jump_if("be", apart)
        a.mov_number(R9, memory.ctypes.data + memory.nbytes)
        a.cmp(RDI, R9)
        a.jump_if("b", self._otherwise)
        a.put(apart)
