"""What the threads of a team share: one layout, for Python by name and for machine code by offset."""

from __future__ import annotations

import numpy as np

from mlbench.arrays import ALIGNMENT_BYTES
from mlbench.compiler.x86.encoding.assembler import R8, Mem
from mlbench.compiler.x86.team.affinity import CORES_BYTES

LINE = np.dtype(
    {
        "names": ["done", "asleep", "code", "number"],
        "formats": ["u4", "u4", "u8", "u4"],
        "offsets": [0, 4, 8, 16],
        "itemsize": ALIGNMENT_BYTES,
    }
)
"""A thread's own cache line: how many parts it has done, whether it sleeps, the code of its part, and the kernel's number of the thread
once the thread is in machine code."""
_LINES = 2 * ALIGNMENT_BYTES


def shared_by(threads: int) -> np.dtype[np.void]:
    """Return the layout of what so many threads share.

    A cache line has the number of the job and whether the team is closed. The next one has the core that a call comes from. A line for each
    thread follows, then the cores that each thread but the calling one may use.
    """
    return np.dtype(
        {
            "names": ["job", "stop", "core", "lines", "cores"],
            "formats": ["u4", "u4", "u4", (LINE, (threads,)), ("u1", (threads - 1, CORES_BYTES))],
            "offsets": [0, 4, ALIGNMENT_BYTES, _LINES, _LINES + threads * LINE.itemsize],
        }
    )


def at(name: str) -> Mem:
    """Return where something shared is; r8 has the address of all of it."""
    return Mem(R8, _offset(shared_by(2), name))


def of(member: int, name: str) -> Mem:
    """Return where something of a thread's own is; r8 has the address of what all share."""
    return Mem(R8, _LINES + member * LINE.itemsize + _offset(LINE, name))


def cores_of(threads: int, member: int) -> Mem:
    """Return where the cores are that a thread may use; r8 has the address of what all share."""
    return Mem(R8, _offset(shared_by(threads), "cores") + CORES_BYTES * (member - 1))


def _offset(layout: np.dtype[np.void], name: str) -> int:
    fields = layout.fields
    assert fields is not None
    return fields[name][1]
