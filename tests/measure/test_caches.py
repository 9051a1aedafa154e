"""How large the caches are said to be, and what is evicted because of that."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mlbench.measure import Caches, caches, eviction_bytes, eviction_text, evictor

KB, MB = 1024, 1024**2
FOLDER = "/sys/devices/system/cpu/cpu0/cache"


def files(*indexes: tuple[str, str, str]) -> Mapping[str, str]:
    """Return system files: level, type and size of each index."""
    return {
        f"{FOLDER}/index{number}/{name}": text
        for number, (level, kind, size) in enumerate(indexes)
        for name, text in (("level", level), ("type", kind), ("size", size))
    }


def test_data_caches_are_found() -> None:
    """Sizes are read as Linux writes them; the cache of instructions is none of ours."""
    found = files(("1", "Data", "48K"), ("1", "Instruction", "64K"), ("2", "Unified", "2048K"), ("3", "Unified", "32M"))
    assert caches(found.get) == Caches(48 * KB, 2 * MB, 32 * MB)


@pytest.mark.parametrize(
    "found", [{}, files(("2", "Unified", "many")), files(("2", "Unified", "K")), files(("4", "Unified", "64M"))], ids=str
)
def test_what_cannot_be_read_is_none(found: Mapping[str, str]) -> None:
    """A system without these files, or with others in them, says nothing, and that is no error."""
    assert caches(found.get) == Caches(None, None, None)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Caches(48 * KB, 2 * MB, 8 * MB), 32 * MB),
        (Caches(48 * KB, 2 * MB, 16 * MB), 64 * MB),
        (Caches(48 * KB, 2 * MB, 480 * MB), 64 * MB),
        (Caches(48 * KB, 2 * MB), 8 * MB),
        (Caches(), 64 * MB),
    ],
    ids=["all", "just", "capped", "no-third", "unknown"],
)
def test_how_much_is_evicted(found: Caches, expected: int) -> None:
    """Four times the largest cache, at most 64 MB, and that where nothing is known."""
    assert eviction_bytes(found) == expected


def test_what_was_evicted_is_said() -> None:
    """A cache that four times fit into what was moved is evicted; of one that is larger parts may be left, and the sentence says so."""
    assert eviction_text(64 * MB, Caches(32 * KB, 2 * MB, 480 * MB)) == (
        "Before every timed call 64.0 MB were read and written (first level 32.0 KB, second level 2.00 MB, third level 480 MB); "
        "the third may have kept parts of what was in it."
    )
    assert eviction_text(32 * MB, Caches(32 * KB, 2 * MB, 8 * MB)).endswith("third level 8.00 MB).")
    assert eviction_text(32 * MB, Caches(32 * KB, 2 * MB, 16 * MB)).endswith("the third may have kept parts of what was in it.")
    assert eviction_text(64 * MB, Caches()).endswith("this system does not say how large its caches are.")


def test_the_evictor_passes_its_bytes() -> None:
    """It holds the bytes that were asked for, and each call rewrites all of them."""
    evict = evictor(4 * KB)
    buffer = evict.__closure__[0].cell_contents  # type: ignore[index]  # a closure has cells
    assert buffer.nbytes == 4 * KB
    evict()
    evict()
    assert set(buffer.tolist()) == {2}
