"""Verdicts as a picture: by how much each row changed, with its interval and what is tolerated."""

from __future__ import annotations

from mlbench.gate import Judgement
from mlbench.report.charts.chart import Chart, Row, base_spec
from mlbench.report.charts.labels import row_labels
from mlbench.report.judgement import verdict_table

COLOURS = {"pass": "#5b8db8", "improved": "#2e8b57", "inconclusive": "#b8860b", "regression": "#c44e52"}
LEAST_CHANGE = 0.05
"""The axis goes so far to either side at least, so that changes of a tenth of a per cent look as small as they are."""


def changes_chart(judgement: Judgement) -> Chart | None:
    """Return the changes of a judgement, or None where nothing has an interval."""
    rows: list[Row] = []
    names = row_labels(row.id for row in judgement.rows)
    tolerances = set()
    for row in judgement.rows:
        for finding in row.findings:
            change = finding.change
            if change is None or not all(map(_is_shown, (change.estimate, change.low, change.high))):
                continue
            rows.append({"row": names[row.id], "id": row.id, "quantity": finding.quantity, "verdict": finding.verdict,
                         "change": change.estimate - 1, "low": change.low - 1, "high": change.high - 1})  # fmt: skip
            if finding.tolerance is not None:
                tolerances.add(finding.tolerance)
    if not rows:
        return None
    drawn = list(dict.fromkeys(row["row"] for row in rows))
    spec = base_spec(rows, f"Changes of {judgement.after} against {judgement.before}", 22 * len(drawn))
    y = {
        "field": "row",
        "type": "nominal",
        "sort": drawn,
        "title": None,
        "axis": {"labelLimit": {"expr": "containerSize()[0] < 420 ? 180 : 260"}},
    }
    ends = min(-LEAST_CHANGE, *(row["low"] for row in rows)), max(LEAST_CHANGE, *tolerances, *(row["high"] for row in rows))
    x = {"type": "quantitative", "axis": {"format": "+~%"}, "title": "change, more is worse", "scale": {"domain": list(ends), "nice": True}}
    colour = {"field": "verdict", "type": "nominal", "title": None, "scale": {"domain": list(COLOURS), "range": list(COLOURS.values())}}
    lines = [{"at": 0.0}, *({"at": each} for each in sorted(tolerances))]
    spec["layer"] = [
        {"data": {"values": lines}, "mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": {"x": {"field": "at", **x}}},
        {"mark": {"type": "rule", "strokeWidth": 2},
         "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}, "y": y, "color": colour}},
        {"mark": {"type": "point", "filled": True, "size": 55},
         "encoding": {"x": {"field": "change", **x}, "y": y, "color": colour,
                      "shape": {"field": "quantity", "type": "nominal", "title": None},
                      "tooltip": [{"field": "id", "title": "row"}, {"field": "quantity"}, {"field": "change", "format": "+.1%"},
                                  {"field": "verdict"}]}},
    ]  # fmt: skip
    how = ("A point is the change of a row; to the right is worse. The line through it is the interval. The dashed lines are no change "
           "and the tolerance.")  # fmt: skip
    table = verdict_table(judgement, everything=True)
    return Chart("verdicts", table.title, how, spec, table, len(rows))


def _is_shown(value: float) -> bool:
    return 0 < value < 1e6
