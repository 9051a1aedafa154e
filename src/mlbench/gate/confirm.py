"""What is red or in doubt is measured again, where the code is at hand: red stays only what fresh processes confirm by themselves.

That is also the correction for many rows: a quantity that chance alone put beyond its tolerance has to be that unlucky twice. One that was
only in doubt at first has no first time: it is red where the fresh processes alone are, and all of them together too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mlbench.gate import INCONCLUSIVE, MEAN_ROW, RED, REGRESSION, Finding, Judgement, Row, row_of
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
    for row in _to_measure(judged, measured):
        twice = (fresh.values(), pooled.values()) if row.id in fresh else again(measured[row.id])
        if twice is None:
            continue
        settled.add(row.id)
        fresh |= {each.case["id"]: each for each in twice[0]}
        pooled |= {each.case["id"]: each for each in twice[1]}
    if not settled:
        return judged
    alone, together = (_rows(judge(_replaced(after, new))) for new in (fresh, pooled))
    rows = tuple(
        _settled(row, alone[row.id], together[row.id])
        if row.id in settled or (row.id == MEAN_ROW and _is_open(row))
        else _kept(row, together)
        for row in judged.rows
    )
    return replace(judged, rows=rows, notes=(*judged.notes, f"measured again in fresh processes: {', '.join(sorted(settled))}"))


def _kept(row: Row, together: Mapping[str, Row]) -> Row:
    """Return a row that was not measured again; the mean of the rows is of what is known of them now."""
    return together.get(row.id, row) if row.id == MEAN_ROW else row


def _to_measure(judged: Judgement, measured: Mapping[str, Measurement]) -> list[Row]:
    """Return the rows that are open; where the mean of the rows is, all that it is of."""
    is_mean_open = any(row.id == MEAN_ROW and _is_open(row) for row in judged.rows)
    return [
        row
        for row in judged.rows
        if row.id in measured and (_is_open(row) or (is_mean_open and measured[row.id].case["runner"] == "optimized"))
    ]


def _is_open(row: Row) -> bool:
    """Whether measuring again may change the verdict."""
    return any(each.verdict in (REGRESSION, INCONCLUSIVE) and each.quantity != "test" for each in row.findings)


def _settled(first: Row, alone: Row, together: Row) -> Row:
    confirmed = _red(alone) & (_red(first) | _red(together))
    own = {each.quantity: each for each in alone.findings}
    findings = []
    for each in together.findings:
        if each.quantity in confirmed:
            findings.append(_with(own[each.quantity], "confirmed by fresh processes alone"))
        elif each.quantity in _red(alone):
            findings.append(replace(_with(own[each.quantity], "all processes together do not show it"), verdict=INCONCLUSIVE))
        elif each.verdict in RED:
            findings.append(replace(_with(each, "fresh processes alone did not confirm it"), verdict=INCONCLUSIVE))
        else:
            findings.append(each)
    return row_of(first.id, findings)


def _red(row: Row) -> set[str]:
    """Return the quantities of a row that are red."""
    return {each.quantity for each in row.findings if each.verdict in RED}


def _with(finding: Finding, more: str) -> Finding:
    return replace(finding, why=f"{finding.why}; {more}")


def _rows(judged: Judgement) -> Mapping[str, Row]:
    return {row.id: row for row in judged.rows}


def _replaced(result: Result, new: Mapping[str, Measurement]) -> Result:
    return replace(result, measurements=tuple(new.get(each.case["id"], each) for each in result.measurements))
