"""Registers for the values of a formula.

They are given out in one pass over the instructions, which takes back those of values that nobody needs any more. A multiply-add
writes over one of its operands, so it takes the register of one that is needed no more, in the form that does so (fmadd213, fmadd231).

A constant is an operand in memory where an instruction can read one, and is loaded where it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbench.compiler.x86.sweeps.formula import CONSTANT, KEPT, LOAD, Formula, Instruction

COMMUTE = {"add", "mul", "and_", "or_", "xor", "add_whole"}
LAST_IN_MEMORY = COMMUTE | {"sub", "div", "max", "min", "andnot", "sub_whole", "compare"}
"""Instructions whose last operand may lie in memory, and of these the ones whose operands may change places."""
MULTIPLY_ADDS = ("fma", "fnma")
TO, OVER, NEW = "_to", "_over", "_new"
"""Forms of a multiply-add: the sum is added to, a factor is written over, or the sum is copied first."""


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
    legal.put_all(roots)
    wanted = [legal.in_register(root) for root in roots]
    last = {argument: position for position, (_, each) in enumerate(legal.instructions) for argument in each.arguments}
    last |= dict.fromkeys(wanted, len(legal.instructions))
    registers = _Registers()
    placed = []
    for position, (value, instruction) in enumerate(legal.instructions):
        dying = [each for each in dict.fromkeys(instruction.arguments) if last[each] == position and each in registers.of]
        chosen, form = _fused(instruction, dying, legal.constants)
        registers.place(value, chosen, dying, is_apart=form.name.endswith(NEW))
        if value not in last:
            registers.free.append(registers.of[value])
        placed.append((value, form))
    for root, given in zip(wanted, roots, strict=True):
        home = registers.of if root in registers.of else legal.kept
        home[given] = home[root]
    return Allocated(tuple(placed), registers.of, registers.needed, legal.constants, legal.kept)


class _Registers:
    """The registers of one vector.

    Attributes:
        of: each value that has one.
        free: those that hold nothing any more.
        needed: how many there are.
    """

    def __init__(self) -> None:
        self.of: dict[int, int] = {}
        self.free: list[int] = []
        self.needed = 0

    def place(self, value: int, chosen: int | None, dying: Sequence[int], *, is_apart: bool) -> None:
        """Give a value a register: that of `chosen`, or a free one, which is none of those that are dying if it must be apart."""
        given_back = [self.of[each] for each in dying if each != chosen]
        if chosen is not None:
            self.of[value] = self.of[chosen]
        else:
            usable = self.free if is_apart else [*self.free, *given_back]
            self.of[value] = usable[-1] if usable else self.needed
        self.free = [each for each in (*self.free, *given_back) if each != self.of[value]]
        self.needed = max(self.needed, self.of[value] + 1)


def _fused(instruction: Instruction, dying: Sequence[int], constants: Mapping[int, int]) -> tuple[int | None, Instruction]:
    """Return whose register the result of a multiply-add takes, and the form of the instruction; of another one nobody's."""
    if instruction.name not in MULTIPLY_ADDS:
        return None, instruction
    one, other, more = instruction.arguments
    name = instruction.name
    if more in dying and more not in (one, other):
        return more, Instruction(name + TO, (more, one, other))
    for factor, second in ((one, other), (other, one)):
        if factor in dying and factor != more and second not in constants:
            return factor, Instruction(name + OVER, (factor, second, more))
    return None, Instruction(name + NEW, (more, one, other))


class _Legal:
    """A formula in which constants are where an instruction can read memory; all else is loaded first."""

    def __init__(self, formula: Formula) -> None:
        self.instructions: list[tuple[int, Instruction]] = []
        self.constants: dict[int, int] = {}
        self.kept: dict[int, int] = {}
        self._formula = formula
        self._next = len(formula.instructions)

    def put_all(self, roots: Sequence[int]) -> None:
        """Put all that the roots need, in the order in which it was written, which keeps few values alive."""
        needed: set[int] = set()
        todo = list(roots)
        while todo:
            value = todo.pop()
            if value not in needed:
                needed.add(value)
                todo += self._formula.instructions[value].arguments
        for value in sorted(needed):
            instruction = self._formula.instructions[value]
            if instruction.name == CONSTANT:
                self.constants[value] = instruction.number
            elif instruction.name == KEPT:
                self.kept[value] = instruction.number
            else:
                self.instructions.append((value, self._legal(instruction)))

    def in_register(self, value: int) -> int:
        """Return a value that lies in a register."""
        if value not in self.constants:
            return value
        self._next += 1
        self.instructions.append((self._next, Instruction(LOAD, (), self.constants[value])))
        return self._next

    def _legal(self, instruction: Instruction) -> Instruction:
        name, arguments = instruction.name, list(instruction.arguments)
        if name in MULTIPLY_ADDS:
            if arguments[0] in self.constants:
                arguments[:2] = arguments[1::-1]
            arguments[0] = self.in_register(arguments[0])
            if arguments[1] in self.constants and arguments[2] in self.constants:
                arguments[1] = self.in_register(arguments[1])
        elif name == "blend":
            arguments[0] = self.in_register(arguments[0])
            arguments[2] = self.in_register(arguments[2])
        elif name in LAST_IN_MEMORY:
            if name in COMMUTE and arguments[0] in self.constants:
                arguments.reverse()
            arguments[0] = self.in_register(arguments[0])
        else:
            arguments = [self.in_register(argument) for argument in arguments]
        return Instruction(name, tuple(arguments), instruction.number, instruction.table)
