"""The caches of the core that this process runs on, as CPUID describes them. The rules for tiles and for code follow them.

Leaf 4 of Intel's processors and leaf 0x8000001D of AMD's describe one cache in each subleaf, in the same form (SDM volume 2, CPUID; AMD64
Architecture Programmer's Manual volume 3, appendix E.4.15). A virtual machine may hide them: then ASSUMED is what the rules follow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlbench.compiler.x86.cpu import EXTENDED, cpuid, find

_LEAVES = (4, EXTENDED + 0x1D)
_DATA, _UNIFIED = 1, 3
_MOST_SUBLEAVES = 16
_KIB = 1024

Cpuid = Callable[[int, int], tuple[int, int, int, int]]
"""From leaf and subleaf to eax, ebx, ecx and edx."""


@dataclass(frozen=True, slots=True)
class Caches:
    """The data caches of a core.

    Attributes:
        l1d_bytes: size of the first level for data.
        l1d_ways: lines of one of its sets.
        l2_bytes: size of the second level; if cores share it, one core's part of it.
        l2_ways: lines of one of its sets.
        l3_bytes: size of the third level, all of it; 0 where there is none.
        l3_ways: lines of one of its sets; 0 where there is none.
        l3_cores: cores that share the third level; 1 where there is none.
        line_bytes: size of a line.
    """

    l1d_bytes: int
    l1d_ways: int
    l2_bytes: int
    l2_ways: int
    l3_bytes: int = 0
    l3_ways: int = 0
    l3_cores: int = 1
    line_bytes: int = 64

    @property
    def near_bytes(self) -> int:
        """The most that a core can expect to keep near: its second level, or its part of the third where that is larger."""
        return max(self.l2_bytes, self.l3_bytes // self.l3_cores)

    @property
    def l1d_way_bytes(self) -> int:
        """Distance of two addresses that fall into the same set of the first level: its bytes, divided by its ways."""
        return self.l1d_bytes // self.l1d_ways


ASSUMED = Caches(32 * _KIB, 8, 512 * _KIB, 8, 8 * 1024 * _KIB, 16, 4)
"""What the rules follow where CPUID describes no cache. Most processors with AVX2 have at least as much at each level. With a cache that
is larger than assumed, tiles are a little low, which costs some per cent. With a smaller one they would leave the cache."""


@dataclass(frozen=True, slots=True)
class _Level:
    """A cache that holds data, as one subleaf describes it; `sharers` counts logical processors."""

    level: int
    size_bytes: int
    ways: int
    line_bytes: int
    sharers: int


@functools.cache
def find_caches() -> Caches:
    """Return the caches of this core, or ASSUMED where CPUID describes none or no code can run that asks it.

    On a processor whose cores differ, the core that runs this first decides.
    """
    return caches_of(cpuid) if find()[0] is not None else ASSUMED


def caches_of(ask: Cpuid) -> Caches:
    """Return the caches that a CPUID describes, or ASSUMED where it describes none."""
    for leaf in _LEAVES:
        levels = {each.level: each for each in _levels(ask, leaf)}
        if 1 in levels and 2 in levels:
            return _caches(levels[1], levels[2], levels.get(3))
    return ASSUMED


def _caches(first: _Level, second: _Level, third: _Level | None) -> Caches:
    """Return the caches of one core; the logical processors that share a first level are one core."""
    threads = first.sharers
    return Caches(
        first.size_bytes,
        first.ways,
        second.size_bytes // max(1, second.sharers // threads),
        second.ways,
        third.size_bytes if third is not None else 0,
        third.ways if third is not None else 0,
        max(1, third.sharers // threads) if third is not None else 1,
        first.line_bytes,
    )


def _levels(ask: Cpuid, leaf: int) -> Iterator[_Level]:
    """Give what the subleaves of a leaf describe, without the caches of instructions."""
    if ask(leaf & EXTENDED, 0)[0] < leaf:
        return
    for index in range(_MOST_SUBLEAVES):
        eax, ebx, ecx, _ = ask(leaf, index)
        kind, line, partitions, ways = eax & 0x1F, (ebx & 0xFFF) + 1, (ebx >> 12 & 0x3FF) + 1, (ebx >> 22) + 1
        if not kind:
            return
        if kind in (_DATA, _UNIFIED):
            yield _Level(eax >> 5 & 7, line * partitions * ways * (ecx + 1), ways, line, (eax >> 14 & 0xFFF) + 1)
