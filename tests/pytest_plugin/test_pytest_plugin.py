"""The pytest plugin, in inner sessions: inert where it is not used, and the fixture where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mlbench.cli import main
from mlbench.pytest_plugin.plugin import MOST_DATA
from mlbench.results import COMPLETE, INTERRUPTED, Measurement, load
from mlbench.results.ablation import ABLATION_FILE
from mlbench.results.storage import read
from support.branched import TWO_HEADS, network_of
from support.quick_runs import QUICK_RUNS, run_here
from support.records import made_up

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("-q", "-p", "no:cacheprovider", "--benchmark-max-time=0.005", "--benchmark-min-rounds=3")

SQUARE = """
import numpy as np

def slow(x):
    return np.array([float(value) ** 2 for value in x])

def fast(x):
    return x * x

def test_square(mlbench):
    x = np.arange(100.0)
    y = mlbench(fast, x, reference=slow, check=lambda y: np.testing.assert_array_equal(y, slow(x)))
    np.testing.assert_array_equal(y, slow(x))
"""
COUNTED = """
calls = []

def target(*args, **kwargs):
    calls.append((args, kwargs))
    return 7
"""
BROKEN_OFF = """
def test_first(mlbench):
    mlbench(sum, [1, 2, 3])

def test_second(mlbench):
    calls = []
    def target():
        calls.append(1)
        stats = mlbench.benchmark.stats
        rounds = None if stats is None else len(stats.stats.data)
        if {when}:
            raise KeyboardInterrupt
    mlbench(target)

def test_third(mlbench):
    mlbench(sum, [1, 2, 3])
"""
WHEN = {"after-two-rounds": "rounds == 2", "in-the-first-round": "rounds == 0", "in-the-footprint": "len(calls) == 3"}
"""Ctrl-C by the rounds that pytest-benchmark has measured; None while it has not begun."""


@pytest.fixture(autouse=True)
def stubs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of the inner sessions; a py-cpuinfo in it saves a second for each question about the CPU."""
    folder = pytester.path / "stubs"
    folder.mkdir()
    (folder / "cpuinfo.py").write_text("def get_cpu_info():\n    return {'brand_raw': 'Stub CPU'}\n")
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *([path] if path else [])]))
    monkeypatch.setenv("PYTEST_ADDOPTS", QUICK_RUNS)
    monkeypatch.syspath_prepend(folder)
    return folder


def saved(path: Path) -> Any:
    """Return the JSON in a file."""
    return json.loads(path.read_text(encoding="utf-8"))


