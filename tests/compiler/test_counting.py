"""Counts of machine code are what a processor executes, instruction for instruction."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlbench.compiler.x86 import AVX2, AVX512, Argument, BodyPlan, Product, Shape, Vectors, View, find
from mlbench.compiler.x86.body import code_of_plan
from mlbench.compiler.x86.counts.counting import counted
from mlbench.compiler.x86.counts.decoding import listing
from mlbench.compiler.x86.encoding.assembler import RAX, RBX, RCX, RDI, RSI, Label, Mem
from mlbench.compiler.x86.encoding.isa import VectorAssembler
from mlbench.errors import CountingError

FOUND, WHY = find()
STEPS = Path(__file__).parents[1] / "support" / "single_steps.py"


@pytest.mark.skipif(FOUND is None, reason=f"no generated code here: {WHY}")
def test_counts_are_what_the_processor_executes() -> None:
    """A child process is stopped after each instruction: counts of all kinds agree, for one row, part of a tile, and several tiles.

    So do the bytes that three hierarchies of caches move, which a plain simulation of the accesses of the processor counts.
    """
    run = subprocess.run([sys.executable, str(STEPS), "1", "5", "12", "40"], check=True, capture_output=True, text=True, timeout=120)
    pairs = json.loads(run.stdout)
    if pairs[0][1] is None:
        pytest.skip("this system does not let a process trace its child")
    assert [counted for counted, _ in pairs] == [executed for _, executed in pairs]


@pytest.mark.parametrize("vectors", [AVX2, AVX512], ids=lambda each: each.name)
@pytest.mark.parametrize(("inputs", "columns", "rows"), [(64, 64, 1), (256, 256, 64), (1024, 4096, 512)])
def test_multiply_adds_are_the_products_arithmetic(vectors: Vectors, inputs: int, columns: int, rows: int) -> None:
    """A product has as many multiply-adds as its sizes ask for, and stores its result once, or once for each chunk of inputs."""
    strides = 4 * inputs, 4 * columns
    views = [View(Argument(index), stride) for index, stride in enumerate(strides)]
    product = Product(Shape(inputs, columns, 2, ("add", "relu")), 1 << 42, (1 << 43,), views[0], views[1])
    places = np.array([1 << 40, 1 << 41], np.uint64)
    address = int(places.ctypes.data)
    code = code_of_plan(vectors, BodyPlan((product,), strides, 100))
    found = counted(code, 1 << 20, {"rdi": address, "rsi": rows}, [(address, places.nbytes)])
    assert found.multiply_adds == inputs * columns * rows // vectors.lanes
    assert found.store_bytes == 4 * rows * columns


@pytest.mark.parametrize("condition", ["ne", "a", "g"])
def test_turns_that_are_alike_are_multiplied(condition: str) -> None:
    """A loop of a million turns is counted without a million steps, whichever comparison ends it."""
    a = VectorAssembler(AVX2)
    again = Label()
    a.put(again)
    a.vload(0, Mem(RSI))
    a.sub_number(RDI, 1)
    a.jump_if(condition, again)
    a.ret()
    found = counted(a.finish(), 0x1000, {"rdi": 1_000_000, "rsi": 1 << 40})
    assert (found.loads, found.load_bytes, found.instructions) == (1_000_000, 32_000_000, 3_000_001)


def test_turns_that_differ_are_followed() -> None:
    """An inner loop that runs one turn more each time is counted turn by turn: 1 + 2 + ... + 10."""
    a = VectorAssembler(AVX2)
    outer, inner = Label(), Label()
    a.mov_number(RCX, 1)
    a.put(outer)
    a.mov(RAX, RCX)
    a.put(inner)
    a.vload(0, Mem(RSI))
    a.sub_number(RAX, 1)
    a.jump_if("ne", inner)
    a.add_number(RCX, 1)
    a.cmp_number(RCX, 11)
    a.jump_if("ne", outer)
    a.ret()
    assert counted(a.finish(), 0x1000, {"rsi": 1 << 40}).loads == 55


@pytest.mark.parametrize("what", ["syscall", "unknown-memory", "endless"])
def test_what_cannot_be_followed_is_refused(what: str) -> None:
    """A call of the system, a number from memory that nobody gave, and a way out of the code end with a reason."""
    a = VectorAssembler(AVX2)
    if what == "syscall":
        a.syscall()
    elif what == "unknown-memory":
        a.load(RBX, Mem(RDI))
    else:
        a.call(RDI)
    a.ret()
    with pytest.raises(CountingError, match={"syscall": "syscall", "unknown-memory": "in no table", "endless": "no instruction"}[what]):
        counted(a.finish(), 0x1000, {"rdi": 1 << 40})


def test_a_listing_has_every_instruction() -> None:
    """Code as text has the instructions in their order; bytes that are none are refused."""
    a = VectorAssembler(AVX2)
    a.vfma(1, 2, Mem(RSI, 32))
    a.ret()
    code = a.finish()
    assert [each.text for each in listing(code)] == ["vfmadd231ps ymm1, ymm2, ymmword ptr [rsi + 0x20]", "ret"]
    with pytest.raises(CountingError, match="begins no instruction"):
        listing(code + b"\x06")
