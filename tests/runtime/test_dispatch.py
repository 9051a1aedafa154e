"""One call at a time, whoever comes second, and whatever exception ends the first."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest

from mlbench import BaselineRunner, OptimizedRunner, mlp
from mlbench.compiler.pipeline import PASSES
from mlbench.compiler.schedule.schedule import ONE, SPLIT, TILES, OpSchedule, Schedule
from mlbench.errors import BusyError, CrewError
from mlbench.ir import FloatArray
from mlbench.runtime import dispatch as calls
from mlbench.runtime.threads import BlasThreads
from support.exhaustive import tries
from support.strategies import batch_of

BATCH, SIZES = 24, (6, 8, 6)
ALL, FIRST, NONE = (True, True), (True, False), (False, False)
KINDS = {
    "code": ("relu", ALL, ONE, 1),
    "code-and-numpy": ("tanh", FIRST, ONE, 1),
    "numpy": ("sigmoid", NONE, ONE, 1),
    "team-of-rows": ("relu", ALL, TILES, 2),
    "team-of-columns": ("relu", ALL, SPLIT, 2),
    "crew-with-code": ("tanh", FIRST, TILES, 2),
    "crew": ("relu", NONE, TILES, 3),
}
"""Activation, which products are generated, who shares what, and threads."""
X, OTHER = batch_of(BATCH, 6, 1), batch_of(BATCH, 6, 2)
INPUTS: dict[str, Callable[[FloatArray], Any]] = {
    "plain": lambda x: x,
    "staged": lambda x: x.astype(np.float64),
    "strided": np.asfortranarray,
}


def runner_of(kind: str, tile_rows: int | None = 16) -> OptimizedRunner:
    """Return a runner whose calls take this way, which it has taken once."""
    activation, generated, threading_, threads = KINDS[kind]
    passes = [each.name for each in PASSES if generated != NONE or each.name != "codegen"]
    ops = tuple(OpSchedule(generated=each) for each in generated)
    model = mlp(*SIZES, activation=activation)
    runner = OptimizedRunner(model, BATCH, passes=passes, schedule=Schedule(tile_rows, ops, threading_), threads=threads)
    assert [runner.compiled.program.of(node).is_generated for node in runner.compiled.graph.nodes if node.op == "matmul"] == list(generated)
    for given in INPUTS.values():
        runner.run(given(X))
    return runner


def expected_of(kind: str, x: FloatArray) -> FloatArray:
    """Return what the baseline has."""
    return BaselineRunner(mlp(*SIZES, activation=KINDS[kind][0])).run(x)


def is_close(one: FloatArray, other: FloatArray) -> bool:
    """Whether two results are the same but for rounding."""
    return np.allclose(one, other, rtol=1e-4, atol=1e-4)


BLAS = BlasThreads(1)


def blas_threads() -> list[int]:
    """Return how many threads each BLAS of this process uses."""
    return [library.get_num_threads() for library in BLAS._libraries]


TRACED = tuple(f"runtime/{name}.py" for name in ("dispatch", "engine", "executors", "lane", "threads", "fallback"))


def has_no_python(kind: str, form: str) -> bool:
    """Whether such a call is machine code alone."""
    return form == "plain" and kind in ("code", "team-of-rows", "team-of-columns")


class _Step:
    """Does something once, after so many instructions of Python within a runner's own functions.

    Attributes:
        left: instructions until then.
    """

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.left = number
        self._act = act

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        """Trace a frame."""
        name = frame.f_code.co_filename
        if "<mlbench>" not in name and not name.endswith(TRACED):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                self._act()
        return self


@contextmanager
def traced(step: _Step) -> Iterator[None]:
    """Trace this thread for a while."""
    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # CPython 3.12 looks for one such frame when the tracing begins
    sys.settrace(step)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["plain", "staged"])
@pytest.mark.parametrize("with_out", [False, True], ids=["arena", "out"])
def test_a_call_within_a_call_harms_nobody(kind: str, form: str, with_out: bool) -> None:
    """At every instruction: a trace function that calls the runner it interrupted gets its result or an error, and the call its own."""
    runner, x = runner_of(kind), INPUTS[form](X)
    expected, other = expected_of(kind, X), expected_of(kind, OTHER)
    out = np.empty_like(expected) if with_out else None
    ends: list[str] = []

    def enter() -> None:
        try:
            ends.append("right" if is_close(runner.run(OTHER), other) else "wrong")
        except BusyError as error:
            ends.append("busy" if "further down on this one" in str(error) else str(error))

    number, stride = 1, tries(7, 3 if "crew" in kind else 1)
    step = _Step(number, enter)
    while step.left <= 0 or number == 1:
        step = _Step(number, enter)
        with traced(step):
            y = runner.run(x, out)
        assert is_close(y, expected) or (ends[-1:] == ["right"] and out is None), f"instruction {number}"
        number += stride
    assert set(ends) <= {"right", "busy"}
    assert "right" in ends or has_no_python(kind, form)
    assert is_close(runner.run(OTHER), other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["plain", "staged"])
def test_an_exception_anywhere_is_survived(kind: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every instruction: after an exception the next call is right, nobody is inside, and BLAS has the threads it had."""
    monkeypatch.setattr("mlbench.runtime.threads.WAIT_S", 0.005)
    runner, x = runner_of(kind), INPUTS[form](X)
    expected, other = expected_of(kind, X), expected_of(kind, OTHER)
    before = blas_threads()

    def interrupt() -> None:
        raise KeyboardInterrupt

    stride = 2 if "crew" in kind else 1
    number = 1 - stride + (form == "staged") * (stride - 1)
    is_over = False
    while not is_over:
        number += stride
        step = _Step(number, interrupt)
        try:
            with traced(step):
                assert is_close(runner.run(x), expected)
            is_over = step.left > 0
        except KeyboardInterrupt:
            pass
        assert is_close(runner.run(OTHER), other), f"instruction {number}"
        assert blas_threads() == before
    assert number > 20 or has_no_python(kind, form)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_at_a_random_moment_is_survived(kind: str) -> None:
    """The call that a signal hits ends with its exception, and the next one, of another input, is right."""
    runner, expected, other = runner_of(kind), expected_of(kind, X), expected_of(kind, OTHER)
    out, moments = np.empty_like(expected), random.Random(1)
    before, hits = blas_threads(), 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    gc.collect()
    gc.disable()  # an exception that arrives in a finalizer is lost
    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, 5e-4))
                while True:
                    runner.run(X)
                    runner.run(X, out)
            except KeyboardInterrupt:
                hits += 1
            y = runner.run(OTHER, out) if number % 2 else runner.run(OTHER)
            assert is_close(y, other), f"interrupt {number}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        gc.enable()
    assert hits == 300
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
@pytest.mark.parametrize("kind", ["code-and-numpy", "numpy", "crew"])
def test_a_signal_handler_that_calls_harms_nobody(kind: str) -> None:
    """A handler that calls the runner it interrupted gets a right result or an error; a call with `out` has its own result."""
    runner, expected, other = runner_of(kind), expected_of(kind, X), expected_of(kind, OTHER)
    out, ends = np.empty_like(expected), list[str]()

    def enter(*_: object) -> None:
        try:
            ends.append("right" if is_close(runner.run(OTHER), other) else "wrong")
        except BusyError:
            ends.append("busy")

    moments = random.Random(1)
    old = signal.signal(signal.SIGALRM, enter)
    try:
        for number in range(200):
            signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-6, 3e-4))
            while len(ends) == number:
                assert is_close(runner.run(X, out), expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert set(ends) <= {"right", "busy"}


@pytest.mark.parametrize("left_in_the_word", [0, 1], ids=["left", "came-back"])
def test_whoever_comes_while_a_call_ends_is_turned_away(left_in_the_word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look for calls takes time; when the one inside leaves meanwhile, or comes in again, the one that looks does not come in as well."""
    runner = runner_of("numpy")
    word = runner._engine.guard.word
    frames = calls._frames

    def ends_meanwhile() -> Iterator[FrameType]:
        yield from frames()
        word[0] = left_in_the_word

    monkeypatch.setattr(calls, "_frames", ends_meanwhile)
    word[0] = 1
    with pytest.raises(BusyError):
        runner.run(X)
    assert word[0] == left_in_the_word


class _Inside(np.ndarray):
    """An array that does something when the checks look at it, in the middle of `run`."""

    act: Callable[[], None]

    @property
    def ndim(self) -> int:
        self.act()
        return 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", INPUTS)
@pytest.mark.parametrize("with_out", [False, True], ids=["arena", "out"])
@pytest.mark.parametrize("where", ["same", "other"])
def test_whoever_comes_second_is_turned_away(kind: str, form: str, with_out: bool, where: str) -> None:
    """During a call, another one on the same or on another thread is refused, also where it would need no look at its memory."""
    runner, out = runner_of(kind), np.empty((BATCH, 6), np.float32)
    errors: list[BaseException] = []

    def second() -> None:
        try:
            runner.run(INPUTS[form](OTHER), out if with_out else None)
        except BusyError as error:
            errors.append(error)

    def act() -> None:
        if where == "same":
            second()
        else:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(60)

    x = X.view(_Inside)
    x.act = act
    assert is_close(runner.run(x), expected_of(kind, X))
    assert errors
    assert "make one runner per thread from the same model, weights are shared" in str(errors[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("kind", ["code", "code-and-numpy", "numpy"])
def test_a_child_may_call_what_a_thread_of_its_parent_was_running(kind: str) -> None:
    """The thread that was inside is not in the child: a call there is right, and a second one inside of it is still refused."""
    runner, expected = runner_of(kind), expected_of(kind, OTHER)
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        entered.set()
        assert leave.wait(60)

    x = X.view(_Inside)
    x.act = stay
    thread = threading.Thread(target=runner.run, args=(x,))
    thread.start()
    assert entered.wait(60)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if is_close(runner.run(OTHER), expected) and is_close(runner.run(OTHER), expected) else 2
            refused: list[int] = []

            def second() -> None:
                try:
                    runner.run(OTHER)
                except BusyError:
                    refused.append(1)

            x.act = second
            runner.run(x)
            code += 4 * (not refused)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    leave.set()
    thread.join(60)
    assert code == 0


CYCLE = """
import gc, sys
import numpy as np
from mlbench import Schedule, OptimizedRunner, mlp
from mlbench.compiler.pipeline import PASSES
from mlbench.errors import CrewError
from mlbench.compiler.schedule.schedule import OpSchedule

activation, threading_, *ways = sys.argv[1:]
ops = tuple(OpSchedule(generated=way == "code") for way in ways)
x = np.ones((64, 64), np.float32)

class Service:
    def __init__(self):
        model = mlp(64, 64, 64, activation=activation)
        passes = None if "code" in ways else [each.name for each in PASSES if each.name != "codegen"]
        given = {} if passes is None else {"passes": passes}
        self.runner = OptimizedRunner(model, 64, threads=2, schedule=Schedule(None, ops, threading_), **given)
        self.runner.run(x)
        self.me = self

    def __del__(self):
        try:
            self.runner.run(x)
            print("ran", flush=True)
        except CrewError as error:
            print("refused" if "make a new runner" in str(error) else error, flush=True)

service = Service()
"""


@pytest.mark.parametrize("ending", ["collected", "at-exit"])
@pytest.mark.parametrize("kind", ["team-of-rows", "team-of-columns", "crew-with-code", "crew"])
def test_a_finalizer_may_call_the_runner_that_goes_with_it(kind: str, ending: str) -> None:
    """The collector lets the threads end before it runs finalizers: one that calls then gets an error, or a result, and does not wait."""
    activation, generated, threading_, _ = KINDS[kind]
    code = CYCLE + ("del service\ngc.collect()\n" if ending == "collected" else "")
    arguments = [activation, threading_, *("code" if each else "numpy" for each in generated)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert done.stdout in (("refused\n",) if ending == "collected" else ("refused\n", "ran\n", ""))


@pytest.mark.parametrize("kind", ["team-of-rows", "team-of-columns", "crew-with-code", "crew"])
def test_threads_that_do_not_start_are_an_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner is not made of fewer threads than it was asked for."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(CrewError, match="the system started 0 of the"):
        runner_of(kind)
