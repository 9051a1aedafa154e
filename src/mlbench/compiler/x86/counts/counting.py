"""Exact counts of what machine code executes: instructions, loads, stores, multiply-adds and bytes, without running it.

The instructions are decoded, and those that decide the way through the code are executed by an interpreter: general registers, the stack,
and the tables that the code reads. Vector instructions are counted and change nothing that this way depends on.

A loop is not executed to its end. The interpreter follows three turns of it. Where all made the same counts, moved each register and each
word of the stack by the same distance, and compared numbers that stayed or moved by the same distance too, further turns do the same until
such a comparison has another outcome. Their counts are multiplied. Such counts have no noise: they change when the code changes.

`tests/compiler/test_counting.py` compares them with single steps of the processor.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Mapping, Sequence

from mlbench.compiler.x86.counts.accesses import Entry, Piece, Visit, further_turns, piece_of
from mlbench.compiler.x86.counts.alike_turns import ALIKE, MASK64, TAKEN, Decision, Turn, add, gone_on, signed
from mlbench.compiler.x86.counts.decoding import KINDS, REGISTERS, Counts, Decoded, Decoder, InstructionCounts, Operand
from mlbench.errors import CountingError

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
    return followed(code, address, arguments, tables)[0]


def followed(
    code: bytes, address: int, arguments: Mapping[str, int], tables: Sequence[tuple[int, int]] = ()
) -> tuple[InstructionCounts, tuple[Entry, ...]]:
    """Return the same counts, and the accesses to memory in their order, without those to the stack and relative to the code."""
    interpreter = _Interpreter(code, address, arguments, tables)
    interpreter.run()
    counts = InstructionCounts(**dict(zip(KINDS, interpreter.counts, strict=True)), code_bytes=len(code))
    return counts, tuple(interpreter.entries)


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
    "imul": lambda a, b: signed(a) * signed(b),
    "shl": lambda a, b: a << (b & 63),
    "sal": lambda a, b: a << (b & 63),
    "shr": lambda a, b: a >> (b & 63),
    "sar": lambda a, b: signed(a) >> (b & 63),
}


class _Interpreter:
    """Follows the way through machine code.

    Attributes:
        counts: of what was executed so far.
        entries: the accesses to memory so far.
    """

    def __init__(self, code: bytes, address: int, arguments: Mapping[str, int], tables: Sequence[tuple[int, int]]) -> None:
        self.counts = _NOTHING
        self.entries: list[Entry] = []
        self._first = address
        self._decoder = Decoder(code, address)
        self._blocks: dict[int, tuple[int, Counts, Piece | None]] = {}
        self._pieces: dict[int, Piece] = {}
        self._tables = ((address, len(code)), *tables)
        self._code = code
        self._registers = dict.fromkeys(REGISTERS, 0) | {"rsp": _STACK - 8} | {name: value & MASK64 for name, value in arguments.items()}
        self._stack = {_STACK - 8: _RETURN}
        self._compared = (0, 0)
        self._loops: dict[tuple[int, int], list[Turn]] = {}
        self._log: list[Decision] = []
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
            end, total, inside = at, _NOTHING, []
            while self._decoder.at(end).is_inert:
                inside.append(self._decoder.at(end))
                total = add(total, inside[-1].own)
                end = inside[-1].end
            self._blocks[at] = end, total, piece_of(inside)
        end, total, piece = self._blocks[at]
        self.counts = add(self.counts, total)
        self._record(piece)
        return end

    def _record(self, piece: Piece | None) -> None:
        """Note accesses, with the registers as they are now."""
        if piece is not None:
            self.entries.append(Visit(piece, tuple(signed(self._registers[name]) for name in piece.registers)))

    def _step(self, at: int) -> int:
        """Execute an instruction and return where the next one lies."""
        each = self._decoder.at(at)
        self.counts = add(self.counts, each.own)
        if each.touched is not None:
            if at not in self._pieces:
                self._pieces[at] = Piece((each,))
            self._record(self._pieces[at])
        name = each.name
        if name in TAKEN:
            return self._jump_if(each)
        if name in ("jmp", "call", "ret"):
            return self._go(each)
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

    def _go(self, each: Decoded) -> int:
        if each.name == "ret":
            return self._pop()
        to = self._value(each.operands[0], each)
        if each.name == "call":
            self._push(each.end)
        elif to <= each.address:
            self._end_turn(each.address, to)
        return to

    def _move(self, each: Decoded) -> None:
        target, source = each.operands
        if each.name == "lea":
            self._write(target, self._address(source, each), each)
            return
        number = self._value(source, each)
        self._write(target, number - 2**32 * (number >> 31 & 1) if each.name == "movsxd" else number, each)

    def _calculate(self, each: Decoded) -> None:
        if each.name not in _ARITHMETIC:
            raise CountingError(f"{each.name} at {each.address:#x} is not an instruction that can be followed")
        target, *others = each.operands
        read = others if len(others) > 1 else each.operands
        numbers = [self._value(operand, each) for operand in read]
        result = _ARITHMETIC[each.name](*numbers)
        self._write(target, result, each)
        one, other = numbers if each.name == "sub" else (result, 0)
        self._compared = _extended(one, target.size_bytes), _extended(other, target.size_bytes)

    def _divide(self, divisor: int) -> None:
        if not divisor:
            raise CountingError("the code divides by zero")
        number = self._registers["rdx"] << 64 | self._registers["rax"]
        self._registers["rax"], self._registers["rdx"] = number // divisor & MASK64, number % divisor

    def _jump_if(self, each: Decoded) -> int:
        is_taken = TAKEN[each.name](*self._compared)
        self._log.append(Decision(each.name, each.address, *self._compared))
        to = each.operands[0].number
        if to <= each.address and is_taken:
            self._end_turn(each.address, to)
        return to if is_taken else each.end

    def _end_turn(self, jump: int, to: int) -> None:
        """Note the end of a turn of a loop; after some that are alike skip those that are certain to be like them."""
        turns = self._loops.setdefault((jump, to), [])
        turns.append(Turn(dict(self._registers), dict(self._stack), self.counts, len(self._log), len(self.entries)))
        if len(turns) > ALIKE + 1:
            del turns[0]
        found = gone_on(turns, self._log) if len(turns) == ALIKE + 1 else None
        if found is None:
            return
        end, times = found
        accesses = further_turns([self.entries[a.recorded : b.recorded] for a, b in itertools.pairwise(turns)], times)
        if accesses is not None:
            self._registers, self._stack, self.counts = end.registers, end.stack, end.counts
            self.entries.append(accesses)
            turns.clear()

    def _push(self, number: int) -> None:
        self._registers["rsp"] -= 8
        self._stack[self._registers["rsp"]] = number & MASK64

    def _pop(self) -> int:
        self._registers["rsp"] += 8
        return self._stack.pop(self._registers["rsp"] - 8)

    def _address(self, operand: Operand, each: Decoded) -> int:
        base = each.end if operand.base == "rip" else self._registers[operand.base]
        index = self._registers[operand.index] * operand.scale if operand.index else 0
        return (base + index + operand.number) & MASK64

    def _value(self, operand: Operand, each: Decoded) -> int:
        if operand.register:
            return self._registers[operand.register] & _bits(operand)
        if not operand.is_memory:
            return operand.number & MASK64
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
                self._log.append(Decision("", each.address, address, number))
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
    return (low - (1 << 8 * size_bytes) * (low >> (8 * size_bytes - 1))) & MASK64


def _bits(operand: Operand) -> int:
    return (1 << 8 * operand.size_bytes) - 1


_STACK_BYTES = 1 << 20
