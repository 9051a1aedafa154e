"""What objects hold between calls: counted once, the same in every run, and by runners of ours themselves."""

from __future__ import annotations

import ast
import ctypes
import logging
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench import BaselineRunner, OptimizedRunner, mlp
from mlbench.errors import UsageError
from mlbench.measure import object_bytes, objects
from mlbench.results import OBJECTS, RUNNER, STATED, StaticBytes
from mlbench.studies.holding import held_by, still_grows

BIG = 100_000
MODEL = mlp(4, 8, 2)
X = np.ones((3, 4), np.float32)
SHARED = OptimizedRunner(MODEL, 16)


class Holder:
    """An object with attributes, and a method that uses them."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def predict(self, x: Any) -> Any:
        """Use the attribute `runner`."""
        return vars(self)["runner"].run(x)


class Itself:
    """An object that says itself what it holds."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __sizeof__(self) -> int:
        return 7


def holds(*what: object) -> int:
    """Return how many bytes are held by these beyond what a tuple of nothing takes, in hundreds of thousands."""
    return round(object_bytes([what]) / BIG)


def test_memory_is_counted_once_however_it_is_reached() -> None:
    """An array, views of it, and several ways to it."""
    array = np.zeros(BIG, np.uint8)
    assert holds(array) == holds(array, array[10:], {"again": [array]}, Holder(a=array)) == 1


def test_what_lies_behind_a_view_is_held() -> None:
    """Whoever keeps a row keeps the matrix."""
    assert holds(np.zeros((10, BIG), np.uint8)[3]) == 10
    assert holds(memoryview(bytearray(BIG))[:1]) == 1


@pytest.mark.parametrize(
    "holder",
    [
        lambda data: [data], lambda data: {"key": data}, lambda data: {data: 1}, lambda data: Holder(a=Holder(b=data)),
        lambda data: lambda: data, lambda data: partial(len, data), lambda data: Holder(a=data).predict,
        lambda data: np.array([None, data], object),
        lambda data: (lambda x=data: x), lambda data: iter([data]),
    ],
    ids=["list", "value", "key", "attributes", "closure", "partial", "method", "array-of-objects", "default", "iterator"],
)  # fmt: skip
def test_whatever_refers_to_it_holds_it(holder: Callable[[bytes], object]) -> None:
    """Everything is followed that keeps an object alive."""
    assert holds(holder(bytes(BIG))) == 1


def test_memory_of_ctypes_is_counted() -> None:
    """Python's own word for it is the head alone."""
    assert holds((ctypes.c_char * BIG)()) == 1


def test_a_circle_ends() -> None:
    """Objects may refer to each other."""
    one, other = Holder(data=bytes(BIG)), Holder()
    vars(one)["other"], vars(other)["one"] = other, one
    assert holds(one) == holds(other) == 1


