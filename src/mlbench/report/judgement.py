"""A judgement for the terminal: the headline, a table of what does not simply pass, the sentences, the notes.

Whatever made the judgement, a saved baseline or two versions side by side, it is told in the same words. `markdown` and `machines` tell
it to other readers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mlbench.gate import (
    BROKEN,
    IMPROVED,
    INCONCLUSIVE,
    MISSING,
    NEW,
    OPEN,
    PASS,
    RED,
    REGRESSION,
    VERDICTS,
    Finding,
    Judgement,
    Row,
)
from mlbench.gate.policy import BASELINE_RATIO, PRODUCTS_RATIO, REFERENCE_RATIO, percent
from mlbench.report.summary import Figure
from mlbench.report.tables.cases import Table
from mlbench.report.terminal import render
from mlbench.units import format_duration, format_share, paragraph

HEADERS = ("row", "verdict", "quantity", "before", "after", "change", "interval")
_NOTHING = "-"
_LEGEND = (
    ((BASELINE_RATIO, PRODUCTS_RATIO),
     "Baseline ratio, products ratio: the time of a call / the eager runner's, / NumPy's bare products'; below 1 it is faster. They come "
     "from the fastest rounds, with a heap that keeps freed memory. So they are not 1 / the speed-ups of a result's own tables, which come "
     "from all rounds and a fresh heap."),
    ((REFERENCE_RATIO,), "Reference ratio: the time of a call / its reference's; below 1 it is faster. A result's own table has 1 / it."),
)  # fmt: skip
"""What quantities mean that a result's own tables show in another way."""
_NOUNS = {
    PASS: "pass",
    NEW: "new",
    IMPROVED: "improved",
    INCONCLUSIVE: "inconclusive",
    BROKEN: "broken in both",
    MISSING: "missing",
    REGRESSION: "worse",
}
_OPEN_FAILS = " (exit code 3; --inconclusive=pass lets it pass)"
_OPEN_PASSES = ", which may pass here"
NAME_WIDTH = 100
"""Characters of a row's name that are shown; JSON and JUnit have all of it."""


def worst_first(rows: Sequence[Row]) -> list[Row]:
    """Return rows with the worst verdict first, otherwise in their order."""
    return sorted(rows, key=lambda row: -VERDICTS.index(row.verdict))


def headline(judgement: Judgement, *, inconclusive_passes: bool = False) -> str:
    """Return the verdict and how many rows have which, in one line."""
    counts, verdict = _counts(judgement), judgement.verdict
    if verdict in OPEN:
        verdict += _OPEN_PASSES if inconclusive_passes else _OPEN_FAILS
    if is_empty(judgement):
        verdict = "nothing was compared, which is red"
    rows = "1 row" if len(judgement.rows) == 1 else f"{len(judgement.rows)} rows"
    return f"{verdict}: {rows}{': ' + counts if counts else ''}"


def is_empty(judgement: Judgement) -> bool:
    """Whether it is red although no row is: nothing was compared."""
    return judgement.verdict in RED and not any(judgement.count(each) for each in RED)


def shown_name(name: str) -> str:
    """Return a row's name in one line, without its middle where it is long."""
    line = " ".join(name.split())
    half = (NAME_WIDTH - 3) // 2
    return line if len(line) <= NAME_WIDTH else f"{line[:half]}...{line[-half:]}"


def alike(rows: Sequence[Row]) -> list[tuple[str, Row]]:
    """Return rows with the names to show; those without a number that have one verdict for one reason are one, in the first one's place."""
    found: dict[object, list[Row]] = {}
    for row in rows:
        is_bare = all(each.before is None and each.after is None and each.change is None for each in row.findings)
        found.setdefault((row.verdict, row.why) if is_bare and not row.graphs else len(found), []).append(row)
    return [(shown_name(same[0].id) + (f" and {len(same) - 1} more" if len(same) > 1 else ""), same[0]) for same in found.values()]


