"""Which core a thread runs on: code that asks for it, and that goes to another one.

A thread obeys whoever chose its cores (`taskset`), before and after: the kernel says which ones it may use now. Without the core to be
left they are its cores for a moment, in which the kernel moves it, and then they are again what they were.
"""

from __future__ import annotations

from mlbench.compiler.x86.cpu import emit_core_and_node
from mlbench.compiler.x86.encoding.assembler import RAX, RCX, RDI, RDX, RSI, Assembler, Label, Mem

CORES_BYTES = 128
"""A bit for each core, up to 1024; of a machine with more the kernel tells nothing into so few bytes, and a thread stays where it is."""
_SCHED_SETAFFINITY, _SCHED_GETAFFINITY = 203, 204
_CORE_BITS = 0xFFF


def emit_core(a: Assembler) -> None:
    """Put what leaves in rcx the number of the core that this is; takes what `emit_core_and_node` takes."""
    emit_core_and_node(a)
    a.and_number(RCX, _CORE_BITS)


def emit_parting(a: Assembler, core: Mem, room: Mem) -> None:
    """Leave a core, if this is it and another one is allowed.

    Args:
        a: where the code goes.
        core: its number, 32 bits.
        room: CORES_BYTES of this thread's own, zeros at first; both lie behind a register that a system call leaves alone.
    """
    apart = Label()
    emit_core(a)
    a.cmp32(RCX, core)
    a.jump_if("ne", apart)
    _emit_affinity(a, _SCHED_GETAFFINITY, room)
    a.cmp_number(RAX, 0)
    a.jump_if("l", apart)
    a.load32(RCX, core)
    a.clear_bit(room, RCX)
    a.jump_if("ae", apart)
    _emit_affinity(a, _SCHED_SETAFFINITY, room)
    a.cmp_number(RAX, 0)
    a.jump_if("l", apart)
    a.load32(RCX, core)
    a.set_bit(room, RCX)
    _emit_affinity(a, _SCHED_SETAFFINITY, room)
    a.put(apart)


def _emit_affinity(a: Assembler, call: int, bits: Mem) -> None:
    """Ask for the cores of this thread, or set them; rax has what the kernel says."""
    a.mov_number(RDI, 0)
    a.mov_number(RSI, CORES_BYTES)
    a.lea(RDX, bits)
    a.mov_number(RAX, call)
    a.syscall()
