"""Saved runs of unchanged code, judged by our gate and as `--benchmark-compare-fail=min:10%` does."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest

from mlbench.cli import main
from mlbench.errors import FileError
from mlbench.gate.calibration.false_alarms import saved_pairs, saved_runs
from mlbench.report.tables.calibration import saved_table
from mlbench.results import save, to_json
from support.saved_results import ENVIRONMENT, case, result

TODAY = dt.date(2026, 11, 25)


def saved(path: Path, shortest_s: float, ratio: float = 1.2) -> Path:
    """Write what pytest-benchmark saves of one of our cases."""
    measured = to_json(case(ratio=ratio))
    bench = {"fullname": "test_sweep.py::test_mlp[one]", "stats": {"min": shortest_s}, "extra_info": {"mlbench": measured}}
    head = {"environment": dataclasses.asdict(ENVIRONMENT), "status": "complete", "command": "pytest benchmarks"}
    path.write_text(json.dumps({"machine_info": {}, "datetime": "2026-11-25T05:00:00+00:00", "benchmarks": [bench], "mlbench": head}))
    return path


@pytest.mark.parametrize(("shortest_s", "red"), [(1.099e-5, 0), (1.101e-5, 1), (0.5e-5, 0)], ids=["within", "beyond", "faster"])
def test_their_gate_looks_at_the_shortest_round(tmp_path: Path, shortest_s: float, red: int) -> None:
    """A benchmark is red to `min:10%` where its shortest round is longer by more than 10 %."""
    (found,) = saved_runs([saved(tmp_path / "a.json", 1e-5), saved(tmp_path / "b.json", shortest_s)], TODAY)
    assert (found.their_red, found.their_rows) == (red, 1)
    assert (found.red, found.still_open, found.judgement.verdict) == (0, 0, "pass")


def test_our_gate_looks_at_the_ratios(tmp_path: Path) -> None:
    """Ratios that doubled are red to our gate, whatever the shortest round."""
    (found,) = saved_runs([saved(tmp_path / "a.json", 1e-5), saved(tmp_path / "b.json", 1e-5, ratio=2.4)], TODAY)
    assert (found.red, found.their_red) == (1, 0)


def test_every_pair_is_judged_both_ways(tmp_path: Path) -> None:
    """Of three runs there are six pairs; the slow one is red to them against both others, and none is against it."""
    files = [saved(tmp_path / f"{name}.json", shortest_s) for name, shortest_s in (("a", 1e-5), ("b", 1e-5), ("c", 2e-5))]
    assert [each.their_red for each in saved_pairs(files, TODAY)] == [0, 1, 0, 1, 0, 0]


def test_the_table_counts_runs_and_pairs(tmp_path: Path) -> None:
    """A line for each run, and for both gates how many runs were red."""
    files = [saved(tmp_path / "a.json", 1e-5), saved(tmp_path / "b.json", 2e-5)]
    table = saved_table(saved_runs(files, TODAY), saved_pairs(files, TODAY))
    assert table.rows == (("b.json", "pass", "0", "0", "1", "1 of 1"),)
    assert table.notes[0].startswith("Against the one baseline: 0 of 1 runs red (0 %")
    assert table.notes[5].startswith("Every run against every other one: 1 of 2 runs red by min:10% (50 %")


def test_a_gate_that_compares_nothing_has_no_share(tmp_path: Path) -> None:
    """Files of `mlbench run` hold nothing that pytest-benchmark compares: no share of red runs is claimed for it."""
    files = [save(result(case()), tmp_path / f"{name}.json") for name in "ab"]
    table = saved_table(saved_runs(files, TODAY), saved_pairs(files, TODAY))
    assert table.rows == (("b.json", "pass", "0", "0", "1", "-"),)
    assert not [note for note in table.notes if "min:10%" in note]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """What pytest-benchmark did not save has no shortest rounds."""
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(FileError, match=r"other\.json"):
        saved_runs([saved(tmp_path / "a.json", 1e-5), other], TODAY)


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`calibrate --saved` measures nothing, prints the table, and writes it with the command above it."""
    files = [str(saved(tmp_path / "a.json", 1e-5)), str(saved(tmp_path / "b.json", 1e-5))]
    assert main(["calibrate", "--saved", *files, "--output", str(tmp_path / "log.txt")]) == 0
    assert "b.json       pass          0" in capsys.readouterr().out
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").startswith("$ mlbench calibrate --saved ")


def test_one_file_is_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A baseline alone judges nothing: exit code 2."""
    assert main(["calibrate", "--saved", str(saved(tmp_path / "a.json", 1e-5))]) == 2
    assert "--saved needs two files or more" in capsys.readouterr().err
