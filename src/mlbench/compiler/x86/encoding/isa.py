"""The two sets of vector instructions that code is generated for, under one interface: AVX-512 and AVX2 with FMA."""

from __future__ import annotations

from dataclasses import dataclass

from mlbench.compiler.x86.encoding.assembler import RAX, Assembler, Mem

_F, _F38, _F3A = 1, 2, 3
_NONE, _66, _F3 = 0, 1, 2


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
MASK, _FREE_MASK = 1, 2
"""The mask register that keeps the lanes of the last vector of a row, and one for what a comparison finds."""
EQUAL, LESS, LESS_EQUAL, UNORDERED, NOT_EQUAL, AT_LEAST, GREATER = 0, 1, 2, 3, 4, 13, 14
"""Predicates of `vcompare`; of a NaN all are false but UNORDERED and NOT_EQUAL."""
NEAREST, DOWN, UP, TOWARDS_ZERO = 8, 9, 10, 11
"""How `vround` rounds, without raising a flag for it."""
LOOP_BYTES = 32
"""What a loop is aligned to."""


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

    def put_data(self, data: bytes) -> None:
        """Put bytes that are read and never run."""
        self.code += data

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

    def vsub(self, to: int, one: int, other: int | Mem) -> None:
        """Subtract (subps)."""
        self._three(0x5C, _F, _NONE, to, one, other)

    def vdiv(self, to: int, one: int, other: int | Mem) -> None:
        """Divide (divps)."""
        self._three(0x5E, _F, _NONE, to, one, other)

    def vmin(self, to: int, one: int, other: int | Mem) -> None:
        """Take the smaller (minps); where one of them is NaN, `other`."""
        self._three(0x5D, _F, _NONE, to, one, other)

    def vsqrt(self, to: int, one: int | Mem) -> None:
        """Take the root (sqrtps)."""
        self._three(0x51, _F, _NONE, to, 0, one)

    def vmove(self, to: int, one: int) -> None:
        """Copy a vector (movaps)."""
        self._three(0x28, _F, _NONE, to, 0, one)

    def vfma_over(self, to: int, one: int, other: int | Mem) -> None:
        """Multiply by one and add the other: to = one * to + other (fmadd213ps)."""
        self._three(0xA8, _F38, _66, to, one, other)

    def vfnma(self, to: int, one: int, other: int | Mem) -> None:
        """Subtract a product: to -= one * other (fnmadd231ps)."""
        self._three(0xBC, _F38, _66, to, one, other)

    def vfnma_over(self, to: int, one: int, other: int | Mem) -> None:
        """Subtract the product with one from the other: to = other - one * to (fnmadd213ps)."""
        self._three(0xAC, _F38, _66, to, one, other)

    def vand(self, to: int, one: int, other: int | Mem) -> None:
        """And bit by bit (pandd, andps)."""
        self._bits(0xDB, 0x54, to, one, other)

    def vandnot(self, to: int, one: int, other: int | Mem) -> None:
        """And the other with what is not in one (pandnd, andnps)."""
        self._bits(0xDF, 0x55, to, one, other)

    def vor(self, to: int, one: int, other: int | Mem) -> None:
        """Or bit by bit (pord, orps)."""
        self._bits(0xEB, 0x56, to, one, other)

    def vxor(self, to: int, one: int, other: int | Mem) -> None:
        """Exclusive or bit by bit (pxord, xorps)."""
        self._bits(0xEF, 0x57, to, one, other)

    def vadd_whole(self, to: int, one: int, other: int | Mem) -> None:
        """Add whole numbers of 32 bits (paddd)."""
        self._three(0xFE, _F, _66, to, one, other)

    def vsub_whole(self, to: int, one: int, other: int | Mem) -> None:
        """Subtract whole numbers of 32 bits (psubd)."""
        self._three(0xFA, _F, _66, to, one, other)

    def vshift_left(self, to: int, one: int, bits: int) -> None:
        """Shift whole numbers left (pslld)."""
        self._three(0x72, _F, _66, 6, to, one)
        self.code.append(bits)

    def vshift_right(self, to: int, one: int, bits: int) -> None:
        """Shift whole numbers right, zeros coming in (psrld)."""
        self._three(0x72, _F, _66, 2, to, one)
        self.code.append(bits)

    def vshift_signed(self, to: int, one: int, bits: int) -> None:
        """Shift whole numbers right, their sign coming in (psrad)."""
        self._three(0x72, _F, _66, 4, to, one)
        self.code.append(bits)

    def vfloat(self, to: int, one: int | Mem) -> None:
        """Make float32 of whole numbers (cvtdq2ps)."""
        self._three(0x5B, _F, _NONE, to, 0, one)

    def vwhole(self, to: int, one: int | Mem) -> None:
        """Make whole numbers of float32, rounded to the nearest (cvtps2dq)."""
        self._three(0x5B, _F, _66, to, 0, one)

    def vtruncated(self, to: int, one: Mem) -> None:
        """Load a number as a whole one of 32 bits into a general register, the rest of which becomes 0 (cvttss2si)."""
        self.vex(0x2C, _F, _F3, to, 0, one)

    def vround(self, to: int, one: int, how: int) -> None:
        """Round to a whole number that stays float32: NEAREST, DOWN, UP or TOWARDS_ZERO (rndscaleps, roundps)."""
        self._three(0x08, _F3A, _66, to, 0, one)
        self.code.append(how)

    def vcompare(self, to: int, one: int, other: int | Mem, predicate: int) -> None:
        """Set all bits of a lane where the comparison holds, and clear those of the others (cmpps; with AVX-512 also pternlogd)."""
        self._three(0xC2, _F, _NONE, _FREE_MASK if self._wide else to, one, other)
        self.code.append(predicate)
        if self._wide:
            self.evex(0x25, _F3A, _66, to, to, to, mask=_FREE_MASK, zeroing=True)
            self.code.append(0xFF)

    def vblend(self, to: int, one: int, other: int | Mem, mask: int) -> None:
        """Take the lanes of the other where the mask has all bits, and of one where it has none (blendvps; ptestmd and blendmps)."""
        if self._wide:
            self.evex(0x27, _F38, _66, _FREE_MASK, mask, mask)
            self.evex(0x65, _F38, _66, to, one, other, mask=_FREE_MASK)
        else:
            self.vex(0x4A, _F3A, _66, to, one, other)
            self.code.append(mask << 4)

    def vkeep(self, to: int, one: int, other: int) -> None:
        """Take the other in the lanes that masked loads and stores take, and of one the rest (blendmps, blendvps)."""
        if self._wide:
            self.evex(0x65, _F38, _66, to, one, other, mask=MASK)
        else:
            self.vblend(to, one, other, self._mask_register)

    def vswap(self, to: int, one: int, lanes: int) -> None:
        """Exchange neighbouring groups of so many lanes: 1, 2, 4 or, of 16, 8 (permilps; perm2f128, shuff32x4)."""
        if lanes < 4:
            self._three(0x04, _F3A, _66, to, 0, one)
            self.code.append(_SWAPS[lanes])
        elif self._wide:
            self.evex(0x23, _F3A, _66, to, one, one)
            self.code.append(_SWAPS[lanes // 4])
        else:
            self.vex(0x06, _F3A, _66, to, one, one)
            self.code.append(1)

    def vpick(self, to: int, places: int, table: Mem) -> None:
        """Pick in each lane a number of a vector in memory; the lowest bits of whole numbers say which (permps)."""
        self._three(0x16, _F38, _66, to, places, table)

    def vstore_first(self, to: Mem, source: int) -> None:
        """Store the first lane (movss)."""
        if self._wide:
            self.evex(0x11, _F, _F3, source, 0, to, unit=4)
        else:
            self.vex(0x11, _F, _F3, source, 0, to)

    def vzero(self, to: int) -> None:
        """Clear a vector (pxord, xorps)."""
        if self._wide:
            self.evex(0xEF, _F, _66, to, to, to)
        else:
            self.vex(0x57, _F, _NONE, to, to, to)

    def _bits(self, wide: int, narrow: int, to: int, one: int, other: int | Mem) -> None:
        if self._wide:
            self.evex(wide, _F, _66, to, one, other)
        else:
            self.vex(narrow, _F, _NONE, to, one, other)

    def _three(self, opcode: int, table: int, prefix: int, one: int, two: int, three: int | Mem) -> None:
        if self._wide:
            self.evex(opcode, table, prefix, one, two, three)
        else:
            self.vex(opcode, table, prefix, one, two, three)


_SWAPS = {1: 0xB1, 2: 0x4E}
"""Bytes that say which of four numbers goes where: neighbours, or pairs of them, change places."""
