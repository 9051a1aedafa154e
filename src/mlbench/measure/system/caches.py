"""How large the caches are, by the system's own account, and how to empty them.

The account is not always true: a virtual machine may be told the third-level cache of the whole host, of which it has a part, and
which no buffer of a reasonable size would fill. So what was evicted is a size that is said, not a promise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbench.units import BYTES_PER_KB, format_bytes

_FOLDER = "/sys/devices/system/cpu/cpu0/cache"
_MOST_INDEXES = 8
MOST_EVICTED_BYTES = 64 * BYTES_PER_KB**2
"""Reading and writing 64 MB takes some 10 ms, and every timed call pays for it."""
TIMES_OVER = 4
"""A buffer of four times a cache leaves little in it of what was there, whatever the cache replaces."""

Read = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Caches:
    """Bytes of the data caches that the first core uses; None where the system does not say.

    Attributes:
        l1_bytes: first level.
        l2_bytes: second level.
        l3_bytes: third level, often shared.
    """

    l1_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None


def caches(read: Read | None = None) -> Caches:
    """Ask the system; `read` returns the text of a system file, or None where it does not exist."""
    look = read or _read
    found: dict[str, int] = {}
    for index in range(_MOST_INDEXES):
        kind, level, size = (look(f"{_FOLDER}/index{index}/{name}") for name in ("type", "level", "size"))
        if kind in ("Data", "Unified") and level in ("1", "2", "3") and (parsed := _bytes(size)) is not None:
            found[f"l{level}_bytes"] = parsed
    return Caches(**found)


def eviction_bytes(found: Caches) -> int:
    """Return how many bytes to pass through the caches: four times the largest of them, but MOST_EVICTED_BYTES at most."""
    largest = max((size for size in (found.l1_bytes, found.l2_bytes, found.l3_bytes) if size), default=MOST_EVICTED_BYTES)
    return min(MOST_EVICTED_BYTES, TIMES_OVER * largest)


def eviction_text(size_bytes: int, found: Caches) -> str:
    """Say what reading and writing so many bytes evicts here, as a sentence."""
    said = [("first", found.l1_bytes), ("second", found.l2_bytes), ("third", found.l3_bytes)]
    known = [f"{which} level {format_bytes(size)}" for which, size in said if size]
    head = f"Before every timed call {format_bytes(size_bytes)} were read and written"
    if not known:
        return f"{head}; this system does not say how large its caches are."
    kept = [which for which, size in said if size and size * TIMES_OVER > size_bytes]
    rest = f"; the {' and '.join(kept)} may have kept parts of what was in {'it' if len(kept) == 1 else 'them'}" if kept else ""
    return f"{head} ({', '.join(known)}){rest}."


def evictor(size_bytes: int) -> Callable[[], None]:
    """Return a call that reads and writes so many bytes of its own."""
    buffer = np.zeros(max(1, size_bytes // 8), np.int64)

    def evict() -> None:
        np.add(buffer, 1, out=buffer)

    return evict


def _bytes(text: str | None) -> int | None:
    """Parse a size as Linux writes it, such as 48K or 2M."""
    scale = {"K": BYTES_PER_KB, "M": BYTES_PER_KB**2}.get((text or " ")[-1])
    digits = (text or "")[:-1]
    return int(digits) * scale if scale is not None and digits.isdecimal() else None


def _read(path: str) -> str | None:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    return None
