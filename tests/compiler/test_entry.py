"""The function that a caller calls, in machine code: what it takes, what it leaves to Python, and who may be inside."""

from __future__ import annotations

import ctypes
import gc
import inspect
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from mlbench.arrays import aligned_bytes
from mlbench.compiler.x86 import cpu, layout
from mlbench.compiler.x86.calls.arrays import Arrays
from mlbench.compiler.x86.calls.entry import entry, inner
from mlbench.compiler.x86.calls.guard import FREE, IN_CODE, TAKEN, Guard
from mlbench.compiler.x86.calls.results import MADE_AT_ONCE, Results
from mlbench.compiler.x86.calls.work import Own, Work
from mlbench.compiler.x86.encoding.assembler import RAX, RCX, RDI, RDX, RSI, Assembler, Label, Mem
from mlbench.compiler.x86.encoding.executable import Code, known_of
from mlbench.compiler.x86.stages import CLOSED, DONE
from mlbench.compiler.x86.team.threads import Team
from mlbench.errors import CopyError
from mlbench.ir import FloatArray

FOUND, WHY = cpu.find()
needs_code = pytest.mark.skipif(FOUND is None, reason=f"no generated code here: {WHY}")
COLUMNS, MOST = 3, 8
TEXT = "run($self, x, out=None)\n--\n\nRun it."


def copying(arrays: Arrays, address: int = 0, returns: int = DONE) -> Code:
    """Return a body that copies each input to the output of its place; with an address it waits first until a word there is not 0."""
    a = Assembler()
    if address:
        again = Label()
        a.put(again)
        a.pause()
        a.mov_number(RAX, address)
        a.load32(RAX, Mem(RAX))
        a.cmp_number(RAX, 0)
        a.jump_if("e", again)
    for index, columns in enumerate(arrays.outputs):
        again = Label()
        a.load(RCX, Mem(RDI, 8 * index))
        a.load(RDX, Mem(RDI, 8 * (len(arrays.inputs) + index)))
        a.multiply_number(8, RSI, columns)
        a.put(again)
        a.load32(RAX, Mem(RCX))
        a.store32(Mem(RDX), RAX)
        a.add_number(RCX, 4)
        a.add_number(RDX, 4)
        a.sub_number(8, 1)
        a.jump_if("ne", again)
    a.mov_number(RAX, returns)
    a.ret()
    return Code(a.finish())


class Made:
    """A function around a body that copies, and what it runs with.

    Attributes:
        run: the function.
        given: the arguments of each call that went to Python.
        work: what a call does.
        guard: of the function.
        memory: where its results lie.
        outputs: its own.
        go: the word that a body waits for.
    """

    def __init__(
        self, inputs: int = 1, outputs: int = 1, released_rows: int = MOST + 1, team: Team | None = None, *, waits: bool = False
    ) -> None:
        self.arrays = Arrays((COLUMNS,) * inputs, (COLUMNS,) * outputs, MOST)
        self.memory = aligned_bytes(4 * MOST * COLUMNS * outputs)
        flat = self.memory.view(np.float32).reshape(outputs, MOST, COLUMNS)
        self.outputs = tuple(flat)
        self.go = np.zeros(1, np.uint32)
        code = copying(self.arrays, self.go.ctypes.data if waits else 0)
        self.work = Work(code, released_rows, team)
        self.guard = Guard()
        self.given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        given = self.given

        def otherwise(*args: Any, **kwargs: Any) -> str:
            given.append((args, kwargs))
            return "python"

        own = Own(Results(self.outputs), self.memory, self.guard)
        self.run = entry(self.arrays, self.work, own, otherwise, self.arrays, TEXT)


def x_of(rows: int, seed: int = 0) -> FloatArray:
    """Return numbers."""
    return np.random.default_rng(seed).standard_normal((rows, COLUMNS), dtype=np.float32)


class _Own(np.ndarray):
    """An array of somebody's own class."""


def _unaligned(x: FloatArray) -> FloatArray:
    return np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)


