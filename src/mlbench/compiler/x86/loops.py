"""Machine code that does nothing but one thing as fast as the core can: multiply and add in registers, or read memory.

What these loops reach is what the machine can do, whoever writes the code: no instruction of a product is in them, so that a change of
the products does not touch them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

from mlbench.compiler.x86.encoding.assembler import R8, R9, R10, RAX, RCX, RDI, RDX, RSI, Label, Mem
from mlbench.compiler.x86.encoding.executable import Code
from mlbench.compiler.x86.encoding.isa import VectorAssembler, Vectors

ACCUMULATORS = 12
"""Independent sums. Two multiply-adds start in a cycle and take four, so that eight are under way at any time; more do no harm."""
PLACES = (RAX, R8, R9, R10)
"""Registers with the places in the streams that are read."""
REPEATED, LOADS = 4, 16
"""Rounds over the accumulators, and loads, in one turn of a loop."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop in machine code.

    Attributes:
        run: for multiply-adds `run(turns)`, for reading `run(address, turns, repeats)`.
        work: of one turn: floating point operations, or bytes.
        code: where it lies, alive as long as this.
    """

    run: Callable[..., None]
    work: int
    code: Code


def multiply_add_loop(vectors: Vectors) -> Loop:
    """Return a loop of multiply-adds in registers.

    Raises:
        OSError: when the system gives no memory that code may run in.
    """
    a = VectorAssembler(vectors)
    for register in range(ACCUMULATORS + 2):
        a.vzero(register)
    again = Label()
    a.put(again)
    for _ in range(REPEATED):
        for register in range(ACCUMULATORS):
            a.vfma(register, ACCUMULATORS, ACCUMULATORS + 1)
    a.sub_number(RDI, 1)
    a.jump_if("ne", again)
    return _loop(a, 2 * vectors.lanes * ACCUMULATORS * REPEATED, ctypes.c_uint64)


def read_loop(vectors: Vectors, streams: int = 1) -> Loop:
    """Return a loop that reads so many turns from an address on, and that again and again.

    Args:
        vectors: the instructions.
        streams: parts that are read side by side, 1, 2 or 4. A core has more lines under way from several streams than from one.

    Raises:
        OSError: when the system gives no memory that code may run in.
    """
    a = VectorAssembler(vectors)
    vector_bytes = 4 * vectors.lanes
    from_start, again = Label(), Label()
    part_bytes, places = LOADS // streams * vector_bytes, PLACES[:streams]
    a.put(from_start)
    a.mov(RAX, RDI)
    for number, register in enumerate(places[1:], 1):
        a.multiply_number(register, RSI, number * part_bytes)
        a.add(register, RDI)
    a.mov(RCX, RSI)
    a.put(again)
    for load in range(LOADS):
        a.vload(load % ACCUMULATORS, Mem(places[load % streams], load // streams * vector_bytes))
    for register in places:
        a.add_number(register, part_bytes)
    a.sub_number(RCX, 1)
    a.jump_if("ne", again)
    a.sub_number(RDX, 1)
    a.jump_if("ne", from_start)
    return _loop(a, LOADS * vector_bytes, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)


def _loop(a: VectorAssembler, work: int, *arguments: type[ctypes.c_void_p | ctypes.c_uint64]) -> Loop:
    a.vzeroupper()
    a.ret()
    code = Code(a.finish())
    return Loop(ctypes.CFUNCTYPE(None, *arguments)(code.address), work, code)
