"""Options of the sweep in `benchmarks/`: which cells it has. `pytest benchmarks --help` lists them under "mlbench sweep"."""

from __future__ import annotations

import argparse

import pytest

from mlbench.cases import (
    BATCHES,
    HIDDEN,
    LARGE_BATCHES,
    LARGE_DEPTHS,
    LARGE_HIDDEN,
    LARGE_INPUTS,
    RUNNERS,
    Case,
    digits_cell,
    sweep,
)
from mlbench.errors import UsageError
from mlbench.units import parse_sizes

pytest_plugins = ["pytester"]


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
    group.addoption("--mlbench-depth", type=_sizes, metavar="N,...", help="hidden layers (default 1)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that takes `sweep_case` or `digits_case` its cases; both runners of a cell follow each other."""
    option = metafunc.config.getoption
    threads = option("--mlbench-threads")
    if "sweep_case" in metafunc.fixturenames:
        large = option("--mlbench-large")
        cells = sweep(
            option("--mlbench-batch") or (LARGE_BATCHES if large else BATCHES),
            option("--mlbench-hidden") or (LARGE_HIDDEN if large else HIDDEN),
            option("--mlbench-inputs") or (LARGE_INPUTS if large else (64,)),
            option("--mlbench-outputs"),
            option("--mlbench-depth") or (LARGE_DEPTHS if large else (1,)),
            threads,
        )
        cases = [Case(cell, runner) for cell in cells for runner in RUNNERS]
        metafunc.parametrize("sweep_case", cases, ids=[case.id for case in cases])
    if "digits_case" in metafunc.fixturenames:
        cases = [Case(digits_cell(threads), runner) for runner in RUNNERS]
        metafunc.parametrize("digits_case", cases, ids=[case.id for case in cases])
