"""Memory for packed weights, on large pages.

A processor keeps the addresses of some 64 pages at hand, and has to look up others. With pages of 4 KiB that is 256 KiB, and a block reads
a weight in several streams, each on a page of its own. So weights that take more lie on pages of 2 MiB, one behind the other, if the system
has such pages to give. The system is asked; it may be set to refuse (`/sys/kernel/mm/transparent_hugepage/enabled`).
"""

from __future__ import annotations

import contextlib
import mmap
import threading
import weakref

import numpy as np
import numpy.typing as npt

from mlbench.arrays import aligned_bytes

PAGE_BYTES = 2 * 1024 * 1024
LEAST_BYTES = 256 * 1024
_LINE_BYTES = 64
Bytes = npt.NDArray[np.uint8]


class Pages:
    """Large pages, each of which is there as long as an array on it lives.

    The rest of the pages that were taken last is given to the next weights, as long as one of the weights there lives.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: weakref.ref[Bytes] | None = None
        self._used = 0

    def take(self, size: int) -> Bytes:
        """Return so many bytes that begin at a cache line: on large pages, if they are more than LEAST_BYTES and the system has some."""
        if size <= LEAST_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
            return aligned_bytes(size)
        with self._lock:
            pages = None if self._last is None else self._last()
            if pages is None or self._used + size > len(pages):
                pages = _new_pages(-(-size // PAGE_BYTES) * PAGE_BYTES)
                self._last, self._used = weakref.ref(pages), 0
            first = self._used
            self._used = -(-(first + size) // _LINE_BYTES) * _LINE_BYTES
        return pages[first : first + size]


def _new_pages(size: int) -> Bytes:
    """Return memory that begins at a multiple of PAGE_BYTES; what comes before it is never touched, and so takes no memory."""
    memory = mmap.mmap(-1, size + PAGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel that was built without large pages; ordinary ones do as well, more slowly
        memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    first = -whole.ctypes.data % PAGE_BYTES
    return np.frombuffer(memory, np.uint8, size, first)


PAGES = Pages()
"""Those of this process."""
