"""The recipe for other projects, in a repository that is not ours: what its workflow runs, but for what it downloads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlbench.report.github import SUMMARY_VARIABLE
from support.repositories import Project

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = (ROOT / "docs" / "github-actions-other-project.yml").read_text(encoding="utf-8")
PARSING = """
def plain(text):
    return [int(each) for each in text.split(",")]

class Parser:
    def __init__(self):
        self.buffer = bytearray(SIZE)

    def parse(self, text):
        return list(map(int, text.split(",")))
"""
SUITE = """
import parsing

TEXT = ",".join(map(str, range(100)))

def test_parse(mlbench):
    parser = parsing.Parser()
    mlbench(parser.parse, TEXT, reference=lambda text: parsing.plain(text), holds=parser)
"""
SETTINGS = """
[tool.pytest.ini_options]
addopts = ["--benchmark-max-time=0.01", "--benchmark-min-rounds=2"]

[tool.mlbench.ab]
arguments = ["benchmarks"]
"""
LOOSE = """
kind = "mlbench-tolerances"
schema = 1
""" + "".join(
    f"""
[[tolerance]]
rows = "*"
quantity = "{quantity}"
tolerance = 900
limit = 1000
reason = "tests do not test the clock"
expires = 9999-12-31
"""
    for quantity in ("latency", "reference ratio")
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of one module, as a clone of another repository, with a change that allocates nothing and holds more."""
    made = Project(tmp_path / "theirs")
    made.write("src/parsing/__init__.py", PARSING.replace("SIZE", "128_000"))
    made.write("benchmarks/test_parsing.py", SUITE)
    made.write("pyproject.toml", SETTINGS)
    made.commit()
    made.git("clone", "--quiet", str(made.root), str(tmp_path / "clone"))
    clone = object.__new__(Project)
    clone.root = tmp_path / "clone"
    return clone


def steps(job: str) -> dict[str, str]:
    """Return what the steps of a job run, by their names, but for those that install."""
    (text,) = re.findall(rf"^  {job}:\n(.*?)(?=^  \S|\Z)", WORKFLOW, flags=re.DOTALL | re.MULTILINE)
    found = {}
    for step in re.split(r"^      - ", text, flags=re.MULTILINE)[1:]:
        name, run = re.search(r"name: (.*)", step), re.search(r"run: (?:\|\n)?(.*)", step, flags=re.DOTALL)
        if name and run:
            found[name[1]] = re.sub(r"^ +", "", run[1], flags=re.MULTILINE)
    return found


def run(project: Project, script: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run what a step runs, in a shell of a CI job; more options go to its last command."""
    script = " ".join([script.rstrip(), *more])
    path = os.pathsep.join([str(project.root / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {**os.environ, "BASE": "origin/main", "PYTHONPATH": path, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop(SUMMARY_VARIABLE, None)
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=project.root, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the jobs run in a shell of Linux")
def test_a_saved_run_is_judged(project: Project) -> None:
    """The first push makes the baseline; the same code passes; code that holds more is red, and cannot replace it."""
    run_of = steps("saved-run")
    measure = run_of["Measure a baseline, and replace the one there is or refuse to"]
    made = run(project, measure)
    assert made.returncode == 0, made.stdout + made.stderr
    project.write("baseline/baseline.toml", LOOSE)
    same = run(project, run_of["Judge"])
    assert same.returncode == 0, same.stdout + same.stderr
    project.write("src/parsing/__init__.py", PARSING.replace("SIZE", "25_600_000"))
    worse = run(project, run_of["Judge"])
    assert worse.returncode == 1
    assert re.search(r"peak bytes 1\d\d,\d+ -> 25,6\d\d,\d+ .*compared exactly", " ".join(worse.stdout.split()))
    refused = run(project, measure)
    assert refused.returncode == 1
    assert "was not replaced, because of benchmarks/test_parsing.py::test_parse" in refused.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the jobs run in a shell of Linux")
def test_two_versions_are_compared(project: Project) -> None:
    """The base is a branch of the remote, as in the clone of a CI job; both run in this environment, for one set, which settles nothing."""
    project.git("switch", "--quiet", "--detach")
    project.write("src/parsing/__init__.py", PARSING.replace("SIZE", "128_001"))
    project.commit()
    ran = run(project, steps("two-versions")["Compare"], "--same-env", "--max-time", "0.001")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 benchmarks in both versions, 1 in origin/main and 1 in HEAD" in ran.stderr
    assert (project.root / "ab.json").is_file()


def test_the_clone_has_the_history_where_two_versions_are_compared() -> None:
    """Without it the base is not there."""
    compared = WORKFLOW.partition("  saved-run:")[0]
    assert compared.index("fetch-depth: 0") < compared.index("BASE: origin/${{ github.base_ref }}") < compared.index('mlbench ab "$BASE"')


def test_nothing_in_the_workflow_is_of_our_checkout() -> None:
    """It installs a git URL, and builds and judges nothing of ours."""
    assert "MLBENCH: mlbench-numpy[bench] @ git+https://" in WORKFLOW
    assert WORKFLOW.count('pip install "$MLBENCH"') == 2
    assert "'.[bench]'" not in WORKFLOW
