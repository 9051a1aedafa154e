"""Counts what a processor executes: a child process runs machine code, and is stopped after every instruction (ptrace, Linux).

Call `executed` in a process that has no threads of its own to lose, because it forks.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping

_TRACEME, _CONTINUE, _STEP, _REGISTERS = 0, 7, 9, 12
_RIP, _WORDS = 16, 27
"""Where `struct user_regs_struct` of x86-64 Linux has the address of the next instruction, and its length, in words of 8 bytes."""
REFUSED = 77


def executed(call: Callable[[], object], first: int, size: int) -> Mapping[int, int] | None:
    """Return how often each instruction of some code runs in a call, by its offset; None where the system does not let a child be traced.

    Args:
        call: runs the code once.
        first: address of the code.
        size: its bytes.

    Raises:
        RuntimeError: when the child gets a signal, such as that of a bad address.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    child = os.fork()
    if not child:
        if libc.ptrace(_TRACEME, 0, None, None):
            os._exit(REFUSED)
        os.kill(os.getpid(), signal.SIGSTOP)
        call()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        return None
    words = (ctypes.c_uint64 * _WORDS)()
    found: Counter[int] = Counter()
    while True:
        libc.ptrace(_STEP, child, None, None)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            return found
        if os.WSTOPSIG(status) != signal.SIGTRAP:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise RuntimeError(f"the child got signal {os.WSTOPSIG(status)}")
        libc.ptrace(_REGISTERS, child, None, ctypes.addressof(words))
        if 0 <= words[_RIP] - first < size:
            found[words[_RIP] - first] += 1
        elif found:
            libc.ptrace(_CONTINUE, child, None, None)
            os.waitpid(child, 0)
            return found
