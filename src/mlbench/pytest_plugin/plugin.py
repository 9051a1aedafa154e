"""The pytest plugin: the fixture `mlbench`, on top of pytest-benchmark's `benchmark`.

It is inert in a project that does not use the fixture: nothing is imported, printed or saved. With it, each test's row in the JSON that
pytest-benchmark saves carries our measurement in `extra_info["mlbench"]`, and after pytest-benchmark's tables come ours.

A test is marked as interrupted before it is measured and as complete after, so that a row that Ctrl-C cut in half says so.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlbench.pytest_plugin.recorder import Recorder
    from mlbench.studies.cases import Case, Cell
    from mlbench.studies.holding import Held

MOST_DATA = 200
"""Rounds of pytest-benchmark's own data kept in a saved JSON; its statistics are of all of them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options; they do nothing without the fixture."""
    group = parser.getgroup("mlbench", "mlbench: latency, footprint and ratios")
    group.addoption(
        "--mlbench-threads",
        type=int,
        default=1,
        metavar="N",
        help="threads for BLAS and for a call of the compiled runner (default 1)",
    )
    group.addoption("--mlbench-processes", type=int, default=None, metavar="N", help="fresh processes for the ratios of a case (default 8)")
    group.addoption("--mlbench-heap", choices=("fresh", "kept"), default="fresh",
                    help="allocator of these processes: fresh, or keeping freed memory")  # fmt: skip
    group.addoption("--mlbench-memray", type=Path, default=None, metavar="DIR",
                    help="keep the memray recording of every case in this folder, with its flame graph")  # fmt: skip
    group.addoption("--mlbench-report", type=Path, default=None, metavar="PAGE",
                    help="make an HTML page with charts of this run here (needs the extra 'report')")  # fmt: skip
    group.addoption("--mlbench-gate", nargs="?", const=True, default=None, metavar="FILE",
                    help="judge this run by FILE, or by what --benchmark-compare[=ID] names; a red gate is exit status 1")  # fmt: skip
    group.addoption("--mlbench-inconclusive", choices=("pass", "fail"), default="fail",
                    help="what an inconclusive row means for the exit status (default fail)")  # fmt: skip
    group.addoption("--mlbench-tolerances", type=Path, default=None, metavar="FILE",
                    help="tolerances and accepted changes (default: the .toml next to the baseline under its name)")  # fmt: skip
    group.addoption("--mlbench-gate-graphs", type=Path, default=Path("mlbench-results/gate"), metavar="DIR",
                    help="where flame graphs of red rows go (default mlbench-results/gate)")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Bring in the gate where it is asked for, and refuse what could not be made in the end, before anything is measured."""
    if config.getoption("--mlbench-memray") is not None or config.getoption("--mlbench-report") is not None:
        from mlbench.pytest_plugin.recorder import check_what_is_kept

        check_what_is_kept(config)
    if config.getoption("--mlbench-gate") and not config.option.collectonly:
        from mlbench.pytest_plugin.gate import Gate
        from mlbench.pytest_plugin.recorder import Recorder

        config.stash[_RECORDER] = Recorder(config)
        config.pluginmanager.register(Gate(config, config.stash[_RECORDER]), "mlbench-gate")


def _fixture(request: pytest.FixtureRequest) -> Iterator[MlbenchFixture]:
    """Measure a callable: latency, footprint, and its ratio to a reference callable.

    >>> def test_double(mlbench):                                   # doctest: +SKIP
    ...     mlbench(fast_double, x, reference=slow_double)
    """
    from mlbench.pytest_plugin.recorder import Recorder
    from mlbench.runtime.threads import BlasThreads

    recorder = request.config.stash.setdefault(_RECORDER, Recorder(request.config))
    with BlasThreads(recorder.threads):
        yield MlbenchFixture(request.getfixturevalue("benchmark"), recorder)


if importlib.util.find_spec("pytest_benchmark") is not None:

    @pytest.fixture
    def mlbench(request: pytest.FixtureRequest, benchmark: object) -> Iterator[MlbenchFixture]:
        """Measure a callable: latency, footprint, and its ratio to a reference callable."""
        # pytest-benchmark knows its tests by their asking for `benchmark`, so that this fixture must ask for it by name.
        yield from _fixture(request)

else:

    @pytest.fixture
    def mlbench() -> None:
        """Say which extra is missing."""
        from mlbench.errors import MissingExtraError

        raise MissingExtraError("the mlbench fixture", "pytest-benchmark")


class MlbenchFixture:
    """What the fixture `mlbench` gives to a test."""

    def __init__(self, benchmark: Any, recorder: Recorder) -> None:  # pytest-benchmark has no types
        self.benchmark = benchmark
        """pytest-benchmark's own fixture, for its `group` and `extra_info`."""
        self._recorder = recorder

    def __call__(
        self,
        target: Callable[..., Any],
        *args: Any,  # the target's own
        reference: Callable[..., Any] | None = None,
        check: Callable[[Any], object] | None = None,
        holds: object = None,
        **kwargs: Any,
    ) -> Any:
        """Measure `target(*args, **kwargs)`.

        Args:
            target: what is measured.
            args: for the target, and for the reference.
            reference: what it is compared with, in interleaved rounds of this process; the ratio is reference / target.
            check: called with the target's result before anything is timed; it raises or asserts where that is wrong.
            holds: what the target keeps between calls and is to count as its memory: an object, of which everything counts that it
                refers to, a tuple of some, or a number of bytes. Runners of ours that the target uses count by themselves.
            kwargs: for the target, and for the reference.

        Returns:
            the target's result.
        """
        from functools import partial

        from mlbench.files import file_name
        from mlbench.studies.callables import measure_callable
        from mlbench.studies.cases import keep_recording
        from mlbench.studies.holding import held_by

        def call() -> Any:
            return target(*args, **kwargs)

        def call_reference() -> Any:
            return reference(*args, **kwargs)  # type: ignore[misc]  # not called where there is none

        held = partial(held_by, holds, target, args, kwargs)
        if self.benchmark.disabled:
            return self._without_measuring(target, args, kwargs, check, held)
        name = self.benchmark.fullname
        runner = getattr(target, "__qualname__", type(target).__name__)
        case = {"id": name, "cell": self.benchmark.name, "runner": runner, "threads": self._recorder.threads}
        with self._recorder.interrupted_until_complete(name, case, self.benchmark.extra_info) as row:
            result = call()
            if check is not None:
                check(result)
            if self._recorder.is_gated:
                self._recorder.calls[name] = call
            if self._recorder.folder is not None:
                keep_recording(call, self._recorder.folder, file_name(name))
            compared = None if reference is None else call_reference
            row.measured = measure_callable(case, call, held, compared, lambda: self.benchmark(target, *args, **kwargs))
        return result

    def _without_measuring(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        check: Callable[[Any], object] | None,
        held: Callable[[], Held],
    ) -> Any:
        """Check the target and call it through pytest-benchmark, which is disabled, or lets the other process of an A/B time it."""
        result = target(*args, **kwargs)
        if check is not None:
            check(result)
        if not getattr(self.benchmark, "takes_turns", False):
            return self.benchmark(lambda: result)
        self._say_held(held())
        return self.benchmark(target, *args, **kwargs)

    def _say_held(self, held: Held) -> None:
        """Leave the bytes that are held where an A/B, which measures the target in its own way, looks for them."""
        if held.counted is not None:
            self.benchmark.extra_info["held_bytes"] = held.static.total

    def case(self, case: Case) -> None:
        """Measure one of our own cases: right first, footprint, latency, then the ratios in fresh processes.

        Raises:
            WrongResultError: when the output is not what float64 gives; the case is not timed then.
        """
        from dataclasses import replace

        from mlbench.measure import footprint
        from mlbench.studies.cases import call_of, check, flame_graph
        from mlbench.studies.holding import held_by
        from mlbench.studies.sweep import measurement

        if self.benchmark.disabled:
            check(case)
            call = call_of(case)
            self._say_held(held_by(None, call, (), {}))
            self.benchmark(call)
            return
        self.benchmark.group = case.cell.id
        identity = case.identity()
        with self._recorder.interrupted_until_complete(self.benchmark.fullname, identity, self.benchmark.extra_info) as row:
            agreement = check(case)
            row.measured = replace(row.measured, worst_error=agreement.worst)
            call = call_of(case)
            found = footprint(call)
            row.measured = replace(row.measured, footprint=found)
            if self._recorder.folder is not None:
                flame_graph(case, self._recorder.folder)
            self.benchmark(call)
            times, warm = self._recorder.times(case.cell)
            row.measured = measurement(case, times, agreement.worst, found, warm, self._recorder.floor(case.cell))

    def ablation(self, cell: Cell) -> None:
        """Measure what each optimisation is worth in a cell, in fresh processes; pytest-benchmark's row is of the runner with all of them.

        Raises:
            WorkerError: when a worker fails; a wrong result is among the reasons.
        """
        from mlbench.results import OPTIMIZED
        from mlbench.results.ablation import KEY, ablation_to_json
        from mlbench.studies.ablation.measure import ablate
        from mlbench.studies.cases import Case, call_of

        call = call_of(Case(cell, OPTIMIZED))
        if self.benchmark.disabled:
            self.benchmark(call)
            return
        self.benchmark.group = cell.id
        self._recorder.ablations[self.benchmark.fullname] = None
        self.benchmark(call)
        found = ablate(cell, self._recorder.ablation_effort)
        self.benchmark.extra_info[KEY] = ablation_to_json(found)
        self._recorder.ablations[self.benchmark.fullname] = found


