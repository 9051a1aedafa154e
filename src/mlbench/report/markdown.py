"""A judgement as Markdown, for a comment on a pull request or the summary of a CI job.

Names of tests are other people's text: whatever means something to Markdown, HTML or GitHub is escaped in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlbench.gate import BROKEN, IMPROVED, INCONCLUSIVE, MISSING, NEW, PASS, REGRESSION, Judgement, Row
from mlbench.report.judgement import HEADERS, alike, deciding, finding_cells, headline, legend, worst_first

MOST_CHARACTERS = 60_000
"""GitHub takes comments of up to 65,536 characters, and job summaries of 1 MB."""
_MARKS = {
    PASS: ":white_check_mark:",
    NEW: ":new:",
    IMPROVED: ":rocket:",
    INCONCLUSIVE: ":grey_question:",
    BROKEN: ":broken_heart:",
    MISSING: ":x:",
    REGRESSION: ":x:",
}
_SPECIAL = re.compile(r"[\\`*_{}\[\]()#+!|~>$-]")


def escaped(text: str) -> str:
    r"""Return text that Markdown shows as it is, in one line.

    >>> print(escaped("test[a|b]"))
    test\[a\|b\]
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(lambda found: "\\" + found[0], line).replace("@", "&#64;")


def markdown(judgement: Judgement, *, inconclusive_passes: bool = False) -> str:
    """Return a judgement as Markdown: the headline, a table of what does not pass, the rest folded away, the notes."""
    loud = [row for row in worst_first(judgement.rows) if row.verdict != PASS]
    quiet = [row for row in judgement.rows if row.verdict == PASS]
    head = f"### {_MARKS[judgement.verdict]} mlbench: {escaped(headline(judgement, inconclusive_passes=inconclusive_passes))}\n"
    sides = f"{escaped(judgement.after)} against {escaped(judgement.before)}\n"
    meanings = legend({finding.quantity for row in judgement.rows for finding in row.findings})
    notes = "".join(f"- {escaped(note)}\n" for note in (*judgement.notes, *meanings))
    room = MOST_CHARACTERS - len(head) - len(sides) - len(notes)
    lines = [_loud_line(name, row) for name, row in alike(loud)]
    shown = _cut(lines, room)
    table = _table(("row", "verdict", "why"), shown, len(lines)) if loud else ""
    folded = _cut([line for row in quiet for line in _quiet_lines(row)], room - len(table))
    details = _details(folded, len(quiet)) if folded else ""
    return "\n".join(part for part in (head, sides, table, details, notes) if part)


def _loud_line(name: str, row: Row) -> str:
    graphs = f" Flame graphs: {', '.join(map(escaped, row.graphs))}." if row.graphs else ""
    return f"| {escaped(name)} | {_MARKS[row.verdict]} {row.verdict} | {escaped(row.why)}.{graphs} |\n"


def _quiet_lines(row: Row) -> list[str]:
    return [f"| {' | '.join(map(escaped, finding_cells(row, finding)))} |\n" for finding in deciding(row, everything=True)]


def _details(lines: Sequence[str], rows: int) -> str:
    counted = "1 row passes" if rows == 1 else f"{rows} rows pass"
    return f"<details><summary>{counted}</summary>\n\n{_table(HEADERS, lines, len(lines))}\n</details>\n"


def _table(headers: Sequence[str], lines: Sequence[str], of: int) -> str:
    left = f"\n{of - len(lines)} more do not fit here.\n" if len(lines) < of else ""
    return f"| {' | '.join(headers)} |\n|{' --- |' * len(headers)}\n{''.join(lines)}{left}"


def _cut(lines: Sequence[str], room: int) -> list[str]:
    """Return as many lines from the front as fit."""
    kept: list[str] = []
    room -= 500  # for headers and what frames them
    for line in lines:
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    return kept
