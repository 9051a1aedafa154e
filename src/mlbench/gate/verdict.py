"""Verdicts: what the gate says of a quantity, of a row, and of a whole comparison.

A row holds what was compared of one benchmark, such as its latency and its peak bytes; its verdict is the worst of theirs. The gate fails
closed: what is missing, and a comparison in which nothing was compared, are as red as what became slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlbench.measure.stats import Interval

PASS = "pass"  # noqa: S105  # a verdict
IMPROVED = "improved"
NEW = "new"
INCONCLUSIVE = "inconclusive"
BROKEN = "broken"
MISSING = "missing"
REGRESSION = "regression"
VERDICTS = (PASS, NEW, IMPROVED, INCONCLUSIVE, BROKEN, MISSING, REGRESSION)
"""From the best to the worst: the one that stands later wins. `broken` is what fails in both versions, so that nothing was compared."""
RED = (MISSING, REGRESSION)
OPEN = (INCONCLUSIVE, BROKEN)
"""What is neither red nor green."""

MEAN_ROW = "mean of the compiled runner's rows"
"""The row that no benchmark has: what all of them have in common."""

EXIT_PASS, EXIT_REGRESSION, EXIT_INCONCLUSIVE = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Finding:
    """What the gate says of one quantity of a row.

    Attributes:
        quantity: what was compared: `latency`, `baseline ratio` and `products ratio` (of a case: its time / the eager runner's, and /
            NumPy's bare products), `reference ratio` (of a callable: its time / its reference's), `peak bytes`, `allocations`, or `test`
            where there is nothing to compare: it failed, is missing, or is new.
        verdict: one of VERDICTS.
        why: one sentence, with the numbers in it.
        before: of the baseline; None where there is none.
        after: of what is judged; None where there is none.
        unit: of both: `s`, `bytes`, `count` or `ratio`; empty where there are none.
        change: after / before, with its interval; None for what is compared exactly.
        tolerance: what is tolerated: a change of 1 + tolerance; None where nothing was compared.
    """

    quantity: str
    verdict: str
    why: str
    before: float | None = None
    after: float | None = None
    unit: str = ""
    change: Interval | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What the gate says of one benchmark.

    Attributes:
        id: the test's or the case's.
        verdict: the worst of the findings.
        findings: one for each quantity.
        graphs: flame graphs that were kept of it, paths.
    """

    id: str
    verdict: str
    findings: tuple[Finding, ...]
    graphs: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """The sentences of the findings that decide the verdict."""
        return "; ".join(finding.why for finding in self.findings if finding.verdict == self.verdict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate says of a comparison.

    Attributes:
        before: what the baseline is, for people: a file, or a revision.
        after: what is judged.
        rows: one for each benchmark of either side.
        notes: what the reader should know: another machine, rows that were left out, an accepted change that has expired.
    """

    before: str
    after: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The worst verdict of the rows; where there is none but new ones nothing was compared, which is a regression."""
        return worst(row.verdict for row in self.rows) if any(row.verdict != NEW for row in self.rows) else REGRESSION

    def count(self, verdict: str) -> int:
        """Return how many rows have this verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    def exit_code(self, *, inconclusive_passes: bool = False) -> int:
        """Return 0 where nothing is worse, 1 where something is or is missing, 3 where that is open and may not pass."""
        if self.verdict in RED:
            return EXIT_REGRESSION
        if self.verdict in OPEN and not inconclusive_passes:
            return EXIT_INCONCLUSIVE
        return EXIT_PASS


def worst(verdicts: Iterable[str]) -> str:
    """Return the worst of one or more verdicts.

    >>> worst(["improved", "pass", "inconclusive"])
    'inconclusive'
    """
    return max(verdicts, key=VERDICTS.index)


def row_of(name: str, findings: Sequence[Finding], graphs: Sequence[str] = ()) -> Row:
    """Return the row of one or more findings."""
    return Row(name, worst(finding.verdict for finding in findings), tuple(findings), tuple(graphs))
