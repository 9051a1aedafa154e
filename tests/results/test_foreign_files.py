"""Files as other people have them, through every command that reads one: nothing in them that is not ours makes a file unreadable."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import pytest

from mlbench.cli import main
from mlbench.gate.calibration.false_alarms import saved_runs
from mlbench.report.github import SUMMARY_VARIABLE
from mlbench.report.inputs import read_files
from mlbench.results import to_json
from support.saved_results import ENVIRONMENT, callable_of_a_user

MINE = "test_mine.py::test_square"
HEAD = {"environment": dataclasses.asdict(ENVIRONMENT), "status": "complete", "command": "pytest"}
OF_3_0: dict[str, Any] = {
    "group": None,
    "name": "test_old",
    "fullname": "test_old.py::test_old",
    "stats": {"min": 1e-05, "max": 2e-05, "mean": 1e-05, "stddev": math.nan, "rounds": 5, "iterations": 1},
    "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": 5, "max_time": 1.0, "min_time": 5e-06, "warmup": False},
}
"""A row as pytest-benchmark 3.0 saved it: without parameters and extra_info."""


@pytest.fixture(autouse=True)
def no_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI that runs these tests shows none of their verdicts."""
    monkeypatch.delenv(SUMMARY_VARIABLE, raising=False)


def row_of_ours(**more: Any) -> dict[str, Any]:
    """Return a row of today, with parameters and notes that no JSON should have."""
    extra = {"mlbench": to_json(callable_of_a_user(MINE)), "seed": 2**70, "loss": math.nan}
    return OF_3_0 | {"name": "test_square", "fullname": MINE, "params": {"limit": math.inf}, "param": "inf", "extra_info": extra} | more


def written(path: Path, *rows: Any, head: Any = HEAD) -> str:
    """Write rows as pytest-benchmark saves them, with a date of its version 3, and return the path."""
    about = {"machine_info": {"cpu": {"hz": 2**70}}, "commit_info": {}, "datetime": "2016-10-09T12:34:56.789012", "version": "3.0.0"}
    path.write_text(json.dumps({**about, "benchmarks": list(rows), **({"mlbench": head} if head else {})}), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("command", ["show", "gate", "report", "baseline"])
def test_every_command_reads_what_others_have_in_their_files(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Infinite parameters, seeds of 70 bits, NaN, rows of pytest-benchmark 3.0 and two attempts of one test."""
    failed = json.loads(json.dumps(row_of_ours()))
    failed["extra_info"]["mlbench"] |= {"status": "failed", "error": "flaky"}
    files = [written(tmp_path / name, OF_3_0, failed, row_of_ours()) for name in ("one.json", "two.json")]
    arguments = {"show": files[:1], "gate": files, "report": [*files, "-o", str(tmp_path / "page.html")], "baseline": ["show", files[0]]}
    assert main([command, *arguments[command]]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["show", "gate", "report"])
def test_a_file_in_which_nothing_is_ours_says_so(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the same words everywhere, with what compares such benchmarks; exit code 2."""
    foreign = written(tmp_path / "old.json", OF_3_0, OF_3_0 | {"fullname": "test_old.py::test_too"}, head=None)
    arguments = {"show": [foreign], "gate": [foreign, foreign], "report": [foreign, "-o", str(tmp_path / "page.html")]}
    assert main([command, *arguments[command]]) == 2
    told = capsys.readouterr().err
    assert told.count("pytest-benchmark saved it, but none of its 2 benchmarks used the mlbench fixture; 'mlbench ab' compares such") == 1


def test_benchmarks_of_others_are_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The gate judges ours, and says how many it does not judge: attempts of one test are one."""
    files = [written(tmp_path / name, OF_3_0, OF_3_0, row_of_ours(), {"extra_info": None}) for name in ("one.json", "two.json")]
    assert main(["gate", *files]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"{files[0]}: 2 benchmarks do not use the fixture mlbench, such as test_old.py" in told


def test_one_bad_file_of_a_report_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    """With the place in it."""
    bad = row_of_ours()
    bad["extra_info"]["mlbench"]["timing"]["median_s"] = math.nan
    found = read_files([Path(written(tmp_path / "bad.json", OF_3_0, bad)), Path(written(tmp_path / "good.json", row_of_ours()))])
    place = f"$.benchmarks[1].extra_info.mlbench.timing.median_s ({MINE})"
    assert found.refused == [f"{tmp_path / 'bad.json'}: not a valid result at {place}: NaN is no finite number"]
    assert [name for name, _ in found.results] == ["good.json"]


def test_the_shortest_rounds_of_others_are_those_that_are_numbers(tmp_path: Path) -> None:
    """A row without statistics, or whose shortest round is none, is not compared by `min:10%`."""
    odd = [OF_3_0 | {"fullname": str(number), "stats": stats} for number, stats in enumerate((None, {}, {"min": math.nan}, {"min": 0}))]
    files = [Path(written(tmp_path / name, row_of_ours(), OF_3_0, *odd, None)) for name in ("one.json", "two.json")]
    (found,) = saved_runs(files, dt.date(2026, 1, 1))
    assert (found.their_rows, found.their_red) == (2, 0)
