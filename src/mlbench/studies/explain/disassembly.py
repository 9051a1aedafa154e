"""Machine code as instructions that can be looked at: their text, their vector registers, and what they address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

PLAIN = {
    "add": "go on",
    "sub": "count down",
    "jne": "again, unless the count is 0",
    "mov": "set an address or a count",
    "lea": "compute an address",
    "nop": "do nothing, so that what follows is aligned",
}
"""What instructions without a vector do."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An instruction.

    Attributes:
        address: of its first byte.
        code: its bytes.
        name: of what it does.
        operands: as an assembler writes them.
    """

    address: int
    code: bytes
    name: str
    operands: str

    @property
    def text(self) -> str:
        """The whole of it, as an assembler writes it."""
        return f"{self.name} {self.operands}".strip()

    @property
    def is_vector(self) -> bool:
        """Whether it is about vectors."""
        return self.name.startswith("v")

    @property
    def is_store(self) -> bool:
        """Whether its first operand is in memory."""
        return self.operands.partition(", ")[0].partition(" {")[0].endswith("]")

    @property
    def is_load(self) -> bool:
        """Whether it reads a vector, or one number, from memory."""
        return self.is_vector and self.memory is not None and not self.is_store

    @property
    def registers(self) -> list[int]:
        """Its vector registers in order."""
        return [int(each) for each in re.findall(r"\b[xyz]mm(\d+)", self.operands)]

    @property
    def written(self) -> int:
        """The vector register that it writes; -1 for none."""
        has_one = self.is_vector and self.registers and not self.is_store and not self.operands.startswith("k")
        return self.registers[0] if has_one else -1

    @property
    def memory(self) -> tuple[str, int] | None:
        """The register and the distance of an operand in memory."""
        found = re.search(r"\[(\w+)([^\]]*)\]", self.operands)
        if found is None:
            return None
        shifts = re.findall(r"([+-]) (0x[0-9a-f]+|\d+)\b", found[2])
        return found[1], sum(int(shift, 0) * (-1 if sign == "-" else 1) for sign, shift in shifts)

    @property
    def target(self) -> int | None:
        """Where a jump that depends on a count goes."""
        return int(self.operands, 0) if self.name == "jne" else None


def decoded(code: bytes, disassembler: Any) -> Iterator[Decoded]:  # a module
    """Give the instructions of some code."""
    reader = disassembler.Cs(disassembler.CS_ARCH_X86, disassembler.CS_MODE_64)
    return (Decoded(each.address, bytes(each.bytes), each.mnemonic, each.op_str) for each in reader.disasm(code, 0))


def loops_of(found: Sequence[Decoded]) -> list[tuple[int, int]]:
    """Return each loop: its first instruction, and the end of it."""
    places = {each.address: number for number, each in enumerate(found)}
    return [
        (places[each.target], number + 1)
        for number, each in enumerate(found)
        if each.target is not None and each.target < each.address and each.target in places
    ]
