"""Inputs of whole numbers: indices of tables, in both runners, and what is said about those that no table has.

Run as a program, this file prints what each call allocates, as JSON. The tests run it once, as `test_allocations` does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mlbench.compiler.x86 import find
from mlbench.errors import InputError, ModelError
from mlbench.ir import Graph, Node, frozen, table_entries
from mlbench.models import EXACT, Network
from mlbench.runtime import BaselineRunner, OptimizedRunner, check_result
from support.footprints import Footprint, print_footprints, run_as_program

ENTRIES, WIDTH, ROWS = 50, 4, 512
RANDOM = np.random.default_rng(0)
TABLE, OTHER = (frozen(RANDOM.standard_normal((entries, 1, WIDTH))) for entries in (ENTRIES, 7))
ONE = Graph(
    {"x0": 3},
    {"t": TABLE, "w": frozen(RANDOM.standard_normal((3 * WIDTH, 2)))},
    (Node("gather", ("x0", "t"), "e", 3 * WIDTH, attributes=(3 * WIDTH,)), Node("matmul", ("e", "w"), "y", 2)),
    ("y",),
)
TWO = Graph(
    {"x0": 2, "x1": 5},
    {"t": TABLE, "u": OTHER},
    (
        Node("slice", ("x0",), "a", 1, attributes=(0, 1)), Node("slice", ("x0",), "b", 1, attributes=(1, 2)),
        Node("gather", ("a", "t"), "e", WIDTH, attributes=(WIDTH,)), Node("gather", ("b", "u"), "f", WIDTH, attributes=(WIDTH,)),
        Node("concat", ("e", "f", "x1"), "c", 2 * WIDTH + 5), Node("add_values", ("c", "b"), "y", 2 * WIDTH + 5),
    ),
    ("y", "b"),
)  # fmt: skip
"""Two columns of indices, of a table each; the second is a number as well."""
IDS = Network("ids", ONE, ("ids",), ("scores",), None, ("int64",))
MIXED = Network("mixed", TWO, ("ids", "dense"), ("out", "copy"), None, ("int32", "float32"), ("float32", "int32"))
RUNNERS: dict[str, Callable[[Network], Callable[..., object]]] = {
    "baseline": lambda network: BaselineRunner(network).run,
    "optimized": lambda network: OptimizedRunner(network, ROWS).run,
    "no-passes": lambda network: OptimizedRunner(network, ROWS, passes=[]).run,
}
needs_code = pytest.mark.skipif(find()[0] is None, reason=f"no generated code here: {find()[1]}")
every_runner = pytest.mark.parametrize("make", RUNNERS.values(), ids=RUNNERS)


def ids_of(rows: int, columns: int = 3, dtype: str = "int64", entries: int = ENTRIES) -> npt.NDArray[np.integer]:
    """Return seeded indices."""
    return np.random.default_rng(1).integers(-entries, entries, (rows, columns)).astype(dtype)


@every_runner
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "float32", "float64"])
@pytest.mark.parametrize("rows", [0, 1, 7, ROWS])
def test_indices_of_any_type(make: Callable[[Network], Callable[..., object]], dtype: str, rows: int) -> None:
    """Whole numbers of any type are indices, from the end as well; the result is that of the float64 interpreter."""
    x = ids_of(rows, dtype=dtype)
    y = make(IDS)(x)
    assert isinstance(y, np.ndarray)
    assert y.dtype == np.float32
    check_result(IDS, x, y)


@every_runner
def test_whole_numbers_beside_others(make: Callable[[Network], Callable[..., object]]) -> None:
    """Columns that are moved before they are looked up stay whole numbers; where they are computed with they are numbers."""
    x = ids_of(9, 2, "int32", 7), np.random.default_rng(2).standard_normal((9, 5), np.float32)
    y = make(MIXED)(*x)
    assert isinstance(y, tuple)
    check_result(MIXED, x, y)
    out, copy = MIXED.as_declared(y)
    assert (out.dtype, copy.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(copy, x[0][:, 1:])


def calls_of_python(run: Callable[..., object], *xs: object) -> list[str]:
    """Return the names of the functions of Python that a call goes through."""
    found: list[str] = []
    sys.setprofile(lambda frame, event, _: found.append(frame.f_code.co_name) if event == "call" else None)
    try:
        run(*xs)
    finally:
        sys.setprofile(None)
    return found


@needs_code
@pytest.mark.parametrize(("network", "dtype"), [(IDS, "int64"), (MIXED, "int32")], ids=["int64", "int32"])
def test_whole_numbers_take_the_shortest_way(network: Network, dtype: str) -> None:
    """Machine code makes float32 of them, beside an input that is float32, and float32 in their place goes as well."""
    columns = next(iter(network.inputs.values()))
    x = ids_of(9, columns, dtype, 7)
    others = (np.ones((9, 5), np.float32),) * (len(network.inputs) - 1)
    run: Callable[..., Any] = OptimizedRunner(network, ROWS).run
    for given in (x, x.astype(np.float32), x):
        assert calls_of_python(run, given, *others) == []
        check_result(network, (x, *others) if others else x, run(given, *others))


@needs_code
def test_whole_numbers_are_read_before_anything_is_written() -> None:
    """A result may lie where they lie."""
    memory = np.zeros((64, 2), np.float32)
    x = memory.view(np.int64).reshape(-1)[:63].reshape(21, 3)
    x[:] = ids_of(21)
    eager: Callable[..., Any] = BaselineRunner(IDS).run
    run: Callable[..., Any] = OptimizedRunner(IDS, ROWS).run
    expected = eager(x.copy())
    found = run(x, memory[:21])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@every_runner
@pytest.mark.parametrize("number", [ENTRIES, -ENTRIES - 1, 2**40])
def test_an_index_that_a_table_has_not(make: Callable[[Network], Callable[..., object]], number: int) -> None:
    """The error names the input, the row, the column and the number."""
    x = ids_of(9)
    x[5, 2] = number
    text = f"ids has {number} in row 5, column 2; expected an index of 50 entries: 0 to 49, or from the end -50 to -1"
    with pytest.raises(InputError, match=re.escape(text)):
        make(IDS)(x)


@every_runner
def test_an_index_that_the_smaller_table_has_not(make: Callable[[Network], Callable[..., object]]) -> None:
    """Each column is judged by its own table."""
    x = np.array([[40, 6], [3, 7]])
    with pytest.raises(InputError, match=r"7 in row 1, column 1|index 7 of a table of 7 entries"):
        make(MIXED)(x, np.ones((2, 5), np.float32))


@every_runner
def test_a_number_that_is_no_whole_one(make: Callable[[Network], Callable[..., object]]) -> None:
    """The error says which type fits."""
    with pytest.raises(InputError, match=re.escape("ids is float64; this model takes whole numbers: ids.astype(np.int64)")):
        make(IDS)(np.full((2, 3), 1.5))


@every_runner
def test_a_whole_number_that_float32_rounds(make: Callable[[Network], Callable[..., object]]) -> None:
    """Where it is no index, it must be exact."""
    network = Network(
        "sum", Graph({"x0": 1}, {"k": frozen(1)}, (Node("add", ("x0", "k"), "y", 1),), ("y",)), ("n",), ("y",), None, ("int64",)
    )
    assert make(network)(np.array([[EXACT - 1]])) == EXACT
    with pytest.raises(InputError, match=r"n has 16777217 in row 0, column 0; expected whole numbers up to 16,777,216"):
        make(network)(np.array([[EXACT + 1]]))


def test_a_computed_index_that_a_table_has_not() -> None:
    """Both runners refuse it, and neither reads anything else."""
    graph = Graph({"x": 1}, {"t": OTHER}, (Node("gather", ("x", "t"), "y", WIDTH, attributes=(WIDTH,)),), ("y",))
    for run in (BaselineRunner(graph).run, OptimizedRunner(graph, 4).run):
        for number in (7.0, -8.0, np.nan, 1e30):
            with np.errstate(invalid="ignore"), pytest.raises(InputError, match=r"entries|out of bounds"):
                run(np.array([[0], [number]], np.float32))


def test_the_baseline_looks_up_as_a_person_would() -> None:
    """Whole numbers are no float32 on the way to a table."""
    assert "a = t[x].reshape(-1, 12)" in BaselineRunner(IDS).source


def test_which_columns_are_indices() -> None:
    """The smallest table that reads a column, wherever it was moved."""
    assert {name: each.tolist() for name, each in table_entries(TWO).items()} == {"x0": [50, 7], "x1": [0] * 5}


@pytest.mark.parametrize(
    ("dtypes", "labels", "reason"),
    [
        ((("int7",), ()), {}, "'ids' is 'int7'; expected one of float32"),
        ((("text",), ()), {}, "'ids' is 'text'"),
        (((), ("text",)), {}, "'scores' is 'text'"),
        (((), ("int64",)), {"scores": ("a",)}, "labels are given for 'scores'"),
        (((), ("text",)), {"scores": ()}, "the labels of 'scores' are ()"),
        ((("int64", "int64"), ()), {}, "2 input_dtypes"),
    ],
    ids=str,
)
def test_types_that_do_not_fit(
    dtypes: tuple[tuple[str, ...], tuple[str, ...]], labels: dict[str, tuple[str, ...]], reason: str
) -> None:  # fmt: skip
    """A network has a type that is known for each input and output, and labels for text."""
    with pytest.raises(ModelError, match=re.escape(reason)):
        Network("n", ONE, ("ids",), ("scores",), None, *dtypes, labels)


def test_a_call_allocates_nothing() -> None:
    """Indices are looked at and copied without an allocation, of one row and of many, of one input and of two."""
    pytest.importorskip("memray", reason="memray does not run on Windows")
    assert set(run_as_program(__file__).values()) == {Footprint(0, 0, 0)}


def main() -> None:
    """Print what calls allocate."""
    calls: dict[str, Callable[[], object]] = {}
    for rows in (1, 8, ROWS):
        one, two = OptimizedRunner(IDS, ROWS).run, OptimizedRunner(MIXED, ROWS).run
        x, xs = ids_of(rows), (ids_of(rows, 2, "int32", 7), np.ones((rows, 5), np.float32))
        calls[f"one-{rows}"] = lambda run=one, x=x: run(x)  # type: ignore[misc]
        calls[f"two-{rows}"] = lambda run=two, xs=xs: run(*xs)  # type: ignore[misc]
    print_footprints(calls)


if __name__ == "__main__":
    main()