def _counts(judgement: Judgement) -> str:
    return ", ".join(f"{judgement.count(each)} {_NOUNS[each]}" for each in reversed(VERDICTS) if judgement.count(each))


def verdict_figure(judgement: Judgement) -> Figure:
    """Return how many rows are worse, or in doubt, as a number that stands out."""
    worse, open_rows = (sum(judgement.count(each) for each in verdicts) for verdicts in (RED, OPEN))
    value = f"{worse} worse" if worse else f"{open_rows} in doubt" if open_rows else "nothing worse"
    if is_empty(judgement):
        value = "nothing compared"
    return Figure(value, f"{judgement.after} against {judgement.before}", _counts(judgement))


def verdict_table(judgement: Judgement, *, everything: bool = False) -> Table:
    """Return a line for each finding that decides a row's verdict, the worst first; rows that pass only with `everything`."""
    shown = [row for row in worst_first(judgement.rows) if everything or row.verdict != PASS]
    rows = tuple(finding_cells(row, finding, name) for name, row in alike(shown) for finding in deciding(row, everything=everything))
    return Table(f"{judgement.after} against {judgement.before}", HEADERS, rows, legend({row[2] for row in rows}))


def legend(quantities: Collection[str]) -> tuple[str, ...]:
    """Return what these quantities mean, as far as the tables of a result show them in another way."""
    return tuple(meaning for named, meaning in _LEGEND if set(named) & set(quantities))


def deciding(row: Row, *, everything: bool = False) -> list[Finding]:
    """Return the findings that decide a row's verdict, or all of them."""
    return [each for each in row.findings if everything or each.verdict == row.verdict]


def finding_cells(row: Row, finding: Finding, name: str = "") -> tuple[str, ...]:
    """Return a finding as cells, as many as HEADERS; the row has its own name unless another one is given."""
    change = finding.change
    return (
        name or shown_name(row.id),
        finding.verdict,
        finding.quantity,
        value(finding.before, finding.unit),
        value(finding.after, finding.unit),
        _exact_change(finding) if change is None else percent(change.estimate - 1),
        _NOTHING if change is None else f"{percent(change.low - 1)} to {percent(change.high - 1)}",
    )


def value(number: float | None, unit: str) -> str:
    """Return a number of this unit as text; bytes and counts keep every digit, for they are compared exactly."""
    if number is None:
        return _NOTHING
    if unit == "s":
        return format_duration(number)
    return format_share(number) if unit == "ratio" else f"{number:,.0f}" + (" B" if unit == "bytes" else "")


def verdict_text(
    judgement: Judgement, *, colour: bool, width: int | None = None, everything: bool = False, inconclusive_passes: bool = False
) -> str:
    """Return everything a person should see of a judgement.

    Args:
        judgement: what to tell.
        colour: with colours.
        width: columns of the terminal; None never wraps the table.
        everything: rows that pass as well, with all their findings.
        inconclusive_passes: what the reader decided on doubt.
    """
    table = verdict_table(judgement, everything=everything)
    loud = [row for row in worst_first(judgement.rows) if row.verdict not in (PASS, IMPROVED)]
    told = [f"{name}: {row.why}." for name, row in alike(loud)]
    graphs = [f"{shown_name(row.id)}: flame graphs {', '.join(row.graphs)}" for row in judgement.rows if row.graphs]
    paragraphs = [*told, *graphs, *(f"Note: {note}." for note in judgement.notes)]
    parts = [
        headline(judgement, inconclusive_passes=inconclusive_passes),
        *([render(table, width, colour=colour)] if table.rows else []),
        *(["\n".join(paragraph(each, "  ") for each in paragraphs)] if paragraphs else []),
    ]
    return "\n\n".join(parts)


def _exact_change(finding: Finding) -> str:
    if finding.before is None or finding.after is None:
        return _NOTHING
    difference = finding.after - finding.before
    return f"{difference:+,.0f}" if difference else "0"
