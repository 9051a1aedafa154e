"""Where the arrays lie that code reads and writes, and where a model of caches takes them to lie.

Addresses differ from process to process, and with them the sets that lines fall into. Counts are to be the same in each. So the model
puts the arrays one behind the other, each from the beginning of a line, in the order in which they are given, with a line between them that
belongs to none. A place is an address there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlbench.compiler.x86.counts.decoding import PREFETCH
from mlbench.errors import CountingError

Numbers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
_PLACES = 1 << 62
"""What is added to places while addresses are among them: no array lies so far up."""


class Extents:
    """Arrays, and their places.

    Args:
        arrays: address and bytes of each; those that overlap are one.
        code: address and bytes of the code, whose constants and tables have no places.
        line_bytes: of a cache.

    Attributes:
        is_line: for each line up to the end of the last array, and the one behind it, whether an array has it.
    """

    def __init__(self, arrays: Sequence[tuple[int, int]], code: tuple[int, int], line_bytes: int) -> None:
        merged: list[list[int]] = []  # first address, end, and which array was the first
        for first, size, number in sorted((first, size, number) for number, (first, size) in enumerate(arrays) if size):
            if merged and first < merged[-1][1]:
                merged[-1][1], merged[-1][2] = max(merged[-1][1], first + size), min(merged[-1][2], number)
            else:
                merged.append([first, first + size, number])
        self._firsts = np.array([first for first, _, _ in merged], np.int64)
        self._ends = np.array([end for _, end, _ in merged], np.int64)
        self._shifts = np.zeros(len(merged), np.int64)
        self._code = code
        owned, line = [], 0
        for index in sorted(range(len(merged)), key=lambda each: merged[each][2]):
            first, end, _ = merged[index]
            self._shifts[index] = _PLACES + line * line_bytes - first
            own = -(-(end - first) // line_bytes)
            owned.append((line, line + own))
            line += own + 1
        self._line_bytes = line_bytes
        self.is_line = np.zeros(line + 1, np.bool_)
        for begin, stop in owned:
            self.is_line[begin:stop] = True

    def shift(self, low: Numbers, high: Numbers) -> Numbers:
        """Return what turns addresses into places for all that lies from `low` to `high`, which is 0 if both are not in one array."""
        at = np.searchsorted(self._firsts, low, "right") - 1
        is_inside = (at >= 0) & (high < self._ends[at])
        found: Numbers = np.where(is_inside, self._shifts[at], 0)
        return found

    def placed(self, mixed: Numbers, kinds: Bytes) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """Return places of addresses, of which some have been shifted already, and which of them there are.

        There are none for what lies in the code, and for lines that are asked for in advance and belong to no array.

        Raises:
            CountingError: where an address is in no array.
        """
        is_known = np.ones(len(mixed), np.bool_)
        open_ = np.flatnonzero((mixed < _PLACES) & (kinds != PREFETCH))
        if len(open_):
            addresses = mixed[open_]
            shifts = self.shift(addresses, addresses)
            first, size = self._code
            lost = addresses[(shifts == 0) & ~((addresses >= first) & (addresses < first + size))]
            if len(lost):
                raise CountingError(f"the code touches {int(lost[0]):#x}, which is in no array that was given")
            mixed[open_] += shifts
            is_known[open_] = shifts != 0
        places = mixed - _PLACES
        asked = np.flatnonzero(kinds == PREFETCH)
        if len(asked):
            lines = places[asked] // self._line_bytes
            is_known[asked] = (lines >= 0) & self.is_line[np.clip(lines, 0, len(self.is_line) - 1)]
        return places, is_known
