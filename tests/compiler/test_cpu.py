"""Which instructions a processor must have: each one is asked for by CPUID before it runs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest

from mlbench.compiler.x86 import AVX2, AVX512, Vectors
from mlbench.compiler.x86 import cpu as processor
from mlbench.compiler.x86.cpu import AVX, AVX512F, FMA, HAS_AVX2, NEEDS, OSXSAVE, RDPID, RDTSCP, Feature
from mlbench.compiler.x86.encoding.assembler import RAX, Assembler, Mem
from mlbench.compiler.x86.encoding.isa import VectorAssembler
from support.exhaustive import EXHAUSTIVE

EVERY = None
"""What every x86-64 processor has; the first of them had SSE2, which prefetching came before."""
MNEMONICS: dict[str, Feature | None] = {
    "add_distance": EVERY, "add_number": EVERY, "align": EVERY, "and_number": EVERY, "call": EVERY, "clear_bit": EVERY, "cmp": EVERY,
    "cmp32": EVERY,
    "cmp_number": EVERY, "cpuid": EVERY, "exchange32": EVERY, "jump": EVERY, "jump_if": EVERY, "kmovw": AVX512F, "lea": EVERY,
    "lea_label": EVERY, "load": EVERY, "load32": EVERY, "mov": EVERY, "mov_number": EVERY, "pause": EVERY, "pop": EVERY,
    "prefetch": EVERY, "push": EVERY, "rdpid": RDPID, "rdtscp": RDTSCP, "ret": EVERY, "set_bit": EVERY, "store": EVERY,
    "store32": EVERY, "sub32": EVERY, "sub_number": EVERY, "syscall": EVERY, "vzeroupper": AVX, "xgetbv": OSXSAVE,
    "add": EVERY, "call_at": EVERY, "divide": EVERY, "divide32": EVERY, "lea_scaled": EVERY, "load_signed32": EVERY,
    "multiply_number": EVERY, "sub": EVERY,
}  # fmt: skip
"""Each method of the assembler that puts one instruction, and the bit of CPUID that the manual has on its page."""
NO_INSTRUCTION = {"finish", "put", "put_data", "put_distance", "vex", "evex", "usable"}
VEX_OPCODES: dict[tuple[int, int, int], Feature] = {
    (1, 0, 0x10): AVX, (1, 0, 0x11): AVX, (1, 0, 0x57): AVX, (1, 0, 0x58): AVX, (1, 0, 0x59): AVX, (1, 0, 0x5F): AVX,
    (2, 1, 0x18): AVX, (2, 1, 0x2C): AVX, (2, 1, 0x2E): AVX, (2, 1, 0xB8): FMA,
    (1, 0, 0x28): AVX, (1, 0, 0x51): AVX, (1, 0, 0x54): AVX, (1, 0, 0x55): AVX, (1, 0, 0x56): AVX, (1, 0, 0x5B): AVX, (1, 0, 0x5C):
    AVX, (1, 0, 0x5D): AVX, (1, 0, 0x5E): AVX, (1, 0, 0xC2): AVX, (1, 1, 0x5B): AVX, (1, 2, 0x11): AVX, (3, 1, 0x06): AVX, (3, 1,
    0x08): AVX, (3, 1, 0x4A): AVX, (2, 1, 0xA8): FMA, (2, 1, 0xAC): FMA, (2, 1, 0xBC): FMA, (1, 1, 0x72): HAS_AVX2, (1, 1, 0xFA):
    HAS_AVX2, (1, 1, 0xFE): HAS_AVX2, (1, 2, 0x2C): AVX, (2, 1, 0x16): HAS_AVX2,
}  # fmt: skip
"""Table, prefix and opcode of what is encoded with VEX."""
EVEX_OPCODES: dict[tuple[int, int, int], Feature] = {
    (1, 0, 0x10): AVX512F, (1, 0, 0x11): AVX512F, (1, 0, 0x58): AVX512F, (1, 0, 0x59): AVX512F, (1, 0, 0x5F): AVX512F,
    (1, 1, 0xEF): AVX512F, (2, 1, 0x18): AVX512F, (2, 1, 0xB8): AVX512F,
    (1, 0, 0x28): AVX512F, (1, 0, 0x51): AVX512F, (1, 0, 0x5B): AVX512F, (1, 0, 0x5C): AVX512F, (1, 0, 0x5D): AVX512F, (1, 0, 0x5E):
    AVX512F, (1, 0, 0xC2): AVX512F, (1, 1, 0x5B): AVX512F, (1, 1, 0x72): AVX512F, (1, 1, 0xDB): AVX512F, (1, 1, 0xDF): AVX512F, (1, 1,
    0xEB): AVX512F, (1, 1, 0xFA): AVX512F, (1, 1, 0xFE): AVX512F, (1, 2, 0x11): AVX512F, (2, 1, 0x27): AVX512F, (2, 1, 0x65): AVX512F,
    (2, 1, 0xA8): AVX512F, (2, 1, 0xAC): AVX512F, (2, 1, 0xBC): AVX512F, (3, 1, 0x08): AVX512F, (3, 1, 0x23): AVX512F, (3, 1, 0x25):
    AVX512F, (2, 1, 0x16): AVX512F,
}  # fmt: skip
VECTOR: dict[str, Sequence[Callable[[VectorAssembler], object]]] = {
    "set_mask": [lambda a: a.set_mask(3, 64)],
    "vadd": [lambda a: a.vadd(1, 2, 3)],
    "vbroadcast": [lambda a: a.vbroadcast(1, Mem(RAX))],
    "vfma": [lambda a: a.vfma(1, 2, 3)],
    "vfma_broadcast": [lambda a: a.vfma_broadcast(1, 2, Mem(RAX))],
    "vload": [lambda a: a.vload(1, Mem(RAX)), lambda a: a.vload(1, Mem(RAX), masked=True)],
    "vmax": [lambda a: a.vmax(1, 2, 3)],
    "vmul": [lambda a: a.vmul(1, 2, 3)],
    "vstore": [lambda a: a.vstore(Mem(RAX), 1), lambda a: a.vstore(Mem(RAX), 1, masked=True)],
    "vzero": [lambda a: a.vzero(1)],
    "vsub": [lambda a: a.vsub(1, 2, 3)],
    "vdiv": [lambda a: a.vdiv(1, 2, 3)],
    "vmin": [lambda a: a.vmin(1, 2, 3)],
    "vsqrt": [lambda a: a.vsqrt(1, 2)],
    "vmove": [lambda a: a.vmove(1, 2)],
    "vfma_over": [lambda a: a.vfma_over(1, 2, 3)],
    "vfnma": [lambda a: a.vfnma(1, 2, 3)],
    "vfnma_over": [lambda a: a.vfnma_over(1, 2, 3)],
    "vand": [lambda a: a.vand(1, 2, 3)],
    "vandnot": [lambda a: a.vandnot(1, 2, 3)],
    "vor": [lambda a: a.vor(1, 2, 3)],
    "vxor": [lambda a: a.vxor(1, 2, 3)],
    "vadd_whole": [lambda a: a.vadd_whole(1, 2, 3)],
    "vsub_whole": [lambda a: a.vsub_whole(1, 2, 3)],
    "vshift_left": [lambda a: a.vshift_left(1, 2, 23)],
    "vshift_right": [lambda a: a.vshift_right(1, 2, 23)],
    "vshift_signed": [lambda a: a.vshift_signed(1, 2, 23)],
    "vfloat": [lambda a: a.vfloat(1, 2)],
    "vwhole": [lambda a: a.vwhole(1, 2)],
    "vround": [lambda a: a.vround(1, 2, 1)],
    "vcompare": [lambda a: a.vcompare(1, 2, 3, 1)],
    "vblend": [lambda a: a.vblend(1, 2, 3, 1)],
    "vkeep": [lambda a: a.vkeep(1, 2, 3)],
    "vswap": [lambda a: a.vswap(1, 2, 4)],
    "vpick": [lambda a: a.vpick(1, 2, Mem(RAX))],
    "vtruncated": [lambda a: a.vtruncated(RAX, Mem(RAX))],
    "vstore_first": [lambda a: a.vstore_first(Mem(RAX), 1)],
}
"""Each method that puts an instruction of the chosen set, in every form that it has."""
ONE_SET_ALONE = {"vfma_broadcast": AVX512}


def methods(kind: type) -> set[str]:
    """Return the names of what a class has of its own for others to use."""
    return {name for name in vars(kind) if not name.startswith("_")} - NO_INSTRUCTION


class Watched(VectorAssembler):
    """An assembler that notes which feature each instruction needs."""

    def __init__(self, vectors: Vectors) -> None:
        super().__init__(vectors)
        self.needed: set[Feature] = set()

    def vex(self, opcode: int, table: int, prefix: int, one: int, two: int, three: int | Mem) -> None:
        """Note what is encoded with VEX."""
        self.needed.add(VEX_OPCODES[table, prefix, opcode])
        super().vex(opcode, table, prefix, one, two, three)

    def evex(self, opcode: int, table: int, prefix: int, one: int, two: int, three: int | Mem, **more: int) -> None:
        """Note what is encoded with EVEX."""
        self.needed.add(EVEX_OPCODES[table, prefix, opcode])
        super().evex(opcode, table, prefix, one, two, three, **more)  # type: ignore[arg-type]

    def kmovw(self, mask: int, register: int) -> None:
        """Note the one instruction of masks."""
        self.needed.add(AVX512F)
        super().kmovw(mask, register)


def test_every_mnemonic_has_a_row() -> None:
    """An instruction that is new must say which bit it needs; one that is gone leaves no row behind."""
    assert methods(Assembler) == set(MNEMONICS)
    assert methods(VectorAssembler) == set(VECTOR)


@pytest.mark.parametrize("vectors", [AVX2, AVX512], ids=lambda each: each.name)
def test_a_set_of_instructions_needs_no_other_bit(vectors: Vectors) -> None:
    """What is put for AVX2 and for AVX-512 needs the bits that are asked for, and none besides."""
    a = Watched(vectors)
    for name, forms in VECTOR.items():
        for put in forms if ONE_SET_ALONE.get(name, vectors) is vectors else ():
            put(a)
    needed = a.needed | {MNEMONICS["vzeroupper"]}
    assert needed <= set(NEEDS[vectors])
    assert OSXSAVE in NEEDS[vectors]  # the system keeps the registers of none of them without


def test_encodings_are_written_in_one_place() -> None:
    """No other module puts bytes of its own, so that the walk above sees every instruction."""
    for path in sorted(Path(processor.__file__).parent.glob("*.py")):
        if path.name not in ("assembler.py", "isa.py"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\.code \+= (?!block_code\()", text), path
            assert "vex(" not in text, path


# --- CPUID ----------------------------------------------------------------------------------------------------------------

MODERN = {0: (7, 0, 0, 0), 0x8000_0000: (0x8000_0008, 0, 0, 0)}


def answers(*features: Feature, most: int = 7) -> Callable[[int], tuple[int, ...]]:
    """Return a CPUID of a processor that has these features."""

    def cpuid(leaf: int) -> tuple[int, ...]:
        if leaf in MODERN:
            return (min(most, MODERN[leaf][0]) if leaf == 0 else MODERN[leaf][0], 0, 0, 0)
        found = [0, 0, 0, 0]
        for feature in features:
            if feature.leaf == leaf:
                found[feature.register] |= 1 << feature.bit
        return tuple(found)

    return cpuid


@pytest.mark.parametrize(
    ("features", "most", "kept", "expected", "why"),
    [
        (NEEDS[AVX512], 7, 0xE6, AVX512, ""),
        (NEEDS[AVX512], 7, 0x06, AVX2, ""),
        (NEEDS[AVX2], 7, 0xE6, AVX2, ""),
        ({*NEEDS[AVX512]} - {HAS_AVX2}, 7, 0xE6, None, "AVX2 missing"),
        (NEEDS[AVX2], 7, 0x02, None, "the operating system does not keep its registers"),
        ({*NEEDS[AVX2]} - {FMA}, 7, 0xE6, None, "FMA missing"),
        (NEEDS[AVX2], 6, 0xE6, None, "AVX2 missing"),
    ],
    ids=["all", "system-keeps-8-lanes", "no-avx512", "no-avx2", "system-keeps-none", "no-fma", "old"],
)
def test_the_processor_is_asked(
    monkeypatch: pytest.MonkeyPatch, features: Collection[Feature], most: int, kept: int, expected: Vectors | None, why: str
) -> None:
    """What CPUID and XCR0 say decides; a register that the system does not keep is no register, and a leaf beyond the last says nothing."""
    monkeypatch.setattr(processor, "cpuid", answers(*features, most=most))
    monkeypatch.setattr(processor, "_kept", lambda: kept)
    found, told = processor._instructions()
    assert found is expected
    assert why in told


def test_without_xsave_nobody_asks_for_its_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    """XGETBV is an illegal instruction on a processor without XSAVE, such as Nehalem and Westmere."""

    def refuse() -> int:
        raise AssertionError("XGETBV")

    monkeypatch.setattr(processor, "cpuid", answers(AVX, FMA, HAS_AVX2, AVX512F))
    monkeypatch.setattr(processor, "_kept", refuse)
    assert processor._instructions() == (None, "this processor has no AVX2 with FMA (OSXSAVE missing)")


@pytest.mark.parametrize(
    ("features", "used", "unused"),
    [((RDPID, RDTSCP), "rdpid", "rdtscp"), ((RDTSCP,), "rdtscp", "rdpid"), ((), "syscall", "rdtscp")],
    ids=["both", "rdtscp", "neither"],
)
def test_a_core_is_read_in_the_way_that_there_is(
    monkeypatch: pytest.MonkeyPatch, features: Sequence[Feature], used: str, unused: str
) -> None:
    """RDPID, else RDTSCP, else the kernel: none of them runs where its bit is not set."""
    monkeypatch.setattr(processor, "cpuid", answers(*features))
    code = {"rdpid": "f3 0f c7 f9", "rdtscp": "0f 01 f9", "syscall": "0f 05"}
    a = Assembler()
    processor.emit_core_and_node(a)
    assert code[used] in a.finish().hex(" ")
    assert code[unused] not in a.finish().hex(" ")


# --- other processors -----------------------------------------------------------------------------------------------------

QEMU = shutil.which("qemu-x86_64")
MODELS = {
    "Nehalem": None,  # no XSAVE
    "Westmere": None,
    "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes": None,  # what hypervisors call x86-64-v2-AES: neither XSAVE nor RDTSCP
    "SandyBridge": None,  # AVX, but neither AVX2 nor FMA
    "Haswell": AVX2,
    "Haswell,-rdtscp": AVX2,
    "EPYC": AVX2,
    "max": AVX2,
}
"""Processors that QEMU imitates, and the instructions that code is generated for there."""
LEAST = ["qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes", "SandyBridge", "Haswell,-rdtscp", "max"]
"""What is missing on another one is missing on one of these too, and what all have together the last one has."""
PROGRAM = """
import numpy as np
from mlbench import BaselineRunner, OptimizedRunner, mlp
from mlbench.compiler.pipeline import compile_graph
from mlbench.compiler.x86 import find

model = mlp(16, (24,), 10)
x = np.random.default_rng(0).standard_normal((7, 16)).astype(np.float32)
expected = BaselineRunner(model).run(x)
for threads in (1, 2):
    runner = OptimizedRunner(model, 7, threads=threads)
    for _ in range(3):
        assert np.abs(runner.run(x) - expected).max() < 1e-5
vectors, why = find()
print(vectors and vectors.name, [note for each, note in compile_graph(model.graph(), 7).notes if each.name == "codegen"], why)
"""


@pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian's package qemu-user)")
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="needs a Python for x86-64 Linux")
@pytest.mark.parametrize("model", MODELS if EXHAUSTIVE else LEAST)
def test_runners_work_on_other_processors(model: str) -> None:
    """Both runners agree on one thread and on two, and no illegal instruction runs; without AVX2 NumPy computes, and the notes say why."""
    assert QEMU is not None
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE"))}
    ran = subprocess.run(
        [QEMU, "-cpu", model, sys.executable, "-c", PROGRAM],
        env=kept | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    vectors = MODELS[model]
    assert ran.stdout.startswith(str(vectors and vectors.name))
    if vectors is None:
        assert "No code generated: this processor has no AVX2 with FMA" in ran.stdout
