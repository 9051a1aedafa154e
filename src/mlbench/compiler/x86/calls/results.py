"""What calls return: one object for each number of rows, in a table that machine code reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MADE_AT_ONCE = 1024
"""Objects up to so many rows are made with the runner, so that not even the first call of a number of rows allocates one. Each takes some
170 bytes."""


class Results:
    """The rows of a runner's own outputs that a call of so many rows returns: an array, or a tuple of them for several outputs.

    Args:
        outputs: arrays of the most rows there may be.
        least_rows: the fewest rows there may be.

    Attributes:
        outputs: the same.
        address: of the table, which has the address of the object for each number of rows, 0 where it was not made.
    """

    def __init__(self, outputs: Sequence[npt.NDArray[np.float32]], least_rows: int = 1) -> None:
        self.outputs = tuple(outputs)
        self._table = np.zeros(len(self.outputs[0]) + 1, np.uint64)
        self._kept: dict[int, Any] = {}
        self.address: int = self._table.ctypes.data
        for rows in range(least_rows, min(len(self.outputs[0]), least_rows - 1 + MADE_AT_ONCE) + 1):
            self.of(rows)

    @property
    def table_bytes(self) -> int:
        """The bytes of the table."""
        return self._table.nbytes

    def of(self, rows: int) -> Any:
        """Return what a call of so many rows returns: the same object each time."""
        if rows not in self._kept:
            views = tuple(output[:rows] for output in self.outputs)
            self._kept[rows] = views[0] if len(views) == 1 else views
            self._table[rows] = id(self._kept[rows])
        return self._kept[rows]
