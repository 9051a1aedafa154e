"""What a test measures, and its turns."""

from __future__ import annotations

import gc
import inspect
import os
import random
import time
from typing import TYPE_CHECKING

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

COST_S = 2e-4
LONG_S = 0.2
"""A call that takes longer, a second time too, is not made again to find out what it costs."""
SHARE_TO_LEARN = 4
"""One call in so many of those that a test foresees may be spent on finding out what a call costs."""
SMALL_BLOCK, SMALL_BLOCKS = 2048, 128
LARGE_BLOCK, LARGE_BLOCKS = 65536, 16
"""Most bytes, and number, of the blocks that move a test's data."""


CLOCK = time.perf_counter
"""Taken before a test can put another in its place."""


class Target:
    """What a test measures.

    Args:
        function: the callable.
        args: its arguments.
        kwargs: its keyword arguments.
        setup: called before every call, untimed; it may return other arguments, as pytest-benchmark's does.
        teardown: called after every call, untimed, with the same arguments.
        iterations: calls that follow each setup.
        foreseen: calls that the test asks for; None where pytest-benchmark would choose their number.
        clock: seconds from any origin, as the test asks for it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        iterations: int = 1,
        foreseen: int | None = None,
        clock: Callable[[], float] = CLOCK,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.setup = setup
        self.teardown = teardown
        self.iterations = iterations
        self.foreseen = foreseen
        self.once = foreseen == 1 and setup is None
        self.clock = clock
        self.result: Any = None
        self.calls = 0
        self.spent_s: list[float] = []
        self.is_quick = True
        self.interrupted = 0
        self.plant: Mapping[str, float] = {}
        self.held_bytes: int | None = None

    @property
    def is_bare(self) -> bool:
        """Whether nothing happens between two calls."""
        return self.setup is None and self.teardown is None

    @property
    def makes_coroutine(self) -> bool:
        """Whether a call made a coroutine, which nobody awaits, instead of running it."""
        return inspect.iscoroutine(self.result)

    @property
    def left(self) -> int | None:
        """The calls that the test foresees and that were not made; None for any number."""
        return None if self.foreseen is None else max(0, self.foreseen - self.calls)

    def turn(self, calls: int, *, warm_up: bool) -> float:
        """Return the seconds per call of one turn, with the collector off; `warm_up` makes an untimed call before it.

        `interrupted` says how often another process took the core away while the clock ran.
        """
        self.interrupted = 0
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            if self.is_bare:
                if warm_up and not self.once:
                    self.calls += 1
                    self.function(*self.args, **self.kwargs)
                spent = self._timed(calls, self.args, self.kwargs) / calls
            else:
                spent = sum(self._with_setup() for _ in range(calls)) / (calls * self.iterations)
        finally:
            if was_enabled:
                gc.enable()
        self.spent_s.append(spent)
        return spent

    def call(self) -> None:
        """Make one call, with its setup and teardown."""
        args, kwargs = self._arguments()
        self.calls += 1
        self.result = self.function(*args, **kwargs)
        if self.teardown is not None:
            self.teardown(*args, **kwargs)

    def prepared(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return a call without arguments whose setup has been made, and what is to be done after it."""
        args, kwargs = self._arguments()
        self.calls += 1
        array, allocation = int(self.plant.get("bytes", 0)), int(self.plant.get("allocation", 0))

        def call() -> None:
            if array:
                held = bytearray(array)  # noqa: F841  # held while the function runs, as a temporary array is
            self.function(*args, **kwargs)
            if allocation:
                bytearray(allocation)

        def after() -> None:
            if self.teardown is not None:
                self.teardown(*args, **kwargs)

        return call, after

    def costs_s(self) -> tuple[float, float]:
        """Warm up; return about how long the least takes that a turn does, in seconds: its calls alone, and with what is around them.

        Where the test has a clock of its own, the larger of its time and the wall's counts: one of processor time does not see a sleep.
        """
        first = self._spent_s(self.call)
        if first > LONG_S and self._may_learn(1):  # it may have imported, compiled, or filled a cache
            first = self._spent_s(self.call)
        if first > LONG_S:
            self.is_quick = False
        if first > LONG_S or not self._may_learn(self.iterations):
            self.spent_s.append(first)
            return first, first * (1 if self.is_bare else self.iterations)
        if not self.is_bare:
            whole = self._spent_s(lambda: self.turn(1, warm_up=False))
            return self.spent_s[-1] * self.iterations, whole
        calls, cost = 1, first
        while self._may_learn(calls):
            cost = self._cost_s(calls)
            if cost * calls >= COST_S and self._may_learn(calls):  # it may have been a hiccup, which would leave the row with few calls
                cost = min(cost, self._cost_s(calls))
            if cost * calls >= COST_S:
                break
            calls *= 4
        return cost, cost

    def _cost_s(self, calls: int) -> float:
        whole = self._spent_s(lambda: self.turn(calls, warm_up=False)) / calls
        return self.spent_s[-1] if self.clock is CLOCK else whole

    def _may_learn(self, calls: int) -> bool:
        """Whether so many more calls may be made to find out what one costs."""
        return self.foreseen is None or self.calls + calls <= max(1, self.foreseen // SHARE_TO_LEARN)

    def _spent_s(self, act: Callable[[], object]) -> float:
        wall, start = CLOCK(), self.clock()
        act()
        return max(self.clock() - start, CLOCK() - wall, 1e-9)

    def _with_setup(self) -> float:
        args, kwargs = self._arguments()
        spent = self._timed(self.iterations, args, kwargs)
        if self.teardown is not None:
            self.teardown(*args, **kwargs)
        return spent

    def _arguments(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        if self.setup is None:
            return self.args, self.kwargs
        given = self.setup()
        if given is None:
            return self.args, self.kwargs
        if self.args or self.kwargs:
            raise TypeError("Can't use `args` or `kwargs` if `setup` returns the arguments.")
        args, kwargs = given
        return args, kwargs

    def _timed(self, calls: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
        function, clock = self.function, self.clock
        self.calls += calls
        before = interruptions()
        if args or kwargs:
            start = clock()
            for _ in range(calls):
                result = function(*args, **kwargs)
        else:
            start = clock()
            for _ in range(calls):
                result = function()
        end = clock()
        self.interrupted += interruptions() - before
        self.result = result
        slower = self.plant.get("slower")
        if slower:  # exactly this share more work, as long as this turn's own work took
            until = start + (end - start) * (1 + slower)
            while end < until:
                end = clock()
        return max(end - start, 1e-9)  # a clock too coarse to see it must not make it nothing


def interruptions() -> int:
    """Return how often the kernel has taken a core away from this thread for another process; 0 where it cannot say, as outside Linux."""
    who = getattr(resource, "RUSAGE_THREAD", None)
    return 0 if who is None else int(resource.getrusage(who).ru_nivcsw)


def move_to(core: int | None) -> None:
    """Move this thread to a core, and leave it, and whatever threads it starts, free to run where they might before.

    A system that refuses, as a sandbox may, leaves the thread where it is: the turn is measured there, with more noise.
    """
    if core is None:
        return
    allowed = os.sched_getaffinity(0)
    if core not in allowed:
        return
    try:
        os.sched_setaffinity(0, {core})
    except OSError:
        return
    os.sched_setaffinity(0, allowed)


def scattered(chance: random.Random) -> list[bytearray]:
    """Return blocks of many sizes, which are to be held while a test makes its data, so that these lie elsewhere in each process.

    Otherwise the same code puts them at the same places of a cache line and of a page in every process, and an edit that changes nothing
    may move them: a few per cent in every set, which no number of sets would remove.
    """
    return [bytearray(chance.randrange(1, most)) for most in (SMALL_BLOCK,) * SMALL_BLOCKS + (LARGE_BLOCK,) * LARGE_BLOCKS]
