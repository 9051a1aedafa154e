"""The two sets of vector instructions that code is generated for, under one interface: AVX-512 and AVX2 with FMA."""

from __future__ import annotations

from dataclasses import dataclass

from mlbench.compiler.x86.assembler import RAX, Assembler, Mem

_F, _F38 = 1, 2
_NONE, _66 = 0, 1


@dataclass(frozen=True, slots=True)
class Vectors:
    """One set of vector instructions.

    Attributes:
        name: what the manual calls it.
        lanes: float32 numbers in a register.
        registers: vector registers.
        has_masks: masks have registers of their own, and an operand in memory may be one number for all lanes.
    """

    name: str
    lanes: int
    registers: int
    has_masks: bool


AVX512 = Vectors("AVX-512", 16, 32, has_masks=True)
AVX2 = Vectors("AVX2", 8, 16, has_masks=False)
MASK = 1
"""The mask register that keeps the lanes of the last vector of a row."""


class VectorAssembler(Assembler):
    """An assembler that puts vector instructions of one set.

    Args:
        vectors: the set.
    """

    def __init__(self, vectors: Vectors) -> None:
        super().__init__()
        self.vectors = vectors
        self._wide = vectors.has_masks
        self._mask_register = vectors.registers - 1

    @property
    def usable(self) -> int:
        """Vector registers that hold no mask."""
        return self.vectors.registers if self._wide else self.vectors.registers - 1

    def set_mask(self, lanes: int, table: int) -> None:
        """Let masked loads and stores take the first `lanes` lanes.

        Args:
            lanes: 1 to the lanes of a vector.
            table: address of 8 times -1 and 8 times 0, 32 bits each, which AVX2 takes its mask from.
        """
        if self._wide:
            self.mov_number(RAX, (1 << lanes) - 1)
            self.kmovw(MASK, RAX)
        else:
            self.mov_number(RAX, table + 4 * (self.vectors.lanes - lanes))
            self.vex(0x10, _F, _NONE, self._mask_register, 0, Mem(RAX))

    def vload(self, to: int, source: Mem, *, masked: bool = False) -> None:
        """Load a vector (movups)."""
        if self._wide:
            self.evex(0x10, _F, _NONE, to, 0, source, mask=MASK * masked, zeroing=masked)
        elif masked:
            self.vex(0x2C, _F38, _66, to, self._mask_register, source)
        else:
            self.vex(0x10, _F, _NONE, to, 0, source)

    def vstore(self, to: Mem, source: int, *, masked: bool = False) -> None:
        """Store a vector (movups)."""
        if self._wide:
            self.evex(0x11, _F, _NONE, source, 0, to, mask=MASK * masked)
        elif masked:
            self.vex(0x2E, _F38, _66, source, self._mask_register, to)
        else:
            self.vex(0x11, _F, _NONE, source, 0, to)

    def vbroadcast(self, to: int, source: Mem) -> None:
        """Load one number into all lanes (broadcastss)."""
        if self._wide:
            self.evex(0x18, _F38, _66, to, 0, source, unit=4)
        else:
            self.vex(0x18, _F38, _66, to, 0, source)

    def vfma(self, to: int, one: int, other: int | Mem) -> None:
        """Add a product: to += one * other (fmadd231ps)."""
        self._three(0xB8, _F38, _66, to, one, other)

    def vfma_broadcast(self, to: int, one: int, other: Mem) -> None:
        """Add the product with one number in memory; AVX-512 alone can."""
        self.evex(0xB8, _F38, _66, to, one, other, broadcast=True)

    def vadd(self, to: int, one: int, other: int | Mem) -> None:
        """Add (addps)."""
        self._three(0x58, _F, _NONE, to, one, other)

    def vmul(self, to: int, one: int, other: int | Mem) -> None:
        """Multiply (mulps)."""
        self._three(0x59, _F, _NONE, to, one, other)

    def vmax(self, to: int, one: int, other: int | Mem) -> None:
        """Take the larger (maxps); where one of them is NaN, `other`."""
        self._three(0x5F, _F, _NONE, to, one, other)

    def vzero(self, to: int) -> None:
        """Clear a vector (pxord, xorps)."""
        if self._wide:
            self.evex(0xEF, _F, _66, to, to, to)
        else:
            self.vex(0x57, _F, _NONE, to, to, to)

    def _three(self, opcode: int, table: int, prefix: int, one: int, two: int, three: int | Mem) -> None:
        if self._wide:
            self.evex(opcode, table, prefix, one, two, three)
        else:
            self.vex(opcode, table, prefix, one, two, three)
