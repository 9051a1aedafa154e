"""Counts what a processor executes: a child process runs machine code, and is stopped after every instruction (ptrace, Linux).

    python tests/support/single_steps.py 1 5 40       # rows of a call; prints what was counted and what was executed, as JSON

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np

from mlbench.compiler.x86 import Argument, Body, BodyPlan, Product, Shape, View, find, pack
from mlbench.compiler.x86.counts.counting import counted
from mlbench.compiler.x86.counts.decoding import KINDS, Decoder

_TRACEME, _CONTINUE, _STEP, _REGISTERS = 0, 7, 9, 12
_RIP, _WORDS = 16, 27
"""Where `struct user_regs_struct` of x86-64 Linux has the address of the next instruction, and its length, in words of 8 bytes."""
REFUSED = 77


def executed(call: Callable[[], object], first: int, size: int) -> Mapping[int, int] | None:
    """Return how often each instruction of some code runs in a call, by its offset; None where the system does not let a child be traced.

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
    found: Counter[int] = Counter()
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
            found[words[_RIP] - first] += 1
        elif found:
            libc.ptrace(_CONTINUE, child, None, None)
            os.waitpid(child, 0)
            return found


def totals(found: Mapping[int, int], code: bytes) -> dict[str, int]:
    """Return what was executed in the same terms as `mlbench.compiler.x86.counts.counting.counted`."""
    total = dict.fromkeys(KINDS, 0)
    decoder = Decoder(code, 0)
    for offset, times in found.items():
        for kind, number in zip(KINDS, decoder.at(offset).own, strict=True):
            total[kind] += number * times
    return total


def two_layers(rows: Sequence[int], tile_rows: int) -> Iterator[tuple[dict[str, int], dict[str, int] | None]]:
    """Give for each number of rows what was counted and what was executed, of a body of two products with ragged columns."""
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
        found = executed(partial(function, address, number), body.address, body.size_bytes)
        told = counted(code, body.address, {"rdi": address, "rsi": number}, [(address, places.nbytes)])
        yield {name: number for name, number in asdict(told).items() if name in KINDS}, None if found is None else totals(found, code)


if __name__ == "__main__":
    print(json.dumps(list(two_layers([int(each) for each in sys.argv[1:]], 12))))
