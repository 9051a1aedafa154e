"""Inputs of whole numbers: machine code makes float32 of them, because the body reads nothing else.

An input that is an index comes as int64 or int32. Python's way around the body would look for the smallest and the largest number and copy
the array, which takes longer than a small network. So the function in front of the body converts it itself, into memory of the runner's
own. A number that float32 does not hold exactly goes to Python, which says where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlbench.compiler.x86.calls.arrays import FLOAT_BYTES
from mlbench.compiler.x86.encoding.assembler import R10, RAX, RCX, RDI, RDX, RSI, Assembler, Label, Mem

DTYPES = (np.dtype(np.int64), np.dtype(np.int32))
"""What can be converted. NumPy has one object of each, which all plain arrays share."""
MOST = 1 << 24
"""Whole numbers that float32 holds exactly lie from -MOST to MOST."""
_XORPS, _CVTSI2SS, _MOVSS = b"\x0f\x57\xc0", b"\xf3\x48\x0f\x2a\xc0", b"\xf3\x0f\x11\x07"
"""Clear xmm0, so that nothing waits for what it was; make float32 of rax in it; store it where rdi says."""


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """An input that may come as whole numbers.

    Attributes:
        dtype: of them, one of DTYPES.
        memory: where they go as float32.
    """

    dtype: np.dtype[np.signedinteger]
    memory: npt.NDArray[np.float32]


def emit_conversion(a: Assembler, given: Mem, whole: Whole, otherwise: Label) -> None:
    """Put the conversion of the rows in r10, which stays; takes rax, rcx, rdx, rsi and rdi.

    Args:
        a: the code so far.
        given: where the address of the whole numbers is; 0 where the input came as float32.
        whole: of the input.
        otherwise: where it goes for a number that float32 does not hold.
    """
    again, done = Label(), Label()
    size = whole.dtype.itemsize
    a.load(RSI, given)
    a.cmp_number(RSI, 0)
    a.jump_if("e", done)
    a.mov_number(RDI, whole.memory.ctypes.data)
    a.multiply_number(RCX, R10, whole.memory.shape[1])
    a.align(16)
    a.put(again)
    if size == FLOAT_BYTES:
        a.load_signed32(RAX, Mem(RSI))
    else:
        a.load(RAX, Mem(RSI))
    a.lea(RDX, Mem(RAX, MOST))
    a.cmp_number(RDX, 2 * MOST)
    a.jump_if("a", otherwise)
    a.code += _XORPS + _CVTSI2SS + _MOVSS
    a.add_number(RSI, size)
    a.add_number(RDI, FLOAT_BYTES)
    a.sub_number(RCX, 1)
    a.jump_if("ne", again)
    a.put(done)
