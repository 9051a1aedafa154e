"""Machine code: instructions as the manual encodes them, products and chains as float64 has them, and nothing touched beyond."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.arrays import aligned_bytes
from mlbench.compiler import x86 as machine
from mlbench.compiler.x86 import AVX2, AVX512, Caches, Team, Vectors, pack
from mlbench.compiler.x86 import cpu as processor
from mlbench.compiler.x86.encoding.assembler import (
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    Assembler,
    Label,
    Mem,
)
from mlbench.compiler.x86.encoding.executable import Code, builtin
from mlbench.compiler.x86.encoding.isa import VectorAssembler
from mlbench.compiler.x86.products.gemm import CHUNK_INPUTS, best_width, most_rows, split_rows
from mlbench.compiler.x86.team import affinity as cores_code
from mlbench.errors import CodeError, CrewError, UsageError
from support.hierarchies import SAPPHIRE_RAPIDS, ZEN_3

FOUND, WHY = machine.find()
needs_code = pytest.mark.skipif(FOUND is None, reason=f"no generated code here: {WHY}")
HERE: tuple[Vectors, ...] = () if FOUND is None else (AVX2,) if FOUND is AVX2 else (AVX512, AVX2)
"""The instructions this machine has: a processor with AVX-512 runs AVX2 as well."""
Floats = npt.NDArray[np.float32]


# --- the assembler ------------------------------------------------------------------------------------------------------

GENERAL: dict[str, tuple[Callable[[Assembler], object], str]] = {
    "mov r9, rax": (lambda a: a.mov(R9, RAX), "4c 8b c8"),
    "mov r12d, 5": (lambda a: a.mov_number(R12, 5), "41 bc 05 00 00 00"),
    "movabs rsi, 1 << 40": (lambda a: a.mov_number(RSI, 1 << 40), "48 be 00 00 00 00 00 01 00 00"),
    "mov r13, [r12+8]": (lambda a: a.load(R13, Mem(R12, 8)), "4d 8b 6c 24 08"),
    "mov eax, [rsp+4]": (lambda a: a.load32(RAX, Mem(RSP, 4)), "40 8b 44 24 04"),
    "mov [rbp], r15": (lambda a: a.store(Mem(RBP), R15), "4c 89 7d 00"),
    "mov [r13+300], r15d": (lambda a: a.store32(Mem(R13, 300), R15), "45 89 bd 2c 01 00 00"),
    "lea rdi, [rdi+1000]": (lambda a: a.lea(RDI, Mem(RDI, 1000)), "48 8d bf e8 03 00 00"),
    "add r8, 5": (lambda a: a.add_number(R8, 5), "49 83 c0 05"),
    "add rdx, -(1 << 31)": (lambda a: a.add_distance(RDX, -(1 << 31)), "48 81 c2 00 00 00 80"),
    "mov eax, 1 << 31; add rdx, rax": (lambda a: a.add_distance(RDX, 1 << 31), "b8 00 00 00 80 48 03 d0"),
    "mov rax, -(1 << 32); add r15, rax": (lambda a: a.add_distance(R15, -(1 << 32)), "48 b8 00 00 00 00 ff ff ff ff 4c 03 f8"),
    "and rcx, 257": (lambda a: a.and_number(RCX, 257), "48 81 e1 01 01 00 00"),
    "sub rax, 1000": (lambda a: a.sub_number(RAX, 1000), "48 81 e8 e8 03 00 00"),
    "cmp r10, -1": (lambda a: a.cmp_number(R10, -1), "49 83 fa ff"),
    "cmp r9d, r10d": (lambda a: a.cmp32(R9, R10), "45 3b ca"),
    "cmp r8, r9": (lambda a: a.cmp(R8, R9), "4d 3b c1"),
    "cmp r10, [r9]": (lambda a: a.cmp(R10, Mem(R9)), "4d 3b 11"),
    "sub ecx, edx": (lambda a: a.sub32(RCX, RDX), "40 2b ca"),
    "add rcx, [rbp+8]": (lambda a: a.add(RCX, Mem(RBP, 8)), "48 03 4d 08"),
    "sub rax, rdx": (lambda a: a.sub(RAX, RDX), "48 2b c2"),
    "imul r9, [rbp+8], 300": (lambda a: a.multiply_number(R9, Mem(RBP, 8), 300), "4c 69 4d 08 2c 01 00 00"),
    "div r9d": (lambda a: a.divide32(R9), "41 f7 f1"),
    "div rcx": (lambda a: a.divide(RCX), "48 f7 f1"),
    "movsxd r9, [rax+4]": (lambda a: a.load_signed32(R9, Mem(RAX, 4)), "4c 63 48 04"),
    "lea r9, [rax+r12*4-4]": (lambda a: a.lea_scaled(R9, RAX, R12, 4, -4), "4e 8d 4c a0 fc"),
    "lea rdi, [r15+rdi+300]": (lambda a: a.lea_scaled(RDI, R15, RDI, 1, 300), "49 8d bc 3f 2c 01 00 00"),
    "call [rbp+64]": (lambda a: a.call_at(Mem(RBP, 64)), "40 ff 55 40"),
    "xchg [r11], eax": (lambda a: a.exchange32(RAX, Mem(R11)), "41 87 03"),
    "push r12": (lambda a: a.push(R12), "41 54"),
    "pop rbx": (lambda a: a.pop(RBX), "5b"),
    "call r11": (lambda a: a.call(R11), "41 ff d3"),
    "ret": (lambda a: a.ret(), "c3"),
    "pause": (lambda a: a.pause(), "f3 90"),
    "syscall": (lambda a: a.syscall(), "0f 05"),
    "cpuid": (lambda a: a.cpuid(), "0f a2"),
    "rdtscp": (lambda a: a.rdtscp(), "0f 01 f9"),
    "rdpid rcx": (lambda a: a.rdpid(RCX), "f3 0f c7 f9"),
    "rdpid r9": (lambda a: a.rdpid(R9), "f3 41 0f c7 f9"),
    "btr [r8+256], rcx": (lambda a: a.clear_bit(Mem(R8, 256), RCX), "49 0f b3 88 00 01 00 00"),
    "bts [r8+256], rcx": (lambda a: a.set_bit(Mem(R8, 256), RCX), "49 0f ab 88 00 01 00 00"),
    "xgetbv": (lambda a: a.xgetbv(), "0f 01 d0"),
    "prefetcht1 [r12+256]": (lambda a: a.prefetch(Mem(R12, 256)), "49 0f 18 94 24 00 01 00 00"),
    "vzeroupper": (lambda a: a.vzeroupper(), "c5 f8 77"),
    "kmovw k1, eax": (lambda a: a.kmovw(1, RAX), "c5 f8 92 c8"),
}
WIDE: dict[str, tuple[Callable[[VectorAssembler], object], str]] = {
    "vmovups zmm30, [r12+64]": (lambda a: a.vload(30, Mem(R12, 64)), "62 41 7c 48 10 74 24 01"),
    "vmovups [rdx+5], zmm3": (lambda a: a.vstore(Mem(RDX, 5), 3), "62 f1 7c 48 11 9a 05 00 00 00"),
    "vmovups zmm30{k1}{z}, [r12+64]": (lambda a: a.vload(30, Mem(R12, 64), masked=True), "62 41 7c c9 10 74 24 01"),
    "vmovups [rdx+5]{k1}, zmm3": (lambda a: a.vstore(Mem(RDX, 5), 3, masked=True), "62 f1 7c 49 11 9a 05 00 00 00"),
    "vbroadcastss zmm31, [rsp+12]": (lambda a: a.vbroadcast(31, Mem(RSP, 12)), "62 62 7d 48 18 7c 24 03"),
    "vfmadd231ps zmm31, zmm30, zmm29": (lambda a: a.vfma(31, 30, 29), "62 02 0d 40 b8 fd"),
    "vfmadd231ps zmm3, zmm31, [r9+128]": (lambda a: a.vfma(3, 31, Mem(R9, 128)), "62 d2 05 40 b8 59 02"),
    "vfmadd231ps zmm17, zmm25, [r8+4]{1to16}": (lambda a: a.vfma_broadcast(17, 25, Mem(R8, 4)), "62 c2 35 50 b8 48 01"),
    "vaddps zmm1, zmm2, zmm3": (lambda a: a.vadd(1, 2, 3), "62 f1 6c 48 58 cb"),
    "vmulps zmm31, zmm1, zmm9": (lambda a: a.vmul(31, 1, 9), "62 41 74 48 59 f9"),
    "vmaxps zmm5, zmm31, [rax+32]": (lambda a: a.vmax(5, 31, Mem(RAX, 32)), "62 f1 04 40 5f a8 20 00 00 00"),
    "vpxord zmm31, zmm31, zmm31": (lambda a: a.vzero(31), "62 01 05 40 ef ff"),
}
NARROW: dict[str, tuple[Callable[[VectorAssembler], object], str]] = {
    "vmovups ymm14, [r12+64]": (lambda a: a.vload(14, Mem(R12, 64)), "c4 41 7c 10 74 24 40"),
    "vmaskmovps ymm14, ymm15, [r12+64]": (lambda a: a.vload(14, Mem(R12, 64), masked=True), "c4 42 05 2c 74 24 40"),
    "vmaskmovps [rdx+5], ymm15, ymm3": (lambda a: a.vstore(Mem(RDX, 5), 3, masked=True), "c4 e2 05 2e 5a 05"),
    "vbroadcastss ymm9, [rbp]": (lambda a: a.vbroadcast(9, Mem(RBP)), "c4 62 7d 18 4d 00"),
    "vfmadd231ps ymm15, ymm14, ymm13": (lambda a: a.vfma(15, 14, 13), "c4 42 0d b8 fd"),
    "vmaxps ymm5, ymm15, [rax+32]": (lambda a: a.vmax(5, 15, Mem(RAX, 32)), "c4 e1 04 5f 68 20"),
    "vaddps ymm1, ymm2, ymm3": (lambda a: a.vadd(1, 2, 3), "c4 e1 6c 58 cb"),
    "vmulps ymm15, ymm1, ymm9": (lambda a: a.vmul(15, 1, 9), "c4 41 74 59 f9"),
    "vxorps ymm2, ymm2, ymm2": (lambda a: a.vzero(2), "c4 e1 6c 57 d2"),
}


def _hex(code: bytes) -> str:
    return code.hex(" ")


@pytest.mark.parametrize(("put", "expected"), GENERAL.values(), ids=GENERAL)
def test_instructions_are_encoded_as_the_manual_says(put: Callable[[Assembler], object], expected: str) -> None:
    """Bytes as GNU objdump 2.40 reads them back, and as the SDM has them."""
    a = Assembler()
    put(a)
    assert _hex(a.finish()) == expected


@pytest.mark.parametrize(("put", "expected"), WIDE.values(), ids=WIDE)
def test_instructions_of_16_lanes(put: Callable[[VectorAssembler], object], expected: str) -> None:
    """EVEX: upper registers, masks, broadcasts, and displacements in units of the operand."""
    a = VectorAssembler(AVX512)
    put(a)
    assert _hex(a.finish()) == expected


@pytest.mark.parametrize(("put", "expected"), NARROW.values(), ids=NARROW)
def test_instructions_of_8_lanes(put: Callable[[VectorAssembler], object], expected: str) -> None:
    """VEX: the same operations with masks in a vector register."""
    a = VectorAssembler(AVX2)
    put(a)
    assert _hex(a.finish()) == expected


def test_jumps_reach_their_labels() -> None:
    """Backwards and forwards, near and conditional, and the address of a label."""
    a = Assembler()
    ahead, behind = Label(), Label()
    a.put(behind)
    a.jump(ahead)
    a.jump_if("ne", behind)
    a.put(ahead)
    a.lea_label(R9, behind)
    assert _hex(a.finish()) == "e9 06 00 00 00 0f 85 f5 ff ff ff 4c 8d 0d ee ff ff ff"


def test_a_label_that_was_never_put_is_found() -> None:
    """A jump to nowhere is a mistake of the generator, not of the processor."""
    a = Assembler()
    a.jump(Label())
    with pytest.raises(AssertionError, match="never put"):
        a.finish()


@pytest.mark.parametrize("size", range(1, 33))
def test_alignment_does_nothing(size: int) -> None:
    """Filling up takes any number of bytes."""
    a = Assembler()
    a.ret()
    a.align(size)
    assert len(a.finish()) == -(-1 // size) * size


# --- memory that runs ---------------------------------------------------------------------------------------------------


@needs_code
def test_code_is_not_writeable() -> None:
    """Memory is written first and run afterwards, never both."""
    a = Assembler()
    a.mov_number(RAX, 42)
    a.ret()
    code = Code(a.finish())
    assert ctypes.CFUNCTYPE(ctypes.c_int)(code.address)() == 42
    with open("/proc/self/maps", encoding="utf-8") as lines:  # noqa: PTH123  # read line by line
        (mine,) = [line.split()[1] for line in lines if line.startswith(f"{code.address:x}-")]
    assert mine == "r-xp"


@needs_code
def test_a_builtin_keeps_what_its_code_needs() -> None:
    """The code and what was handed over live as long as the function, and no longer."""
    a = Assembler()
    a.load(RAX, Mem(RSI))
    a.load(RCX, Mem(RAX))
    a.add_number(RCX, 1)
    a.store(Mem(RAX), RCX)
    a.ret()

    class Held:
        alive = 0

        def __init__(self) -> None:
            Held.alive += 1

        def __del__(self) -> None:
            Held.alive -= 1

    same = builtin("same", Code(a.finish()), Held())
    thing = object()
    before = sys.getrefcount(thing)
    assert same(thing) is thing
    assert sys.getrefcount(thing) == before
    gc.collect()
    assert Held.alive == 1
    del same
    gc.collect()
    assert Held.alive == 0


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("cpu.sys.platform", "darwin", "there is code for Linux on x86_64"),
        ("cpu.platform.machine", lambda: "aarch64", "there is code for Linux on x86_64"),
        ("cpu.sys.getobjects", list, "there is code for CPython with its lock"),
        ("layout.arrays_are_as_expected", lambda: False, "an array of NumPy"),
        ("layout.objects_are_as_expected", lambda: False, "an object of Python"),
    ],
    ids=["system", "machine", "interpreter", "arrays", "objects"],
)
def test_elsewhere_there_is_no_code(monkeypatch: pytest.MonkeyPatch, name: str, value: Any, reason: str) -> None:
    """Where nobody tried it, nothing is generated, and the reason is told."""
    monkeypatch.delenv(processor.VARIABLE, raising=False)
    monkeypatch.setattr("mlbench.compiler.x86.cpu.sys.platform", "linux")
    monkeypatch.setattr("mlbench.compiler.x86.cpu.platform.machine", lambda: "x86_64")
    monkeypatch.setattr(f"mlbench.compiler.x86.{name}", value, raising=False)
    vectors, why = processor.find.__wrapped__()
    assert vectors is None
    assert reason in why


@needs_code
def test_a_system_that_refuses_memory_for_code_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hardened systems run no memory that was ever written."""

    def refuse(_: bytes) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("mlbench.compiler.x86.cpu.Code", refuse)
    assert processor.find.__wrapped__() == (None, "this system gives no memory that code may run in (Operation not permitted)")


