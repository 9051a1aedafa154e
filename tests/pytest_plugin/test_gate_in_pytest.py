"""The gate inside pytest: red and inconclusive runs fail, whatever was saved by the way; and nothing is silently green."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlbench.errors import UsageError
from mlbench.files import file_name
from mlbench.measure.footprint import has_memray
from mlbench.pytest_plugin.recorder import Recorder
from mlbench.report.github import SUMMARY_VARIABLE
from mlbench.results import load, save
from support.quick_runs import QUICK_RUNS
from support.saved_results import case, result

QUICK = ("-q", "-p", "no:cacheprovider", "--benchmark-max-time=0.002", "--benchmark-min-rounds=2", "--benchmark-storage=store")
STEADY = ("--benchmark-timer=steady.clock", "--benchmark-calibration-precision=1")
"""A clock that goes on by a millisecond whenever it is read, so that no verdict comes from what else the machine does."""
SUITE = """
import numpy as np

SIZE = 1000

def double(x):
    return x + x

def test_double(mlbench):
    mlbench(double, np.ones(SIZE))

def test_other(mlbench):
    mlbench(sum, [1, 2])
"""
OURS = """
import pytest
from mlbench.studies.cases import parse_case

@pytest.mark.parametrize("case", [parse_case("optimized-b2-h8")], ids=lambda case: case.id)
def test_case(mlbench, case):
    mlbench.case(case)
"""
AGAIN = """
import builtins
from _pytest.runner import runtestprotocol

builtins.attempts = [True, False]

def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(each.failed for each in reports):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for each in reports:
        item.ihook.pytest_runtest_logreport(report=each)
    return True
"""
"""Runs a test that failed once more, as plugins do."""
LOOSE = """
kind = "mlbench-tolerances"
schema = 1

[[tolerance]]
rows = "*"
quantity = "latency"
tolerance = 900
limit = 1000
reason = "the tests of the gate do not test the clock"
expires = 9999-12-31
"""


@pytest.fixture(autouse=True)
def stubs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A py-cpuinfo that answers at once, a steady clock, loose latencies, and no summary of a CI job."""
    folder = pytester.path / "stubs"
    folder.mkdir()
    (folder / "cpuinfo.py").write_text("def get_cpu_info():\n    return {'brand_raw': 'Stub CPU'}\n")
    (folder / "steady.py").write_text("import itertools\nticks = itertools.count()\ndef clock():\n    return next(ticks) / 1024\n")
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *([path] if path else [])]))
    monkeypatch.setenv("PYTEST_ADDOPTS", QUICK_RUNS)
    monkeypatch.delenv(SUMMARY_VARIABLE, raising=False)
    (pytester.path / "loose.toml").write_text(LOOSE)


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run the inner suite with loose latencies."""
    return pytester.runpytest_subprocess(*QUICK, *STEADY, "--mlbench-tolerances=loose.toml", *options)


SAVED: list[str] = []
"""What a run of the suite saved, measured once."""


@pytest.fixture
def baseline(pytester: pytest.Pytester) -> Path:
    """The suite, and what a run of it saved."""
    pytester.makepyfile(test_mine=SUITE)
    path = pytester.path / "before.json"
    if not SAVED:
        assert pytester.runpytest_subprocess(*QUICK, *STEADY, f"--benchmark-json={path}").ret == 0
        SAVED.append(path.read_text(encoding="utf-8"))
    path.write_text(SAVED[0], encoding="utf-8")
    return path


def saved(path: Path) -> Any:
    """Return the JSON in a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_same_suite_passes(pytester: pytest.Pytester, baseline: Path) -> None:
    """Exit status 0, and the verdicts end the report."""
    ran = run(pytester, "--mlbench-gate=before.json")
    ran.stdout.fnmatch_lines(["*= mlbench gate =*", "pass: 2 rows: 2 pass"])
    assert ran.ret == 0


