"""Decodes machine code: for people as text, and for the counting of `mlbench.compiler.x86.counts.counting` as operands.

Capstone decodes (https://www.capstone-engine.org, BSD).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from mlbench.errors import CountingError, MissingExtraError

REGISTERS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
_WIDE = {
    **{f"e{name[1:]}": name for name in REGISTERS if not name[1].isdigit()},
    **{f"{name}d": name for name in REGISTERS if name[1].isdigit()},
}
"""The registers of 32 bits, whose upper half becomes 0 when they are written, as those of 64 bits that they are part of."""
_WINDOW_BYTES = 256
"""Bytes that are decoded at a time; an instruction that the window cuts is decoded when it is asked for."""
_REGISTER, _NUMBER = 1, 2
"""What Capstone calls the types of operands; the third is memory."""
CALCULATING = ("add", "sub", "and", "or", "xor", "imul", "shl", "sal", "shr", "sar")
_READING = ("cmp", "test")
_FRAME = ("rsp", "rbp")
"""What has the addresses of the stack and of the frame in it; their words are not counted as loads and stores."""
READ, WRITE, PREFETCH = 0, 1, 2
"""What an instruction does with memory."""


@dataclass(frozen=True, slots=True)
class InstructionCounts:
    """What machine code executes in one call.

    Attributes:
        instructions: all of them.
        vector_instructions: those on vector registers.
        multiply_adds: fused multiply-adds, each of all lanes of a vector.
        loads: instructions that read memory, without the stack.
        stores: instructions that write memory, without the stack.
        prefetches: lines that are asked for in advance.
        load_bytes: bytes that loads read; a masked load counts as a whole vector.
        store_bytes: bytes that stores write; a masked store counts as a whole vector.
        code_bytes: bytes of the code; an address takes four of them or eight, as the system happened to place memory.
    """

    instructions: int = 0
    vector_instructions: int = 0
    multiply_adds: int = 0
    loads: int = 0
    stores: int = 0
    prefetches: int = 0
    load_bytes: int = 0
    store_bytes: int = 0
    code_bytes: int = 0


KINDS = tuple(each.name for each in fields(InstructionCounts) if each.name != "code_bytes")
Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One decoded instruction.

    Attributes:
        address: where it lies.
        size_bytes: its length.
        text: mnemonic and operands as the manuals of Intel write them.
    """

    address: int
    size_bytes: int
    text: str


def listing(code: bytes, address: int = 0) -> tuple[Instruction, ...]:
    """Return the instructions of machine code, in the order in which they lie.

    Raises:
        MissingExtraError: without capstone.
        CountingError: where bytes are no instruction.
    """
    found = tuple(
        Instruction(each.address, each.size, f"{each.mnemonic} {each.op_str}".strip()) for each in _decoder().disasm(code, address)
    )
    end = found[-1].address + found[-1].size_bytes if found else address
    if end != address + len(code):
        raise CountingError(f"byte {end - address} of {len(code)} begins no instruction that Capstone knows")
    return found


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand: a register, a number, or memory.

    Attributes:
        register: its name in 64 bits; empty for the others.
        number: an immediate number, or the displacement of memory.
        base: register of an address; empty where the operand is not memory.
        index: register that is added, times `scale`.
        scale: see there.
        size_bytes: how many bytes are read or written.
    """

    register: str
    number: int
    base: str
    index: str
    scale: int
    size_bytes: int

    @property
    def is_memory(self) -> bool:
        """Whether it is memory."""
        return bool(self.base)


@dataclass(frozen=True, slots=True)
class Decoded:
    """An instruction as the interpreter reads it.

    Attributes:
        address: where it lies.
        end: where the next one lies.
        name: its mnemonic.
        operands: in the order of Intel's manuals.
        own: its counts.
        is_inert: it changes nothing that the way through the code depends on.
        touched: the memory that is loaded, stored or asked for in advance; None for none, for the stack and for the code itself.
        touches: READ, WRITE or PREFETCH.
    """

    address: int
    end: int
    name: str
    operands: tuple[Operand, ...]
    own: Counts
    is_inert: bool
    touched: Operand | None
    touches: int


def _decoder() -> Any:  # a class of capstone, which may be missing
    try:
        import capstone  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("counting instructions", "capstone") from error
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.detail = True
    return decoder


class Decoder:
    """Decodes the instructions of some code where it is asked for them; tables may lie between them.

    Args:
        code: the bytes.
        address: where they lie.

    Raises:
        MissingExtraError: without capstone.
    """

    def __init__(self, code: bytes, address: int) -> None:
        self._capstone = _decoder()
        self._code, self._first = code, address
        self._known: dict[int, Decoded] = {}

    def at(self, address: int) -> Decoded:
        """Return the instruction that begins at an address.

        Raises:
            CountingError: where none does.
        """
        offset = address - self._first
        if address not in self._known and 0 <= offset < len(self._code):
            for each in self._capstone.disasm(self._code[offset : offset + _WINDOW_BYTES], address):
                self._known.setdefault(each.address, _interpreted(each))
        if address not in self._known:
            raise CountingError(f"the code goes to {address:#x}, where no instruction of it begins")
        return self._known[address]


def _interpreted(each: Any) -> Decoded:
    """Return an instruction of Capstone's as the interpreter reads it."""
    name = each.mnemonic
    operands = tuple(_operand(each, operand) for operand in each.operands)
    is_vector = name.startswith(("v", "kmov"))
    is_prefetch = name.startswith("prefetch")
    is_inert = is_vector or is_prefetch or name in ("nop", "endbr64")
    own = dict.fromkeys(KINDS, 0) | {"instructions": 1, "vector_instructions": int(is_vector), "prefetches": int(is_prefetch)}
    own["multiply_adds"] = int(name.startswith(("vfm", "vfnm")))
    memory = [index for index, operand in enumerate(operands) if operand.is_memory and operand.base not in _FRAME]
    touched, touches = None, PREFETCH
    if memory and not is_prefetch and name != "lea" and (is_vector or name in ("mov", "movsxd", *CALCULATING, *_READING)):
        kind, touches = ("store", WRITE) if memory[0] == 0 and name not in _READING else ("load", READ)
        own[f"{kind}s"], own[f"{kind}_bytes"] = 1, operands[memory[0]].size_bytes
    if memory and (is_prefetch or touches != PREFETCH) and operands[memory[0]].base != "rip":
        touched = operands[memory[0]]
    return Decoded(each.address, each.address + each.size, name, operands, tuple(own.values()), is_inert, touched, touches)


def _operand(each: Any, operand: Any) -> Operand:
    if operand.type == _REGISTER:
        return Operand(_WIDE.get(each.reg_name(operand.reg), each.reg_name(operand.reg)), 0, "", "", 1, operand.size)
    if operand.type == _NUMBER:
        return Operand("", operand.imm, "", "", 1, operand.size)
    place = operand.mem
    base = each.reg_name(place.base) if place.base else "none"
    return Operand("", place.disp, base, each.reg_name(place.index) if place.index else "", place.scale, operand.size)
