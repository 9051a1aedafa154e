"""Count what a call does: calls of functions, allocations, bytes held. No clock is involved."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from mlbench.ir import FloatArray
from mlbench.measure import footprint
from mlbench.results.explanation import Counts
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.runtime.threads import BlasThreads

_CALLS = frozenset(dis.opmap[name] for name in ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "BINARY_OP", "UNARY_NEGATIVE") if name in dis.opmap)
"""Instructions of Python that call something, such as `dot(...)` and `x @ w`."""


def counts_of(runner: BaselineRunner | OptimizedRunner, xs: tuple[FloatArray, ...], threads: int = 1) -> Counts:
    """Return what a call of a runner counts on so many threads of BLAS, whose job table for more of them is allocated in each call."""

    def call() -> object:
        return runner.run(*xs)

    with BlasThreads(threads):
        found, calls = footprint(call), calls_of(call)
    held = runner.memory.total_bytes if isinstance(runner, OptimizedRunner) else 0
    return Counts(calls, found.allocations, found.peak_bytes, held)


def calls_of(call: Callable[[], object]) -> int:
    """Return how many calls of functions and operators Python makes in `call`, those of `call` itself not included.

    What machine code calls is one call. A tracer that was there before, such as that of a debugger, is there again afterwards.
    """
    own = getattr(call, "__code__", None)
    known: dict[CodeType, bytes] = {}
    found = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal found
        code = frame.f_code
        if code is own:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            found += known.setdefault(code, code.co_code)[frame.f_lasti] in _CALLS
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return found
