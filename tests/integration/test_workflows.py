"""The action and the workflows: their shape, and that what they call exists."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mlbench import __version__
from mlbench.cli import main
from support.workflows import action_steps, environment, read

ROOT = Path(__file__).resolve().parents[2]
ACTION = read("action.yml")
WORKFLOWS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / ".github" / "workflows").glob("*.yml"))
RECIPES = ["docs/github-actions.yml", "docs/github-actions-other-project.yml"]
OURS = re.compile(r"^(?:\./|OWNER/mlbench@COMMIT)$")


def steps(place: str) -> list[dict[str, Any]]:
    """Return the steps of all jobs of a workflow."""
    return [step for job in read(place)["jobs"].values() for step in job["steps"]]


def test_every_input_of_the_action_is_used() -> None:
    """An input that no step reads would be a promise that nobody keeps; and a step reads none that is not there."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])


def test_every_input_of_the_action_explains_itself() -> None:
    """Each has a description and a default, so that none has to be given."""
    assert {name for name, each in ACTION["inputs"].items() if not each["description"] or "default" not in each} == set()


def test_no_input_is_pasted_into_a_command() -> None:
    """Inputs reach the shell as variables, where they cannot become code."""
    assert [step["name"] for step in action_steps().values() if "${{" in step["run"]] == []
    assert all(step["shell"] == "bash" for step in action_steps().values())


def test_each_command_of_the_action_has_its_step() -> None:
    """The description names the commands, the first step knows them, and one step runs each."""
    named = re.findall(r"'([a-z ]+)'", ACTION["inputs"]["command"]["description"])
    conditions = [step.get("if", "") for step in action_steps().values()]
    assert named == ["ab", "gate", "baseline update"]
    assert [sum(f"== '{name}'" in each for each in conditions) for name in named] == [1, 1, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="bash may be missing")
def test_another_command_is_refused() -> None:
    """It is named, with what was expected, before anything is installed."""
    step = action_steps()["Install"]
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], env=environment(step, {"command": "gates"}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "command is 'gates'; expected 'ab', 'gate' or 'baseline update'" in done.stdout


def test_every_option_of_the_action_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command has the options that the action gives it."""
    of_pytest = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    seen = set()
    for step in action_steps().values():
        for line in step["run"].splitlines():
            for command, options in re.findall(r"python -m (pytest|mlbench (?:baseline \w+|\w+))(.*?)(?: -- |\|\||$)", line):
                if command != "pytest":
                    with pytest.raises(SystemExit):
                        main([*command.split()[1:], "--help"])
                known = of_pytest if command == "pytest" else capsys.readouterr().out
                given = re.findall(r"--[a-z]+(?:-[a-z]+)*", options)
                assert [option for option in given if option not in known] == []
                seen.add(command)
    assert seen == {"pytest", "mlbench ab", "mlbench baseline update", "mlbench report"}


def test_the_action_keeps_what_it_measured() -> None:
    """The report is drawn and everything is uploaded also when the verdict is red."""
    report, upload = ACTION["runs"]["steps"][-2:]
    assert (report["if"], upload["if"]) == ("always()", "always()")
    assert upload["uses"].startswith("actions/upload-artifact@")
    assert upload["with"]["path"] == "mlbench-results/"
    written = "".join(step["run"] for step in action_steps().values())
    places = re.findall(r"--(?:json|benchmark-json|output|mlbench-gate-graphs|mlbench-memray)[ =](\S+)", written)
    assert len(places) == 6
    assert all(place.startswith("mlbench-results/") for place in places)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_give_the_action_what_it_knows(recipe: str) -> None:
    """Each input is one of the action's, and a command is one of its commands."""
    ours = [step for step in steps(recipe) if OURS.match(step.get("uses", ""))]
    assert ours
    assert {name for step in ours for name in step.get("with", {})} <= set(ACTION["inputs"])
    assert {step.get("with", {}).get("command", "ab") for step in ours} <= {"ab", "gate", "baseline update"}


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_environments_of_workflows_exist(workflow: str) -> None:
    """Each `tox run -e` names environments of tox.ini."""
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    named = set()
    for job in read(workflow)["jobs"].values():
        for step in job["steps"]:
            for names in re.findall(r"tox run -e (\S+|\$\{\{.*?\}\})", step.get("run", "")):
                named |= set(job["strategy"]["matrix"]["environment"]) if "{{" in names else set(names.split(","))
    factors = {"gate-oldest": "gate{,-oldest}", "gate": "gate{,-oldest}"}
    assert {name for name in named if f"[testenv:{factors.get(name, name)}]" not in tox} == set()


def test_ci_runs_on_every_system_and_python() -> None:
    """Linux, macOS, Windows; from the oldest Python that is supported to the next one, which alone may fail."""
    job = read(".github/workflows/ci.yml")["jobs"]["tests"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {each.partition("-")[0] for each in job["strategy"]["matrix"]["system"]} == {"ubuntu", "macos", "windows"}
    assert job["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in range(11, 16)]
    assert project["requires-python"] == f">={job['strategy']['matrix']['python'][0]}"
    assert job["continue-on-error"] == "${{ matrix.python == '3.15' }}"


def test_a_release_is_tried_before_it_is_published() -> None:
    """A tag starts it; the wheel runs alone and in both main commands first; no token is kept."""
    release = read(".github/workflows/release.yml")
    triggers = release[True]  # YAML 1.1 reads the key `on` so
    jobs = release["jobs"]
    assert triggers == {"push": {"tags": ["v*"]}}
    assert set(jobs["publish"]["needs"]) == {"bare", "main-commands"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    runs = [step["run"] for step in jobs["main-commands"]["steps"] if "--installpkg" in step.get("run", "")]
    assert runs == ["python -m tox run -e bench --installpkg dist/*.whl", "python -m tox run --installpkg dist/*.whl"]


def test_one_version_of_ruff() -> None:
    """A commit is checked by the ruff that CI has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (ruff,) = (repository for repository in read(".pre-commit-config.yaml")["repos"] if "ruff" in repository["repo"])
    assert project["dependency-groups"]["lint"] == [f"ruff=={ruff['rev'].removeprefix('v')}"]


def test_the_citation_names_this_version() -> None:
    """And the licence of the project."""
    citation = read("CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["title"], citation["version"], citation["license"]) == ("mlbench", __version__, project["license"])
