"""Options of the sweep in `benchmarks/`: which cells it has. `pytest benchmarks --help` lists them under "mlbench sweep"."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mlbench.cache import VARIABLE
from mlbench.errors import UsageError
from mlbench.results import RUNNERS
from mlbench.studies.cases import (
    BATCHES,
    HIDDEN,
    LARGE_BATCHES,
    LARGE_DEPTHS,
    LARGE_HIDDEN,
    LARGE_INPUTS,
    MOST_FLOP,
    Case,
    Cell,
    digits_cell,
    sweep,
)
from mlbench.units import parse_sizes
from support.quick_runs import QUICK_RUNS

pytest_plugins = ["pytester"]
_ABLATION = Path(__file__).resolve().parent / "benchmarks" / "test_ablation.py"
_TESTS = Path(__file__).resolve().parent / "tests"
_LONGEST = (
    "pytest_plugin/test_gate_in_pytest.py",
    "integration/test_ab_suites.py",
    "pytest_plugin/test_pytest_plugin.py",
    "compiler/test_schedule.py",
    "cli/test_cli_ab.py",
    "studies/test_ab_arm.py",
    "compiler/test_x86.py",
    "runtime/test_optimized.py",
)
"""Files of tests that take longest, the longest first."""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the tests a cache of their own, so that nothing in the user's decides one; benchmarks use the user's.

    A process of pytest-xdist says so in the environment, and pytest-benchmark would measure nothing in the runs that tests start.
    """
    if not any(item.path.is_relative_to(_TESTS) for item in request.session.items):
        yield
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(os.environ, VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patched.delitem(os.environ, "PYTEST_XDIST_WORKER", raising=False)
        patched.setitem(os.environ, "PYTEST_ADDOPTS", QUICK_RUNS)
        yield


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return parse_sizes(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose cells."""
    group = parser.getgroup("mlbench sweep")
    group.addoption("--mlbench-large", action="store_true", help="batch and hidden to 4096, depths 1, 2 and 4, inputs 64 and 784")
    group.addoption("--mlbench-batch", type=_sizes, metavar="N,...", help="rows of a call (default 1,8,64,512)")
    group.addoption("--mlbench-hidden", type=_sizes, metavar="N,...", help="columns of a hidden activation (default 64,256,1024)")
    group.addoption("--mlbench-inputs", type=_sizes, metavar="N,...", help="columns of the input (default 64)")
    group.addoption("--mlbench-outputs", type=int, default=10, metavar="N", help="columns of the output (default 10)")
    group.addoption("--mlbench-ablation", action="store_true", help="measure as well what each optimisation is worth in each cell")
    group.addoption("--mlbench-depth", type=_sizes, metavar="N,...", help="hidden layers (default 1)")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse the ablation's file without its option: pytest collects a file that is named, whatever `pytest_ignore_collect` says.

    Raises:
        pytest.UsageError: saying which option is missing.
    """
    if not config.getoption("--mlbench-ablation") and any(Path(each.partition("::")[0]).resolve() == _ABLATION for each in config.args):
        raise pytest.UsageError(f"{_ABLATION.name} needs --mlbench-ablation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: each stays in one process of pytest-xdist, and no core is to wait for one that began last."""
    rank = {_TESTS / name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(_LONGEST)))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the ablation out unless it is asked for: it takes as long as the sweep."""
    return True if collection_path == _ABLATION and not config.getoption("--mlbench-ablation") else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that takes `sweep_case`, `sweep_cell`, `digits_case` or `digits_as_cell` its cases."""
    names = metafunc.fixturenames
    if "sweep_case" in names:
        _parametrize(metafunc, "sweep_case", [Case(cell, runner) for cell in _cells(metafunc.config) for runner in RUNNERS])
    if "sweep_cell" in names:
        _parametrize(metafunc, "sweep_cell", _cells(metafunc.config))
    if "digits_case" in names:
        cell = digits_cell(metafunc.config.getoption("--mlbench-threads"))
        _parametrize(metafunc, "digits_case", [Case(cell, runner) for runner in RUNNERS])
    if "digits_as_cell" in names:
        _parametrize(metafunc, "digits_as_cell", [digits_cell(metafunc.config.getoption("--mlbench-threads"))])


def _parametrize(metafunc: pytest.Metafunc, name: str, values: Sequence[Case] | Sequence[Cell]) -> None:
    metafunc.parametrize(name, values, ids=[value.id for value in values])


def _cells(config: pytest.Config) -> tuple[Cell, ...]:
    large = config.getoption("--mlbench-large")
    return sweep(
        config.getoption("--mlbench-batch") or (LARGE_BATCHES if large else BATCHES),
        config.getoption("--mlbench-hidden") or (LARGE_HIDDEN if large else HIDDEN),
        config.getoption("--mlbench-inputs") or (LARGE_INPUTS if large else (64,)),
        config.getoption("--mlbench-outputs"),
        config.getoption("--mlbench-depth") or (LARGE_DEPTHS if large else (1,)),
        config.getoption("--mlbench-threads"),
        MOST_FLOP if large else math.inf,
    )
