"""What became worse, in numbers that stand out: by comparisons and judgements of what the page is about, and by its own results."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Sequence

from mlbench.gate import RED, Judgement, judge_results
from mlbench.gate.revisions.judge import judge
from mlbench.report import Figure, verdict_figure
from mlbench.report.inputs import Files
from mlbench.results import Result
from mlbench.results.comparison import Comparison


def changes(files: Files) -> Iterator[Figure]:
    """Give what became worse: in the newest result against the first that was named, and by each comparison and each judgement.

    A comparison of another project says nothing of the results on the page: it stands under the verdicts and not here.
    """
    yield from _of_results(files)
    known = names_of(result for _, result in files.results)
    told = [(name, each, [*each.base.ids, *each.head.ids]) for name, each in files.comparisons]
    is_alone = len(told) + len(files.judgements) == 1
    for name, comparison, ids in told:
        if is_about(ids, known):
            yield _named(_calibration(comparison) if comparison.plants else verdict_figure(judge(comparison)), "" if is_alone else name)
    for name, judged in files.judgements:
        if is_about([row.id for row in judged.rows], known):
            yield _named(verdict_figure(judged), "" if is_alone else name)


def names_of(results: Iterable[Result]) -> set[str]:
    """Return what the rows of results are called: ids, cells, and the tests that measured them."""
    every = [each.case for result in results for each in result.measurements]
    return {str(case[key]) for case in every for key in ("id", "cell", "test") if key in case}


def is_about(rows: Sequence[str], known: set[str]) -> bool:
    """Whether rows are of what is known, by their name or by their test's parameter; where nothing is known, any are.

    >>> is_about(["test_sweep.py::test_mlp[optimized-b8-h64]"], {"optimized-b8-h64"}), is_about(["test_a.py::test_b[1]"], {"b8-h64"})
    (True, False)
    """
    return not known or any(name in known for row in rows for name in (row, *re.findall(r"\[(.*)\]$", row)))


def _of_results(files: Files) -> Iterator[Figure]:
    """Give the newest result against the first that was named, in the rows that both have; none where they have none in common."""
    if len(files.beside) < 2:
        return
    (first, before), (last, after) = files.beside[0], files.results[-1]
    rows = [{each.case["id"] for each in result.measurements} for result in (before, after)]
    if before is not after and rows[0] & rows[1]:
        yield verdict_figure(judge_results(before, after, None, dt.date.min, (first, last), rows[0] ^ rows[1]))


def _calibration(comparison: Comparison) -> Figure:
    """Return how many of the planted rows were found; their being red says nothing against the version."""
    red = {row.id for row in judge(comparison).rows if row.verdict in RED}
    found, others = red & comparison.plants.keys(), red - comparison.plants.keys()
    return Figure(f"{len(found)} of {len(comparison.plants)} found", "Calibration: planted slowdowns and allocations",
                  f"from 2 % on, to see what the A/B finds; {len(others)} of the other rows red")  # fmt: skip


def _named(figure: Figure, name: str) -> Figure:
    """Return a figure with the file that it is from, where there are several."""
    return Figure(figure.value, f"{figure.what} ({name})", figure.detail) if name else figure


def verdicts(files: Files) -> list[tuple[str, Judgement]]:
    """Return every judgement with the name of its file."""
    return [(name, judge(comparison)) for name, comparison in files.comparisons] + files.judgements