def test_what_runs_the_tests_is_not_counted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a fixture an object would hold every test of the session."""
    assert object_bytes([Holder(request=request, patch=monkeypatch)]) == object_bytes([Holder(request=None, patch=None)])


def test_what_every_process_has_is_not_counted() -> None:
    """Modules, classes and loggers, which lead to everything."""
    assert object_bytes([np, Holder, logging.getLogger("mlbench"), sys.modules[__name__]]) == 0


def test_an_object_may_say_itself_what_it_holds() -> None:
    """By `__sizeof__` in Python; nothing is followed from there."""
    assert object_bytes([Itself(bytearray(BIG))]) == sys.getsizeof(Itself(bytearray()))


def test_texts_and_numbers_that_differ_between_runs_are_not_counted() -> None:
    """The path of a temporary folder may be a letter longer the next time."""
    one, other = (Holder(path=path, pid=pid) for path, pid in (("/tmp/pytest-9", 7), ("/tmp/pytest-10", 2**70)))
    assert object_bytes([one]) == object_bytes([other])
    assert holds("x" * BIG) == 1


def test_the_sum_is_the_same_in_every_process() -> None:
    """Whatever the seed of hashes."""
    code = (
        "from mlbench.measure import object_bytes\nclass A: pass\na = A()\na.names = {str(n): [n] for n in range(100)}\n"
        "a.all = set(a.names)\nprint(object_bytes([a]))"
    )
    told = {
        subprocess.run([sys.executable, "-c", code], env={**_environment(), "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(objects.__file__).resolve().parents[2])}


def test_the_file_needs_the_standard_library_alone() -> None:
    """Other projects' Pythons can run it by its path, from 3.8 on."""
    tree = ast.parse(Path(objects.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


# --- of a callable ----------------------------------------------------------------------------------------------------------


def use_shared(x: Any) -> Any:
    """Use the runner of this module."""
    return SHARED.run(x)


def closing_over(runner: OptimizedRunner) -> Callable[[], object]:
    """Return a call of the runner."""
    return lambda: runner.run(X)


def closing_over_run(run: Callable[..., object]) -> Callable[[], object]:
    """Return a call of `run` alone."""
    return lambda: run(X)


RUNNER_HERE = OptimizedRunner(MODEL, 16)
WAYS: dict[str, tuple[Callable[..., object], tuple[object, ...]]] = {
    "run": (RUNNER_HERE.run, (X,)),
    "closure": (closing_over(RUNNER_HERE), ()),
    "closure-of-run": (closing_over_run(RUNNER_HERE.run), ()),
    "partial": (partial(RUNNER_HERE.run, X), ()),
    "method": (Holder(runner=RUNNER_HERE).predict, (X,)),
    "argument": (lambda runner, x: runner.run(x), (RUNNER_HERE, X)),
    "list": (lambda runners: runners[0].run(X), ([RUNNER_HERE],)),
    "module": (use_shared, (X,)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_runner_of_ours_counts_wherever_the_callable_has_it(way: str) -> None:
    """By what it says itself, part by part, with its plan."""
    target, args = WAYS[way]
    target(*args)
    memory = (SHARED if way == "module" else RUNNER_HERE).memory
    found = held_by(None, target, args, {})
    assert found.static.total == memory.total_bytes > 0
    assert found.static.weight_copies == memory.weight_copy_bytes
    assert found.counted == RUNNER
    assert found.plan is not None


def test_a_callable_without_a_runner_counts_nothing_by_itself() -> None:
    """Nobody knows what belongs to it; the eager runner holds nothing."""
    for target in (len, lambda: X, BaselineRunner(MODEL).run, Holder(data=bytes(BIG)).predict):
        assert held_by(None, target, (X,), {}) == held_by(None, len, (), {})
    assert held_by(None, len, (), {}).counted is None


def test_a_named_object_counts_with_all_that_it_refers_to() -> None:
    """And a tuple of objects is one."""
    data = np.zeros(BIG, np.uint8)
    found = held_by((Holder(data=data), [data]), len, (), {})
    assert found.counted == OBJECTS
    assert found.static == StaticBytes(objects=found.static.total)
    assert round(found.static.total / BIG) == 1


def test_a_runner_in_a_named_object_says_itself_what_it_holds() -> None:
    """Its model's weights are not its own, and nothing of it is counted twice."""
    named = Holder(runner=RUNNER_HERE, run=RUNNER_HERE.run, eager=BaselineRunner(MODEL), data=bytes(BIG))
    found = held_by(named, named.predict, (X,), {})
    assert found.static.arena == RUNNER_HERE.memory.arena_bytes
    assert BIG < found.static.objects < BIG + 1000
    assert found.counted == OBJECTS


def test_the_eager_runner_holds_nothing() -> None:
    """Not even the text of its code, where it is named."""
    deep = BaselineRunner(mlp(4, (8,) * 20, 2))
    assert len(deep.source) > 512
    assert held_by((deep,), len, (), {}) == held_by((None,), len, (), {})


def test_a_number_of_bytes_may_be_named() -> None:
    """For memory that nobody sees from outside."""
    assert held_by(np.int64(12345), len, (), {}).static == StaticBytes(objects=12345)
    assert held_by(7, len, (), {}).counted == STATED
    with pytest.raises(UsageError, match="holds is -1; expected an object, or a number of bytes of 0 or more"):
        held_by(-1, len, (), {})


def test_what_grows_from_call_to_call_is_warned_about() -> None:
    """A cache without an end is no matter of one run."""
    one, more = held_by(1024, len, (), {}), held_by(4096, len, (), {})
    assert still_grows(one, one) == still_grows(more, one) == ()
    assert still_grows(one, more) == (
        "what is held between calls grew from 1.00 KB after the first call to 4.00 KB: it may grow with each call",
    )
