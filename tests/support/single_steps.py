"""Counts what a processor executes: a child process runs machine code, and is stopped after every instruction (ptrace, Linux).

    python tests/support/single_steps.py 1 5 40       # rows of a call; prints what was counted and what happened, as JSON

It is a process of its own, because it forks and a test process has threads.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.compiler.x86 import Argument, Body, BodyPlan, Product, Shape, View, find, pack
from mlbench.compiler.x86.caches import Caches
from mlbench.compiler.x86.counts.counting import followed
from mlbench.compiler.x86.counts.decoding import KINDS, Decoder
from mlbench.compiler.x86.counts.extents import Extents
from mlbench.compiler.x86.counts.levels import moved_bytes
from mlbench.compiler.x86.stages import MASKS

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.plain_caches import READ, WRITE, moved_lines

_TRACEME, _CONTINUE, _STEP, _REGISTERS = 0, 7, 9, 12
_NAMES = ("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs",
          "eflags", "rsp")  # fmt: skip
_RIP, _WORDS = 16, 27
"""What `struct user_regs_struct` of x86-64 Linux has, where in it the address of the next instruction is, and its length, in words."""
REFUSED = 77
LINE_BYTES = 64
CACHES = {
    "small": Caches(1024, 2, 2048, 4, 4096, 8),
    "without-third": Caches(512, 8, 3072, 3),
    "large": Caches(32768, 8, 524288, 8, 4194304, 16),
}
Facts = dict[str, Any]


Step = tuple[int, dict[str, int]]
"""The offset of an instruction, and the registers before it."""


def executed(call: Callable[[], object], first: int, size: int) -> list[Step] | None:
    """Return the instructions of some code that run in a call, one by one; None where the system does not let a child be traced.

    Args:
        call: runs the code once.
        first: address of the code.
        size: its bytes.

    Raises:
        RuntimeError: when the child gets a signal, such as that of a bad address.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    child = os.fork()
    if not child:
        if libc.ptrace(_TRACEME, 0, None, None):
            os._exit(REFUSED)
        os.kill(os.getpid(), signal.SIGSTOP)
        call()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        return None
    words = (ctypes.c_uint64 * _WORDS)()
    found: list[Step] = []
    while True:
        if libc.ptrace(_STEP, child, None, None):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            return found
        if os.WSTOPSIG(status) != signal.SIGTRAP:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise RuntimeError(f"the child got signal {os.WSTOPSIG(status)}")
        libc.ptrace(_REGISTERS, child, None, ctypes.addressof(words))
        if 0 <= words[_RIP] - first < size:
            found.append((words[_RIP] - first, dict(zip(_NAMES, words, strict=False))))
        elif found:
            libc.ptrace(_CONTINUE, child, None, None)
            os.waitpid(child, 0)
            return found


def totals(found: Iterable[Step], code: bytes) -> dict[str, int]:
    """Return what was executed in the same terms as `mlbench.compiler.x86.counts.counting.counted`."""
    total = dict.fromkeys(KINDS, 0)
    decoder = Decoder(code, 0)
    for offset, times in Counter(offset for offset, _ in found).items():
        for kind, number in zip(KINDS, decoder.at(offset).own, strict=True):
            total[kind] += number * times
    return total


def touched(found: Iterable[Step], code: bytes, arrays: Sequence[tuple[int, int]]) -> Iterator[tuple[int, str]]:
    """Give the lines that were touched, where each array begins at a line, and a line that belongs to none is behind each array."""
    firsts = [0, *itertools.accumulate(-(-size // LINE_BYTES) + 1 for _, size in arrays)]
    decoder = Decoder(code, 0)
    for offset, registers in found:
        each = decoder.at(offset)
        operand = each.touched
        if operand is None:
            continue
        address = registers[operand.base] + operand.number + (registers[operand.index] * operand.scale if operand.index else 0)
        for (first, size), line in zip(arrays, firsts, strict=False):
            if first <= address < first + size:
                last = min(address + operand.size_bytes, first + size) - 1
                for number in range((address - first) // LINE_BYTES, (last - first) // LINE_BYTES + 1):
                    yield line + number, WRITE if each.touches == 1 else READ


def two_layers(rows: Sequence[int], tile_rows: int) -> Iterator[tuple[Facts, Facts | None]]:
    """Give for each number of rows what was counted and what happened, of a body of two products with ragged columns."""
    vectors, _ = find()
    assert vectors is not None
    numbers = np.random.default_rng(0).standard_normal
    sizes, middle = (9, 21, 10), np.zeros((tile_rows, 21), np.float32)
    packed = [pack(numbers((inputs, columns), dtype=np.float32), 2, vectors) for inputs, columns in itertools.pairwise(sizes)]
    bias = numbers(32, dtype=np.float32)
    views = [View(Argument(0), 4 * 9), View(int(middle.ctypes.data), 4 * 21), View(Argument(1), 4 * 10)]
    stages = tuple(
        Product(
            Shape(inputs, columns, 2, ("add", "relu")), int(weight.ctypes.data), (int(bias.ctypes.data),), views[index], views[index + 1]
        )
        for index, (weight, (inputs, columns)) in enumerate(zip(packed, itertools.pairwise(sizes), strict=True))
    )
    body = Body(vectors, BodyPlan(stages, (4 * 9, 4 * 10), tile_rows), packed, bias, middle)
    code = ctypes.string_at(body.address, body.size_bytes)
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)(body.address)
    for number in rows:
        arrays = [numbers((number, 9), dtype=np.float32), np.empty((number, 10), np.float32)]
        places = np.array([array.ctypes.data for array in arrays], np.uint64)
        address = int(places.ctypes.data)
        memory: list[np.ndarray[Any, Any]] = [*arrays, middle, *packed, bias, places, MASKS]
        extents = [(int(each.ctypes.data), each.nbytes) for each in memory]
        found = executed(partial(function, address, number), body.address, body.size_bytes)
        counts, entries = followed(code, body.address, {"rdi": address, "rsi": number}, [(address, places.nbytes)])
        told: Facts = {name: number for name, number in asdict(counts).items() if name in KINDS}
        happened = None if found is None else totals(found, code) | levels(list(touched(found, code, extents)))
        known = Extents(extents, (body.address, body.size_bytes), LINE_BYTES)
        for name, caches in CACHES.items():
            moved = moved_bytes(entries, known, caches)
            told[name] = [(each.read_bytes, each.prefetched_bytes, each.written_bytes) for each in moved]
        yield told, happened


def levels(call: Sequence[tuple[int, str]]) -> Facts:
    """Return what plain simulations move between the levels in the second of two calls."""
    found: Facts = {}
    for name, each in CACHES.items():
        sizes = [(each.l1d_bytes, each.l1d_ways), (each.l2_bytes, each.l2_ways), (each.l3_bytes, each.l3_ways)]
        sets = [(size // (ways * LINE_BYTES), ways) for size, ways in sizes if size]
        found[name] = [tuple(LINE_BYTES * lines for lines in moved) for moved in moved_lines(call, sets)]
    return found


if __name__ == "__main__":
    print(json.dumps(list(two_layers([int(each) for each in sys.argv[1:]], 12))))
