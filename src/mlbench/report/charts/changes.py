"""Verdicts as a picture: by how much each row changed, with its interval and what is tolerated."""

from __future__ import annotations

from mlbench.gate import Judgement
from mlbench.report.charts.chart import Chart, Row, base_spec
from mlbench.report.tables import Table
from mlbench.report.verdicts import verdict_table

COLOURS = {"pass": "#5b8db8", "improved": "#2e8b57", "inconclusive": "#b8860b", "regression": "#c44e52"}


def changes_chart(judgement: Judgement, number: int = 1) -> Chart | None:
    """Return the changes of a judgement, or None where nothing has an interval; `number` is its place among several."""
    rows: list[Row] = []
    tolerances = set()
    for row in judgement.rows:
        for finding in row.findings:
            change = finding.change
            if change is None or not all(map(_is_shown, (change.low, change.high))):
                continue
            short = row.id.rpartition("::")[2]
            rows.append({"row": short, "quantity": finding.quantity, "change": change.estimate - 1, "low": change.low - 1,
                         "high": change.high - 1, "verdict": finding.verdict})  # fmt: skip
            if finding.tolerance is not None:
                tolerances.add(finding.tolerance)
    if not rows:
        return None
    names = list(dict.fromkeys(row["row"] for row in rows))
    spec = base_spec(rows, f"Changes of {judgement.after} against {judgement.before}", 22 * len(names))
    y = {"field": "row", "type": "nominal", "sort": names, "title": None, "axis": {"labelLimit": 260}}
    x = {"type": "quantitative", "axis": {"format": "+%"}, "title": "change (to the right is worse)"}
    colour = {"field": "verdict", "type": "nominal", "title": None, "scale": {"domain": list(COLOURS), "range": list(COLOURS.values())}}
    lines = [{"at": 0.0}, *({"at": each} for each in sorted(tolerances))]
    spec["layer"] = [
        {"data": {"values": lines}, "mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"field": "at", **x}}},
        {"mark": {"type": "rule", "strokeWidth": 2},
         "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}, "y": y, "color": colour}},
        {"mark": {"type": "point", "filled": True, "size": 55},
         "encoding": {"x": {"field": "change", **x}, "y": y, "color": colour,
                      "shape": {"field": "quantity", "type": "nominal", "title": None},
                      "tooltip": [{"field": "row"}, {"field": "quantity"}, {"field": "change", "format": "+.1%"}, {"field": "verdict"}]}},
    ]  # fmt: skip
    how = "A point is by how much a row changed, the line through it the interval. Dashed lines are no change and what is tolerated."
    table = verdict_table(judgement, everything=True)
    return Chart(
        "verdicts" if number == 1 else f"verdicts-{number}", "Verdicts", how, spec, Table(table.title, table.headers, table.rows), len(rows)
    )


def _is_shown(value: float) -> bool:
    return 0 < value < 1e6