_RECORDER: pytest.StashKey[Recorder] = pytest.StashKey()
_TWO_CLOCKS = (
    "There are two clocks. pytest-benchmark's tables above are of this process, whose heap has a history. These are of fresh processes,\n"
    "in which the runners alternate. If the baseline pays for page faults in only one of them, the tables differ by that: see kept heap."
)


def _recorder(config: pytest.Config) -> Recorder | None:
    found = config.stash.get(_RECORDER, None)
    return found if found is not None and (found.measured or found.ablations) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Mark the row of a test that failed; one that Ctrl-C cut in half stays interrupted."""
    report = yield
    recorder = _recorder(item.config)
    if recorder is not None and report.failed and item.nodeid in recorder.measured:
        recorder.fail(item.nodeid, report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Leave out rows that were broken off before their first round: pytest-benchmark, whose wrapper saves, cannot save them."""
    if _recorder(session.config) is not None:
        for bench in session.config._benchmarksession.benchmarks:  # type: ignore[attr-defined]  # it has no other way in
            if not bench.stats.data:
                bench.fixture.has_error = True
    return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Thin pytest-benchmark's raw data, and say what was run on what."""
    recorder = _recorder(config)
    if recorder is None:
        return
    import dataclasses

    from mlbench.measure import environment
    from mlbench.measure.stats import thinned
    from mlbench.results import now
    from mlbench.results.ablation import KEY

    broken_off = None in recorder.ablations.values() or any(each.status == "interrupted" for each in recorder.measured.values())

    for bench in output_json["benchmarks"]:
        extra = bench["extra_info"]  # the user's own, who may have put anything in its place
        if isinstance(extra, dict) and {"mlbench", KEY} & extra.keys() and "data" in bench["stats"]:
            bench["stats"]["data"] = thinned(bench["stats"]["data"], MOST_DATA)
    output_json["mlbench"] = {
        "date": now(),
        "environment": dataclasses.asdict(environment(recorder.threads, recorder.heap)),
        "status": "interrupted" if broken_off else "complete",
        "command": shlex.join(["pytest", *map(str, config.invocation_params.args)]),
    }


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print our tables and the summary after pytest-benchmark's."""
    recorder = _recorder(config)
    if recorder is None:
        return
    from mlbench.measure import describe, environment
    from mlbench.report import render, summary, tables
    from mlbench.report.tables.ablation import ablation_tables
    from mlbench.results.pairs import pairs

    here = environment(recorder.threads, recorder.heap)
    measured = list(recorder.measured.values())
    colour = bool(terminalreporter.hasmarkup)
    width = terminalreporter._tw.fullwidth if sys.stdout.isatty() else None  # pytest has no public way to ask
    terminalreporter.section("mlbench")
    for table in tables(measured):
        terminalreporter.write_line(render(table, width, colour=colour) + "\n")
    if pairs(measured):
        terminalreporter.write_line(f"{_TWO_CLOCKS}\n\n{summary(measured, here)}")
    complete = [each for each in recorder.ablations.values() if each is not None]
    for table in (table for each in complete for table in ablation_tables(each)):
        terminalreporter.write_line("\n" + render(table, width, colour=colour))
    if complete and not pairs(measured):
        terminalreporter.write_line(f"\nMachine: {describe(here)}")
    page: Path | None = config.getoption("--mlbench-report")
    if page is not None:
        from mlbench.report.inputs import Files
        from mlbench.report.page.page import write_page
        from mlbench.results import new_result
        from mlbench.studies.memory_record import record_memory

        command = shlex.join(["pytest", *map(str, config.invocation_params.args)])
        named = [("this run", new_result(here, command, measured))]
        found = Files(results=named, memory=record_memory(named))
        terminalreporter.write_line(f"\nReport: {write_page(found, page, command)}")
    if recorder.folder is not None:
        terminalreporter.write_line(f"\nmemray recordings and flame graphs: {recorder.folder}")
