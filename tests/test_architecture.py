"""The contracts between the rooms, and what is loaded: by an import, by a page, and where NumPy is all there is."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import grimp
import pytest
from importlinter.application.use_cases import lint_imports
from importlinter.configuration import configure

import mlbench

configure()

SOURCE = Path(mlbench.__file__).resolve().parent
SETTINGS = Path(__file__).parents[1] / "pyproject.toml"
BASELINE = Path(__file__).parents[1] / "benchmarks" / "baselines" / "sweep.json"
MOST_LINES = 350
FILES = sorted(SOURCE.rglob("*.py"))
COMPILING = ("mlbench.ir", "mlbench.models", "mlbench.compiler", "mlbench.runtime")
HELPERS = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
EXTRAS = ("filelock", "rich", "memray", "psutil", "cpuinfo", "threadpoolctl", "msgspec", "pytest", "pytest_benchmark", "hypothesis")
BLOCKER = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {EXTRAS!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every module of mlbench, and what it imports."""
    return grimp.build_graph("mlbench", cache_dir=None)


def kept(graph: grimp.ImportGraph, *contracts: str) -> bool:
    """Return whether a graph keeps contracts of pyproject.toml: these, or all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grimp, "build_graph", lambda *_, **__: graph)
        return lint_imports(str(SETTINGS), limit_to_contracts=contracts, cache_dir=None, is_debug_mode=True, no_logo=True)


def test_the_code_keeps_its_contracts(graph: grimp.ImportGraph) -> None:
    """Layers, towers, verifiers, cycles: what `lint-imports` checks, imports inside functions and for types included."""
    assert kept(graph)


@pytest.mark.parametrize(
    ("contract", "importer", "imported"),
    [
        ("layers", "ir.graph", "compiler.pipeline"),
        ("layers", "report.summary", "studies.cases"),
        ("layers", "errors", "arrays"),
        ("layers", "units", "nowhere"),
        ("no-graph", "measure.stats.plain", "ir.graph"),
        ("no-graph", "results.result", "runtime.baseline"),
        ("no-clock", "runtime.baseline", "measure.latency"),
        ("x86", "compiler.x86.gemm", "ir.ops"),
        ("x86", "compiler.x86.gemm", "compiler.passes.fuse"),
        ("verifiers", "compiler.memory.validate", "compiler.memory.planner"),
        ("verifiers", "ir.verify", "compiler.passes.fuse"),
        ("arm", "studies.ab.arm.target", "units"),
        ("arm", "studies.ab.arm.target", "studies.ab.git"),
        ("cycles", "gate.policy", "gate.saved"),
        ("cycles", "studies.ab.git", "studies.ab.session"),
    ],
)
def test_a_planted_import_breaks_its_contract(graph: grimp.ImportGraph, contract: str, importer: str, imported: str) -> None:
    """The contracts are no empty words: each sees an import that it forbids, and a room without a layer."""
    planted = deepcopy(graph)
    planted.add_import(importer=f"mlbench.{importer}", imported=f"mlbench.{imported}")
    assert not kept(planted, contract)


def test_nothing_imports_the_package_root(graph: grimp.ImportGraph) -> None:
    """The root names what users see; an import of it from a room is found."""
    planted = deepcopy(graph)
    planted.add_import(importer="mlbench.cli.run", imported="mlbench")
    assert kept(graph, "root")
    assert not kept(planted, "root")


def test_no_module_is_called_helpers() -> None:
    """A file is named after what it is."""
    assert not [path.name for path in FILES if set(path.relative_to(SOURCE).with_suffix("").parts) & HELPERS]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_no_file_is_long(path: Path) -> None:
    """A file of more than 350 lines holds a second idea."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def loaded_after(code: str) -> set[str]:
    """Return the modules outside the standard library that the code loads in a fresh interpreter."""
    program = f"import sys, json\nbefore = set(sys.modules)\n{code}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return {name for name in json.loads(ran.stdout) if name.partition(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("import mlbench", {"mlbench"}),
        ("import mlbench\nmlbench.OptimizedRunner", {"mlbench", "numpy"}),
        ("from mlbench import *", {"mlbench", "numpy"}),
        ("import mlbench.cli", {"mlbench", "numpy"}),
        ("from mlbench.studies.peers import PEERS, adapter\nfor each in PEERS.values(): adapter(each).missing()", {"mlbench", "numpy"}),
    ],
    ids=["import", "runner", "everything", "cli", "peers"],
)
def test_importing_loads_numpy_alone(code: str, most: set[str]) -> None:
    """`import mlbench` loads nothing, its names load NumPy, and so does the command line before it measures."""
    assert {name.partition(".")[0] for name in loaded_after(code)} - {"_distutils_hack", "sitecustomize"} <= most


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("from mlbench.report import result_text\nassert result_text(load(saved), colour=False)", ()),
        (
            "import datetime\nfrom mlbench.gate import judge_results\nfrom mlbench.report import verdict_text\n"
            "day = datetime.date(2026, 1, 1)\n"
            "assert verdict_text(judge_results(load(saved), load(saved), None, day, ('a', 'b')), colour=False)",
            (),
        ),
        (
            "import os\nfrom mlbench.report.inputs import read_files\nfrom mlbench.report.page.page import write_page\n"
            "write_page(read_files([saved]), os.devnull, '')",
            ("jinja2", "vl_convert"),
        ),
    ],
    ids=["table", "verdict", "page"],
)
def test_what_a_person_reads_is_made_without_the_compiler(code: str, needed: tuple[str, ...]) -> None:
    """A table, a verdict and a page of a saved result are made where no graph, no model, no compiler and no runner is loaded."""
    for name in needed:
        pytest.importorskip(name)
    loaded = loaded_after(f"from pathlib import Path\nfrom mlbench.results import load\nsaved = Path({str(BASELINE)!r})\n{code}")
    assert "mlbench.results" in loaded
    assert not [name for name in loaded if name.startswith(COMPILING)]