def by_id(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    """Return measurements by the last part of their ids."""
    return {each.case["id"].rpartition("::")[2]: each for each in measurements}


def test_inert_in_a_project_that_does_not_use_it(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fixture nothing of ours is imported, NumPy neither, and a benchmark of the user's is saved and printed without us."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        test_other="""
        import sys

        def test_benchmark(benchmark):
            benchmark(sum, [1, 2])

        def test_modules():
            ours = {name for name in sys.modules if name.partition(".")[0] == "mlbench"}
            assert ours == {"mlbench", "mlbench._version", "mlbench.pytest_plugin", "mlbench.pytest_plugin.plugin"}
            assert "numpy" not in sys.modules
        """
    )
    plugins = ("-p", "pytest_benchmark.plugin", "-p", "mlbench.pytest_plugin.plugin")
    ran = pytester.runpytest_subprocess(*plugins, *QUICK, "--benchmark-json=now.json")
    ran.assert_outcomes(passed=2)
    assert "mlbench" not in ran.stdout.str()
    assert "mlbench" not in (pytester.path / "now.json").read_text(encoding="utf-8")


def test_the_installed_plugin_leaves_a_foreign_suite_alone(pytester: pytest.Pytester) -> None:
    """Found through its entry point, it changes neither the outcome nor the output of tests that know nothing of it."""
    pytester.makepyfile(test_plain="def test_one(): pass\n\ndef test_two(): assert False")
    ran = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    ran.assert_outcomes(passed=1, failed=1)
    assert "mlbench" not in ran.stdout.str()


def test_the_fixture_measures_a_callable(pytester: pytest.Pytester) -> None:
    """A user's callable gets pytest-benchmark's table, then our row, and everything stands in the JSON, valid and complete."""
    pytester.makepyfile(test_mine=SQUARE)
    ran = pytester.runpytest_subprocess(*QUICK, "--benchmark-json=now.json")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*Name (time in*", "*= mlbench =*", "Callables", "*reference / this*", "*test_square*x*"])
    found = load(pytester.path / "now.json")
    (mine,) = found.measurements
    assert (found.status, mine.status, mine.case["runner"]) == (COMPLETE, COMPLETE, "fast")
    assert mine.footprint is not None
    assert mine.timing is not None
    assert mine.ratios["reference_ratio"].estimate > 1
    assert not any("processes" in line for line in mine.warnings)
    assert found.environment.cpu == "Stub CPU"
    assert found.command.startswith("pytest ")
    assert "--benchmark-json=now.json" in found.command


def test_without_a_reference_there_is_no_ratio(pytester: pytest.Pytester) -> None:
    """A callable alone has its latency and its footprint; nothing is compared. Its arguments reach it."""
    pytester.makepyfile(
        test_mine=COUNTED
        + "\ndef test_it(mlbench):\n    assert mlbench(target, 1, two=2) == 7\n    assert calls[-1] == ((1,), {'two': 2})\n"
    )
    run_here(pytester, *QUICK, "--benchmark-json=now.json").assert_outcomes(passed=1)
    (mine,) = load(pytester.path / "now.json").measurements
    assert mine.ratios == {}
    assert mine.reference_footprint is None
    assert mine.timing is not None


HOLDING = """
import numpy as np
from mlbench import OptimizedRunner, mlp

class Cache:
    def __init__(self):
        self.rows = {}

    def run(self, x):
        if not self.rows:
            self.rows["x"] = np.zeros(SIZE, np.uint8)
        return x

def test_cache(mlbench):
    cache = Cache()
    mlbench(cache.run, 1, holds=cache)

def test_runner(mlbench):
    runner = OptimizedRunner(mlp(4, 8, 2), max_batch=16)
    mlbench(runner.run, np.ones((16, 4), np.float32))

def test_neither(mlbench):
    mlbench(sum, [1])
"""


def test_what_a_callable_holds_is_in_the_file_and_the_table(pytester: pytest.Pytester) -> None:
    """Of an object that is named, after its calls; of a runner of ours by itself, with its plan; of others nothing is known."""
    pytester.makepyfile(test_mine=HOLDING.replace("SIZE", "100_000"))
    ran = run_here(pytester, *QUICK, "--benchmark-json=now.json")
    ran.assert_outcomes(passed=3)
    ran.stdout.fnmatch_lines(["*case*peak*held*", "*test_cache*98.* KB*98.* KB*", "*test_neither*"])
    cache, runner, neither = load(pytester.path / "now.json").measurements
    assert cache.counted == "objects"
    assert 100_000 < cache.static.objects < 101_000
    assert (runner.counted, runner.static.objects) == ("runner", 0)
    assert runner.static.arena > 0
    assert runner.plan is not None
    assert (neither.counted, neither.static.total, neither.plan) == (None, 0, None)


def test_a_failing_check_fails_the_test_before_timing(pytester: pytest.Pytester) -> None:
    """A wrong result fails the test, after one call, and leaves a failed row without numbers."""
    pytester.makepyfile(
        test_mine=COUNTED
        + """
def check(result):
    assert result == 8, "wrong result"

def test_wrong(mlbench):
    mlbench(target, check=check)

def test_calls():
    assert len(calls) == 1
"""
    )
    ran = run_here(pytester, *QUICK, "--benchmark-json=now.json")
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.fnmatch_lines(["*AssertionError: wrong result*"])
    ran.stdout.fnmatch_lines(["*test_wrong (failed)*"])
    assert not (pytester.path / "now.json").exists()


def test_a_test_that_fails_after_it_was_measured_is_saved_as_failed(pytester: pytest.Pytester) -> None:
    """pytest-benchmark saves its row, whose numbers are whole; the gate must not take it for one that passed."""
    pytester.makepyfile(test_mine="def test_it(mlbench):\n    assert mlbench(sum, [1, 2]) == 4\n")
    run_here(pytester, *QUICK, "--benchmark-json=now.json").assert_outcomes(failed=1)
    (mine,) = load(pytester.path / "now.json").measurements
    assert mine.status == "failed"
    assert "assert 3 == 4" in (mine.error or "")


def test_extra_info_of_another_kind_breaks_nobodys_run(pytester: pytest.Pytester) -> None:
    """A benchmark beside ours may have put anything in its place; the run is saved all the same."""
    pytester.makepyfile(
        test_mine="""
        def test_ours(mlbench):
            mlbench(sum, [1])

        def test_theirs(benchmark):
            benchmark.extra_info = ["mine"]
            benchmark(sum, [1])
        """
    )
    assert run_here(pytester, *QUICK, "--benchmark-json=now.json").ret == 0
    assert len(load(pytester.path / "now.json").measurements) == 1


def test_benchmark_disable_runs_it_once_and_checks(pytester: pytest.Pytester) -> None:
    """With --benchmark-disable the callable is called once and checked; nothing is measured and nothing printed."""
    pytester.makepyfile(
        test_mine=COUNTED
        + """
checked = []

def test_it(mlbench):
    assert mlbench(target, reference=target, check=checked.append) == 7
    assert len(calls) == 1
    assert checked == [7]
"""
    )
    ran = run_here(pytester, "-q", "-p", "no:cacheprovider", "--benchmark-disable")
    ran.assert_outcomes(passed=1)
    assert "= mlbench =" not in ran.stdout.str()


def test_benchmark_disable_warns_of_nothing(pytester: pytest.Pytester) -> None:
    """A project that turns warnings into errors can disable its benchmarks: our fixture uses pytest-benchmark's even then."""
    pytester.makepyfile(test_mine="def test_it(mlbench):\n    mlbench(sum, [1])\n")
    pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--benchmark-disable", "-W", "error").assert_outcomes(passed=1)


@pytest.mark.parametrize(("option", "passed", "skipped"), [("--benchmark-only", 1, 2), ("--benchmark-skip", 2, 1)], ids=["only", "skip"])
def test_benchmark_only_and_skip_know_the_fixture(pytester: pytest.Pytester, option: str, passed: int, skipped: int) -> None:
    """A test with our fixture is a benchmark to pytest-benchmark: --benchmark-only runs it and --benchmark-skip leaves it out."""
    pytester.makepyfile(
        test_mine="""
        def test_ours(mlbench):
            mlbench(sum, [1])

        def test_plain():
            pass

        def test_plain_too():
            pass
        """
    )
    run_here(pytester, *QUICK, option).assert_outcomes(passed=passed, skipped=skipped)


def test_data_of_our_rows_are_thinned(pytester: pytest.Pytester) -> None:
    """Of pytest-benchmark's raw data a stated number is kept in our rows, its statistics are of all; other rows are left alone."""
    pytester.makepyfile(
        test_mine="""
        def test_ours(mlbench):
            mlbench(sum, [1])

        def test_theirs(benchmark):
            benchmark.pedantic(sum, ([1],), rounds=500)
        """
    )
    run_here(pytester, "-q", "--benchmark-max-time=0.05", "--benchmark-json=now.json").assert_outcomes(passed=2)
    stats = {bench["name"]: bench["stats"] for bench in saved(pytester.path / "now.json")["benchmarks"]}
    assert stats["test_ours"]["rounds"] > MOST_DATA
    assert len(stats["test_ours"]["data"]) == MOST_DATA
    assert len(stats["test_theirs"]["data"]) == 500


def test_autosave_and_compare_work_as_their_users_know_them(pytester: pytest.Pytester) -> None:
    """A saved run is compared with: rows NOW and 0001 stand in one table, without an error or a warning, and our section follows."""
    pytester.makepyfile(test_mine=SQUARE)
    run_here(pytester, *QUICK, "--benchmark-autosave").assert_outcomes(passed=1)
    ran = run_here(pytester, *QUICK, "--benchmark-compare", "--benchmark-autosave")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines_random(["test_square (NOW)*", "test_square (0001*", "*= mlbench =*"])
    files = sorted(pytester.path.glob(".benchmarks/*/*.json"))
    assert [path.name[:4] for path in files] == ["0001", "0002"]
    assert {load(path).status for path in files} == {COMPLETE}


@pytest.mark.parametrize("when", WHEN)
def test_ctrl_c_keeps_the_rows_before_it(pytester: pytest.Pytester, when: str) -> None:
    """Whenever Ctrl-C comes, the JSON is written and can be read, the row before is complete, and our table says what was cut."""
    pytester.makepyfile(test_mine=BROKEN_OFF.replace("{when}", WHEN[when]))
    ran = run_here(pytester, *QUICK, "--benchmark-json=now.json")
    assert ran.ret == pytest.ExitCode.INTERRUPTED
    ran.stdout.fnmatch_lines(["*test_first *", "*test_second (interrupted)*"])
    assert "test_third" not in ran.stdout.str()
    found = by_id(load(pytester.path / "now.json").measurements)
    assert found["test_first"].status == COMPLETE
    assert found["test_first"].timing is not None


def test_ctrl_c_marks_the_row_it_cut(pytester: pytest.Pytester) -> None:
    """A row with some rounds is saved, as interrupted, and so is the run."""
    pytester.makepyfile(test_mine=BROKEN_OFF.replace("{when}", WHEN["after-two-rounds"]))
    run_here(pytester, *QUICK, "--benchmark-json=now.json")
    found = load(pytester.path / "now.json")
    assert found.status == INTERRUPTED
    rows = by_id(found.measurements)
    assert (rows["test_first"].status, rows["test_second"].status) == (COMPLETE, INTERRUPTED)


@pytest.mark.parametrize("when", ["in-the-first-round", "in-the-footprint"])
def test_ctrl_c_before_a_row_could_be_saved_marks_the_run(pytester: pytest.Pytester, when: str) -> None:
    """Where pytest-benchmark has no round to save, the row is missing from the file; the run says that it was broken off."""
    pytester.makepyfile(test_mine=BROKEN_OFF.replace("{when}", WHEN[when]))
    run_here(pytester, *QUICK, "--benchmark-json=now.json")
    assert load(pytester.path / "now.json").status == INTERRUPTED


def test_a_folder_for_recordings_that_cannot_be_made_is_refused(pytester: pytest.Pytester) -> None:
    """Before any test runs: it would fail then, as if it were the test's fault."""
    (pytester.path / "file").touch()
    ran = run_here(pytester, "--mlbench-memray=file/flames")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["ERROR: --mlbench-memray: *file/flames: *"])


@pytest.mark.skipif(sys.platform == "win32", reason="memray does not run on Windows")
def test_recordings_are_kept(pytester: pytest.Pytester) -> None:
    """With --mlbench-memray each case leaves its recording and its flame graph in the folder, which is named at the end."""
    pytester.makepyfile(
        test_mine="""
        import pytest

        @pytest.mark.parametrize("size", [10_000, 20_000])
        def test_it(mlbench, size):
            mlbench(bytearray, size)
        """
    )
    ran = run_here(pytester, *QUICK, "--mlbench-memray=flames")
    ran.assert_outcomes(passed=2)
    ran.stdout.fnmatch_lines(["memray recordings and flame graphs: flames"])
    files = sorted((pytester.path / "flames").iterdir())
    assert [path.suffix for path in files] == [".bin", ".html", ".bin", ".html"]
    assert all("test_it" in path.name and path.stat().st_size > 0 for path in files)


@pytest.mark.skipif(sys.platform == "win32", reason="memray does not run on Windows")
def test_tests_of_one_name_are_cases_of_their_own(pytester: pytest.Pytester) -> None:
    """Two files may have a test of the same name: neither its id nor its recording replaces the other's."""
    pytester.makepyfile(**dict.fromkeys(("test_one", "test_two"), "def test_it(mlbench):\n    mlbench(bytearray, 10000)\n"))
    run_here(pytester, *QUICK, "--mlbench-memray=flames", "--benchmark-json=now.json").assert_outcomes(passed=2)
    assert len({each.case["id"] for each in load(pytester.path / "now.json").measurements}) == 2
    assert len(list((pytester.path / "flames").glob("*.html"))) == 2


def test_missing_threadpoolctl_names_the_extra(pytester: pytest.Pytester, stubs: Path) -> None:
    """Without threadpoolctl the fixture says what is missing and how to install it; it does not measure with any number of threads."""
    (stubs / "sitecustomize.py").write_text("import sys\nsys.modules['threadpoolctl'] = None\n")
    pytester.makepyfile(test_mine="def test_it(mlbench):\n    mlbench(sum, [1])\n")
    ran = pytester.runpytest_subprocess(*QUICK)
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*MissingExtraError: *needs threadpoolctl*'.[[]bench[]]'*"])


def test_missing_pytest_benchmark_names_the_extra(pytester: pytest.Pytester, stubs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pytest-benchmark the suite still runs, and the fixture says what is missing and how to install it."""
    (stubs / "sitecustomize.py").write_text("import sys\nsys.modules['pytest_benchmark'] = None\n")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_mine="def test_it(mlbench):\n    mlbench(sum, [1])\n\ndef test_plain():\n    pass\n")
    ran = pytester.runpytest_subprocess("-p", "mlbench.pytest_plugin.plugin", "-p", "no:cacheprovider")
    ran.assert_outcomes(errors=1, passed=1)
    ran.stdout.fnmatch_lines(["*MissingExtraError: the mlbench fixture needs pytest*benchmark*'.[[]bench[]]'*"])


@pytest.mark.parametrize(
    ("option", "message"),
    [("--mlbench-threads=0", "--mlbench-threads 0: expected 1 or more"), ("--mlbench-heap=warm", "invalid choice: 'warm'")],
    ids=["threads", "heap"],
)
def test_a_wrong_option_is_said(pytester: pytest.Pytester, option: str, message: str) -> None:
    """A value that cannot be is named, and nothing passes with it."""
    pytester.makepyfile(test_mine="def test_it(mlbench):\n    mlbench(sum, [1])\n")
    ran = run_here(pytester, *QUICK, option)
    assert ran.ret != 0
    assert message in ran.stdout.str() + ran.stderr.str()


def test_threads_are_limited_while_it_measures(pytester: pytest.Pytester) -> None:
    """BLAS has the threads that were asked for inside the test, as many as before outside of it, and the row says how many."""
    pytester.makepyfile(
        test_mine="""
        import numpy, threadpoolctl

        def threads():
            return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]

        before = threads()

        def test_it(mlbench):
            assert set(threads()) == {1}
            mlbench(sum, [1])

        def test_after():
            assert threads() == before
        """
    )
    pytester.runpytest_subprocess(*QUICK, "--benchmark-json=now.json").assert_outcomes(passed=2)
    (mine,) = load(pytester.path / "now.json").measurements
    assert mine.case["threads"] == 1


def test_a_wrong_runner_fails_before_it_is_timed(pytester: pytest.Pytester) -> None:
    """One of our own cases with a wrong output fails with WrongResultError and has no row."""
    pytester.makepyfile(
        test_mine="""
        import mlbench.studies.cases as cases

        class Off(cases.OptimizedRunner):
            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                right = self.run
                self.run = lambda x: right(x) + 0.01

        def test_it(mlbench, monkeypatch):
            monkeypatch.setattr(cases, "OptimizedRunner", Off)
            mlbench.case(cases.parse_case("optimized-b2-h8"))
        """
    )
    ran = run_here(pytester, *QUICK)
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["*WrongResultError: optimized-b2-h8 gave*"])
    assert "Name (time" not in ran.stdout.str()


def test_our_own_benchmarks_run(pytester: pytest.Pytester) -> None:
    """The sweep of this repository runs on one tiny cell: both runners, both tables, the summary, and valid data."""
    data = pytester.path / "sweep.json"
    choice = ("--mlbench-batch=1", "--mlbench-hidden=8", "--mlbench-processes=1", "-k", "test_mlp")
    where = (f"--benchmark-json={data}", f"--benchmark-storage={pytester.path}")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider", *choice, *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for part in ("= mlbench =", "Latency", "Memory", "tables above are of this process", "b1-h8: one call", "Speedup", "Machine: Stub CPU"):
        assert part in ran.stdout
    found = load(data)
    assert [each.case["id"] for each in found.measurements] == ["baseline-b1-h8", "optimized-b1-h8"]
    assert {each.status for each in found.measurements} == {COMPLETE}
    assert found.measurements[1].ratios["speedup"].processes == 1


def sweep(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite of this repository on one tiny cell, and save its data."""
    choice = ("--mlbench-batch=1", "--mlbench-hidden=8", "--mlbench-processes=1", *arguments)
    where = (f"--benchmark-json={data}", f"--benchmark-storage={data.parent}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *(() if "benchmarks/test_ablation.py" in arguments else ("benchmarks",)), *QUICK, *choice, *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_ablation_is_measured_on_request(pytester: pytest.Pytester) -> None:
    """With the option the ablation follows the sweep: its tables after ours, its data under their own key, and both can be read."""
    data = pytester.path / "sweep.json"
    ran = sweep(data, "--mlbench-ablation", "-k", "test_mlp")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    parts = ["= mlbench =", "Latency", "b1-h8: one call", "Ablation of b1-h8", "all but tile", "Where the baseline's time goes in b1-h8"]
    places = [ran.stdout.index(part) for part in parts]
    assert places == sorted(places)
    assert [each.case["id"] for each in load(data).measurements] == ["baseline-b1-h8", "optimized-b1-h8"]
    assert [each.cell for each in read(data, ABLATION_FILE).ablations] == ["b1-h8"]


def test_an_ablation_alone_is_a_file_too(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a row of the sweep the tables and the machine are printed, and `mlbench show` shows the saved file."""
    data = pytester.path / "sweep.json"
    monkeypatch.setattr("mlbench.studies.ablation.measure.ablate", lambda cell, _: made_up(cell.id))
    pytester.makepyfile(
        test_mine="from mlbench.studies.cases import mlp_cell\n\ndef test_it(mlbench):\n    mlbench.ablation(mlp_cell(1, (8,)))\n"
    )
    ran = run_here(pytester, *QUICK, f"--benchmark-json={data}")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["Ablation of b1-h8*", "*Machine: Stub CPU*"])
    assert main(["show", str(data)]) == 0
    assert "Ablation of b1-h8" in capsys.readouterr().out


def test_without_the_option_there_is_no_ablation(pytester: pytest.Pytester) -> None:
    """The default sweep does not collect it, and naming its file without the option is an error that says so."""
    data = pytester.path / "sweep.json"
    assert "test_ablation" not in sweep(data, "--collect-only").stdout
    refused = sweep(data, "benchmarks/test_ablation.py")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "test_ablation.py needs --mlbench-ablation" in refused.stderr


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite of this repository with these arguments."""
    command = [sys.executable, "-m", "pytest", "benchmarks", *QUICK, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_a_network_takes_the_place_of_the_sweep(pytester: pytest.Pytester) -> None:
    """Its cases are measured and saved as `mlbench run` does, at the batches that were asked for, and nothing else is collected."""
    data, place = pytester.path / "net.json", network_of(TWO_HEADS).save(pytester.path / "net.npz")
    ran = suite(f"--mlbench-model={place}", "--mlbench-batch=2", "--mlbench-processes=1", "--mlbench-model-outputs=a2",
                f"--benchmark-json={data}")  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    measured = load(data).measurements
    assert [each.case["id"] for each in measured] == ["baseline-net-b2", "optimized-net-b2"]
    assert measured[0].case["test"] == "benchmarks/test_model.py::test_model[baseline-net-b2]"
    assert measured[0].case["network"]["outputs"] == ["a2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mlbench-model=NET", "--mlbench-hidden=8"), "--mlbench-hidden chooses sizes, and --mlbench-model has its own"),
        (("--mlbench-model=nowhere.onnx",), "nowhere.onnx: no such file"),
    ],
    ids=["sizes", "no-file"],
)
def test_a_network_that_cannot_be_measured_is_a_usage_error(pytester: pytest.Pytester, arguments: tuple[str, ...], message: str) -> None:
    """Before anything is collected, with the reason."""
    place = network_of(TWO_HEADS).save(pytester.path / "net.npz")
    ran = suite("--collect-only", *(each.replace("NET", str(place)) for each in arguments))
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in ran.stderr


def test_ctrl_c_in_an_ablation_marks_the_run(pytester: pytest.Pytester) -> None:
    """A row whose ablation was broken off is saved without it, the run says interrupted, and nothing is printed of it."""
    pytester.makepyfile(
        test_mine="""
        import mlbench.studies.ablation.measure as ablating
        from mlbench.studies.cases import mlp_cell

        def test_it(mlbench, monkeypatch):
            def ctrl_c(*arguments, **more):
                raise KeyboardInterrupt
            monkeypatch.setattr(ablating, "ablate", ctrl_c)
            mlbench.ablation(mlp_cell(1, (8,)))
        """
    )
    ran = run_here(pytester, *QUICK, "--benchmark-json=now.json")
    assert ran.ret == pytest.ExitCode.INTERRUPTED
    data = saved(pytester.path / "now.json")
    assert data["mlbench"]["status"] == INTERRUPTED
    assert data["benchmarks"][0]["extra_info"] == {}
    assert "Ablation of" not in ran.stdout.str()


def test_a_disabled_ablation_measures_nothing(pytester: pytest.Pytester) -> None:
    """With --benchmark-disable the runner is called once and no process is started."""
    pytester.makepyfile(
        test_mine="from mlbench.studies.cases import mlp_cell\n\ndef test_it(mlbench):\n    mlbench.ablation(mlp_cell(1, (8,)))\n"
    )
    ran = run_here(pytester, "-q", "-p", "no:cacheprovider", "--benchmark-disable")
    ran.assert_outcomes(passed=1)
    assert "mlbench" not in ran.stdout.str()
