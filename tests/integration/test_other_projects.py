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
from support.workflows import action_steps, environment, read

WORKFLOW = "docs/github-actions-other-project.yml"
THEIRS = "OWNER/mlbench@COMMIT"
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


def given(job: str) -> dict[str, str]:
    """Return the inputs that the workflow gives the action in a job; what the host would fill in is empty."""
    used = [step["with"] for step in read(WORKFLOW)["jobs"][job]["steps"] if step.get("uses") == THEIRS]
    return {name: "" if "${{" in value else value for inputs in used for name, value in inputs.items()}


def run(project: Project, step: str, more: str = "", **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run a step of the action in a shell of a CI job with these inputs; more options go before what is pytest's."""
    made = action_steps()[step]
    script = made["run"].replace(" -- ", f" {more} -- ")
    path = os.pathsep.join([str(project.root / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    variables = {**os.environ, "PYTHONPATH": path, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    variables.pop(SUMMARY_VARIABLE, None)
    (project.root / "mlbench-results").mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=project.root,
        env={**variables, **environment(made, inputs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="the jobs run in a shell of Linux")
def test_a_saved_run_is_judged(project: Project) -> None:
    """The first push makes the baseline; the same code passes; code that holds more is red, and cannot replace it."""
    inputs = given("saved-run")
    made = run(project, "Measure", **inputs)
    assert made.returncode == 0, made.stdout + made.stderr
    assert list((project.root / "baseline" / "baseline-graphs").glob("*.html"))
    project.write("baseline/baseline.toml", LOOSE)
    same = run(project, "Judge", **inputs)
    assert same.returncode == 0, same.stdout + same.stderr
    project.write("src/parsing/__init__.py", PARSING.replace("SIZE", "25_600_000"))
    worse = run(project, "Judge", **inputs)
    assert worse.returncode == 1
    assert re.search(r"peak bytes 1\d\d,\d+ -> 25,6\d\d,\d+ .*compared exactly", " ".join(worse.stdout.split()))
    refused = run(project, "Measure", **inputs)
    assert refused.returncode == 1
    assert "was not replaced, because of benchmarks/test_parsing.py::test_parse" in refused.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the jobs run in a shell of Linux")
def test_two_versions_are_compared(project: Project) -> None:
    """The base is a branch of the remote, as in the clone of a CI job; both run in this environment, for one set, which settles nothing."""
    project.git("switch", "--quiet", "--detach")
    project.write("src/parsing/__init__.py", PARSING.replace("SIZE", "128_001"))
    project.commit()
    ran = run(project, "Compare", "--same-env --max-time 0.001", base="origin/main", suite="")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 benchmarks in both versions, 1 in origin/main and 1 in HEAD" in ran.stderr
    assert (project.root / "mlbench-results" / "ab.json").is_file()


def test_the_clone_has_the_history_where_two_versions_are_compared() -> None:
    """Without it the base is not there."""
    checkout, compare = read(WORKFLOW)["jobs"]["two-versions"]["steps"]
    assert checkout["with"]["fetch-depth"] == 0
    assert compare["uses"] == THEIRS
    assert "github.event.pull_request.base.sha" in read("action.yml")["inputs"]["base"]["default"]


def test_nothing_in_the_workflow_is_of_our_checkout() -> None:
    """It takes the action from a git URL, and builds and judges nothing of ours."""
    used = {step["uses"] for job in read(WORKFLOW)["jobs"].values() for step in job["steps"]}
    assert {each for each in used if not each.startswith("actions/")} == {THEIRS}
