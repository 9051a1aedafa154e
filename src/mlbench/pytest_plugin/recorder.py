"""What a pytest session measured so far, and how it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mlbench.errors import FileError, MissingExtraError, UsageError
from mlbench.files import check_folder, check_place
from mlbench.gate.confirm import Twice
from mlbench.measure import Footprint
from mlbench.measure.latency import ROUNDS
from mlbench.measure.peaks import Floor, Peaks
from mlbench.report.extra import check_report_extra
from mlbench.results import FAILED, INTERRUPTED, KEY, RUNNERS, Measurement, to_json
from mlbench.results.ablation import Ablation
from mlbench.studies.cases import Case, Cell
from mlbench.studies.floor import floor_of_cell, measure_peaks
from mlbench.studies.sweep import PROCESSES, Arms, Effort, compare, compare_warm, judge, measurement

MOST_OF_AN_ERROR = 300
"""Characters of an error that are kept in a row."""


@dataclass(slots=True)
class Row:
    """What is known of a test while it is measured."""

    measured: Measurement


class Recorder:
    """What a session measured so far, and how it measures."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.threads: int = config.getoption("--mlbench-threads")
        self.heap: str = config.getoption("--mlbench-heap")
        self.folder: Path | None = config.getoption("--mlbench-memray")
        self.measured: dict[str, Measurement] = {}
        self._saved_in: dict[str, dict[str, Any]] = {}
        """The `extra_info` of each test's last attempt, which pytest-benchmark saves at the end."""
        self.ablations: dict[str, Ablation | None] = {}
        """None while one is under way, which Ctrl-C leaves so."""
        self.is_gated = bool(config.getoption("--mlbench-gate"))
        self.calls: dict[str, Callable[[], object]] = {}
        """Callables that were measured, kept where a gate may want to record them again."""
        self._times: dict[str, tuple[Arms, Arms]] = {}
        self._peaks: Peaks | None = None
        if self.threads < 1:
            raise pytest.UsageError(f"--mlbench-threads {self.threads}: expected 1 or more")

    @property
    def effort(self) -> Effort:
        """How much is measured."""
        processes = self.config.getoption("--mlbench-processes")
        if processes is not None and processes < 1:
            raise pytest.UsageError(f"--mlbench-processes {processes}: expected 1 or more")
        return Effort(heap=self.heap) if processes is None else Effort(processes=processes, heap=self.heap)

    @property
    def ablation_effort(self) -> Effort:
        """How much is measured of an ablation, in which many arms are interleaved and which no gate judges."""
        asked = self.config.getoption("--mlbench-processes") is not None
        return replace(self.effort, processes=self.effort.processes if asked else PROCESSES, rounds=ROUNDS, singles_s=0.0)

    def times(self, cell: Cell) -> tuple[Arms, Arms]:
        """Return the interleaved rounds of a cell, fresh and with a warm heap, measured once for both of its runners."""
        if cell.id not in self._times:
            arms: Arms = {}
            warm: Arms = {}
            compare(cell, self.effort, arms)
            compare_warm(cell, self.effort, arms, warm)
            self._times[cell.id] = arms, warm
        return self._times[cell.id]

    def floor(self, cell: Cell) -> Floor:
        """Return the floor of a cell; the peaks of the machine are measured once."""
        if self._peaks is None:
            self._peaks = measure_peaks().of_cores(self.threads)
        return floor_of_cell(cell, self._peaks)

    def again(self, cell: Cell) -> Twice | None:
        """Measure a cell again in fresh processes: what these say alone, and together with those before; None where it was not measured.

        Raises:
            WorkerError: when a worker fails.
        """
        if cell.id not in self._times:
            return None
        before = {each.case["runner"]: each for each in self.measured.values() if each.case["cell"] == cell.id and "batch" in each.case}
        return measure_again(cell, self.effort, self._times[cell.id], before, self.floor(cell))

    @contextmanager
    def interrupted_until_complete(self, name: str, case: dict[str, Any], extra_info: dict[str, Any]) -> Iterator[Row]:
        """Keep the row of a test as interrupted while it is measured, with what is known so far, and afterwards as what it has become.

        Raises:
            UsageError: where another test measured the same case.
        """
        row = Row(Measurement(case, INTERRUPTED))
        self.keep(name, row.measured, extra_info)
        try:
            yield row
        finally:
            self.keep(name, row.measured, extra_info)

    def keep(self, name: str, measured: Measurement, extra_info: dict[str, Any]) -> None:
        """Keep what was measured of a test so far, here and in the `extra_info` of its row.

        Raises:
            UsageError: where another test measured the same case: nobody could tell which of two rows of one name counts.
        """
        twin = next((test for test, each in self.measured.items() if test != name and each.case["id"] == measured.case["id"]), None)
        if twin is not None:
            raise UsageError(f"{measured.case['id']} was measured by {twin} already; measure each case once")
        self.measured[name] = measured = replace(measured, case=measured.case | {"test": name})
        self._saved_in[name] = extra_info
        extra_info[KEY] = to_json(measured)

    def fail(self, name: str, report: pytest.TestReport) -> None:
        """Mark a row as failed, with the reason in one line."""
        crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", "") or report.longreprtext
        failed = replace(self.measured[name], status=FAILED, error=" ".join(crash.split())[:MOST_OF_AN_ERROR])
        self.keep(name, failed, self._saved_in[name])


def measure_again(
    cell: Cell, effort: Effort, before: tuple[Arms, Arms], known: Mapping[str, Measurement], floor: Floor
) -> tuple[list[Measurement], list[Measurement]]:
    """Measure runners of a cell again, footprint and rounds, in fresh processes.

    Args:
        cell: the cell.
        effort: how much.
        before: the times of the processes before, with a fresh heap and with a warm one.
        known: what was measured before, by runner; the other runner is left out.
        floor: of the cell.

    Returns:
        what the fresh processes say alone, and what they say together with those before, whose footprint stays.

    Raises:
        WorkerError: when a worker fails; a wrong result is among the reasons.
    """
    judged: dict[str, tuple[float, Footprint]] = {}
    fresh: Arms = {}
    warm: Arms = {}
    judge(cell, judged)
    compare(cell, effort, fresh)
    compare_warm(cell, effort, fresh, warm)
    both = _together(before[0], fresh)
    both_warm = _together(before[1], warm) if before[1] and warm else {}
    alone = [measurement(Case(cell, runner), fresh, *judged[runner], warm, floor) for runner in RUNNERS if runner in known]
    together = [measurement(Case(cell, name), both, each.worst_error, each.footprint, both_warm, floor) for name, each in known.items()]
    return alone, together


def _together(before: Arms, after: Arms) -> Arms:
    return {name: [*before[name], *times] for name, times in after.items()}


def check_what_is_kept(config: pytest.Config) -> None:
    """Refuse what could not be kept in the end, before anything is measured.

    Raises:
        pytest.UsageError: naming the option.
    """
    folder, page = config.getoption("--mlbench-memray"), config.getoption("--mlbench-report")
    option = "--mlbench-memray"
    try:
        if folder is not None:
            check_folder(folder)
        option = "--mlbench-report"
        if page is not None:
            check_place(page)
            check_report_extra()
    except (FileError, MissingExtraError) as error:
        raise pytest.UsageError(f"{option}: {error}") from error