@pytest.mark.skipif(not has_memray(), reason="flame graphs need memray")
def test_a_hungrier_callable_is_red_and_recorded(pytester: pytest.Pytester, baseline: Path) -> None:
    """Exit status 1, the row with its numbers, its flame graph, and what mlbench would have ended with; the others still pass."""
    pytester.makepyfile(test_mine=SUITE.replace("SIZE = 1000", "SIZE = 2000"))
    ran = run(pytester, "--mlbench-gate=before.json", "--mlbench-gate-graphs=graphs")
    ran.stdout.fnmatch_lines(
        [
            "regression: 2 rows: 1 worse, 1 pass",
            "*test_mine.py::test_double: peak bytes 8,0* -> 16,0*compared exactly*",
            "*'mlbench gate' would have ended with 1.",
        ]
    )
    ran.assert_outcomes(passed=2)
    assert ran.ret == 1
    assert [path.name for path in (pytester.path / "graphs" / "after").glob("*.html")] == [f"{file_name('test_mine.py::test_double')}.html"]


def test_a_failing_test_is_a_red_row(pytester: pytest.Pytester, baseline: Path) -> None:
    """pytest-benchmark leaves out rows with errors; ours is red and has the error."""
    pytester.makepyfile(test_mine=SUITE.replace("mlbench(double, np.ones(SIZE))", "mlbench(double, np.ones(SIZE), check=lambda y: 1 / 0)"))
    ran = run(pytester, "--mlbench-gate=before.json")
    ran.stdout.fnmatch_lines(["regression: 2 rows: 1 worse, 1 pass", "*the test failed: ZeroDivisionError: division by zero*"])
    ran.assert_outcomes(passed=1, failed=1)
    assert ran.ret == 1


def test_a_renamed_test_is_red_and_a_deselected_one_is_not(pytester: pytest.Pytester, baseline: Path) -> None:
    """-k leaves out what it leaves out; a test that is gone is missing whatever -k says."""
    assert run(pytester, "--mlbench-gate=before.json", "-k", "double").ret == 0
    pytester.makepyfile(test_mine=SUITE.replace("test_other", "test_another"))
    ran = run(pytester, "--mlbench-gate=before.json", "-k", "double")
    ran.stdout.fnmatch_lines(
        ["missing: 2 rows: 1 missing, 1 pass", "*test_mine.py::test_other: the baseline has this row, this run does not."]
    )
    assert ran.ret == 1


def test_no_row_is_red(pytester: pytest.Pytester, baseline: Path) -> None:
    """A selection that measures nothing judges nothing: exit status 1, not 0 and not pytest's 5."""
    ran = run(pytester, "--mlbench-gate=before.json", "-k", "nothing")
    ran.stdout.fnmatch_lines(["nothing was compared, which is red: 0 rows"])
    assert ran.ret == 1


@pytest.mark.parametrize(("option", "status"), [("fail", 1), ("pass", 0)])
def test_doubt_is_what_the_option_says(pytester: pytest.Pytester, baseline: Path, option: str, status: int) -> None:
    """An inconclusive row fails unless it may pass, and the section says which exit code mlbench would have given."""
    data = saved(baseline)
    for bench in data["benchmarks"]:
        bench["extra_info"]["mlbench"]["status"] = "interrupted"
    baseline.write_text(json.dumps(data), encoding="utf-8")
    ran = run(pytester, "--mlbench-gate=before.json", f"--mlbench-inconclusive={option}")
    ran.stdout.fnmatch_lines(["inconclusive*2 inconclusive"])
    assert ("would have ended with 3" in ran.stdout.str()) is (status == 1)
    assert ran.ret == status


