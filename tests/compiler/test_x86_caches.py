"""What CPUID says of the caches, and what is assumed where it says nothing."""

from __future__ import annotations

import pytest

from mlbench.compiler.x86 import caches
from mlbench.compiler.x86.caches import ASSUMED, Caches, Cpuid, caches_of
from mlbench.compiler.x86.cpu import EXTENDED

KIB = 1024
Sub = tuple[int, int, int, int]


def subleaf(kind: int, level: int, ways: int, sets: int, sharers: int) -> Sub:
    """Return how CPUID describes a cache with lines of 64 bytes; kind 1 is data, 2 instructions, 3 both."""
    return (kind | level << 5 | sharers - 1 << 14, 63 | ways - 1 << 22, sets - 1, 0)


def processor(leaf: int, *subleaves: Sub) -> Cpuid:
    """Return a CPUID that describes caches in one leaf, as Intel's does in 4 and AMD's in 0x8000001D."""

    def ask(asked: int, index: int) -> Sub:
        if asked in (0, EXTENDED):
            return (asked + 0x1F, 0, 0, 0)
        return subleaves[index] if asked == leaf and index < len(subleaves) else (0, 0, 0, 0)

    return ask


INSTRUCTIONS = subleaf(2, 1, 8, 64, 2)
SAPPHIRE_RAPIDS = (subleaf(1, 1, 12, 64, 2), INSTRUCTIONS, subleaf(3, 2, 16, 2048, 2), subleaf(3, 3, 15, 57344, 64))
ZEN_3 = (subleaf(1, 1, 8, 64, 1), INSTRUCTIONS, subleaf(3, 2, 8, 1024, 1), subleaf(3, 3, 16, 32768, 2))
ONE_L2_FOR_FOUR_CORES = (subleaf(1, 1, 8, 64, 1), INSTRUCTIONS, subleaf(3, 2, 16, 2048, 4))


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (processor(4, *SAPPHIRE_RAPIDS), Caches(48 * KIB, 12, 2048 * KIB, 16, 53760 * KIB, 15, 32)),
        (processor(EXTENDED + 0x1D, *ZEN_3), Caches(32 * KIB, 8, 512 * KIB, 8, 32768 * KIB, 16, 2)),
        (processor(4, *ONE_L2_FOR_FOUR_CORES), Caches(32 * KIB, 8, 512 * KIB, 16)),
    ],
    ids=["intel", "amd", "one-l2-for-four-cores"],
)
def test_caches_are_those_of_one_core(ask: Cpuid, expected: Caches) -> None:
    """Threads of a core share its caches; of a second level that cores share, each has its part; instruction caches do not count."""
    assert caches_of(ask) == expected


@pytest.mark.parametrize(
    "subleaves", [(), (INSTRUCTIONS,), (subleaf(1, 1, 8, 64, 1),)], ids=["nothing", "instructions", "first-level-alone"]
)
def test_caches_that_cpuid_hides_are_assumed(subleaves: tuple[Sub, ...]) -> None:
    """A virtual machine may hide the caches, or all but one."""
    assert caches_of(processor(4, *subleaves)) == ASSUMED


def test_a_leaf_beyond_the_last_one_is_not_read() -> None:
    """Old processors answer what they like there."""

    def ask(leaf: int, index: int) -> Sub:
        assert leaf in (0, EXTENDED)
        return (leaf + 1, index, 0, 0)

    assert caches_of(ask) == ASSUMED


def test_no_processor_is_asked_where_no_code_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPUID is machine code too."""
    monkeypatch.setattr(caches, "find", lambda: (None, "no code runs here"))
    assert caches.find_caches.__wrapped__() == ASSUMED


def test_a_set_of_the_first_level_comes_again_after_a_way() -> None:
    """64 sets of 64 bytes in both common first levels."""
    assert Caches(32 * KIB, 8, 0, 1).l1d_way_bytes == Caches(48 * KIB, 12, 0, 1).l1d_way_bytes == 4 * KIB


@pytest.mark.parametrize(
    ("caches", "expected"),
    [
        (Caches(48 * KIB, 12, 2048 * KIB, 16, 53760 * KIB, 15, 32), 2048 * KIB),
        (Caches(32 * KIB, 8, 512 * KIB, 8, 32768 * KIB, 16, 8), 4096 * KIB),
        (Caches(32 * KIB, 8, 1024 * KIB, 16), 1024 * KIB),
    ],
    ids=["second-level", "part-of-the-third", "no-third"],
)
def test_what_stays_near_a_core(caches: Caches, expected: int) -> None:
    """The larger of the second level and a core's part of the third."""
    assert caches.near_bytes == expected
