"""Formulas: straight-line arithmetic on one vector, and the code that runs it on several vectors at once.

A formula is a list of instructions, each of which binds one value (static single assignment). Equal instructions are there once. The
registers of one vector are given out in one pass, which gives back those of values that nobody needs any more. If they leave room,
the code runs the formula on several vectors, instruction by instruction, so that the latency of one is hidden behind the others.

Constants lie in a pool, a vector each, because AVX2 has no operand that is one number for all lanes. The pool's address is in POOL.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlbench.compiler.x86.assembler import RBX, Mem
from mlbench.compiler.x86.isa import EQUAL, LESS, LESS_EQUAL, UNORDERED, VectorAssembler

POOL = RBX
MOST_VECTORS = 4
"""Vectors that are under way at a time."""
_CONSTANT, _SOURCE, _NARROW, _KEPT, _LOAD = "constant", "source", "narrow", "kept", "load"
_COMMUTE = {"add", "mul", "and_", "or_", "xor", "add_whole"}
_THREE = {
    "add": "vadd", "sub": "vsub", "mul": "vmul", "div": "vdiv", "max": "vmax", "min": "vmin", "and_": "vand", "andnot": "vandnot",
    "or_": "vor", "xor": "vxor", "add_whole": "vadd_whole", "sub_whole": "vsub_whole",
}  # fmt: skip
_SHIFTS = {"shift_left": "vshift_left", "shift_right": "vshift_right", "shift_signed": "vshift_signed", "round": "vround"}
_TWO = {"sqrt": "vsqrt", "to_float": "vfloat", "to_whole": "vwhole"}


@dataclass(frozen=True, slots=True)
class Instruction:
    """What binds a value.

    Attributes:
        name: of the operation.
        arguments: the values that it reads.
        number: bits of a constant, which source is read, bits to shift, how to round, or the predicate of a comparison.
    """

    name: str
    arguments: tuple[int, ...] = ()
    number: int = 0


@dataclass(slots=True)
class Formula:
    """Arithmetic on one vector; what a method returns stands for the value that it bound.

    Attributes:
        instructions: in order.
    """

    instructions: list[Instruction] = field(default_factory=list)
    _known: dict[Instruction, int] = field(default_factory=dict)

    def put(self, name: str, *arguments: int, number: int = 0) -> int:
        """Bind the result of an instruction, or return the value that is equal to it."""
        instruction = Instruction(name, arguments, number)
        if instruction not in self._known:
            self._known[instruction] = len(self.instructions)
            self.instructions.append(instruction)
        return self._known[instruction]

    def number(self, value: float) -> int:
        """A constant: the float32 next to `value`."""
        return self.bits(struct.unpack("<I", struct.pack("<f", value))[0])

    def bits(self, pattern: int) -> int:
        """A constant of 32 bits."""
        return self.put(_CONSTANT, number=pattern & 0xFFFFFFFF)

    def source(self, index: int) -> int:
        """The vector that is due, of a row of numbers."""
        return self.put(_SOURCE, number=index)

    def narrow(self, index: int) -> int:
        """One number in all lanes."""
        return self.put(_NARROW, number=index)

    def kept(self, index: int) -> int:
        """What lies in a register from before."""
        return self.put(_KEPT, number=index)

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
        """one * other + more, rounded once."""
        return self.put("fma", one, other, more)

    def fnma(self, one: int, other: int, more: int) -> int:
        """more - one * other, rounded once."""
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

    def is_less(self, one: int, other: int) -> int:
        """Where one < other."""
        return self.compare(one, other, LESS)

    def is_at_most(self, one: int, other: int) -> int:
        """Where one <= other."""
        return self.compare(one, other, LESS_EQUAL)

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


class Pool:
    """Constants, a vector each.

    Attributes:
        lanes: of a vector.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._places: dict[int, int] = {}

    def place(self, bits: int) -> Mem:
        """Return where a constant lies."""
        return Mem(POOL, 4 * self.lanes * self._places.setdefault(bits, len(self._places)))

    def data(self) -> bytes:
        """Return all constants in order."""
        return b"".join(struct.pack("<I", bits) * self.lanes for bits in self._places)


@dataclass(frozen=True, slots=True)
class Allocated:
    """A formula whose values have registers.

    Attributes:
        instructions: those that are needed, operands in memory where an instruction takes one.
        registers: of each value that is no constant, of those of one vector.
        needed: registers of one vector.
    """

    instructions: tuple[tuple[int, Instruction], ...]
    registers: Mapping[int, int]
    needed: int
    constants: Mapping[int, int]
    kept: Mapping[int, int]