LEFT: dict[str, Callable[[FloatArray], Any]] = {
    "subclass": lambda x: x.view(_Own),
    "float64": lambda x: x.astype(np.float64),
    "byte-swapped": lambda x: x.astype(">f4"),
    "integers": lambda x: x.view(np.int32),
    "columns-first": np.asfortranarray,
    "every-other-row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "unaligned": _unaligned,
    "one-dimension": lambda x: x[0],
    "three-dimensions": lambda x: x[np.newaxis],
    "no-dimensions": lambda _: np.zeros((), np.float32),
    "more-columns": lambda x: np.hstack([x, x]),
    "no-rows": lambda x: x[:0],
    "more-rows": lambda x: np.vstack([x] * MOST),
    "a-list": lambda x: x.tolist(),
    "a-mapping": lambda x: {"x": x},
    "nothing": lambda _: None,
    "a-type": lambda _: int,
    "a-number": lambda _: 1.5,
}
"""What is not read where it lies."""
TAKEN_AS_IT_LIES: dict[str, Callable[[FloatArray], Any]] = {
    "array": lambda x: x,
    "rows-of-an-array": lambda x: np.vstack([x[:1], x])[1:],
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
    "view-of-a-view": lambda x: x[:][np.newaxis][0],
}


@needs_code
@pytest.mark.parametrize("form", TAKEN_AS_IT_LIES)
@pytest.mark.parametrize("rows", [1, 4, MOST])
def test_a_plain_array_is_run_by_code_alone(rows: int, form: str) -> None:
    """Each number of rows has a result of its own, the same object each time, and no reference is lost or left."""
    made, x = Made(), TAKEN_AS_IT_LIES[form](x_of(rows))
    y = made.run(x)
    np.testing.assert_array_equal(y, x)
    before = sys.getrefcount(x), sys.getrefcount(y)
    assert all(made.run(x) is y for _ in range(100))
    assert (sys.getrefcount(x), sys.getrefcount(y)) == before
    assert np.shares_memory(y, made.memory)
    assert made.run(x_of(2)).shape == (2, COLUMNS)
    assert not made.given


@needs_code
@pytest.mark.parametrize("form", LEFT)
def test_what_cannot_be_read_where_it_lies_goes_to_python(form: str) -> None:
    """With the very arguments, positions and names; nothing is written."""
    made, x = Made(), LEFT[form](x_of(4))
    out = np.zeros((4, COLUMNS), np.float32)
    for args, kwargs in (((x,), {}), ((x, out), {}), ((x,), {"out": out})):
        made.given.clear()
        assert made.run(*args, **kwargs) == "python"
        ((found, named),) = made.given
        assert all(one is other for one, other in zip(found, args, strict=True))
        assert all(named[name] is each for name, each in kwargs.items())
        assert len(named) == len(kwargs)
    assert not made.memory.any()
    assert not out.any()


@needs_code
@pytest.mark.parametrize("form", LEFT)
def test_no_other_array_is_written_to(form: str) -> None:
    """What is not a plain array of the right shape as `out` goes to Python."""
    made, x = Made(), x_of(4)
    out = LEFT[form](x_of(4))
    expected: Any = "python" if out is not None else made.run(x)
    assert made.run(x, out) is expected
    assert made.run(x, out=out) is expected


