"""Which rows a pytest run was not asked for, and which are missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlbench.pytest_plugin.selection import Selection, left_out, skips_of
from mlbench.studies.subjects import names_of

SWEEP = "benchmarks/test_sweep.py::test_mlp"
CASES: list[dict[str, Any]] = [
    {"id": "optimized-b8-h64", "test": f"{SWEEP}[optimized-b8-h64]"},
    {"id": "optimized-b64-h64", "test": f"{SWEEP}[optimized-b64-h64]"},
    {"id": "optimized-digits-b360", "test": "benchmarks/test_sweep.py::test_digits[optimized-digits-b360]"},
    {"id": "benchmarks/test_honest.py::test_five[b64-h64]", "test": "benchmarks/test_honest.py::test_five[b64-h64]"},
    {"id": "benchmarks/test_mine.py::TestMine::test_square"},
]
NAMES = [case["id"] for case in CASES]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a folder of benchmarks."""
    (tmp_path / "benchmarks").mkdir()
    return tmp_path


def gone(root: Path, place: str = "benchmarks", *, sizes: Mapping[str, Collection[int]] | None = None, deselected: Collection[str] = (),
         ignored: tuple[str, ...] = (), rows: list[dict[str, Any]] = CASES, done: Collection[str] = ()) -> list[str]:  # fmt: skip
    """Return what is left out when `place` was named on the command line."""
    path, mark, selector = place.partition("::")
    found = left_out(rows, done, deselected, Selection(root, ((root / path, mark + selector),), ignored, sizes or {}))
    return [name for name in NAMES if name in found]


def test_nothing_is_left_out_of_a_folder(root: Path) -> None:
    """Whatever was asked for as a whole and is not there is missing, such as a test that was renamed."""
    assert gone(root) == []
    assert gone(root, ".") == []


def test_rows_of_a_network_are_those_of_another_suite(root: Path) -> None:
    """A network takes the place of the sweep: without it its rows are left out, and with it all cells but its own at this batch."""
    network: dict[str, Any] = {
        "name": "net",
        "file": "/a/net.onnx",
        "sha256": "12",
        "outputs": [],
        "inputs_file": None,
        "inputs_sha256": None,
    }
    rows = [{"id": f"optimized-net-b{batch}", "network": network} for batch in (8, 64)]
    rows += [{"id": "optimized-other-b8", "network": network | {"name": "other"}}, CASES[0], CASES[4]]
    places = ((root / "benchmarks", ""),)
    asked = (Selection(root, places, (), {}), Selection(root, places, (), {"batch": (8,)}, frozenset({"net"})))
    names = [str(row["id"]) for row in rows]
    assert [left_out(rows, (), (), each) for each in asked] == [set(names[:3]), {names[1], names[2], names[3]}]


def test_rows_of_the_zoo_are_asked_for_with_the_zoo(root: Path) -> None:
    """With the whole zoo in place of the sweep, a row of one of its networks that was not measured is missing, and not left out."""
    asked = Selection(root, ((root, ""),), (), {}, frozenset(names_of("zoo")))
    fields = ("file", "sha256", "inputs_file", "inputs_sha256")
    network: dict[str, Any] = {"name": "policy", "outputs": [], **dict.fromkeys(fields, "")}
    rows = [{"id": "optimized-policy-b8", "network": network, "test": "test_model.py::test_model[optimized-policy-b8]"}, CASES[0]]
    assert "optimized-policy-b8" not in left_out(rows, (), (), asked)
    assert CASES[0]["id"] in left_out(rows, (), (), asked)


def test_deselected_rows_are_left_out(root: Path) -> None:
    """By the id of the test or of its case."""
    assert gone(root, deselected={CASES[0]["test"]}) == [NAMES[0]]
    assert gone(root, deselected={NAMES[1]}) == [NAMES[1]]


def test_what_was_measured_is_never_left_out(root: Path) -> None:
    """A row that is there is judged, even where its name was deselected once."""
    assert gone(root, deselected={NAMES[0]}, done={NAMES[0]}) == []


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("benchmarks/test_sweep.py", NAMES[:3]),
        ("benchmarks/test_sweep.py::test_mlp", NAMES[:2]),
        ("benchmarks/test_sweep.py::test_mlp[optimized-b8-h64]", NAMES[:1]),
        ("benchmarks/test_sweep.py::test_m", []),
        ("benchmarks/test_mine.py::TestMine", NAMES[4:]),
        ("bench", []),
    ],
)
def test_rows_of_other_places_are_left_out(root: Path, place: str, kept: list[str]) -> None:
    """Only what was named on the command line can be missing: a file, a test, one of its parameters, a class."""
    assert gone(root, place) == [name for name in NAMES if name not in kept]


@pytest.mark.parametrize(
    ("sizes", "left"),
    [
        ({"batch": (8,)}, [NAMES[1], NAMES[3]]),
        ({"batch": (8, 64), "hidden": (64,)}, []),
        ({"hidden": (256,)}, [*NAMES[:2], NAMES[3]]),
        ({"inputs": (784,)}, [*NAMES[:2], NAMES[3]]),
        ({"outputs": (3,)}, [*NAMES[:2], NAMES[3]]),
        ({"depth": (2,)}, [*NAMES[:2], NAMES[3]]),
        ({"threads": (2,)}, NAMES[:4]),
    ],
    ids=["batch", "all", "hidden", "inputs", "outputs", "depth", "threads"],
)
def test_a_narrowed_sweep_leaves_out_its_other_cells(root: Path, sizes: Mapping[str, Collection[int]], left: list[str]) -> None:
    """Sizes that were given exclude the cells that do not have them; the digits have a batch of their own, callables no sizes."""
    assert gone(root, sizes=sizes) == left


def test_ignored_files_are_left_out(root: Path) -> None:
    """By path and by pattern."""
    assert gone(root, ignored=(str(root / "benchmarks" / "test_honest.py"),)) == [NAMES[3]]
    assert gone(root, ignored=(f"{root}/*/test_m*.py",)) == [NAMES[4]]


def test_rows_of_an_unknown_test(root: Path) -> None:
    """A baseline of `mlbench run` names no tests: a folder was asked for as a whole, a single test was not."""
    rows = [{"id": "optimized-b8-h64"}]
    assert gone(root, rows=rows) == []
    assert gone(root, "benchmarks/test_sweep.py::test_digits", rows=rows) == [NAMES[0]]


def test_rows_of_an_unknown_test_are_asked_for_by_a_file_that_measures_cases(root: Path) -> None:
    """A baseline of `mlbench run` names no tests: what the file no longer measures is missing, unless the sizes exclude it."""
    rows = [{"id": name} for name in NAMES[:3]]
    place = "benchmarks/test_sweep.py"
    assert gone(root, place, rows=rows, done={NAMES[0]}) == []
    assert gone(root, place, rows=rows, done={NAMES[0]}, sizes={"batch": (8,)}) == [NAMES[1]]
    assert gone(root, place, rows=rows, done={"benchmarks/test_mine.py::test_x"}) == NAMES[:3]
    assert gone(root, f"{place}::test_mlp", rows=rows, done={NAMES[0]}) == NAMES[1:3]


def test_why_rows_are_not_there() -> None:
    """The reason of their test, or else of their file."""
    found = skips_of(CASES, {"benchmarks/test_mine.py": "no GPU", CASES[0]["test"]: "too slow"})
    assert found == {NAMES[0]: "the test was skipped: too slow", NAMES[4]: "benchmarks/test_mine.py was skipped: no GPU"}
