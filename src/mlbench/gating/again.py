"""What is red or in doubt is measured again, where the code is at hand: red stays only what fresh processes confirm by themselves.

That is also the correction for many rows: a row that chance alone put beyond its tolerance has to be that unlucky twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mlbench.gate import INCONCLUSIVE, RED, REGRESSION, Finding, Judgement, Row, row_of
from mlbench.results import Measurement, Result

Twice = tuple[Sequence[Measurement], Sequence[Measurement]]
"""What fresh processes measured alone, and together with those before."""
Again = Callable[[Measurement], Twice | None]
"""Measures the cell of a row again; None where that cannot be done here."""


def settle(judge: Callable[[Result], Judgement], after: Result, again: Again) -> Judgement:
    """Judge a result, measure again what is red or inconclusive, and return the judgement that holds.

    Args:
        judge: judges a result.
        after: what was measured first.
        again: measures again.
    """
    judged = judge(after)
    measured = {each.case["id"]: each for each in after.measurements}
    fresh: dict[str, Measurement] = {}
    pooled: dict[str, Measurement] = {}
    settled = set()
    for row in judged.rows:
        if not _is_open(row) or row.id not in measured:
            continue
        twice = (fresh.values(), pooled.values()) if row.id in fresh else again(measured[row.id])
        if twice is None:
            continue
        settled.add(row.id)
        fresh |= {each.case["id"]: each for each in twice[0]}
        pooled |= {each.case["id"]: each for each in twice[1]}
    if not settled:
        return judged
    alone, together = (_rows(judge(_replaced(after, new))) for new in (fresh, pooled))
    rows = tuple(_settled(alone[row.id], together[row.id]) if row.id in settled else row for row in judged.rows)
    return replace(judged, rows=rows, notes=(*judged.notes, f"measured again in fresh processes: {', '.join(sorted(settled))}"))


def _is_open(row: Row) -> bool:
    """Whether measuring again may change the verdict."""
    return any(each.verdict in (REGRESSION, INCONCLUSIVE) and each.quantity != "test" for each in row.findings)


def _settled(alone: Row, together: Row) -> Row:
    if alone.verdict in RED:
        return row_of(alone.id, [_with(each, "confirmed by fresh processes alone") for each in alone.findings])
    doubted = [
        replace(_with(each, "fresh processes alone did not confirm it"), verdict=INCONCLUSIVE) if each.verdict in RED else each
        for each in together.findings
    ]
    return row_of(together.id, doubted)


def _with(finding: Finding, more: str) -> Finding:
    return replace(finding, why=f"{finding.why}; {more}") if finding.verdict in RED else finding


def _rows(judged: Judgement) -> Mapping[str, Row]:
    return {row.id: row for row in judged.rows}


def _replaced(result: Result, new: Mapping[str, Measurement]) -> Result:
    return replace(result, measurements=tuple(new.get(each.case["id"], each) for each in result.measurements))
