"""What the documentation of the gate shows can be typed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlbench.cli import main
from mlbench.gate import load_tolerances

ROOT = Path(__file__).resolve().parents[1]
GATE = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
WORKFLOW = (ROOT / "docs" / "github-actions.yml").read_text(encoding="utf-8")


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
    for command in (["gate"], ["baseline", "update"], ["baseline", "add"], ["run"], ["calibrate"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
    help_text += capsys.readouterr().out
    for script in set(re.findall(r"scripts/\w+\.py", GATE)):
        help_text += subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True).stdout
    shown = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", GATE + WORKFLOW))
    assert {option for option in shown if option not in help_text} == set()
    assert len(shown) > 10


def test_the_workflow_replaces_a_baseline_by_hand_alone() -> None:
    """Each push that passed would let small growths add up; and what is in doubt replaces nothing."""
    steps = WORKFLOW.split("      - name: ")[1:]
    (replacing,) = [step for step in steps if "baseline update" in step]
    assert "if: github.event_name == 'workflow_dispatch' || (github.event_name == 'push' && steps.baseline.outputs" in replacing
    assert "cache-matched-key == '')" in replacing
    assert "--inconclusive" not in replacing
    (saving,) = [step for step in steps if "actions/cache/save" in step]
    assert "if: steps.measured.outcome == 'success'" in saving