@needs_code
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"x": 2}), ((), {"x": 1}), ((1,), {"out": 1, "more": 2}), ((1, 2), {"out": 3})],
    ids=["none", "three", "x-twice", "x-by-name", "unknown-name", "out-twice"],
)
def test_other_arguments_go_to_python(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    """Which says what is wrong with them."""
    made = Made()
    assert made.run(*args, **kwargs) == "python"
    assert made.given == [(args, kwargs)]


@needs_code
def test_the_result_goes_where_it_is_asked() -> None:
    """By position or by name; None is no place."""
    made, x = Made(), x_of(4)
    calls: tuple[Callable[[Any], Any], ...] = (lambda out: made.run(x, out), lambda out: made.run(x, out=out))
    for call in calls:
        out = np.zeros((6, COLUMNS), np.float32)[1:5]
        before = sys.getrefcount(out)
        assert call(out) is out
        assert sys.getrefcount(out) == before
        np.testing.assert_array_equal(out, x)
        assert not out.base[[0, 5]].any()
        assert call(None) is made.run(x)
    assert not made.given


@needs_code
def test_a_read_only_place_goes_to_python() -> None:
    """Nothing is written there."""
    made, out = Made(), np.zeros((4, COLUMNS), np.float32)
    out.flags.writeable = False
    assert made.run(x_of(4), out) == "python"
    assert not out.any()


@needs_code
def test_memory_that_overlaps_goes_to_python() -> None:
    """A byte is enough: an input or a place in the runner's own memory, a place over an input; neighbours are no overlap."""
    made = Made()
    room = np.zeros(100 + 3 * MOST * COLUMNS, np.float32)
    near = aligned_bytes(4 * room.size).view(np.float32)
    for shift in range(-4 * COLUMNS, 4 * COLUMNS + 1):
        x, out = (near[start : start + 4 * COLUMNS].reshape(4, COLUMNS) for start in (50, 50 + shift))
        overlaps = abs(shift) < 4 * COLUMNS
        assert isinstance(made.run(x, out), str) is overlaps
    (first,) = made.outputs
    for start in range(MOST - 1):
        inside = first[start : start + 1]
        assert made.run(inside) == "python"
        assert made.run(x_of(1), inside) == "python"


@needs_code
def test_memory_next_to_the_runners_own_is_apart() -> None:
    """An array that ends where the runner's memory begins, or begins where it ends, is read where it lies."""
    arrays = Arrays((COLUMNS,), (COLUMNS,), MOST)
    room = np.zeros(3 * MOST * COLUMNS, np.float32)
    size = MOST * COLUMNS
    mine = room[size : 2 * size]
    own = Own(Results([mine.reshape(MOST, COLUMNS)]), mine.view(np.uint8), Guard())
    run = entry(arrays, Work(copying(arrays), MOST + 1), own, lambda *_: "python", None, TEXT)
    for start in range(2 * size + 1):
        x = room[start : start + size].reshape(MOST, COLUMNS)
        is_apart = start in (0, 2 * size)
        assert isinstance(run(x), str) is not is_apart
        assert isinstance(run(x_of(MOST), x), str) is not is_apart


@needs_code
def test_several_arrays_come_and_go() -> None:
    """Results are a tuple, the same one each time; inputs of different numbers of rows, and places for them, go to Python."""
    made = Made(2, 2)
    one, other = x_of(5), x_of(5, 1)
    ys = made.run(one, other)
    assert isinstance(ys, tuple)
    np.testing.assert_array_equal(ys[0], one)
    np.testing.assert_array_equal(ys[1], other)
    assert made.run(one, other) is ys
    assert made.run(one, other, out=None) is ys
    assert not made.given
    for args in ((one, x_of(4)), (one,), (one, other, one), (one, other.astype(np.float64))):
        assert made.run(*args) == "python"
    assert made.run(one, other, out=(one.copy(), other.copy())) == "python"
    two_to_one = Made(2, 1)
    out = np.zeros((5, COLUMNS), np.float32)
    assert two_to_one.run(one, other, out=out) is out
    assert two_to_one.run(one, other, out=other) == "python"
    np.testing.assert_array_equal(out, one)


@needs_code
@pytest.mark.parametrize(("least", "most"), [(MOST, MOST), (3, 5)])
def test_rows_that_are_fixed_are_looked_at(least: int, most: int) -> None:
    """Fewer and more rows go to Python."""
    arrays, memory = Arrays((COLUMNS,), (COLUMNS,), most, least), aligned_bytes(4 * MOST * COLUMNS)
    results = Results([memory.view(np.float32).reshape(MOST, COLUMNS)[:most]], least)
    run = entry(arrays, Work(copying(arrays), MOST + 1), Own(results, memory, Guard()), lambda *_: "python", None, TEXT)
    for rows in range(MOST + 2):
        assert isinstance(run(x_of(rows)), str) is not (least <= rows <= most)
        assert isinstance(run(x_of(rows), np.zeros((rows, COLUMNS), np.float32)), str) is not (least <= rows <= most)


@needs_code
def test_a_guard_that_is_taken_keeps_calls_out() -> None:
    """They go to Python, and the guard is as it was."""
    made = Made()
    made.guard.word[0] = TAKEN
    assert made.run(x_of(4)) == "python"
    assert made.run(x_of(4), np.zeros((4, COLUMNS), np.float32)) == "python"
    assert made.guard.word[0] == TAKEN
    assert not made.memory.any()


@needs_code
@pytest.mark.parametrize("rows", [MOST - 1, MOST])
def test_long_work_gives_the_lock_away(rows: int) -> None:
    """Other threads run meanwhile, a second call goes to Python, and the guard is free afterwards; fewer rows keep lock and guard."""
    made, results = Made(released_rows=MOST, waits=True), list[Any]()
    if rows < MOST:
        made.go[0] = 1
        made.run(x_of(rows))
        assert made.guard.word[0] == FREE
        return
    x = x_of(rows)
    thread = threading.Thread(target=lambda: results.append(made.run(x)))
    thread.start()
    deadline = time.monotonic() + 60
    while made.guard.word[0] != IN_CODE and time.monotonic() < deadline:
        time.sleep(0.001)
    assert made.run(x_of(1)) == "python"
    assert made.run(x) == "python"
    made.go[0] = 1
    thread.join(60)
    assert made.guard.word[0] == FREE
    np.testing.assert_array_equal(results[0], x)


@needs_code
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_code_of_a_parent_is_not_inside_a_child() -> None:
    """The thread that ran it is not there, so the guard is free; the parent's is not."""
    made = Made(released_rows=MOST, waits=True)
    x = x_of(MOST)
    thread = threading.Thread(target=made.run, args=(x,))
    thread.start()
    while made.guard.word[0] != IN_CODE:
        time.sleep(0.001)
    child = os.fork()
    if child == 0:
        ending = 1
        try:
            made.go[0] = 1
            ending = 0 if np.array_equal(made.run(x), x) else 2
        finally:
            os._exit(ending)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert made.guard.word[0] == IN_CODE
    made.go[0] = 1
    thread.join(60)
    assert code == 0


@needs_code
def test_a_closed_team_goes_to_python() -> None:
    """Python then says what became of it."""
    team = Team(2)
    made = Made(team=team)
    x = x_of(4)
    np.testing.assert_array_equal(made.run(x), x)
    made.memory[:] = 0
    team._close()
    assert made.run(x) == "python"
    assert not made.memory.any()
    assert inner(made.arrays, made.work)(x, np.zeros_like(x)) is x


@needs_code
@pytest.mark.parametrize("released_rows", [1, MOST + 1])
def test_a_team_that_turned_out_to_be_closed_goes_to_python(released_rows: int) -> None:
    """The body says so; guard and lock are given back, and nothing of the result is believed."""
    arrays, guard = Arrays((COLUMNS,), (COLUMNS,), MOST), Guard()
    memory = aligned_bytes(4 * MOST * COLUMNS)
    own = Own(Results([memory.view(np.float32).reshape(MOST, COLUMNS)]), memory, guard)
    work = Work(copying(arrays, returns=CLOSED), released_rows, Team(2))
    x = x_of(4)
    assert entry(arrays, work, own, lambda *_: "python", None, TEXT)(x) == "python"
    assert guard.word[0] == FREE
    assert inner(arrays, work)(x, np.zeros_like(x)) is x


@needs_code
def test_an_error_of_python_comes_out() -> None:
    """With its traceback, in which code has no line."""
    made = Made()

    def otherwise(_: object) -> None:
        raise ZeroDivisionError("here")

    own = Own(Results(made.outputs), made.memory, made.guard)
    run = entry(made.arrays, made.work, own, otherwise, None, TEXT)
    with pytest.raises(ZeroDivisionError, match="here") as caught:
        run(1)
    assert [each.name for each in caught.traceback] == ["test_an_error_of_python_comes_out", "otherwise"]


@needs_code
def test_the_function_says_what_it_is() -> None:
    """Signature, documentation and name are those of a method; what it was made with can be found, and is not copied."""
    run = Made().run
    assert str(inspect.signature(run)) == "(x, out=None)"
    assert run.__doc__ == "Run it."
    assert run.__name__ == "run"
    assert known_of(run) == Arrays((COLUMNS,), (COLUMNS,), MOST)
    assert known_of(len) is None
    assert known_of(None) is None
    with pytest.raises(CopyError, match="send the model, and make a runner there"):
        pickle.dumps(run)


@needs_code
def test_what_code_needs_lives_as_long_as_the_function() -> None:
    """And no longer."""

    class Held:
        alive = 0

        def __init__(self) -> None:
            Held.alive += 1

        def __del__(self) -> None:
            Held.alive -= 1

    made = Made()
    own = Own(Results(made.outputs), made.memory, made.guard)
    held = Held()
    run = entry(made.arrays, Work(copying(made.arrays), 9), own, partial(isinstance, held), None, TEXT)
    del made, own, held
    gc.collect()
    x = x_of(4)
    np.testing.assert_array_equal(run(x), x)
    assert Held.alive == 1
    del run
    gc.collect()
    assert Held.alive == 0


@needs_code
@pytest.mark.parametrize("released_rows", [1, MOST + 1])
def test_pythons_own_way_into_a_body(released_rows: int) -> None:
    """It returns the first place; an input that cannot be read comes back, and nothing is written."""
    made = Made(2, 2, released_rows)
    function = inner(made.arrays, made.work)
    xs, ys = (x_of(4), x_of(4, 1)), (np.zeros((4, COLUMNS), np.float32), np.zeros((4, COLUMNS), np.float32))
    before = [sys.getrefcount(each) for each in (*xs, *ys)]
    assert function(*xs, *ys) is ys[0]
    assert [sys.getrefcount(each) for each in (*xs, *ys)] == before
    np.testing.assert_array_equal(ys, xs)
    turned = np.asfortranarray(x_of(4))
    for given in ((turned, xs[1]), (xs[1], turned)):
        assert function(*given, *ys) is given[0]
    np.testing.assert_array_equal(ys, xs)


# --- results ------------------------------------------------------------------------------------------------------------


def test_results_of_many_rows_are_made_when_they_come() -> None:
    """Up to a number of rows they are there from the beginning; the table says which are."""
    results = Results([np.zeros((MADE_AT_ONCE + 2, 1), np.float32)])
    table = np.ctypeslib.as_array(ctypes.cast(results.address, ctypes.POINTER(ctypes.c_uint64)), (MADE_AT_ONCE + 3,))
    assert np.flatnonzero(table).tolist() == list(range(1, MADE_AT_ONCE + 1))
    last = results.of(MADE_AT_ONCE + 2)
    assert last is results.of(MADE_AT_ONCE + 2)
    assert table[MADE_AT_ONCE + 2] == id(last)
    assert results.table_bytes == 8 * (MADE_AT_ONCE + 3)


# --- layouts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["OBJECT_TYPE", *(name for name in vars(layout) if name.startswith("ARRAY_"))])
def test_arrays_are_looked_at_first(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """A field that lies elsewhere is noticed; where they lie is what NumPy says."""
    assert layout.arrays_are_as_expected()
    monkeypatch.setattr(layout, field, 80)
    assert not layout.arrays_are_as_expected()


@pytest.mark.parametrize("field", ["OBJECT_TYPE", "TUPLE_SIZE", "TUPLE_ITEMS"])
def test_objects_are_looked_at_first(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    """A field that lies elsewhere is noticed."""
    assert layout.objects_are_as_expected()
    monkeypatch.setattr(layout, field, getattr(layout, field) - 8)
    assert not layout.objects_are_as_expected()
