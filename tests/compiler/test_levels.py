"""Bytes that move between the levels of memory are what a plain simulation of the caches counts, access by access."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from mlbench.compiler.x86 import AVX2
from mlbench.compiler.x86.caches import Caches
from mlbench.compiler.x86.counts import levels
from mlbench.compiler.x86.counts.accesses import size_of
from mlbench.compiler.x86.counts.counting import followed
from mlbench.compiler.x86.counts.extents import Extents
from mlbench.compiler.x86.counts.levels import LevelBytes, Stream, moved_bytes, moved_lines
from mlbench.compiler.x86.counts.lru import Cache
from mlbench.compiler.x86.encoding.assembler import R14, RCX, RDI, RSI, Label, Mem
from mlbench.compiler.x86.encoding.isa import VectorAssembler
from mlbench.errors import CountingError
from support import plain_caches
from support.exhaustive import tries

KINDS = (plain_caches.READ, plain_caches.WRITE, plain_caches.PREFETCH)
SMALL = Caches(512, 2, 2048, 4, 8192, 8)
FIRST, OTHER = 1 << 40, 1 << 41


@pytest.mark.parametrize("seed", range(tries(60, 600)))
def test_random_accesses_move_what_a_plain_simulation_says(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads, stores and lines asked for in advance; two levels or three, any numbers of sets and ways, and any cut into parts."""
    random = np.random.default_rng(seed)
    sizes = [(int(random.choice([1, 2, 8])), int(random.integers(1, 5))), (int(random.choice([3, 4, 8])), int(random.integers(1, 6)))]
    sizes += [(int(random.choice([8, 11, 16])), int(random.integers(1, 6)))] * int(random.integers(0, 2))
    count = int(random.integers(1, 400))
    lines = random.integers(0, int(random.integers(2, 150)), count).astype(np.int32)
    if seed % 2:
        lines.sort()
    kinds = random.choice([0, 0, 0, 1, 2], count).astype(np.uint8)
    cuts = [0, *sorted(random.integers(0, count + 1, 4).tolist()), count]
    monkeypatch.setattr(levels, "CHUNK", int(random.integers(1, 300)))
    first, *others = (Cache(*each) for each in sizes)
    parts = [Stream(lines[begin:end], kinds[begin:end]) for begin, end in itertools.pairwise(cuts)]
    call = [(int(line), KINDS[kind]) for line, kind in zip(lines, kinds, strict=True)]
    assert moved_lines(parts, first, others) == plain_caches.moved_lines(call, sizes)


def reads_and_writes(turns: int) -> bytes:
    """Return code that copies so many vectors from rdi to rsi, and asks for the line 64 bytes ahead."""
    a, again = VectorAssembler(AVX2), Label()
    a.mov_number(RCX, turns)
    a.lea(R14, Mem(RDI, 64))
    a.put(again)
    a.vload(0, Mem(RDI))
    a.prefetch(Mem(R14))
    a.vstore(Mem(RSI), 0)
    for register in (RDI, RSI, R14):
        a.add_number(register, 32)
    a.sub_number(RCX, 1)
    a.jump_if("ne", again)
    a.ret()
    return a.finish()


def moved(turns: int, source: int = FIRST, target: int = OTHER, arrays: Any = None) -> tuple[LevelBytes, ...]:
    """Return what copying so many vectors moves."""
    code = reads_and_writes(turns)
    _, entries = followed(code, 0x1000, {"rdi": source, "rsi": target})
    given = [(source, 32 * turns), (target, 32 * turns)] if arrays is None else arrays
    return moved_bytes(entries, Extents(given, (0x1000, len(code)), 64), SMALL)


def test_a_copy_that_fits_into_no_cache_moves_each_line_once() -> None:
    """Source and target are read, the source in advance but for its first line; the target is written back."""
    assert moved(2048) == (
        LevelBytes("L2", 2 * 65536, 0, 65536),
        LevelBytes("L3", 65536 + 64, 65536 - 64, 65536),
        LevelBytes("memory", 65536 + 64, 65536 - 64, 65536),
    )


def test_a_call_that_follows_an_equal_one_finds_what_that_left() -> None:
    """What fits into the second level comes from there, and nothing from beyond."""
    assert [each.read_bytes for each in moved(16)] == [1024, 0, 0]


def test_what_arrays_really_have_for_neighbours_changes_nothing() -> None:
    """Sets, and where lines that are asked for behind the end of an array lie, follow from the order of the arrays alone."""
    near = moved(2048, FIRST, FIRST + 65536)
    assert near == moved(2048) == moved(2048, OTHER + 192, FIRST + 64)


def test_an_address_that_is_in_no_array_is_refused() -> None:
    """Bytes that nobody can place are not left out in silence."""
    with pytest.raises(CountingError, match=rf"touches {OTHER:#x}, which is in no array"):
        moved(4, arrays=[(FIRST, 128)])


def test_a_call_of_very_many_accesses_is_not_modelled() -> None:
    """A hundred million accesses would take half a minute; they are counted and have no bytes by level."""
    code = reads_and_writes(1 << 25)
    _, entries = followed(code, 0x1000, {"rdi": FIRST, "rsi": OTHER})
    assert size_of(entries) == 3 << 25
    assert moved_bytes(entries, Extents([(FIRST, 1 << 30), (OTHER, 1 << 30)], (0x1000, len(code)), 64), SMALL) == ()
