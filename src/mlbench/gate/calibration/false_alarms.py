"""Saved runs of unchanged code judged by our gate, and those of pytest-benchmark as its `--benchmark-compare-fail=min:10%` does."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbench.gate import INCONCLUSIVE, RED, Judgement, judge_results
from mlbench.results import Result, load
from mlbench.results.pytest_benchmark import is_pytest_benchmark, shortest_s
from mlbench.results.storage import read_json

FAIL = 0.10
"""`min:10%`: red where the shortest round of a benchmark is longer than before by more than this."""


@dataclass(frozen=True, slots=True)
class SavedRun:
    """One run against the baseline.

    Attributes:
        name: of its file.
        judgement: of our gate.
        their_red: benchmarks that `min:10%` turns red.
        their_rows: benchmarks that it compares.
    """

    name: str
    judgement: Judgement
    their_red: int
    their_rows: int

    @property
    def red(self) -> int:
        """Rows that our gate turns red."""
        return sum(row.verdict in RED for row in self.judgement.rows)

    @property
    def still_open(self) -> int:
        """Rows that are inconclusive."""
        return self.judgement.count(INCONCLUSIVE)


def saved_runs(files: Sequence[Path], today: dt.date) -> list[SavedRun]:
    """Judge runs that pytest-benchmark or `mlbench run` saved, each by the first of them.

    Args:
        files: the baseline, then the runs.
        today: the day, for nothing but tolerances that expire, of which there are none here.

    Raises:
        FileError: for a file that cannot be read.
    """
    baseline, *runs = _read(files)
    return [_judged(baseline, run, today) for run in runs]


def saved_pairs(files: Sequence[Path], today: dt.date) -> list[SavedRun]:
    """Judge every run by every other one, as if that had been the baseline.

    Raises:
        FileError: as `saved_runs`.
    """
    return [_judged(baseline, run, today) for baseline, run in itertools.permutations(_read(files), 2)]


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    result: Result
    shortest_s: dict[str, float]


def _read(files: Sequence[Path]) -> list[_File]:
    return [_File(path.name, load(path), _shortest(path)) for path in files]


def _judged(baseline: _File, run: _File, today: dt.date) -> SavedRun:
    before, now = baseline.shortest_s, run.shortest_s
    both = before.keys() & now.keys()
    red = sum(now[name] / before[name] - 1 > FAIL for name in both)
    judgement = judge_results(baseline.result, run.result, None, today, (baseline.name, run.name))
    return SavedRun(run.name, judgement, red, len(both))


def _shortest(path: Path) -> dict[str, float]:
    """Return the shortest round of each benchmark of pytest-benchmark, in seconds; none of a file of ours."""
    data = read_json(path)
    return shortest_s(data) if is_pytest_benchmark(data) else {}
