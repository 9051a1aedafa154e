"""Benchmarks of a file that this gate does not judge, so that nobody takes them for green."""

from __future__ import annotations

from pathlib import Path

from mlbench.results import KEY
from mlbench.results.pytest_benchmark import is_pytest_benchmark, others
from mlbench.results.storage import read_json


def unjudged(path: Path) -> tuple[str, ...]:
    """Return a note on benchmarks that pytest-benchmark saved without our fixture; none where there are none."""
    data = read_json(path)
    if not is_pytest_benchmark(data):
        return ()
    names = others(data, KEY)
    if not names:
        return ()
    counted = "1 benchmark does" if len(names) == 1 else f"{len(names)} benchmarks do"
    return (f"{path}: {counted} not use the fixture mlbench, such as {names[0]}; only 'mlbench ab' judges those",)
