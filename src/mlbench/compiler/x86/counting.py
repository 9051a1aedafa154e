"""Exact counts of what machine code executes: instructions, loads, stores, multiply-adds and bytes, without running it.

The instructions are decoded, and those that decide the way through the code are executed by an interpreter: general registers, the stack,
and the tables that the code reads. Vector instructions are counted and change nothing that this way depends on.

A loop is not executed to its end. The interpreter follows two turns of it. Where both made the same counts, moved each register and each
word of the stack by the same distance, and compared the same numbers everywhere but at the loop's own counter, all further turns do so
too, and their counts are multiplied. Such counts have no noise: they change when the code changes, and at no other time.

`tests/compiler/test_counting.py` compares them with single steps of the processor.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlbench.compiler.x86.decoding import KINDS, REGISTERS, Counts, Decoded, InstructionCounts, Operand, decoded
from mlbench.errors import CountingError

_MASK64 = 2**64 - 1
_SIGN64 = 2**63
_STACK = 1 << 62
"""Where the stack of the interpreter lies: an address that no process has."""
_RETURN = _STACK + 1
"""What the last return goes to."""
MOST_STEPS = 20_000_000
"""Instructions that are followed before the interpreter gives up."""


_NOTHING: Counts = (0,) * len(KINDS)


def counted(code: bytes, address: int, arguments: Mapping[str, int], tables: Sequence[tuple[int, int]] = ()) -> InstructionCounts:
    """Return the counts of one call, from the first byte of the code to the return.

    Args:
        code: the bytes.
        address: where they lie, or would lie.
        arguments: registers at the call, such as `{"rdi": places, "rsi": rows}`.
        tables: memory that general registers may be loaded from: addresses in this process, and bytes.

    Raises:
        MissingExtraError: without capstone.
        CountingError: where the code does something that cannot be followed, such as a call of the system.
    """
    interpreter = _Interpreter(code, address, arguments, tables)
    interpreter.run()
    return InstructionCounts(*interpreter.counts)


@dataclass(frozen=True, slots=True)
class _Turn:
    """The interpreter at the end of a turn of a loop.

    Attributes:
        registers: by their names.
        stack: words by their addresses.
        counts: so far.
        seen: how many entries the log had.
        compared: what the loop's own jump compared.
    """

    registers: dict[str, int]
    stack: dict[int, int]
    counts: Counts
    seen: int
    compared: tuple[int, int]


_Log = list[tuple[int, int, int]]


@dataclass(slots=True)
class _Loop:
    """The last turns of a loop that is under way."""

    turns: list[_Turn] = field(default_factory=list)


def _add(one: Counts, other: Counts, times: int = 1) -> Counts:
    return tuple(a + times * b for a, b in zip(one, other, strict=True))


def _moved(before: Mapping[Any, int], after: Mapping[Any, int]) -> dict[Any, int] | None:
    """Return by how much each word moved, or None where there are other words."""
    if before.keys() != after.keys():
        return None
    return {name: (after[name] - before[name]) & _MASK64 for name in after}


def _signed(number: int) -> int:
    return number - 2**64 if number & _SIGN64 else number


_TAKEN: dict[str, Callable[[int, int], bool]] = {
    "je": lambda a, b: a == b,
    "jne": lambda a, b: a != b,
    "jb": lambda a, b: a < b,
    "jae": lambda a, b: a >= b,
    "jbe": lambda a, b: a <= b,
    "ja": lambda a, b: a > b,
    "jl": lambda a, b: _signed(a) < _signed(b),
    "jge": lambda a, b: _signed(a) >= _signed(b),
    "jle": lambda a, b: _signed(a) <= _signed(b),
    "jg": lambda a, b: _signed(a) > _signed(b),
    "js": lambda a, b: bool((a - b) & _SIGN64),
    "jns": lambda a, b: not (a - b) & _SIGN64,
}
"""Whether a jump is taken after a comparison of two numbers of 64 bits without sign."""
_MOVES = ("mov", "movabs", "movsxd", "lea")
_ARITHMETIC: dict[str, Callable[..., int]] = {
    "inc": lambda a: a + 1,
    "dec": lambda a: a - 1,
    "neg": lambda a: -a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "imul": lambda a, b: _signed(a) * _signed(b),
    "shl": lambda a, b: a << (b & 63),
    "sal": lambda a, b: a << (b & 63),
    "shr": lambda a, b: a >> (b & 63),
    "sar": lambda a, b: _signed(a) >> (b & 63),
}


class _Interpreter:
    """Follows the way through machine code.

    Attributes:
        counts: of what was executed so far.
    """

    def __init__(self, code: bytes, address: int, arguments: Mapping[str, int], tables: Sequence[tuple[int, int]]) -> None:
        self.counts = _NOTHING
        self._first = address
        self._at = {each.address: each for each in decoded(code, address)}
        self._blocks: dict[int, tuple[int, Counts]] = {}
        self._tables = ((address, len(code)), *tables)
        self._code = code
        self._registers = dict.fromkeys(REGISTERS, 0) | {"rsp": _STACK - 8} | {name: value & _MASK64 for name, value in arguments.items()}
        self._stack = {_STACK - 8: _RETURN}
        self._compared = (0, 0)
        self._loops: dict[tuple[int, int], _Loop] = {}
        self._log: _Log = []
        self._steps = 0

    def run(self) -> None:
        """Follow the code from its first byte to its return."""
        at = self._first
        while at != _RETURN:
            at = self._step(self._run_inert(at))
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise CountingError(f"the code does not end within {MOST_STEPS:,} instructions that decide its way")

    def _run_inert(self, at: int) -> int:
        """Count the instructions up to the next one that decides something, and return where that lies."""
        if at not in self._blocks:
            end, total = at, _NOTHING
            while self._instruction(end).is_inert:
                total = _add(total, self._at[end].own)
                end = self._at[end].end
            self._blocks[at] = end, total
        end, total = self._blocks[at]
        self.counts = _add(self.counts, total)
        return end

    def _instruction(self, at: int) -> Decoded:
        found = self._at.get(at)
        if found is None:
            raise CountingError(f"the code goes to {at:#x}, where no instruction of it begins")
        return found

    def _step(self, at: int) -> int:
        """Execute an instruction and return where the next one lies."""
        each = self._instruction(at)
        self.counts = _add(self.counts, each.own)
        name = each.name
        if name in _TAKEN:
            return self._jump_if(each)
        if name in ("jmp", "call", "ret"):
            if name == "call":
                self._push(each.end)
            return self._pop() if name == "ret" else self._value(each.operands[0], each)
        if name == "push":
            self._push(self._value(each.operands[0], each))
        elif name == "pop":
            self._write(each.operands[0], self._pop(), each)
        elif name in _MOVES:
            self._move(each)
        elif name in ("cmp", "test"):
            size = each.operands[0].size_bytes
            one, other = (_extended(self._value(operand, each), size) for operand in each.operands)
            self._compared = (one, other) if name == "cmp" else (one & other, 0)
        elif name == "div":
            self._divide(self._value(each.operands[0], each))
        else:
            self._calculate(each)
        return each.end

    def _move(self, each: Decoded) -> None:
        target, source = each.operands
        if each.name == "lea":
            self._write(target, self._address(source, each), each)
            return
        number = self._value(source, each)
        self._write(target, number - 2**32 * (number >> 31 & 1) if each.name == "movsxd" else number, each)

    def _calculate(self, each: Decoded) -> None:
        target, *others = each.operands
        read = others if len(others) > 1 else each.operands
        numbers = [self._value(operand, each) for operand in read]
        if each.name not in _ARITHMETIC:
            raise CountingError(f"{each.name} at {each.address:#x} is not an instruction that can be followed")
        result = _ARITHMETIC[each.name](*numbers)
        self._write(target, result, each)
        one, other = numbers if each.name == "sub" else (result, 0)
        self._compared = _extended(one, target.size_bytes), _extended(other, target.size_bytes)

    def _divide(self, divisor: int) -> None:
        if not divisor:
            raise CountingError("the code divides by zero")
        number = self._registers["rdx"] << 64 | self._registers["rax"]
        self._registers["rax"], self._registers["rdx"] = number // divisor & _MASK64, number % divisor

    def _jump_if(self, each: Decoded) -> int:
        to = each.operands[0].number
        is_taken = _TAKEN[each.name](*self._compared)
        self._log.append((each.address, *self._compared))
        if to <= each.address:
            if is_taken:
                self._end_turn(each, to)
            else:
                self._loops.pop((each.address, to), None)
        return to if is_taken else each.end

    def _end_turn(self, each: Decoded, to: int) -> None:
        """Note the end of a turn; after two that are alike go on to the last one."""
        for other in [key for key in self._loops if to <= key[1] and key[0] < each.address]:
            del self._loops[other]
        loop = self._loops.setdefault((each.address, to), _Loop())
        loop.turns.append(_Turn(dict(self._registers), dict(self._stack), self.counts, len(self._log), self._compared))
        if len(loop.turns) < _ALIKE:
            return
        skipped = self._alike_turns(each, *loop.turns[-_ALIKE:])
        loop.turns = [] if skipped else loop.turns[-_ALIKE:]

    def _alike_turns(self, each: Decoded, first: _Turn, second: _Turn, last: _Turn) -> int:
        """Skip the turns that are like the last two, all but the last of them, and return how many."""
        (one, other), step = last.compared, _signed((last.compared[0] - second.compared[0]) & _MASK64)
        if each.name != "jne" or other != second.compared[1] or not step or (other - one) % step:
            return 0
        count = (other - one) // step - 1
        pairs = ((first, second), (second, last))
        registers = [_moved(before.registers, after.registers) for before, after in pairs]
        stacks = [_moved(before.stack, after.stack) for before, after in pairs]
        counts = [_add(after.counts, before.counts, -1) for before, after in pairs]
        logs = [self._log[before.seen : after.seen - 1] for before, after in pairs]
        is_alike = all(one == other for one, other in (registers, stacks, counts, logs)) and None not in (*registers, *stacks)
        if not is_alike or count < 1:
            return 0
        self._registers = _gone_on(self._registers, registers[1], count)
        self._stack = _gone_on(self._stack, stacks[1], count)
        self.counts = _add(self.counts, counts[1], count)
        return count

    def _push(self, number: int) -> None:
        self._registers["rsp"] -= 8
        self._stack[self._registers["rsp"]] = number & _MASK64

    def _pop(self) -> int:
        self._registers["rsp"] += 8
        return self._stack.pop(self._registers["rsp"] - 8)

    def _address(self, operand: Operand, each: Decoded) -> int:
        base = each.end if operand.base == "rip" else self._registers[operand.base]
        index = self._registers[operand.index] * operand.scale if operand.index else 0
        return (base + index + operand.number) & _MASK64

    def _value(self, operand: Operand, each: Decoded) -> int:
        if operand.register:
            return self._registers[operand.register] & _bits(operand)
        if not operand.is_memory:
            return operand.number & _MASK64
        address = self._address(operand, each)
        if address in self._stack:
            return self._stack[address] & _bits(operand)
        return self._read(address, operand.size_bytes, each)

    def _read(self, address: int, size: int, each: Decoded) -> int:
        """Read a table. Two turns of a loop that read other places are not alike, so the place is logged."""
        for first, length in self._tables:
            if first <= address and address + size <= first + length:
                is_code = first == self._first
                raw = self._code[address - first : address - first + size] if is_code else ctypes.string_at(address, size)
                number = int.from_bytes(raw, "little")
                self._log.append((each.address, address, number))
                return number
        raise CountingError(f"{each.name} at {each.address:#x} reads {address:#x}, which is in no table that was given")

    def _write(self, operand: Operand, number: int, each: Decoded) -> None:
        """Write a register or a word of the stack; what else is written nobody reads as a number that decides the way."""
        number &= _bits(operand)
        if operand.register:
            self._registers[operand.register] = number
            return
        address = self._address(operand, each)
        if _STACK - _STACK_BYTES <= address < _STACK:
            self._stack[address] = number


def _extended(number: int, size_bytes: int) -> int:
    """Return the lowest bytes of a number with their sign in 64 bits, which keeps the order of both kinds of comparison."""
    low = number & ((1 << 8 * size_bytes) - 1)
    return (low - (1 << 8 * size_bytes) * (low >> (8 * size_bytes - 1))) & _MASK64


def _bits(operand: Operand) -> int:
    return (1 << 8 * operand.size_bytes) - 1


def _gone_on(words: dict[Any, int], moved: dict[Any, int] | None, turns: int) -> dict[Any, int]:
    assert moved is not None
    return {name: (word + turns * moved[name]) & _MASK64 for name, word in words.items()}


_ALIKE = 3
"""Ends of turns that are kept: two turns lie between three ends."""
_STACK_BYTES = 1 << 20
