"""An assembler for the few x86-64 instructions that generated code is made of.

Encodings are those of the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: chapter 2 has the prefixes (REX, VEX,
EVEX) and the forms of an operand, the reference pages have the opcodes. A method is named after its instruction and takes the destination
first, as that manual writes it. Registers are numbers, as the machine numbers them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 = range(16)

_CONDITIONS = {"o": 0, "b": 2, "ae": 3, "e": 4, "ne": 5, "be": 6, "a": 7, "s": 8, "ns": 9, "l": 12, "ge": 13, "le": 14, "g": 15}


@dataclass(frozen=True, slots=True)
class Mem:
    """An operand in memory: what lies `shift` bytes behind the address in register `base`."""

    base: int
    shift: int = 0


@dataclass(slots=True, eq=False)
class Label:
    """A place in the code, known once it is `put`."""

    at: int | None = None


class Assembler:
    """Collects machine code.

    Attributes:
        code: the bytes so far.
    """

    def __init__(self) -> None:
        self.code = bytearray()
        self._jumps: list[tuple[int, Label]] = []

    def finish(self) -> bytes:
        """Return the code, its jumps resolved; it runs wherever it is put."""
        for at, label in self._jumps:
            assert label.at is not None, "a jump to a label that was never put"
            self.code[at : at + 4] = struct.pack("<i", label.at - at - 4)
        return bytes(self.code)

    def put(self, label: Label) -> None:
        """Let a label stand for this place."""
        label.at = len(self.code)

    def align(self, size: int) -> None:
        """Fill up with what does nothing, to a multiple of `size`."""
        while len(self.code) % size:
            self.code += _NOPS[min(size - len(self.code) % size, 8)]

    # General registers, 64 bits wide unless the name says otherwise.

    def mov(self, to: int, source: int) -> None:
        """Copy a register."""
        self._plain(0x8B, to, source)

    def mov_number(self, to: int, number: int) -> None:
        """Load a number of up to 64 bits."""
        if 0 <= number < 2**32:
            self.code += (b"\x41" if to > 7 else b"") + bytes((0xB8 | to & 7,)) + struct.pack("<I", number)
        else:
            self.code += bytes((0x48 | to >> 3, 0xB8 | to & 7)) + struct.pack("<Q", number)

    def load(self, to: int, source: Mem) -> None:
        """Load 64 bits."""
        self._plain(0x8B, to, source)

    def load32(self, to: int, source: Mem) -> None:
        """Load 32 bits; the upper half becomes 0."""
        self._plain(0x8B, to, source, wide=0)

    def store(self, to: Mem, source: int) -> None:
        """Store 64 bits."""
        self._plain(0x89, source, to)

    def store32(self, to: Mem, source: int) -> None:
        """Store 32 bits."""
        self._plain(0x89, source, to, wide=0)

    def lea(self, to: int, source: Mem) -> None:
        """Load the address of an operand."""
        self._plain(0x8D, to, source)

    def lea_label(self, to: int, label: Label) -> None:
        """Load the address of a place in this code."""
        self._rex(to, 1, 0)
        self.code += bytes((0x8D, (to & 7) << 3 | RBP))
        self.put_distance(label)

    def add_number(self, to: int, number: int) -> None:
        """Add a number of 32 bits with sign."""
        self._with_number(0, to, number)

    def add_distance(self, to: int, number: int) -> None:
        """Add any number; one of more than 32 bits by way of rax."""
        if -(2**31) <= number < 2**31:
            self.add_number(to, number)
            return
        self.mov_number(RAX, number % 2**64)
        self._plain(0x03, to, RAX)

    def and_number(self, to: int, number: int) -> None:
        """And with a number of 32 bits with sign."""
        self._with_number(4, to, number)

    def sub_number(self, to: int, number: int) -> None:
        """Subtract a number of 32 bits with sign."""
        self._with_number(5, to, number)

    def cmp_number(self, register: int, number: int) -> None:
        """Compare with a number of 32 bits with sign."""
        self._with_number(7, register, number)

    def cmp32(self, one: int, other: int | Mem) -> None:
        """Compare the lower 32 bits."""
        self._plain(0x3B, one, other, wide=0)

    def sub32(self, to: int, source: int) -> None:
        """Subtract the lower 32 bits."""
        self._plain(0x2B, to, source, wide=0)

    def add(self, to: int, source: int | Mem) -> None:
        """Add 64 bits."""
        self._plain(0x03, to, source)

    def sub(self, to: int, source: int | Mem) -> None:
        """Subtract 64 bits."""
        self._plain(0x2B, to, source)

    def cmp(self, one: int, other: int | Mem) -> None:
        """Compare 64 bits."""
        self._plain(0x3B, one, other)

    def multiply_number(self, to: int, source: int | Mem, number: int) -> None:
        """Multiply 64 bits by a number of 32 bits with sign (imul)."""
        self._plain(0x69, to, source)
        self.code += struct.pack("<i", number)

    def divide32(self, divisor: int) -> None:
        """Divide the 64 bits of edx and eax: eax becomes the quotient, edx the remainder (div)."""
        self._plain(0xF7, 6, divisor, wide=0)

    def divide(self, divisor: int) -> None:
        """Divide the 128 bits of rdx and rax: rax becomes the quotient, rdx the remainder (div)."""
        self._plain(0xF7, 6, divisor)

    def load_signed32(self, to: int, source: Mem) -> None:
        """Load 32 bits with their sign (movsxd)."""
        self._plain(0x63, to, source)

    def lea_scaled(self, to: int, base: int, index: int, scale: int, shift: int = 0) -> None:
        """Load the address `base + scale * index + shift`: a scale of 1, 2, 4 or 8, any index but rsp, a shift of 32 bits with sign."""
        self.code += bytes((0x48 | to >> 3 << 2 | index >> 3 << 1 | base >> 3, 0x8D))
        is_short = -128 <= shift < 128
        self.code += bytes(((0x44 if is_short else 0x84) | (to & 7) << 3, (scale.bit_length() - 1) << 6 | (index & 7) << 3 | base & 7))
        self.code += struct.pack("<b" if is_short else "<i", shift)

    def exchange32(self, register: int, memory: Mem) -> None:
        """Exchange 32 bits with memory, in one step that no other core can come between."""
        self._plain(0x87, register, memory, wide=0)

    def push(self, register: int) -> None:
        """Push a register."""
        self.code += (b"\x41" if register > 7 else b"") + bytes((0x50 | register & 7,))

    def pop(self, register: int) -> None:
        """Pop a register."""
        self.code += (b"\x41" if register > 7 else b"") + bytes((0x58 | register & 7,))

    # The way through the code.

    def jump(self, to: Label) -> None:
        """Jump."""
        self.code += b"\xe9"
        self.put_distance(to)

    def jump_if(self, condition: str, to: Label) -> None:
        """Jump where the last comparison says so: e, ne, b, ae, be, a (without sign), l, ge, le, g (with it), s, ns (its sign)."""
        self.code += bytes((0x0F, 0x80 | _CONDITIONS[condition]))
        self.put_distance(to)

    def call(self, to: int | Label) -> None:
        """Call what a register points to, or a place in this code."""
        if isinstance(to, Label):
            self.code += b"\xe8"
            self.put_distance(to)
            return
        self.code += (b"\x41" if to > 7 else b"") + bytes((0xFF, 0xD0 | to & 7))

    def call_at(self, memory: Mem) -> None:
        """Call what memory points to."""
        self._plain(0xFF, 2, memory, wide=0)

    def put_distance(self, to: Label) -> None:
        """Put 32 bits of data: how far a label lies behind their end."""
        self._jumps.append((len(self.code), to))
        self.code += b"\0\0\0\0"

    def ret(self) -> None:
        """Return."""
        self.code += b"\xc3"

    def pause(self) -> None:
        """Tell the core that this loop waits."""
        self.code += b"\xf3\x90"

    def syscall(self) -> None:
        """Call the kernel; takes rcx and r11."""
        self.code += b"\x0f\x05"

    def cpuid(self) -> None:
        """Ask the processor about itself; takes rax, rbx, rcx and rdx."""
        self.code += b"\x0f\xa2"

    def rdtscp(self) -> None:
        """Read the time, and into rcx the number of this core and above its 12 bits that of its node; takes rax and rdx."""
        self.code += b"\x0f\x01\xf9"

    def rdpid(self, to: int) -> None:
        """Read the number of this core and above its 12 bits that of its node, as `rdtscp` does, without the time."""
        self.code += b"\xf3" + (b"\x41" if to > 7 else b"") + bytes((0x0F, 0xC7, 0xF8 | to & 7))

    def clear_bit(self, bits: Mem, number: int) -> None:
        """Clear the bit whose number is in a register, of bits that begin in memory (btr); ae where it was clear."""
        self._rex(number, 1, bits.base)
        self.code += b"\x0f\xb3"
        self._operand(number, bits)

    def set_bit(self, bits: Mem, number: int) -> None:
        """Set the bit whose number is in a register, of bits that begin in memory (bts)."""
        self._rex(number, 1, bits.base)
        self.code += b"\x0f\xab"
        self._operand(number, bits)

    def xgetbv(self) -> None:
        """Ask which registers the operating system keeps; takes rax and rdx."""
        self.code += b"\x0f\x01\xd0"

    def prefetch(self, memory: Mem) -> None:
        """Ask for a cache line, into the second cache (prefetcht1)."""
        self._rex(0, 1, memory.base)
        self.code += b"\x0f\x18"
        self._operand(2, memory)

    # Vectors: VEX for 8 lanes, EVEX for 16.

    def vex(self, opcode: int, table: int, prefix: int, one: int, two: int, three: int | Mem) -> None:
        """Put an instruction of 8 lanes: registers `one` and `two`, and a register or memory."""
        base = three.base if isinstance(three, Mem) else three
        self.code += bytes((
            0xC4,
            (~one & 8) << 4 | 0x40 | (~base & 8) << 2 | table,
            (~two & 15) << 3 | 4 | prefix,
            opcode,
        ))  # fmt: skip
        self._operand(one, three)

    def evex(
        self, opcode: int, table: int, prefix: int, one: int, two: int, three: int | Mem, *,
        mask: int = 0, zeroing: bool = False, broadcast: bool = False, unit: int = 64,
    ) -> None:  # fmt: skip
        """Put an instruction of 16 lanes.

        Args:
            opcode: its last byte before the operands.
            table: which table of opcodes.
            prefix: which of the prefixes 66, F3 and F2 belongs to it.
            one: register of the result.
            two: register of the first operand; 0 where there is none.
            three: register or memory of the other operand.
            mask: register of the mask; 0 for none.
            zeroing: lanes that are masked out become 0.
            broadcast: the operand in memory is one number, for all lanes.
            unit: what a short displacement counts in; see table 2-34 on disp8*N.
        """
        if isinstance(three, Mem):
            base, extra = three.base, 0
        else:
            base, extra = three, three >> 4
        self.code += bytes((
            0x62,
            (~one & 8) << 4 | (~extra & 1) << 6 | (~base & 8) << 2 | (~one & 16) | table,
            (~two & 15) << 3 | 4 | prefix,
            zeroing << 7 | 0x40 | broadcast << 4 | (~two & 16) >> 1 | mask,
            opcode,
        ))  # fmt: skip
        self._operand(one, three, 4 if broadcast else unit)

    def vzeroupper(self) -> None:
        """Clear the upper halves, so that older instructions do not wait for them."""
        self.code += b"\xc5\xf8\x77"

    def kmovw(self, mask: int, register: int) -> None:
        """Load a mask of 16 lanes from a general register below r8."""
        self.code += bytes((0xC5, 0xF8, 0x92, 0xC0 | mask << 3 | register))

    def _plain(self, opcode: int, register: int, other: int | Mem, wide: int = 1) -> None:
        self._rex(register, wide, other.base if isinstance(other, Mem) else other)
        self.code.append(opcode)
        self._operand(register, other)

    def _rex(self, register: int, wide: int, base: int) -> None:
        self.code.append(0x40 | wide << 3 | register >> 3 << 2 | base >> 3)

    def _with_number(self, kind: int, register: int, number: int) -> None:
        self._rex(0, 1, register)
        if -128 <= number < 128:
            self.code += bytes((0x83, 0xC0 | kind << 3 | register & 7)) + struct.pack("<b", number)
        else:
            self.code += bytes((0x81, 0xC0 | kind << 3 | register & 7)) + struct.pack("<i", number)

    def _operand(self, register: int, other: int | Mem, unit: int = 1) -> None:
        """Put ModRM, and SIB and displacement where there are any."""
        field = (register & 7) << 3
        if not isinstance(other, Mem):
            self.code.append(0xC0 | field | other & 7)
            return
        low = other.base & 7
        short, left = divmod(other.shift, unit)
        if not other.shift and low != RBP:
            form, ending = 0x00, b""
        elif not left and -128 <= short < 128:
            form, ending = 0x40, struct.pack("<b", short)
        else:
            form, ending = 0x80, struct.pack("<i", other.shift)
        self.code.append(form | field | low)
        if low == RSP:
            self.code.append(0x24)
        self.code += ending


_NOPS = {
    1: b"\x90",
    2: b"\x66\x90",
    3: b"\x0f\x1f\x00",
    4: b"\x0f\x1f\x40\x00",
    5: b"\x0f\x1f\x44\x00\x00",
    6: b"\x66\x0f\x1f\x44\x00\x00",
    7: b"\x0f\x1f\x80\x00\x00\x00\x00",
    8: b"\x0f\x1f\x84\x00\x00\x00\x00\x00",
}