def test_autosave_does_not_choose_the_run_itself(pytester: pytest.Pytester) -> None:
    """pytest-benchmark saves before it compares; what is judged by is the latest run before this one."""
    pytester.makepyfile(test_mine=SUITE)
    assert run(pytester, "--benchmark-autosave").ret == 0
    pytester.makepyfile(test_mine=SUITE.replace("SIZE = 1000", "SIZE = 2000"))
    ran = run(pytester, "--benchmark-autosave", "--benchmark-compare", "--mlbench-gate")
    assert ran.ret == 1
    ran.stdout.fnmatch_lines(["*this run against *0001_*.json"])
    assert len(list((pytester.path / "store").glob("*/000?_*.json"))) == 2
    assert run(pytester, "--benchmark-compare=0001", "--mlbench-gate", "-k", "other").ret == 0


@pytest.mark.filterwarnings("ignore:Can't compare")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--mlbench-gate",), "by which run? Name a file with --mlbench-gate=FILE"),
        (("--mlbench-gate", "--benchmark-compare"), "there is no saved run in *save one first with --benchmark-autosave"),
        (("--mlbench-gate", "--benchmark-compare=0007"), "there is no saved run that fits '0007' in "),
        (("--mlbench-gate=none.json",), "none.json: no such file"),
        (("--mlbench-gate=loose.toml",), "loose.toml: cannot be read as JSON"),
        (("--mlbench-gate=stubs",), "stubs is a folder; name a file"),
        (("--mlbench-gate=before.json", "--benchmark-json=before.json"), "--benchmark-json would write this run over before.json"),
        (("--mlbench-gate=before.json", "--benchmark-disable"), "benchmarks are disabled or skipped"),
        (("--mlbench-gate=before.json", "--benchmark-skip"), "benchmarks are disabled or skipped"),
    ],
    ids=["no-file", "none-saved", "no-such-id", "missing", "no-json", "folder", "overwritten", "disabled", "skipped"],
)
def test_what_cannot_be_judged_is_a_usage_error(pytester: pytest.Pytester, options: tuple[str, ...], told: str) -> None:
    """Never silently green: nothing is measured, and the reason is told."""
    pytester.makepyfile(test_mine="def test_it(mlbench):\n    mlbench(sum, [1])\n")
    (pytester.path / "before.json").write_text("{}", encoding="utf-8")
    ran = pytester.runpytest_inprocess(*QUICK, *options)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines([f"*--mlbench-gate: *{told.replace('[', '[[]')}*"])


def test_a_baseline_that_cannot_be_judged_by_is_refused_before_anything_is_measured(pytester: pytest.Pytester) -> None:
    """Two tests that measured the same case are two rows of one name, and nobody knows which one counts."""
    pytester.makepyfile(test_mine="def test_it(mlbench):\n    open('measured', 'w').close()\n")
    save(result(case(), case()), pytester.path / "before.json")
    ran = pytester.runpytest_inprocess(*QUICK, "--mlbench-gate=before.json")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*--mlbench-gate: before.json: has two rows called optimized-b8-h64; measure each case once*"])
    assert not (pytester.path / "measured").exists()


def test_a_case_that_another_test_measured_is_refused_before_it_is_measured() -> None:
    """Two rows of one name could not be judged, which nobody should learn at the end of the run; the others keep their verdicts."""
    config: Any = SimpleNamespace(getoption=lambda name: 1 if name == "--mlbench-threads" else None)
    recorder = Recorder(config)
    row, extra = case(), {"mine": 1}
    recorder.keep("test_a.py::test_one", row, {})
    recorder.keep("test_a.py::test_one", row, {})
    with pytest.raises(UsageError, match=f"{row.case['id']} was measured by test_a.py::test_one already; measure each case once"):
        recorder.keep("test_b.py::test_two", row, extra)
    assert list(recorder.measured) == ["test_a.py::test_one"]
    assert extra == {"mine": 1}


