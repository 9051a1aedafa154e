"""What the documentation of the gate shows can be typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlbench.cli import main
from mlbench.gate import load_tolerances
from mlbench.gate.compatibility import ALIKE, OTHER, SAME
from mlbench.gate.policy import LATENCY_BOUNDS, RATIO_BOUNDS

ROOT = Path(__file__).resolve().parents[2]
GATE = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
WORKFLOW = (ROOT / "docs" / "github-actions.yml").read_text(encoding="utf-8")
OTHERS = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("other-projects.md", "github-actions-other-project.yml"))


def test_the_tolerances_that_are_shown_are_valid(tmp_path: Path) -> None:
    """The example of a tolerance file is read as it stands, and so is the project's own."""
    (shown,) = re.findall(r"```toml\n(.*?)```", GATE, flags=re.DOTALL)
    (tmp_path / "shown.toml").write_text(shown, encoding="utf-8")
    found = load_tolerances(tmp_path / "shown.toml")
    assert (len(found.tolerances), len(found.accepted)) == (1, 1)
    assert load_tolerances(ROOT / "benchmarks" / "baselines" / "sweep.toml").tolerances


def test_every_option_that_is_shown_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """Options of pytest and of our commands, in the text and in the workflow."""
    help_text = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for command in (["gate"], ["baseline", "update"], ["baseline", "add"], ["run"], ["calibrate"], ["ab"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
    help_text += capsys.readouterr().out
    for script in set(re.findall(r"scripts/\w+\.py", GATE)):
        help_text += subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True).stdout
    shown = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", GATE + WORKFLOW + OTHERS))
    assert {option for option in shown if option not in help_text} == set()
    assert len(shown) > 10


def test_what_slips_through_is_what_the_policy_tolerates() -> None:
    """In the page for other projects and on the page of the gate."""
    rows = {cells[0]: cells[1:] for line in OTHERS.splitlines() if len(cells := [each.strip() for each in line.strip("|").split("|")]) == 4}
    reference = {place: f"{1 + bounds.tolerance:g} times" for place, bounds in RATIO_BOUNDS.items()}
    assert rows["the same machine"][0].startswith(reference[SAME])
    assert rows["the same machine"][1].startswith(f"{1 + LATENCY_BOUNDS.tolerance:g} times")
    assert rows["a machine of its class: same processor, Python, NumPy, BLAS"][0] == reference[ALIKE]
    assert rows["another processor, Python, NumPy or BLAS"][0] == reference[OTHER]
    assert OTHERS.count(f"a slowdown to {reference[OTHER]} passes") == 1
    assert f"another machine {reference[OTHER]} is tolerated, with a limit of five" in " ".join(GATE.split())
    assert RATIO_BOUNDS[OTHER].limit == 4


def test_the_workflow_replaces_a_baseline_by_hand_alone() -> None:
    """Each push that passed would let small growths add up; and what is in doubt replaces nothing."""
    steps = WORKFLOW.split("      - name: ")[1:]
    (replacing,) = [step for step in steps if "baseline update" in step]
    assert "if: github.event_name == 'workflow_dispatch' || (github.event_name == 'push' && steps.baseline.outputs" in replacing
    assert "cache-matched-key == '')" in replacing
    assert "--inconclusive" not in replacing
    (saving,) = [step for step in steps if "actions/cache/save" in step]
    assert "if: steps.measured.outcome == 'success'" in saving
