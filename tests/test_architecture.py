"""Two towers, one bridge: who may import whom, and what `import mlbench` and NumPy alone suffice for."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import mlbench

SOURCE = Path(mlbench.__file__).resolve().parent
MOST_LINES = 350
BRIDGE = 9
"""The bottom row, which may import everything."""
ROWS = {
    "errors": ("both", 0),
    "units": ("both", 1),
    "files": ("both", 1),
    "alignment": ("both", 1),
    "cache": ("both", 2),
    "documents": ("both", 2),
    "saved_benchmarks": ("measuring", 3),
    "older_results": ("measuring", 4),
    "archives": ("both", 2),
    "graph": ("compiler", 3),
    "blas": ("compiler", 3),
    "machine": ("compiler", 3),
    "passes": ("compiler", 4),
    "memory": ("compiler", 4),
    "models": ("compiler", 4),
    "runtime": ("compiler", 5),
    "stats": ("measuring", 3),
    "measure": ("measuring", 4),
    "results": ("measuring", 5),
    "gate": ("measuring", 6),
    "report": ("measuring", 7),
    "cases": ("both", BRIDGE),
    "floor": ("both", BRIDGE),
    "measuring": ("both", BRIDGE),
    "explaining": ("both", BRIDGE),
    "limiting": ("both", BRIDGE),
    "ablating": ("both", BRIDGE),
    "tuning": ("both", BRIDGE),
    "gating": ("both", BRIDGE),
    "recording": ("both", BRIDGE),
    "holding": ("both", BRIDGE),
    "ab": ("both", BRIDGE),
    "calibrating": ("both", BRIDGE),
    "reporting": ("both", BRIDGE),
    "peers": ("both", BRIDGE),
    "peering": ("both", BRIDGE),
    "pytest_plugin": ("both", BRIDGE),
    "cli": ("both", BRIDGE),
    "__main__": ("both", BRIDGE),
    "__init__": ("both", BRIDGE),
}
"""Part of the package: its tower, and its row from the top. What stands above both towers is `both`, and of it `errors` stands highest."""
FILES = sorted(SOURCE.rglob("*.py"))
HELPERS = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
EXTRAS = ("rich", "memray", "psutil", "cpuinfo", "threadpoolctl", "jsonschema", "pytest", "pytest_benchmark", "hypothesis")
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


def part_of(path: Path) -> str:
    """Return which part of the package a file belongs to, such as `graph` for graph/ir.py."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(source: str) -> list[tuple[int, str]]:
    """Return line and part of everything of mlbench that the source imports, inside functions too, but for types alone."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "mlbench" else [node.module or ""]
            if node.level:
                names = [f"mlbench.{'.' * node.level}"]
        else:
            continue
        found += [(node.lineno, name.split(".")[1]) for name in names if name.startswith("mlbench.")]
    return found


def violations(part: str, source: str) -> list[str]:
    """Return each import that goes down or across, as text."""
    tower, row = ROWS[part]
    broken = []
    for line, other in imports(source):
        if other == part or row == BRIDGE or other == "__version__":
            continue
        if other not in ROWS:
            broken.append(f"line {line}: {part} imports {other}, which stands in no row")
            continue
        their_tower, their_row = ROWS[other]
        if their_tower not in ("both", tower):
            broken.append(f"line {line}: {part} imports {other} across the bar")
        elif their_row >= row:
            broken.append(f"line {line}: {part} imports {other}, which does not stand above it")
    return broken


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_each_row_imports_only_from_above(path: Path) -> None:
    """No import goes down, sideways or across the bar, at the top of a file or inside a function."""
    assert violations(part_of(path), path.read_text(encoding="utf-8")) == []


def test_every_part_stands_in_a_row() -> None:
    """A new file or folder must take its place in the picture before it is allowed."""
    assert {part_of(path) for path in FILES} <= set(ROWS)


@pytest.mark.parametrize(
    ("part", "source", "expected"),
    [
        ("graph", "from mlbench.measure.stats import median", "across the bar"),
        ("measure", "import mlbench.ir", "across the bar"),
        ("graph", "from mlbench.runtime import BaselineRunner", "does not stand above it"),
        ("stats", "def f():\n    from mlbench.results import load", "does not stand above it"),
        ("passes", "from mlbench.compiler.memory import plan_memory", "does not stand above it"),
        ("report", "from mlbench import cases", "does not stand above it"),
        ("units", "from mlbench.files import write_atomically", "does not stand above it"),
        ("results", "import mlbench.measure, mlbench.models", "across the bar"),
        ("runtime", "from mlbench.nowhere import x", "stands in no row"),
        ("graph", "from . import ops", "stands in no row"),
    ],
    ids=["across", "across-back", "down", "in-a-function", "sideways", "bridge", "top-row", "second-name", "unknown", "relative"],
)
def test_a_planted_violation_is_found(part: str, source: str, expected: str) -> None:
    """The judge sees each way to break the rule, and says which line and which module."""
    (found,) = violations(part, source)
    assert expected in found
    assert f"line {2 if source.startswith('def') else 1}: {part} imports " in found


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("runtime", "from mlbench.ir import Graph\nfrom mlbench.errors import ModelError"),
        ("graph", "from mlbench.ir.graph import Node"),
        ("measure", "from mlbench import __version__\nimport mlbench"),
        ("cases", "from mlbench.runtime import BaselineRunner\nfrom mlbench.results import Result"),
        ("report", "import json\nimport numpy as np"),
    ],
    ids=["above", "itself", "version", "bridge", "others"],
)
def test_what_is_allowed_is_no_violation(part: str, source: str) -> None:
    """Rows above, the part itself, the package's version, and everything for the bridge."""
    assert violations(part, source) == []


def test_units_stand_alone_but_for_errors() -> None:
    """The top row imports nothing of mlbench but `errors`, which imports nothing at all."""
    assert imports((SOURCE / "errors.py").read_text(encoding="utf-8")) == []
    for name in ("units", "files"):
        assert {part for _, part in imports((SOURCE / f"{name}.py").read_text(encoding="utf-8"))} <= {"errors"}


def test_no_module_is_called_helpers() -> None:
    """A file is named after what it is."""
    assert not [path.name for path in FILES if set(path.relative_to(SOURCE).with_suffix("").parts) & HELPERS]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SOURCE)) for path in FILES])
def test_no_file_is_long(path: Path) -> None:
    """A file of more than 350 lines holds a second idea."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules outside the standard library that the code loads in a fresh interpreter."""
    program = (
        "import sys, json\nbefore = set(sys.modules)\n" + code + "\n"
        "after = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(json.dumps(sorted(after - set(sys.stdlib_module_names))))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(ran.stdout))


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
    assert loaded_after(code) - {"_distutils_hack", "sitecustomize"} <= most


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
        "mlbench: reading a result file needs jsonschema, which is not installed: install the extra with "
        "python -m pip install '.[bench]' in the checkout\n"
    )
