"""The ways into a runner: the shortest ones for an x that can be read where it lies, and the one for whatever else a caller may give.

One call runs at a time, whoever comes second: another thread, or a signal handler, a finalizer or a trace function on the same thread. A
word in memory, the guard, says whether somebody is inside. Generated code that keeps the interpreter's lock only looks at it, because
nobody comes in before it is done. Generated code that gives the lock away takes the word, and so does Python.

CPython changes threads, runs signal handlers and raises what another thread sends only at calls, at jumps backwards and where a function
begins. There are none of these between the look at the word, its taking, and the `try` that gives it back, so no thread and no exception
comes between; with `threading.Lock`, whose taking is a call, Ctrl-C would now and then leave a runner taken for ever. What can still come
between is a trace function that raises. And a fork copies a word that a thread has taken, but not the thread. So whoever finds the word
taken looks whether any thread is in a call of this runner, and takes it over if none is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from mlbench.compiler.x86 import IS_READABLE
from mlbench.errors import BusyError, CodeError
from mlbench.ir import FloatArray
from mlbench.runtime.numpy_backend.binding import Tile
from mlbench.runtime.validation import checked_all

if TYPE_CHECKING:
    from mlbench.runtime.engine import Engine
    from mlbench.runtime.fallback import Engines

Call = Callable[[FloatArray], FloatArray]
"""What runs an x and returns the result; or that x, where it cannot read it as it lies, or somebody is inside."""
Cut = tuple[Tile, int, int]
"""A tile function, the first of its rows, and their end."""
Floats = npt.NDArray[np.floating]
F32 = np.dtype(np.float32)
_TAKEN, _LOOKED_AT = 1, 2


class Run(Protocol):
    """The signature of `OptimizedRunner.run`."""

    def __call__(self, x: Floats, out: FloatArray | None = None) -> FloatArray:
        """Run the model."""


class RunAll(Protocol):
    """The signature of `OptimizedRunner.run_all`."""

    def __call__(self, xs: tuple[Floats, ...]) -> tuple[FloatArray, ...]:
        """Run the model with one array for each input."""


def entrance(engine: Engine, engines: Engines) -> Run:
    """Return `run`: one caller at a time, and the shortest way for an input that needs no look at its memory.

    Whoever has `run` alone finds what it runs with in its attribute `engines`.
    """
    run_any, without_code = engines.run, engines.without_code
    call_for: Callable[[tuple[int, ...]], Call | None] = engine.calls.get
    is_apart, array, single, word = engine.is_apart, np.ndarray, F32, engine.guard.word

    def run(x: Floats, out: FloatArray | None = None) -> FloatArray:
        if out is None and x.__class__ is array and x.dtype is single:
            call = call_for(x.shape)
            if call is not None and (x.base is None or is_apart(x)):
                y = call(x)
                if y is not x:
                    return y
        was_taken, word[0] = word[0], _TAKEN
        if was_taken:
            _check_that_nobody_is_inside(word)
        try:
            return run_any[0](x, out)
        except CodeError as error:
            return without_code(error)(x, out)
        finally:
            word[0] = 0

    vars(run)["engines"] = engines
    return run


def entrance_for_all(engine: Engine, engines: Engines, single: Run | None) -> RunAll:
    """Return `run_all`: by `run`, where there is one, else one caller at a time through the checks of the engine.

    Whoever has `run_all` alone finds what it runs with in its attribute `engines`.
    """
    run_any, word, inputs = engine.run_all, engine.guard.word, engine.compiled.source.inputs

    def run_all(xs: tuple[Floats, ...]) -> tuple[FloatArray, ...]:
        if single is not None:
            return (single(*checked_all(xs, inputs)),)
        return run(xs)

    def run(xs: tuple[Floats, ...]) -> tuple[FloatArray, ...]:
        was_taken, word[0] = word[0], _TAKEN
        if was_taken:
            _check_that_nobody_is_inside(word)
        try:
            return run_any(xs)
        finally:
            word[0] = 0

    vars(run_all)["engines"] = engines
    return run_all


def _check_that_nobody_is_inside(word: bytearray) -> None:
    """Look for calls of a runner, by its word; the one that asks is there itself.

    Other threads run meanwhile. One that leaves, or comes in, writes another number than this look has left in the word; then somebody was
    inside when this call came.
    """
    here = globals()
    word[0] = _LOOKED_AT
    mine = (frame for frame in _frames() if frame.f_globals is here and frame.f_code.co_name == "run")
    calls = [frame for frame in mine if frame.f_locals.get("word") is word]
    if len(calls) > 1 or word[0] != _LOOKED_AT:
        raise BusyError(
            "this runner is running, on another thread or further down on this one; make one runner per thread from the same model, "
            "weights are shared"
        )


def _frames() -> Iterator[FrameType]:
    """Give the frames of all threads."""
    for innermost in sys._current_frames().values():  # noqa: SLF001  # what `faulthandler` and profilers use as well
        frame: FrameType | None = innermost
        while frame is not None:
            yield frame
            frame = frame.f_back


def call_of_tiles(cuts: Sequence[Cut], output: FloatArray, word: bytearray, *, has_code: bool) -> Call:
    """Return what runs tile functions into `output`; with generated code in them they read an x in C order alone."""
    call = _one_tile(cuts[0][0], output, word) if len(cuts) == 1 else _some_tiles(cuts, output, word)
    return _in_order(call) if has_code else call


def _in_order(call: Call) -> Call:
    def checked(x: FloatArray) -> FloatArray:
        return call(x) if x.flags.num & IS_READABLE == IS_READABLE else x

    return checked


def _one_tile(tile: Tile, output: FloatArray, word: bytearray) -> Call:
    def call(x: FloatArray) -> FloatArray:
        was_taken, word[0] = word[0], _TAKEN
        if was_taken:
            return x
        try:
            tile(x, output)
            return output
        finally:
            word[0] = 0

    return call


def _some_tiles(cuts: Sequence[Cut], output: FloatArray, word: bytearray) -> Call:
    steps = tuple((tile, first, last, output[first:last]) for tile, first, last in cuts)

    def call(x: FloatArray) -> FloatArray:
        was_taken, word[0] = word[0], _TAKEN
        if was_taken:
            return x
        try:
            for tile, first, last, rows in steps:
                tile(x[first:last], rows)
            return output
        finally:
            word[0] = 0

    return call
