"""The gate inside pytest: it reads its baseline before the run can replace it, and judges when everything is measured and saved.

pytest-benchmark saves before it compares: with --benchmark-autosave "the latest" would be the very run that is judged, and the next
comparison would pick up a run that was red. So which file is meant is decided, and the file is read, when the session starts. Its old rows
carry the new run's `extra_info`, so the file is read as it stands. And without any saved run its comparison is silently green; here that is
an error.
"""

from __future__ import annotations

import datetime as dt
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlbench.errors import FileError, MissingExtraError, UsageError, WorkerError
from mlbench.gate import Judgement, check_rows, judge_results, load_tolerances
from mlbench.gate.confirm import Twice, settle
from mlbench.gate.tolerances import beside
from mlbench.gate.unjudged import unjudged
from mlbench.measure import environment
from mlbench.pytest_plugin.selection import case_ids, left_out, selection_of, skips_of
from mlbench.report import verdict_text
from mlbench.report.github import add_to_summary
from mlbench.results import COMPLETE, INTERRUPTED, Measurement, Result, load, new_result
from mlbench.studies.cases import case_of
from mlbench.studies.flame_graphs import keep_graphs

if TYPE_CHECKING:
    from mlbench.pytest_plugin.recorder import Recorder


class Gate:
    """A plugin of its own, registered where --mlbench-gate is given."""

    def __init__(self, config: pytest.Config, recorder: Recorder) -> None:
        self._config = config
        self._recorder = recorder
        self._deselected: set[str] = set()
        self._skipped: dict[str, str] = {}
        self._judged: Judgement | None = None
        self._passes = config.getoption("--mlbench-inconclusive") == "pass"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Find and read the baseline, before this run saves anything.

        Raises:
            pytest.UsageError: where there is none, it cannot be read, or nothing would be measured.
        """
        try:
            _check_measuring(self._config)
            self._baseline = baseline_of(self._config)
            self._before = load(self._baseline)
            check_rows(self._before, str(self._baseline))
            self._notes = unjudged(self._baseline)
            tolerances = self._config.getoption("--mlbench-tolerances") or beside(self._baseline)
            self._tolerances = None if tolerances is None else load_tolerances(tolerances)
        except (FileError, MissingExtraError, UsageError) as error:
            raise pytest.UsageError(f"--mlbench-gate: {error}") from error

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember what was deselected: it is not missing."""
        for item in items:
            self._deselected |= case_ids(item)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember which files skipped themselves, and why."""
        self._remember(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember which tests were skipped, and why."""
        self._remember(report)

    def _remember(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            self._skipped[report.nodeid] = str(reason).removeprefix("Skipped: ")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Judge, after pytest-benchmark's own wrapper has saved; a red gate is pytest's exit status 1.

        What was interrupted before anything was measured says nothing of any row.
        """
        if session.exitstatus == pytest.ExitCode.INTERRUPTED and not self._recorder.measured:
            return
        try:
            self._judged = self._judge(may_measure=session.exitstatus != pytest.ExitCode.INTERRUPTED)
        except FileError as error:
            raise pytest.UsageError(f"--mlbench-gate: {error}") from error
        if self._judged.exit_code(inconclusive_passes=self._passes) and session.exitstatus in {
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        }:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _judge(self, *, may_measure: bool) -> Judgement:
        after = self._after()
        rows = [each.case for each in self._before.measurements]
        done = {each.case["id"] for each in after.measurements}
        gone = left_out(rows, done, self._deselected, selection_of(self._config))
        today = dt.datetime.now().astimezone().date()
        names = (str(self._baseline), "this run")
        reasons = skips_of(rows, self._skipped)

        def judge(result: Result) -> Judgement:
            judged = judge_results(self._before, result, self._tolerances, today, names, gone, reasons)
            return replace(judged, notes=(*judged.notes, *self._notes))

        if not may_measure:
            return judge(after)
        return keep_graphs(
            settle(judge, after, self._again),
            self._config.getoption("--mlbench-gate-graphs"),
            self._baseline,
            self._recorder.calls,
            {each.case["id"]: each.case for each in after.measurements},
        )

    def _after(self) -> Result:
        """Return what this session measured."""
        measured = tuple(self._recorder.measured.values())
        status = INTERRUPTED if any(each.status == INTERRUPTED for each in measured) else COMPLETE
        here = environment(self._recorder.threads, self._recorder.heap)
        return new_result(here, shlex.join(["pytest", *map(str, self._config.invocation_params.args)]), measured, status)

    def _again(self, measured: Measurement) -> Twice | None:
        """Measure the cell of one of our own cases again; a callable has no process of its own to be measured in."""
        try:
            return self._recorder.again(case_of(measured.case).cell)
        except (UsageError, WorkerError):
            return None

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """End with the verdicts."""
        if self._judged is None:
            return
        width = terminalreporter._tw.fullwidth if sys.stdout.isatty() else None  # pytest has no public way to ask
        terminalreporter.section("mlbench gate")
        colour = bool(terminalreporter.hasmarkup)
        for line in verdict_text(self._judged, colour=colour, width=width, inconclusive_passes=self._passes).splitlines():
            terminalreporter.write_line(line)
        code = self._judged.exit_code(inconclusive_passes=self._passes)
        if code:
            terminalreporter.write_line(f"\nThe gate makes pytest's exit status 1; 'mlbench gate' would have ended with {code}.")
        try:
            add_to_summary(self._judged, inconclusive_passes=self._passes)
        except FileError as error:
            terminalreporter.write_line(f"mlbench: {error}")


def baseline_of(config: pytest.Config) -> Path:
    """Return the file that the run is judged by.

    Raises:
        UsageError: where none is named, none was saved, or several fit.
    """
    named, compared = config.getoption("--mlbench-gate"), config.getoption("--benchmark-compare", None)
    if isinstance(named, str):
        path = Path(named)
    elif not compared:
        raise UsageError("by which run? Name a file with --mlbench-gate=FILE, or one that was saved with --benchmark-compare[=ID]")
    else:
        path = _saved(config, compared)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file, and put the option behind the tests or write --mlbench-gate=FILE")
    written = config.getoption("--benchmark-json", None)
    name = getattr(written, "name", written)
    if name and Path(str(name)).resolve() == path.resolve():
        raise UsageError(f"--benchmark-json would write this run over {path}, by which it is judged; name another file")
    return path


def _saved(config: Any, compared: object) -> Path:  # pytest-benchmark adds to it
    """Return the file that --benchmark-compare means, as pytest-benchmark chooses it."""
    storage = config._benchmarksession.storage  # it has no other way in
    if not hasattr(storage, "query"):
        raise UsageError(f"{storage} holds no files; name one with --mlbench-gate=FILE")
    try:
        files = _files(storage.query("[0-9][0-9][0-9][0-9]_") if compared is True else storage.query(compared))
    except ValueError as error:
        raise UsageError(f"--benchmark-compare={compared}: {error}") from error
    if not files:
        wanted = "" if compared is True else f" that fits {compared!r}"
        raise UsageError(
            f"there is no saved run{wanted} in {storage}; save one first with --benchmark-autosave, on the version to judge by"
        )
    if compared is not True and len(files) > 1:
        raise UsageError(f"--benchmark-compare={compared} fits {len(files)} files in {storage}; name one")
    return files[-1]


def _files(found: Iterable[Any]) -> list[Path]:
    return [Path(each) for each in found]


def _check_measuring(config: Any) -> None:  # pytest-benchmark adds to it
    """Refuse a run that would measure nothing, and a baseline that is not one."""
    session = getattr(config, "_benchmarksession", None)
    if session is None:
        raise UsageError("needs pytest-benchmark, which is not active in this run")
    if session.disabled or session.skip:
        raise UsageError("benchmarks are disabled or skipped in this run, so there is nothing to judge")
