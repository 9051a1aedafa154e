"""What the documentation says of the gate is so. The examples of its pages run by themselves (`docs/conftest.py`)."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlbench.cli import main
from mlbench.gate import load_tolerances
from mlbench.gate.compatibility import ALIKE, OTHER, SAME
from mlbench.gate.policy import ALONE_BOUNDS, LATENCY_BOUNDS, MEAN_ALONE_BOUNDS, MEAN_BOUNDS, RATIO_BOUNDS, YARDSTICK_BOUNDS, Bounds

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
IN_CI = (DOCS / "how-to" / "gate-in-ci.md").read_text(encoding="utf-8")
DECIDES = (DOCS / "how-it-works" / "gate.md").read_text(encoding="utf-8")
WORKFLOW = (DOCS / "github-actions.yml").read_text(encoding="utf-8")
OTHERS = (DOCS / "github-actions-other-project.yml").read_text(encoding="utf-8")


def table(page: str, columns: int) -> dict[str, list[str]]:
    """Return the rows of the tables of so many columns, by their first cell."""
    lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|"))
    return {cells[0]: cells[1:] for cells in lines if len(cells) == columns}


def test_the_projects_own_tolerances_are_valid() -> None:
    """As those that the page shows are."""
    assert load_tolerances(ROOT / "benchmarks" / "baselines" / "sweep.toml").tolerances


def test_every_option_of_a_workflow_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """Options of pytest and of our commands, in the files and in the pages."""
    help_text = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for command in (["gate"], ["baseline", "update"], ["run"], ["ab"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
    help_text += capsys.readouterr().out
    blocks = [
        block for page in DOCS.rglob("*.md") for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    shown = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", "".join([WORKFLOW, OTHERS, *blocks])))
    assert {option for option in shown if option not in help_text} == set()
    assert "--format" in shown


@pytest.mark.parametrize(
    "shown",
    ["results.txt", "docs/tutorial.md", "docs/how-it-works/ablation.md", "docs/how-it-works/floor.md"],
    ids=lambda shown: Path(shown).stem,
)
def test_the_glossary_explains_every_column(shown: str) -> None:
    """Of the tables that the commands print."""
    glossary = set(re.findall(r"^(\S.*)\n  ", (ROOT / "src/mlbench/report/glossary.md").read_text(encoding="utf-8"), re.MULTILINE))
    lines = (ROOT / shown).read_text(encoding="utf-8").splitlines()
    heads = [head for head, rule in itertools.pairwise(lines) if set(rule) == {" ", "─"}]
    columns = {
        column.replace("interval", "95 % interval").replace("95 % 95 %", "95 %")
        for head in heads
        for column in re.split(r" {2,}", head.strip())
    }
    assert columns
    assert columns - glossary == set()


def test_what_slips_through_is_what_the_policy_tolerates() -> None:
    """In the table of the page, and in the comment of the workflow."""
    rows = table(IN_CI, 4)
    reference = {place: f"{1 + bounds.tolerance:g} times" for place, bounds in RATIO_BOUNDS.items()}
    assert rows["the same machine"][:2] == [reference[SAME], f"{1 + LATENCY_BOUNDS.tolerance:g} times"]
    assert rows["a machine of its class: same processor, Python, NumPy, BLAS"][0] == reference[ALIKE]
    assert rows["another processor, Python, NumPy or BLAS"][0] == reference[OTHER]
    assert OTHERS.count(f"a slowdown to {reference[OTHER]} passes") == 1
    assert f"On another machine {reference[OTHER]} is tolerated, with a limit of five" in " ".join(DECIDES.split())
    assert RATIO_BOUNDS[OTHER].limit == 4


@pytest.mark.parametrize(
    ("row", "bounds"),
    [
        ("both ratios of a row", YARDSTICK_BOUNDS[SAME]),
        ("the products ratio alone", ALONE_BOUNDS[SAME]),
        ("mean of the compiled runner's rows, both ratios", MEAN_BOUNDS),
        ("mean of the compiled runner's rows, products ratio alone", MEAN_ALONE_BOUNDS),
    ],
)
def test_the_tolerances_of_times_are_those_of_the_policy(row: str, bounds: Bounds) -> None:
    """The table of the page on how the gate decides."""
    assert table(DECIDES, 3)[row] == [f"{100 * bounds.tolerance:g} %", f"{100 * bounds.limit:g} %"]


def test_the_workflow_replaces_a_baseline_by_hand_alone() -> None:
    """Each push that passed would let small growths add up; and what is in doubt replaces nothing."""
    steps = WORKFLOW.split("      - name: ")[1:]
    (replacing,) = [step for step in steps if "baseline update" in step]
    assert "if: github.event_name == 'workflow_dispatch' || (github.event_name == 'push' && steps.baseline.outputs" in replacing
    assert "cache-matched-key == '')" in replacing
    assert "--inconclusive" not in replacing
    (saving,) = [step for step in steps if "actions/cache/save" in step]
    assert "if: steps.measured.outcome == 'success'" in saving
