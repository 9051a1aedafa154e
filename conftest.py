"""Options of `benchmarks/`: which cells the sweep has, or which network takes its place. `pytest benchmarks --help` lists them."""

from __future__ import annotations

import argparse
import gc
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mlbench.cache import VARIABLE
from mlbench.errors import MlbenchError, UsageError
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
    network_cells,
    network_notes,
    sweep,
)
from mlbench.studies.subjects import brought_all
from mlbench.units import parse_sizes
from support.quick_runs import QUICK_RUNS

pytest_plugins = ["pytester", "support.browser"]
_MODEL_CELLS = pytest.StashKey[tuple[Cell, ...]]()
_BENCHMARKS = Path(__file__).resolve().parent / "benchmarks"
_OPTIONS = {
    "test_sweep.py": (False, False),
    "test_honest_baseline.py": (False, False),
    "test_honest_networks.py": (False, False),
    "test_ablation.py": (False, True),
    "test_model.py": (True, False),
    "test_model_ablation.py": (True, True),
}
"""Files of benchmarks, whether each needs --mlbench-model or is left out with it, and whether it needs --mlbench-ablation."""
_TESTS = Path(__file__).resolve().parent / "tests"
_LONGEST = (
    "integration/test_ab_suites.py",
    "cli/test_cli_ab.py",
    "studies/test_ab_arm.py",
    "studies/test_peers_measure.py",
    "pytest_plugin/test_pytest_plugin.py",
    "pytest_plugin/test_gate_in_pytest.py",
    "compiler/test_cpu.py",
    "integration/test_page_in_browser.py",
    "integration/test_explanation_in_browser.py",
    "integration/test_other_projects.py",
    "runtime/test_optimized.py",
    "compiler/test_x86.py",
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
    group.addoption(
        "--mlbench-model",
        metavar="MODEL",
        help="measure a network of yours instead of the sweep: an .onnx file, or an .npz that mlbench saved; --mlbench-batch chooses rows",
    )
    group.addoption("--mlbench-model-inputs", metavar="FILE", help="an .npz with an array for each input of MODEL (default random numbers)")
    group.addoption("--mlbench-model-outputs", metavar="NAME,...", help="the outputs of MODEL that are computed (default all)")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a file without its option: pytest collects a file that is named, whatever `pytest_ignore_collect` says. Read the network.

    Raises:
        pytest.UsageError: saying which option is missing or contradicts another one, or why the network cannot be measured.
    """
    for place in (Path(each.partition("::")[0]).resolve() for each in config.args):
        wants_model, wants_ablation = _OPTIONS.get(place.name, (False, False)) if place.parent == _BENCHMARKS else (False, False)
        for option, is_wanted in (("--mlbench-model", wants_model), ("--mlbench-ablation", wants_ablation)):
            if is_wanted and not config.getoption(option):
                raise pytest.UsageError(f"{place.name} needs {option}")
    given = [name for name in ("hidden", "inputs", "depth", "large") if config.getoption(f"--mlbench-{name}")]
    if config.getoption("--mlbench-model") and given:
        raise pytest.UsageError(f"--mlbench-{given[0]} chooses sizes, and --mlbench-model has its own; leave one of them out")
    alone = [name for name in ("model-inputs", "model-outputs") if config.getoption(f"--mlbench-{name}")]
    if alone and not config.getoption("--mlbench-model"):
        raise pytest.UsageError(f"--mlbench-{alone[0]} needs --mlbench-model, the network that it belongs to")
    try:
        config.stash[_MODEL_CELLS] = _network(config)
    except MlbenchError as error:
        raise pytest.UsageError(f"--mlbench-model: {error}") from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what a reader should know of the network."""
    cells = config.stash[_MODEL_CELLS]
    return [f"mlbench: {note}" for note in network_notes(cells)] if cells else []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: each stays in one process of pytest-xdist, and no core is to wait for one that began last."""
    rank = {_TESTS / name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(_LONGEST)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what was collected out of the garbage collector: each measurement runs it first, and it would walk all of the tests."""
    if any(item.path.is_relative_to(_TESTS) for item in session.items):
        gc.collect()
        gc.freeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the sweep out where a network takes its place, and the ablation unless it is asked for: it takes as long as the sweep."""
    if collection_path.parent != _BENCHMARKS or collection_path.name not in _OPTIONS:
        return None
    of_model, is_ablation = _OPTIONS[collection_path.name]
    is_asked = of_model == bool(config.getoption("--mlbench-model")) and (not is_ablation or config.getoption("--mlbench-ablation"))
    return None if is_asked else True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that takes `sweep_case`, `model_case`, `digits_case` or a cell of one of these its cases."""
    names, of_model = metafunc.fixturenames, metafunc.config.stash[_MODEL_CELLS]
    if "model_case" in names:
        _parametrize(metafunc, "model_case", [Case(cell, runner) for cell in of_model for runner in RUNNERS])
    if "model_cell" in names:
        _parametrize(metafunc, "model_cell", of_model)
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


def _network(config: pytest.Config) -> tuple[Cell, ...]:
    """Return the cells of the network, or of the zoo, that takes the place of the sweep; none without one."""
    path, names = config.getoption("--mlbench-model"), config.getoption("--mlbench-model-outputs")
    if not path:
        return ()
    outputs = tuple(part.strip() for part in names.split(",")) if names else ()
    networks = brought_all(path, outputs, config.getoption("--mlbench-model-inputs"))
    batches, threads = config.getoption("--mlbench-batch"), config.getoption("--mlbench-threads")
    return tuple(cell for network in networks for cell in network_cells(network, batches, threads=threads))


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