@pytest.mark.parametrize("here", [AVX512, AVX2, None], ids=["avx512", "avx2", "none"])
def test_instructions_may_be_left_out(monkeypatch: pytest.MonkeyPatch, here: Vectors | None) -> None:
    """A variable leaves out all of them, or those of AVX-512; it adds none."""
    monkeypatch.setattr(processor, "_instructions", lambda: (here, "" if here else "not here"))
    for name, value in (("sys.platform", "linux"), ("platform.machine", lambda: "x86_64"), ("difference", str)):
        monkeypatch.setattr(f"mlbench.compiler.x86.cpu.{name}", value)
    monkeypatch.setenv(processor.VARIABLE, "off")
    assert processor.find.__wrapped__() == (None, "$MLBENCH_CODEGEN is off")
    monkeypatch.setenv(processor.VARIABLE, "avx2")
    assert processor.find.__wrapped__() == ((AVX2, "") if here else (None, "not here"))
    monkeypatch.delenv(processor.VARIABLE)
    assert processor.find.__wrapped__()[0] is here


def test_unknown_instructions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt name is an error with what it may be, not code that nobody asked for."""
    monkeypatch.setenv(processor.VARIABLE, "sse")
    with pytest.raises(UsageError, match=r"\$MLBENCH_CODEGEN is 'sse'; expected off, avx2 or nothing"):
        processor.find.__wrapped__()


# --- products -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.integers(1, 40))
def test_rows_are_split_evenly(rows: int, most: int) -> None:
    """Every row is in one block, no block is too high, their heights differ by one at most, and there are as few as possible."""
    blocks = split_rows(rows, most)
    heights = [height for count, height in blocks for _ in range(count)]
    assert sum(heights) == rows
    assert max(heights) <= most
    assert max(heights) - min(heights) <= 1
    assert len(heights) == -(-rows // most)


@pytest.mark.parametrize("vectors", [AVX512, AVX2], ids=lambda each: each.name)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_block_fits_the_registers(vectors: Vectors, width: int) -> None:
    """Accumulators, the weight's vectors and one number, where it is not read from memory; fewer rows where their lines share a set."""
    rows = most_rows(width, 100, vectors, SAPPHIRE_RAPIDS)
    usable = vectors.registers - (not vectors.has_masks)
    spare = 0 if vectors.has_masks and width == 1 else 1
    assert rows >= 1
    assert rows * width + max(width + spare, 2) <= usable
    assert most_rows(width, 4096 // 4, vectors, SAPPHIRE_RAPIDS) == min(rows, 9)
    assert most_rows(width, 4096 // 4, vectors, ZEN_3) == min(rows, 6)
    assert most_rows(width, 8192 // 4, vectors, Caches(2**16, 8, 2**20, 8)) == min(rows, 6)
    assert most_rows(width, 4096 // 4, vectors, Caches(2**16, 8, 2**20, 8)) == rows


def test_a_block_is_wider_where_few_rows_fit_into_a_set() -> None:
    """8 rows of 1024 inputs are one block where a set has 12 lines, and two where it has 8; those are best with 4 vectors."""
    assert best_width(8, 1024, 1024, AVX512, SAPPHIRE_RAPIDS) == 2
    assert best_width(8, 1024, 1024, AVX512, ZEN_3) == 4


@pytest.mark.parametrize("vectors", [AVX512, AVX2], ids=lambda each: each.name)
@given(inputs=st.integers(1, 40), columns=st.integers(1, 90), width=st.integers(1, 4))
def test_packing_keeps_every_number_once(vectors: Vectors, inputs: int, columns: int, width: int) -> None:
    """The panels lie one after the other, each number once; a vector may be read at the end."""
    weight = np.arange(inputs * columns, dtype=np.float32).reshape(inputs, columns)
    packed = pack(weight, width, vectors)
    assert packed.shape == weight.shape
    assert not packed.flags.writeable
    end = min(columns, vectors.lanes * width)
    assert set(packed.ravel()[: inputs * end]) == set(weight[:, :end].ravel())
    assert sorted(packed.ravel()) == sorted(weight.ravel())
    assert packed.ctypes.data % 64 == 0
    room: Any = packed
    while isinstance(room.base, np.ndarray):
        room = room.base
    assert room.ctypes.data + room.nbytes >= packed.ctypes.data + packed.nbytes + 4 * vectors.lanes


@pytest.mark.parametrize("vectors", [AVX512, AVX2], ids=lambda each: each.name)
@pytest.mark.parametrize("inputs", [3, CHUNK_INPUTS + 2])
def test_each_vector_of_a_whole_panel_is_a_stream(vectors: Vectors, inputs: int) -> None:
    """Within a chunk all inputs of one vector lie before those of the next; the narrower last panel lies row after row."""
    lanes = vectors.lanes
    weight = np.arange(inputs * (3 * lanes - 1), dtype=np.float32).reshape(inputs, -1)
    packed, at = pack(weight, 2, vectors).ravel(), 0
    for first in range(0, inputs, CHUNK_INPUTS):
        for vector in (0, 1):
            stream = weight[first : first + CHUNK_INPUTS, vector * lanes : (vector + 1) * lanes].ravel()
            assert (packed[at : at + len(stream)] == stream).all()
            at += len(stream)
    assert (packed[at:] == weight[:, 2 * lanes :].ravel()).all()


def team_threads() -> set[threading.Thread]:
    """Return the threads of all teams."""
    return {each for each in threading.enumerate() if each.name == "mlbench-team"}


def core_of_the_caller() -> int:
    """Return the number of the core that the processor says this is."""
    a = Assembler()
    processor.emit_core_and_node(a)
    a.mov(RAX, RCX)
    a.and_number(RAX, 0xFFF)
    a.ret()
    code = Code(a.finish())
    core: int = ctypes.CFUNCTYPE(ctypes.c_int)(code.address)()
    return core


def two_cores() -> set[int]:
    """Return the cores that this process may use, two or more."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) < 2:
        pytest.skip("needs two cores")
    return cores


@needs_code
def test_a_thread_leaves_a_core_for_another_one() -> None:
    """A thread that finds itself on the core to be left goes to another one, and may use the same cores afterwards as before."""
    cores = two_cores()
    room = aligned_bytes(4 + cores_code.CORES_BYTES)
    a = Assembler()
    a.push(RBX)
    a.mov_number(RBX, int(room.ctypes.data))
    cores_code.emit_parting(a, Mem(RBX, cores_code.CORES_BYTES), Mem(RBX))
    cores_code.emit_core(a)
    a.mov(RAX, RCX)
    a.pop(RBX)
    a.ret()
    code = Code(a.finish())
    left: set[int] = set()

    def part() -> None:
        for mine in sorted(cores) * 20:
            os.sched_setaffinity(0, {mine})
            if core_of_the_caller() != mine:
                return
            os.sched_setaffinity(0, cores)
            room[cores_code.CORES_BYTES :].view(np.uint32)[0] = mine
            if ctypes.CFUNCTYPE(ctypes.c_int)(code.address)() != mine:
                left.add(mine)
            assert os.sched_getaffinity(0) == cores

    thread = threading.Thread(target=part)
    thread.start()
    thread.join(60)
    if core_of_the_caller() not in cores:
        pytest.skip("this system does not tell the processor which core it is")
    assert left == cores


@needs_code
def test_threads_that_do_not_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how many there were, and those that had started end."""
    before = team_threads()
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if team_threads() - before:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(CrewError, match=r"the system started 1 of the 2 threads .* \(can't start new thread\); allow this process more"):
        Team(3)
    deadline = time.monotonic() + 60
    while team_threads() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not team_threads() - before


@needs_code
def test_memory_that_may_not_run_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal comes with what the system said."""

    class Libc:
        def mprotect(self, *_: object) -> int:
            ctypes.set_errno(13)
            return -1

    monkeypatch.setattr("mlbench.compiler.x86.encoding.executable.ctypes.CDLL", lambda *_, **__: Libc())
    with pytest.raises(CodeError, match=r"this system gives no memory that code may run in \(Permission denied\)"):
        Code(b"\xc3")


@needs_code
def test_a_process_ends_while_a_team_waits() -> None:
    """Nobody holds up the end of the interpreter, and it ends well, whether the team watches or sleeps."""
    code = (
        "import numpy as np, time, sys; from mlbench import OptimizedRunner, mlp, Schedule\n"
        "from mlbench.compiler.schedule.schedule import OpSchedule\n"
        "way = OpSchedule(generated=True)\n"
        "runner = OptimizedRunner(mlp(64, 256, 64), 64, threads=2, schedule=Schedule(None, (way, way), sys.argv[1]))\n"
        "runner.run(np.ones((64, 64), np.float32)); time.sleep(float(sys.argv[2]))"
    )
    for threading_ in ("split", "tiles"):
        for pause in ("0", "0.05"):
            subprocess.run([sys.executable, "-c", code, threading_, pause], check=True, timeout=30)


START = """
import sys, threading, time
import numpy as np
from mlbench import Schedule, OptimizedRunner, mlp
from mlbench.compiler.schedule.schedule import OpSchedule

def runner(threading_):
    way = OpSchedule(generated=True)
    return OptimizedRunner(mlp(64, 64, 64), 64, threads=2, schedule=Schedule(None, (way, way), threading_))

x = np.ones((64, 64), np.float32)
"""


@needs_code
@pytest.mark.parametrize("threading_", ["split", "tiles"])
@pytest.mark.parametrize(
    "code",
    [
        "sys.setswitchinterval(1e-6)\nfor _ in range(20):\n    runner(sys.argv[1]).run(x)",
        "threading.setprofile(lambda *_: time.sleep(0.002))\nrunner(sys.argv[1]).run(x)",
        "import atexit\nkept = []\natexit.register(lambda: kept[0].run(x))\nkept.append(runner(sys.argv[1]))\nkept[0].run(x)",
        "mine = runner(sys.argv[1])\n"
        "def go_on():\n    while True:\n        mine.run(x)\n"
        "threading.Thread(target=go_on, daemon=True).start()\ntime.sleep(0.05)",
    ],
    ids=["at-once", "slow-to-start", "at-exit", "until-the-end"],
)
def test_a_team_is_there_from_the_first_call_to_the_last(code: str, threading_: str) -> None:
    """Threads that are slow to start, calls while the interpreter ends, and calls that never end hang nobody."""
    subprocess.run([sys.executable, "-c", START + code, threading_], check=True, timeout=60)
