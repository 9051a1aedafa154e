"""The ways into a runner: the shortest ones for an x that can be read where it lies, and the one for whatever else a caller may give.

Where generated code runs all of a call, `run` is a function in machine code (`mlbench.compiler.x86.calls.entry`), and a function of Python
takes what that does not. Elsewhere `run` is that function of Python.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, cast, overload

import numpy as np
import numpy.typing as npt

from mlbench.compiler.x86 import IN_CODE, IS_READABLE, LOOKED_AT, TAKEN, code_of, entry
from mlbench.errors import BusyError
from mlbench.ir import FloatArray
from mlbench.runtime.numpy_backend.binding import Tile

if TYPE_CHECKING:
    from mlbench.runtime.engine import Engine

Call = Callable[[Any], Any]
"""What runs an x and returns the result; or that x, where it cannot read it as it lies, or somebody is inside. Several are a tuple."""
Cut = tuple[Tile, int, int]
"""A tile function, the first of its rows, and their end."""
Floats = npt.NDArray[np.floating]
F32 = np.dtype(np.float32)
_SHAPE = attrgetter("shape")
_BUSY = (
    "this runner is running, on another thread or further down on this one; make one runner per thread from the same model, "
    "weights are shared"
)
_ABOUT = """Run the model on some rows, and return the results: the runner's own until its next call, or `out`.

`help(mlbench.OptimizedRunner)` says what x and out may be, and which errors there are."""


class Run(Protocol):
    """The signature of `OptimizedRunner.run`."""

    @overload
    def __call__(self, x: Floats, out: FloatArray | None = None) -> FloatArray: ...

    @overload
    def __call__(self, *xs: Floats | Mapping[str, Floats], out: FloatArray | Sequence[FloatArray] | None = None) -> Any: ...


def way_in(engine: Engine) -> Run:
    """Return `run`: a function in machine code where generated code runs all of a call, and else one of Python."""
    is_one = len(engine.compiled.source.inputs) == 1
    of_python = (_entrance if is_one else _entrance_for_several)(engine)
    if engine.generated is None or engine.own is None:
        return of_python
    signature = "run($self, x, out=None)" if is_one else "run($self, /, *xs, out=None)"
    arrays = replace(engine.generated.arrays, least_rows=engine.signature.batch or 1)
    run = entry(arrays, engine.generated.work, engine.own, of_python, engine, f"{signature}\n--\n\n{_ABOUT}")
    engine.entry_bytes = code_of(run).size_bytes
    return cast("Run", run)


def _entrance(engine: Engine) -> Run:
    """Return `run`: one caller at a time, and the shortest way for an input that needs no look at its memory."""
    run_any = engine.run
    call_for: Callable[[tuple[int, ...]], Call | None] = engine.calls.get
    is_apart, array, single, word = engine.is_apart, np.ndarray, F32, engine.guard.word

    def run(x: Floats, out: object = None) -> Any:
        if out is None and x.__class__ is array and x.dtype is single:
            call = call_for(x.shape)
            if call is not None and (x.base is None or is_apart(x)):
                y = call(x)
                if y is not x:
                    return y
        if word[0] == IN_CODE:
            raise BusyError(_BUSY)
        was_taken, word[0] = word[0], TAKEN
        if was_taken:
            _check_that_nobody_is_inside(word)
        try:
            return run_any(x, out)
        finally:
            word[0] = 0

    vars(run)["engine"] = engine
    return cast("Run", run)


def _entrance_for_several(engine: Engine) -> Run:
    """Return `run` for several inputs, in the same way: one call at a time, and the shortest way for inputs that need no look."""
    run_any = engine.run
    call_for: Callable[[Any], Call | None] = engine.calls.get
    is_apart, array, single, word = engine.is_apart, np.ndarray, F32, engine.guard.word

    def is_plain(x: Any) -> bool:
        return x.__class__ is array and x.dtype is single and (x.base is None or is_apart(x))

    def run(*xs: Any, out: object = None) -> Any:
        if out is None and all(map(is_plain, xs)):
            call = call_for(tuple(map(_SHAPE, xs)))
            if call is not None:
                ys = call(xs)
                if ys is not xs:
                    return ys
        if word[0] == IN_CODE:
            raise BusyError(_BUSY)
        was_taken, word[0] = word[0], TAKEN
        if was_taken:
            _check_that_nobody_is_inside(word)
        try:
            return run_any(xs, out)
        finally:
            word[0] = 0

    vars(run)["engine"] = engine
    return cast("Run", run)


def _check_that_nobody_is_inside(word: bytearray) -> None:
    """Look for calls of a runner, by its word; the one that asks is there itself.

    Other threads run meanwhile. One that leaves, or comes in, writes another number than this look has left in the word; then somebody was
    inside when this call came.
    """
    here = globals()
    word[0] = LOOKED_AT
    mine = (frame for frame in _frames() if frame.f_globals is here and frame.f_code.co_name == "run")
    calls = [frame for frame in mine if frame.f_locals.get("word") is word]
    if len(calls) > 1 or word[0] != LOOKED_AT:
        raise BusyError(_BUSY)


def _frames() -> Iterator[FrameType]:
    """Give the frames of all threads."""
    for innermost in sys._current_frames().values():  # noqa: SLF001  # what `faulthandler` and profilers use as well
        frame: FrameType | None = innermost
        while frame is not None:
            yield frame
            frame = frame.f_back


def call_of_tiles(cuts: Sequence[Cut], outputs: Sequence[FloatArray], inputs: int, word: bytearray, *, has_code: bool) -> Call:
    """Return what runs tile functions into the outputs; with generated code in them they read inputs in C order alone.

    The call takes an array, or a tuple of them for several inputs, and returns likewise.
    """
    if inputs == len(outputs) == 1:
        call = _one_tile(cuts[0][0], outputs[0], word) if len(cuts) == 1 else _some_tiles(cuts, outputs[0], word)
        return _in_order(call) if has_code else call
    call = _tiles_of_several(cuts, tuple(outputs), word, is_one=inputs == 1)
    return _all_in_order(call) if has_code else call


def _in_order(call: Call) -> Call:
    def checked(x: FloatArray) -> Any:
        return call(x) if x.flags.num & IS_READABLE == IS_READABLE else x

    return checked


def _all_in_order(call: Call) -> Call:
    def checked(given: Any) -> Any:
        xs = given if given.__class__ is tuple else (given,)
        return call(given) if all(x.flags.num & IS_READABLE == IS_READABLE for x in xs) else given

    return checked


def _one_tile(tile: Tile, output: FloatArray, word: bytearray) -> Call:
    def call(x: FloatArray) -> FloatArray:
        was_taken, word[0] = word[0], TAKEN
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
        was_taken, word[0] = word[0], TAKEN
        if was_taken:
            return x
        try:
            for tile, first, last, rows in steps:
                tile(x[first:last], rows)
            return output
        finally:
            word[0] = 0

    return call


def _tiles_of_several(cuts: Sequence[Cut], outputs: tuple[FloatArray, ...], word: bytearray, *, is_one: bool) -> Call:
    steps = tuple((tile, first, last, tuple(output[first:last] for output in outputs)) for tile, first, last in cuts)
    whole, *more = steps
    results = outputs[0] if len(outputs) == 1 else outputs

    def call(given: Any) -> Any:
        was_taken, word[0] = word[0], TAKEN
        if was_taken:
            return given
        try:
            xs = (given,) if is_one else given
            if not more:
                whole[0](*xs, *outputs)
                return results
            for tile, first, last, rows in steps:
                tile(*[x[first:last] for x in xs], *rows)
            return results
        finally:
            word[0] = 0

    return call
