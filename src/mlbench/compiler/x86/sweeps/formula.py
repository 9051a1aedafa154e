"""Formulas: straight-line arithmetic on one vector of float32.

A formula is a list of instructions, each of which binds one value (static single assignment). Equal instructions are there once.
`mlbench.compiler.x86.sweeps.registers` finds a register for each value, and `mlbench.compiler.x86.sweeps.vectorize` puts the code.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlbench.compiler.x86.encoding.isa import EQUAL, LESS, UNORDERED

CONSTANT, SOURCE, NARROW, KEPT, LOAD = "constant", "source", "narrow", "kept", "load"
"""Names of the instructions that bring something in; LOAD is a constant in a register."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """What binds a value.

    Attributes:
        name: of the operation.
        arguments: the values that it reads.
        number: bits of a constant, which source is read, bits to shift, how to round, or the predicate of a comparison.
        table: bits of eight numbers, one of which is picked.
    """

    name: str
    arguments: tuple[int, ...] = ()
    number: int = 0
    table: tuple[int, ...] = ()


@dataclass(slots=True)
class Formula:
    """Arithmetic on one vector; what a method returns stands for the value that it bound.

    Attributes:
        instructions: in order.
    """

    instructions: list[Instruction] = field(default_factory=list)
    _known: dict[Instruction, int] = field(default_factory=dict)

    def put(self, name: str, *arguments: int, number: int = 0, table: tuple[int, ...] = ()) -> int:
        """Bind the result of an instruction, or return the value that is equal to it."""
        instruction = Instruction(name, arguments, number, table)
        if instruction not in self._known:
            self._known[instruction] = len(self.instructions)
            self.instructions.append(instruction)
        return self._known[instruction]

    def number(self, value: float) -> int:
        """A constant: the float32 next to `value`."""
        return self.bits(struct.unpack("<I", struct.pack("<f", value))[0])

    def bits(self, pattern: int) -> int:
        """A constant of 32 bits."""
        return self.put(CONSTANT, number=pattern & 0xFFFFFFFF)

    def source(self, index: int) -> int:
        """The vector that is due, of a row of numbers."""
        return self.put(SOURCE, number=index)

    def narrow(self, index: int) -> int:
        """One number in all lanes."""
        return self.put(NARROW, number=index)

    def kept(self, index: int) -> int:
        """What lies in a register from before."""
        return self.put(KEPT, number=index)

    def add(self, one: int, other: int) -> int:
        """The sum."""
        return self.put("add", one, other)

    def sub(self, one: int, other: int) -> int:
        """The difference."""
        return self.put("sub", one, other)

    def mul(self, one: int, other: int) -> int:
        """The product."""
        return self.put("mul", one, other)

    def div(self, one: int, other: int) -> int:
        """The quotient."""
        return self.put("div", one, other)

    def fma(self, one: int, other: int, more: int) -> int:
        """The product of one and other plus more, rounded once."""
        return self.put("fma", one, other, more)

    def fnma(self, one: int, other: int, more: int) -> int:
        """More less the product of one and other, rounded once."""
        return self.put("fnma", one, other, more)

    def larger(self, one: int, other: int) -> int:
        """The larger; the other where one of them is NaN."""
        return self.put("max", one, other)

    def smaller(self, one: int, other: int) -> int:
        """The smaller; the other where one of them is NaN."""
        return self.put("min", one, other)

    def sqrt(self, one: int) -> int:
        """The root."""
        return self.put("sqrt", one)

    def both(self, one: int, other: int) -> int:
        """The bits that both have."""
        return self.put("and_", one, other)

    def without(self, one: int, other: int) -> int:
        """The bits of the other that one does not have."""
        return self.put("andnot", one, other)

    def either(self, one: int, other: int) -> int:
        """The bits that one of them has."""
        return self.put("or_", one, other)

    def differ(self, one: int, other: int) -> int:
        """The bits that only one of them has."""
        return self.put("xor", one, other)

    def add_whole(self, one: int, other: int) -> int:
        """The sum of whole numbers."""
        return self.put("add_whole", one, other)

    def sub_whole(self, one: int, other: int) -> int:
        """The difference of whole numbers."""
        return self.put("sub_whole", one, other)

    def shift_left(self, one: int, bits: int) -> int:
        """Whole numbers shifted left."""
        return self.put("shift_left", one, number=bits)

    def shift_right(self, one: int, bits: int) -> int:
        """Whole numbers shifted right, zeros coming in."""
        return self.put("shift_right", one, number=bits)

    def shift_signed(self, one: int, bits: int) -> int:
        """Whole numbers shifted right, their sign coming in."""
        return self.put("shift_signed", one, number=bits)

    def to_float(self, one: int) -> int:
        """Float32 of whole numbers."""
        return self.put("to_float", one)

    def to_whole(self, one: int) -> int:
        """The nearest whole numbers of float32."""
        return self.put("to_whole", one)

    def round(self, one: int, how: int) -> int:
        """A whole number as float32."""
        return self.put("round", one, number=how)

    def compare(self, one: int, other: int, predicate: int) -> int:
        """All bits where a comparison holds."""
        return self.put("compare", one, other, number=predicate)

    def select(self, mask: int, one: int, other: int) -> int:
        """One where the mask has all bits, the other where it has none."""
        return self.put("blend", other, one, mask)

    def pick(self, table: tuple[int, ...], place: int) -> int:
        """One of eight numbers, of which a table has the bits; the lowest three bits of a whole number say which."""
        return self.put("pick", place, table=table)

    def is_less(self, one: int, other: int) -> int:
        """Where one < other."""
        return self.compare(one, other, LESS)

    def is_equal(self, one: int, other: int) -> int:
        """Where one == other."""
        return self.compare(one, other, EQUAL)

    def is_nan(self, one: int) -> int:
        """Where it is not a number."""
        return self.compare(one, one, UNORDERED)

    def polynomial(self, x: int, coefficients: Sequence[float]) -> int:
        """A polynomial by Horner's rule; the constant coefficient comes first."""
        *lower, value = coefficients
        result = self.number(value)
        for coefficient in reversed(lower):
            result = self.fma(result, x, self.number(coefficient))
        return result
