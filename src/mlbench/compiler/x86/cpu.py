"""Whether code can be generated here, and for which instructions.

CPUID alone runs on every x86-64 processor. XGETBV is an illegal instruction on one without XSAVE (Nehalem, Westmere, many virtual ones), so
it runs only where CPUID has the bit for it; so does every other instruction that not all of them have.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
import sysconfig
from dataclasses import dataclass

from mlbench.compiler.x86.encoding.assembler import R10, RAX, RBX, RCX, RDI, RDX, RSI, RSP, Assembler, Mem
from mlbench.compiler.x86.encoding.executable import Code
from mlbench.compiler.x86.encoding.isa import AVX2, AVX512, Vectors
from mlbench.compiler.x86.layout import difference
from mlbench.errors import UsageError

VARIABLE = "MLBENCH_CODEGEN"
"""Environment variable that leaves instructions out: `off` leaves out all of them, `avx2` those of AVX-512."""
_EBX, _ECX, _EDX = 1, 2, 3
EXTENDED = 0x8000_0000
"""Where CPUID begins to count its second range of leaves."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A bit of CPUID (SDM volume 2, CPUID).

    Attributes:
        name: what the manual calls it.
        leaf: where it stands.
        register: in which register.
        bit: its number.
    """

    name: str
    leaf: int
    register: int
    bit: int


OSXSAVE = Feature("OSXSAVE", 1, _ECX, 27)
AVX = Feature("AVX", 1, _ECX, 28)
FMA = Feature("FMA", 1, _ECX, 12)
HAS_AVX2 = Feature("AVX2", 7, _EBX, 5)
AVX512F = Feature("AVX512F", 7, _EBX, 16)
RDTSCP = Feature("RDTSCP", EXTENDED + 1, _EDX, 27)
RDPID = Feature("RDPID", 7, _ECX, 22)

NEEDS = {AVX2: (OSXSAVE, AVX, FMA, HAS_AVX2), AVX512: (OSXSAVE, AVX, FMA, HAS_AVX2, AVX512F)}
"""What a processor must have for each set of instructions."""
KEEPS = {AVX2: 0x06, AVX512: 0xE6}
"""Bits of XCR0: which registers the operating system must keep when it switches threads (SDM volume 1, section 13.3)."""
_GETCPU = 309
_RED_ZONE = -8


@functools.cache
def find() -> tuple[Vectors | None, str]:
    """Return the instructions to generate code for, and the reason where there are none.

    Raises:
        UsageError: where MLBENCH_CODEGEN says something else than `off` or `avx2`.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in {"", "off", AVX2.name.lower()}:
        raise UsageError(f"${VARIABLE} is {asked!r}; expected off, avx2 or nothing")
    if asked == "off":
        return None, f"${VARIABLE} is off"
    if sys.platform != "linux" or platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return None, f"there is code for Linux on x86_64, and this is {platform.system()} on {platform.machine()}"
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED") or hasattr(sys, "getobjects"):
        return None, f"there is code for CPython with its lock and without debugging, and this is another {sys.implementation.name}"
    if unexpected := difference():
        return None, unexpected
    try:
        vectors, why = _instructions()
    except OSError as error:
        return None, f"this system gives no memory that code may run in ({error.strerror})"
    return (AVX2 if asked and vectors is not None else vectors), why


def _instructions() -> tuple[Vectors | None, str]:
    """Return the widest set that the processor has and the system keeps the registers of."""
    why = ""
    for vectors in (AVX512, AVX2):
        missing = [feature.name for feature in NEEDS[vectors] if not has(feature)]
        if not missing and _kept() & KEEPS[vectors] == KEEPS[vectors]:
            return vectors, ""
        why = f"{' and '.join(missing)} missing" if missing else "the operating system does not keep its registers"
    return None, f"this processor has no AVX2 with FMA ({why})"


def has(feature: Feature) -> bool:
    """Whether CPUID has this bit; a leaf beyond the last one has none."""
    most = cpuid(feature.leaf & EXTENDED)[0]
    return most >= feature.leaf and bool(cpuid(feature.leaf)[feature.register] >> feature.bit & 1)


def emit_core_and_node(a: Assembler) -> None:
    """Put what reads the number of this core and its node into rcx, in the way that this processor has; takes rax, rdx, rdi, rsi and r11.

    Where there is neither instruction, the kernel is asked, which answers into the 128 bytes below rsp that nobody else may use.
    """
    if has(RDPID):
        a.rdpid(RCX)
    elif has(RDTSCP):
        a.rdtscp()
    else:
        a.lea(RDI, Mem(RSP, _RED_ZONE))
        a.mov_number(RSI, 0)
        a.mov_number(RDX, 0)
        a.mov_number(RAX, _GETCPU)
        a.syscall()
        a.load32(RCX, Mem(RSP, _RED_ZONE))


def _kept() -> int:
    """Return the lower half of XCR0; only where there is OSXSAVE."""
    a = Assembler()
    a.mov_number(RCX, 0)
    a.xgetbv()
    a.store32(Mem(RDI), RAX)
    a.ret()
    return _answers(a, 1)[0]


@functools.cache
def cpuid(leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
    """Return eax, ebx, ecx and edx."""
    a = Assembler()
    a.push(RBX)
    a.mov(R10, RDI)
    a.mov_number(RAX, leaf)
    a.mov_number(RCX, subleaf)
    a.cpuid()
    for place, register in enumerate((RAX, RBX, RCX, RDX)):
        a.store32(Mem(R10, 4 * place), register)
    a.pop(RBX)
    a.ret()
    eax, ebx, ecx, edx = _answers(a, 4)
    return eax, ebx, ecx, edx


def _answers(a: Assembler, number: int) -> tuple[int, ...]:
    """Run code that gets the address of so many words of 32 bits, and return them."""
    found = (ctypes.c_uint32 * number)()
    code = Code(a.finish())
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address)(ctypes.addressof(found))
    return tuple(found)