def allocate(formula: Formula, roots: Sequence[int]) -> Allocated:
    """Give out registers for what the roots need; they hold their values at the end."""
    legal = _Legal(formula)
    legal_roots = [legal.in_register(legal.value(root)) for root in roots]
    last: dict[int, int] = {}
    for position, (_, instruction) in enumerate(legal.instructions):
        for argument in instruction.arguments:
            last[argument] = position
    for root in legal_roots:
        last[root] = len(legal.instructions)
    registers: dict[int, int] = {}
    free: list[int] = []
    needed = 0
    placed: list[tuple[int, Instruction]] = []
    for position, (value, instruction) in enumerate(legal.instructions):
        dying = [argument for argument in dict.fromkeys(instruction.arguments) if last[argument] == position and argument in registers]
        chosen = None
        if instruction.name in ("fma", "fnma"):
            chosen, instruction = _fused(instruction, dying, legal.constants, last, position)
        for argument in dying:
            if argument != chosen:
                free.append(registers[argument])
        if chosen is not None:
            registers[value] = registers[chosen]
        elif instruction.name in ("fma_new", "fnma_new") and dying:
            # The accumulator is written before the factors are read, so it takes a register of its own.
            fresh = [register for register in free if register not in {registers[argument] for argument in dying}]
            registers[value] = fresh[-1] if fresh else needed
            if fresh:
                free.remove(fresh[-1])
        else:
            registers[value] = free.pop() if free else needed
        needed = max(needed, registers[value] + 1)
        if value not in last:
            free.append(registers[value])
        placed.append((value, instruction))
    for root, given in zip(legal_roots, roots, strict=True):
        if root in registers:
            registers[given] = registers[root]
        else:
            legal.kept[given] = legal.kept[root]
    return Allocated(tuple(placed), registers, needed, legal.constants, legal.kept)


def _fused(
    instruction: Instruction, dying: Sequence[int], constants: Mapping[int, int], last: Mapping[int, int], position: int
) -> tuple[int | None, Instruction]:
    """Return which argument the result takes the register of, and the form of the instruction."""
    one, other, more = instruction.arguments
    name = instruction.name
    if more in dying and more not in (one, other):
        return more, Instruction(f"{name}_to", (more, one, other))
    for factor, second in ((one, other), (other, one)):
        if factor in dying and factor != more and second not in constants:
            return factor, Instruction(f"{name}_over", (factor, second, more))
    return None, Instruction(f"{name}_new", (more, one, other))


class _Legal:
    """A formula in which constants are where an instruction can read memory; all else is loaded first."""

    def __init__(self, formula: Formula) -> None:
        self.instructions: list[tuple[int, Instruction]] = []
        self.constants: dict[int, int] = {}
        self.kept: dict[int, int] = {}
        self._formula = formula
        self._done: set[int] = set()
        self._next = len(formula.instructions)

    def value(self, value: int) -> int:
        """Put what a value needs, and then the value."""
        if value in self._done:
            return value
        self._done.add(value)
        instruction = self._formula.instructions[value]
        if instruction.name == _CONSTANT:
            self.constants[value] = instruction.number
        elif instruction.name == _KEPT:
            self.kept[value] = instruction.number
        else:
            for argument in instruction.arguments:
                self.value(argument)
            self.instructions.append((value, self._legal(instruction)))
        return value

    def in_register(self, value: int) -> int:
        """Return a value that lies in a register."""
        if value not in self.constants:
            return value
        self._next += 1
        self.instructions.append((self._next, Instruction(_LOAD, (), self.constants[value])))
        return self._next

    def _legal(self, instruction: Instruction) -> Instruction:
        name, arguments = instruction.name, list(instruction.arguments)
        if name in ("fma", "fnma"):
            if arguments[0] in self.constants:
                arguments[:2] = arguments[1::-1]
            arguments[0] = self.in_register(arguments[0])
            if arguments[1] in self.constants and arguments[2] in self.constants:
                arguments[1] = self.in_register(arguments[1])
        elif name == "blend":
            arguments[0] = self.in_register(arguments[0])
            arguments[2] = self.in_register(arguments[2])
        elif name in _THREE or name == "compare":
            if name in _COMMUTE and arguments[0] in self.constants:
                arguments.reverse()
            arguments[0] = self.in_register(arguments[0])
        else:
            arguments = [self.in_register(argument) for argument in arguments]
        return Instruction(name, tuple(arguments), instruction.number)


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
            self._pool.place(allocated.constants[argument])
            if argument in allocated.constants
            else self.register(allocated, argument, base)
            for argument in instruction.arguments
        ]
        if name == _LOAD:
            a.vload(to, self._pool.place(instruction.number))
        elif name in (_SOURCE, _NARROW):
            place = places.sources[instruction.number]
            if name == _NARROW:
                a.vbroadcast(to, place)
            else:
                a.vload(to, Mem(place.base, place.shift + places.shifts[number]), masked=masked)
        elif name in _THREE:
            getattr(a, _THREE[name])(to, *operands)
        elif name in _SHIFTS:
            getattr(a, _SHIFTS[name])(to, *operands, instruction.number)
        elif name in _TWO:
            getattr(a, _TWO[name])(to, *operands)
        elif name == "compare":
            a.vcompare(to, _number(operands[0]), operands[1], instruction.number)
        elif name == "blend":
            a.vblend(to, _number(operands[0]), operands[1], _number(operands[2]))
        else:
            self._multiply_add(name, to, operands)

    def _multiply_add(self, name: str, to: int, operands: list[int | Mem]) -> None:
        a = self._a
        first, second, third = operands
        negative = name.startswith("fnma")
        if name.endswith("_over"):
            (a.vfnma_over if negative else a.vfma_over)(to, _number(second), third)
            return
        if name.endswith("_new"):
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
