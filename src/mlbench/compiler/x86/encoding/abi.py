"""What every function of generated code begins and ends with: the calling convention of x86-64 Linux (System V ABI, section 3.2)."""

from __future__ import annotations

from mlbench.compiler.x86.encoding.assembler import R12, R13, R14, R15, RBP, RBX, RSP, Assembler

KEPT = (RBX, RBP, R12, R13, R14, R15)
"""Registers that a function must give back as they were."""
STATE, FRAME = 0, 8
"""Offset on the stack of what a thread of a team keeps, and the size of that, so that rsp is a multiple of 16."""


def save(a: Assembler, frame: int = FRAME) -> None:
    """Keep the registers that a function must give back, and make room on the stack: 8 bytes more than a multiple of 16."""
    for register in KEPT:
        a.push(register)
    a.sub_number(RSP, frame)


def restore(a: Assembler, frame: int = FRAME) -> None:
    """Give them back and return."""
    a.add_number(RSP, frame)
    for register in reversed(KEPT):
        a.pop(register)
    a.ret()
