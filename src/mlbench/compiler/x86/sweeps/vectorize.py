"""The code of a formula on several vectors at once.

If its registers leave room, a formula runs on several vectors instruction by instruction, so that the latency of one is hidden behind the
others. Constants lie in a pool, a vector each, because AVX2 has no operand that is one number for all lanes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbench.compiler.x86.encoding.assembler import RBX, Mem
from mlbench.compiler.x86.encoding.isa import VectorAssembler
from mlbench.compiler.x86.sweeps.formula import LOAD, NARROW, SOURCE, Instruction
from mlbench.compiler.x86.sweeps.registers import NEW, OVER, Allocated

POOL = RBX
"""Register with the address of the constants."""
MOST_VECTORS = 4
"""Vectors that are under way at a time."""
_THREE = {
    "add": "vadd", "sub": "vsub", "mul": "vmul", "div": "vdiv", "max": "vmax", "min": "vmin", "and_": "vand", "andnot": "vandnot",
    "or_": "vor", "xor": "vxor", "add_whole": "vadd_whole", "sub_whole": "vsub_whole", "sqrt": "vsqrt", "to_float": "vfloat",
    "to_whole": "vwhole",
}  # fmt: skip
_WITH_NUMBER = {
    "shift_left": "vshift_left", "shift_right": "vshift_right", "shift_signed": "vshift_signed", "round": "vround", "compare": "vcompare",
}  # fmt: skip


class Pool:
    """Constants, a vector each: one number in all lanes, or eight numbers, twice where there are 16 lanes.

    Attributes:
        lanes: of a vector.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._places: dict[int | tuple[int, ...], int] = {}

    def place(self, bits: int | tuple[int, ...]) -> Mem:
        """Return where a constant lies."""
        return Mem(POOL, 4 * self.lanes * self._places.setdefault(bits, len(self._places)))

    def data(self) -> bytes:
        """Return all constants in order."""
        tables = [(bits,) if isinstance(bits, int) else bits for bits in self._places]
        return b"".join(struct.pack(f"<{len(table)}I", *table) * (self.lanes // len(table)) for table in tables)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a formula's operands lie, for the vectors that it runs on.

    Attributes:
        sources: for each source the register with its address, and the distance to the first vector.
        shifts: how far each vector lies behind the first, in bytes.
        bases: first register of each vector.
        masked: whether the last vector is masked.
    """

    sources: Mapping[int, Mem]
    shifts: Sequence[int]
    bases: Sequence[int]
    masked: bool = False


class Emitter:
    """Puts the code of allocated formulas.

    Args:
        a: where it goes.
        pool: of constants.
    """

    def __init__(self, a: VectorAssembler, pool: Pool) -> None:
        self._a = a
        self._pool = pool

    def emit(self, allocated: Allocated, places: Places) -> None:
        """Put a formula for some vectors, instruction by instruction."""
        for value, instruction in allocated.instructions:
            for number, base in enumerate(places.bases):
                masked = places.masked and number == len(places.bases) - 1
                self._one(allocated, value, instruction, base, places, number, masked=masked)

    def register(self, allocated: Allocated, value: int, base: int) -> int:
        """Return the register of a value."""
        if value in allocated.kept:
            return kept_register(self._a, allocated.kept[value])
        return base + allocated.registers[value]

    def _one(
        self, allocated: Allocated, value: int, instruction: Instruction, base: int, places: Places, number: int, *, masked: bool
    ) -> None:
        a = self._a
        name = instruction.name
        to = base + allocated.registers[value]
        operands: list[int | Mem] = [
            self._pool.place(allocated.constants[argument]) if argument in allocated.constants else self.register(allocated, argument, base)
            for argument in instruction.arguments
        ]
        if name == LOAD:
            a.vload(to, self._pool.place(instruction.number))
        elif name in (SOURCE, NARROW):
            place = places.sources[instruction.number]
            if name == NARROW:
                a.vbroadcast(to, place)
            else:
                a.vload(to, Mem(place.base, place.shift + places.shifts[number]), masked=masked)
        elif name in _THREE:
            getattr(a, _THREE[name])(to, *operands)
        elif name in _WITH_NUMBER:
            getattr(a, _WITH_NUMBER[name])(to, *operands, instruction.number)
        elif name == "pick":
            a.vpick(to, _number(operands[0]), self._pool.place(instruction.table))
        elif name == "blend":
            a.vblend(to, _number(operands[0]), operands[1], _number(operands[2]))
        else:
            self._multiply_add(name, to, operands)

    def _multiply_add(self, name: str, to: int, operands: list[int | Mem]) -> None:
        a = self._a
        first, second, third = operands
        negative = name.startswith("fnma")
        if name.endswith(OVER):
            (a.vfnma_over if negative else a.vfma_over)(to, _number(second), third)
            return
        if name.endswith(NEW):
            if isinstance(first, Mem):
                a.vload(to, first)
            else:
                a.vmove(to, first)
        (a.vfnma if negative else a.vfma)(to, _number(second), third)


def kept_register(a: VectorAssembler, index: int) -> int:
    """Return the register in which something is kept, counted from the last one."""
    return a.usable - 1 - index


def _number(operand: int | Mem) -> int:
    assert isinstance(operand, int), "an operand in memory where only a register can be"
    return operand