@pytest.fixture(scope="module")
def numpy_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that takes every optional module away, in worker processes too."""
    folder = tmp_path_factory.mktemp("numpy-alone")
    (folder / "sitecustomize.py").write_text(BLOCKER)
    return folder


def command(numpy_alone: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mlbench` where NumPy is all there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(numpy_alone), prepend=":" if sys.platform != "win32" else ";")
        return subprocess.run(
            [sys.executable, "-m", "mlbench", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture(scope="module")
def plain_run(numpy_alone: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run of one tiny cell with NumPy alone."""
    folder = tmp_path_factory.mktemp("plain-run")
    sizes = ("--no-digits", "--batch", "2", "--hidden", "8", "--processes", "1", "--rounds", "1")
    return folder, command(numpy_alone, folder, "run", *sizes, "--json", "now.json")


def test_the_blocker_blocks(numpy_alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests call NumPy alone is: every optional module fails to import, and NumPy does not."""
    monkeypatch.setenv("PYTHONPATH", str(numpy_alone))
    for name in EXTRAS:
        ran = subprocess.run(
            [sys.executable, "-c", f"import numpy\nimport {name}"], capture_output=True, text=True, check=False, timeout=60
        )
        assert f"ModuleNotFoundError: No module named '{name}'" in ran.stderr


def test_run_works_with_numpy_alone(plain_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The command measures, prints plain tables and the summary, and ends with 0."""
    _, ran = plain_run
    assert ran.returncode == 0, ran.stderr
    for part in ("Latency", "Memory", "b2-h8: one call", "Speedup"):
        assert part in ran.stdout
    assert "\u2500" not in ran.stdout


def test_memory_is_tracemalloc_with_numpy_alone(plain_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """Without memray, tracemalloc measures, and the file and the table say so."""
    folder, ran = plain_run
    data = json.loads((folder / "now.json").read_text(encoding="utf-8"))
    assert {each["footprint"]["instrument"] for each in data["measurements"]} == {"tracemalloc"}
    assert "Measured by tracemalloc." in ran.stdout


def test_what_the_extra_would_add_is_said(plain_run: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The summary names the extra and what it brings."""
    text = " ".join(plain_run[1].stdout.split())
    assert "the extra 'bench' adds memray" in text


@pytest.mark.parametrize(
    "arguments",
    [("show", "now.json"), ("run", "--no-digits", "--batch", "2", "--hidden", "8", "--json", "now.json", "--resume")],
    ids=["show", "resume"],
)
def test_reading_a_result_with_numpy_alone_names_the_extra(
    numpy_alone: Path, plain_run: tuple[Path, subprocess.CompletedProcess[str]], arguments: tuple[str, ...]
) -> None:
    """Nothing is read unchecked: exit code 2 and one line that says what to install."""
    ran = command(numpy_alone, plain_run[0], *arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr == (
        "mlbench: reading a result file needs msgspec, which is not installed: install mlbench with the extra 'bench'; "
        "in a checkout: python -m pip install '.[bench]'\n"
    )
