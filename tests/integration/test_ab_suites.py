"""The A/B on projects that have what other people's suites have: what is measured, and that whatever is not is named."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

from mlbench.gate.revisions.judge import judge
from mlbench.report import verdict_text
from mlbench.results.comparison import Comparison, PairedPolicy, Version
from mlbench.results.samples import Effort
from mlbench.studies.ab.process import Arm, ArmError
from mlbench.studies.ab.session import Session
from support.exhaustive import EXHAUSTIVE
from support.quick_runs import QUICK_RUNS
from support.suites import SITUATIONS, Situation, one_project, renamed

TOGETHER = {name: each for name, each in SITUATIONS.items() if each.is_one_file}
"""Projects of one file each, which asks for nothing around it: their files make one project, whose processes are started once."""
TRIED = [
    name
    for number, (name, each) in enumerate(SITUATIONS.items())
    if EXHAUSTIVE or (name not in TOGETHER and (each.says or each.equal != "pass" or not number % 2))
]
"""Of the others every second one, and each that ends in another way than a pass; all of them where everything is tried."""
EFFORT = Effort(row_s=0.3, timeout_s=20)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the projects need fork and signals")


class Quiet:
    """Is told what happens."""

    def expect(self, steps: int) -> None:
        """Expect so many."""

    def step(self, what: str) -> None:
        """Count one."""

    def say(self, line: str) -> None:
        """Print nothing."""


def compared(situation: Situation, folder: Path, sets: int) -> Comparison:
    """Return what so many sets of processes measured of equal code."""
    for side in ("base", "head"):
        (folder / side).mkdir()
        situation.write(folder / side, is_head=side == "head")
    arms = [Arm(each, sys.executable, folder / ("head" if each == "head" else "base")) for each in ("base", "head", "control")]
    sides = (Version("base", "base"), Version("head", "head"))
    policy = PairedPolicy(screen=sets, most=sets)
    comparison = Comparison({}, "", "", situation.arguments, *sides, policy, EFFORT)
    Session(comparison, arms, lambda: None, Quiet()).run()
    return comparison


@pytest.fixture(autouse=True)
def _plain_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing around the tests decides which plugins the projects have."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", QUICK_RUNS)


@pytest.mark.parametrize("name", TRIED)
def test_every_benchmark_is_measured_or_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of the project has rounds of every arm, nothing is red, and what cannot be compared has its sentence."""
    situation = SITUATIONS[name]
    for distribution in situation.needs:
        try:
            importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"needs {distribution}")
    for variable, value in situation.variables.items():
        monkeypatch.setitem(os.environ, variable, value)
    if not situation.equal:
        with pytest.raises(ArmError, match=situation.says):
            compared(situation, tmp_path, 1)
        return
    comparison = compared(situation, tmp_path, 2 if situation.says else 1)
    whole = {visit.id for visits in comparison.sets for visit in visits if visit.is_whole}
    assert set(situation.rows) <= whole
    judgement = judge(comparison)
    assert not [row for row in judgement.rows if row.verdict == "regression"]
    assert situation.says in " ".join(verdict_text(judgement, colour=False).split())


def test_projects_of_one_file_are_measured_together(tmp_path: Path) -> None:
    """Each row of each of them has rounds of every arm, nothing is red, and what cannot be compared has its sentence."""
    comparison = compared(one_project(TOGETHER), tmp_path, 1)
    whole = {visit.id for visits in comparison.sets for visit in visits if visit.is_whole}
    judgement = judge(comparison)
    told = " ".join(verdict_text(judgement, colour=False).split())
    for name, each in TOGETHER.items():
        assert {renamed(row, name) for row in each.rows} <= whole, name
        assert renamed(each.says, name) in told
    assert not [row for row in judgement.rows if row.verdict == "regression"]