def test_an_object_that_holds_more_is_red(pytester: pytest.Pytester) -> None:
    """A call that allocates nothing may keep any amount of memory."""
    suite = """
import numpy as np

def test_mine(mlbench):
    arena = np.zeros(SIZE)
    mlbench(lambda: arena, holds=arena)
"""
    pytester.makepyfile(test_mine=suite.replace("SIZE", "16_384"))
    assert run(pytester, "--benchmark-json=before.json").ret == 0
    assert run(pytester, "--mlbench-gate=before.json").ret == 0
    pytester.makepyfile(test_mine=suite.replace("SIZE", "3_276_800"))
    ran = run(pytester, "--mlbench-gate=before.json")
    ran.stdout.fnmatch_lines(["regression: 1 row: 1 worse", "*peak bytes 131,* -> 26,214,*compared exactly*"])
    assert ran.ret == 1


def test_a_summary_that_cannot_be_written_loses_no_verdict(
    pytester: pytest.Pytester, baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict is told, the exit status is its, and a line says what could not be written."""
    monkeypatch.setenv(SUMMARY_VARIABLE, str(pytester.path))
    ran = run(pytester, "--mlbench-gate=before.json")
    ran.stdout.fnmatch_lines(
        ["pass: 2 rows: 2 pass", f"mlbench: {pytester.path}: Is a directory; name another place (it is what {SUMMARY_VARIABLE} names)"]
    )
    assert ran.ret == 0


def test_a_test_that_passed_when_it_was_run_again_passes(pytester: pytest.Pytester, baseline: Path) -> None:
    """The last attempt counts, here and in the saved file, which has both."""
    pytester.makeconftest(AGAIN)
    pytester.makepyfile(
        test_mine=SUITE.replace("mlbench(double, np.ones(SIZE))", "mlbench(double, np.ones(SIZE))\n    assert attempts.pop()")
    )
    ran = run(pytester, "--mlbench-gate=before.json", "--benchmark-json=now.json")
    ran.stdout.fnmatch_lines(["pass: 2 rows: 2 pass"])
    attempts = [each["extra_info"]["mlbench"]["status"] for each in saved(pytester.path / "now.json")["benchmarks"]]
    assert attempts == ["failed", "complete", "complete"]
    assert {each.status for each in load(pytester.path / "now.json").measurements} == {"complete"}


def test_the_gate_needs_pytest_benchmark(pytester: pytest.Pytester) -> None:
    """Where that is switched off nothing would be measured."""
    ran = pytester.runpytest_subprocess("-p", "no:benchmark", "--mlbench-gate=before.json")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*--mlbench-gate: needs pytest-benchmark, which is not active in this run"])


def test_a_case_of_ours_is_measured_again(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A red row of our own cases is measured in fresh processes, where it has to be red as well; then it says so."""
    pytester.makepyfile(test_ours=OURS)
    (pytester.path / "summary.md").touch()
    monkeypatch.setenv(SUMMARY_VARIABLE, str(pytester.path / "summary.md"))
    options = ("--mlbench-processes=2",)
    assert run(pytester, *options, "--benchmark-json=before.json").ret == 0
    data = saved(pytester.path / "before.json")
    ours = data["benchmarks"][0]["extra_info"]["mlbench"]
    ours["static"]["arena"] -= 64
    (pytester.path / "before.json").write_text(json.dumps(data), encoding="utf-8")
    ran = run(pytester, *options, "--mlbench-gate=before.json", "--mlbench-gate-graphs=graphs")
    ran.stdout.fnmatch_lines(
        [
            "*optimized-b2-h8: peak bytes *compared exactly; confirmed by fresh processes alone*",
            "*measured again in fresh processes: optimized-b2-h8*",
        ]
    )
    assert ran.ret == 1
    assert "mlbench: regression" in (pytester.path / "summary.md").read_text(encoding="utf-8")
    assert ours["case"]["test"] == "test_ours.py::test_case[optimized-b2-h8]"
    assert ours["plan"]["passes"]


def test_collecting_alone_judges_nothing(pytester: pytest.Pytester) -> None:
    """--collect-only lists the tests."""
    pytester.makepyfile(test_mine=SUITE)
    assert run(pytester, "--mlbench-gate=none.json", "--collect-only").ret == 0


@pytest.mark.skipif(not has_memray(), reason="flame graphs need memray")
def test_a_callable_that_raises_once_its_fixture_has_ended_loses_no_verdict(pytester: pytest.Pytester) -> None:
    """The flame graph is drawn after the tests: that it cannot be is a note beside the red row."""
    suite = """
import pytest

@pytest.fixture
def held(tmp_path):
    with (tmp_path / "x").open("w+") as file:
        yield file

def test_mine(mlbench, held):
    mlbench(lambda: (bytearray(SIZE), held.tell()))
"""
    pytester.makepyfile(test_mine=suite.replace("SIZE", "1000"))
    assert run(pytester, "--benchmark-json=before.json").ret == 0
    pytester.makepyfile(test_mine=suite.replace("SIZE", "9000"))
    ran = run(pytester, "--mlbench-gate=before.json")
    ran.stdout.fnmatch_lines(["regression: 1 row: 1 worse", "*because the call raised ValueError: I/O operation*"])
    assert ran.ret == 1
    pytester.makepyfile(test_mine=suite.replace("SIZE", "9000").replace("held.tell()", "held.closed and pytest.fail('it is closed')"))
    ran = run(pytester, "--mlbench-gate=before.json")
    ran.stdout.fnmatch_lines(["regression: 1 row: 1 worse", "*because the call raised Failed: it is closed*"])
    assert ran.ret == 1


def test_a_folder_that_cannot_be_made_loses_no_verdict(pytester: pytest.Pytester, baseline: Path) -> None:
    """A file stands where the flame graphs should go."""
    pytester.makepyfile(test_mine=SUITE.replace("SIZE = 1000", "SIZE = 2000"))
    (pytester.path / "graphs").write_text("")
    ran = run(pytester, "--mlbench-gate=before.json", "--mlbench-gate-graphs=graphs")
    ran.stdout.fnmatch_lines(["regression: 2 rows: 1 worse, 1 pass", "*no flame graph of this run: *"])
    assert ran.ret == 1


@pytest.mark.parametrize(
    ("top", "why"),
    [
        ("pytest.skip('no GPU', allow_module_level=True)\n", "test_mine.py was skipped: no GPU"),
        ("pytestmark = pytest.mark.skip(reason='no GPU')\n", "the test was skipped: no GPU"),
    ],
)
def test_what_skipped_itself_is_missing_with_the_reason(pytester: pytest.Pytester, baseline: Path, top: str, why: str) -> None:
    """A file or its tests; nobody has to look for the cause."""
    pytester.makepyfile(test_mine=f"import pytest\n{top}{SUITE}")
    ran = run(pytester, "--mlbench-gate=before.json")
    told = " ".join(ran.stdout.str().split())
    assert f"test_mine.py::test_double and 1 more: the baseline has this row, this run does not: {why}." in told
    assert ran.ret == 1


def test_ctrl_c_before_anything_is_measured_judges_nothing(
    pytester: pytest.Pytester, baseline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is called missing, and the summary of the CI job stays as it was."""
    monkeypatch.setenv(SUMMARY_VARIABLE, str(pytester.path / "summary.md"))
    pytester.makeconftest("def pytest_collection_finish(session): raise KeyboardInterrupt")
    ran = run(pytester, "--mlbench-gate=before.json")
    assert ran.ret == pytest.ExitCode.INTERRUPTED
    ran.stdout.no_fnmatch_line("*mlbench gate*")
    assert not (pytester.path / "summary.md").exists()


def test_other_sizes_than_the_baselines_are_red(pytester: pytest.Pytester) -> None:
    """Nothing is compared, which no run may pass by."""
    pytester.makepyfile(test_ours=OURS)
    assert run(pytester, "--mlbench-processes=1", "--benchmark-json=before.json").ret == 0
    pytester.makepyfile(test_ours=OURS.replace("b2-h8", "b3-h8"))
    ran = run(pytester, "--mlbench-processes=1", "-k", "b3", "--mlbench-gate=before.json")
    assert ran.ret == 1
