"""Saved runs of unchanged code judged twice: by our gate, and as pytest-benchmark's `--benchmark-compare-fail=min:10%` does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.documents import read_json
from mlbench.errors import FileError
from mlbench.gate import INCONCLUSIVE, RED, Judgement, judge_results
from mlbench.results import is_pytest_benchmark, load

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
    """Judge runs that pytest-benchmark saved.

    Args:
        files: the baseline, then the runs.
        today: the day, for nothing but tolerances that expire, of which there are none here.

    Raises:
        FileError: for a file that cannot be read, or that pytest-benchmark did not save.
    """
    baseline, *runs = files
    before, theirs = load(baseline), _shortest(baseline)
    found = []
    for path in runs:
        now = _shortest(path)
        both = theirs.keys() & now.keys()
        red = sum((now[name] - theirs[name]) / theirs[name] > FAIL for name in both)
        judgement = judge_results(before, load(path), None, today, (baseline.name, path.name))
        found.append(SavedRun(path.name, judgement, red, len(both)))
    return found


def _shortest(path: Path) -> dict[str, float]:
    """Return the shortest round of each benchmark, in seconds."""
    data: Any = read_json(path)
    if not is_pytest_benchmark(data):
        raise FileError(f"{path}: pytest-benchmark did not save it; expected what `pytest --benchmark-json` wrote")
    return {each["fullname"]: float(each["stats"]["min"]) for each in data["benchmarks"]}
