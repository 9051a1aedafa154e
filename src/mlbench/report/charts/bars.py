"""Speed-up as bars over the batch size, a colour for each hidden size or network: the picture of the README."""

from __future__ import annotations

from collections.abc import Sequence

from mlbench.report.charts.chart import Chart, base_spec
from mlbench.report.charts.heatmap import SPEEDUP, heat_maps
from mlbench.results.pairs import Pair

TITLE = "Speed-up over eager NumPy (dashed line)"
LEAST_WIDTH = 26
"""Pixels of a bar from which on its value is written above it."""


def speedup_bars(pairs: Sequence[Pair]) -> tuple[Chart, ...]:
    """Return the bars of each heat map of the speed-up, with the same cells and the same numbers."""
    return tuple(_bars(each) for each in heat_maps(SPEEDUP, pairs))


def _bars(heat: Chart) -> Chart:
    rows = heat.spec["data"]["values"]
    columns = rows[0]["columns"]
    hidden = list(dict.fromkeys(row["hidden"] for row in rows))
    title = heat.title.replace(SPEEDUP.title, TITLE, 1)
    count = len({row["batch"] for row in rows}) * len(hidden)
    spec = base_spec(rows, f"{title}, over batch and {columns}", 220)
    spec["encoding"] = {
        "x": {"field": "batch", "type": "ordinal", "sort": "ascending", "title": "batch (rows of a call)", "axis": {"labelAngle": 0}},
        "xOffset": {"field": "hidden", "type": "ordinal", "sort": hidden},
    }
    colours = {"scheme": {"name": "blues", "extent": [0.25, 0.9]}}
    times = {"field": "value", "type": "quantitative", "title": "times as fast", "axis": {"tickCount": 5}}
    spec["layer"] = [
        {"mark": {"type": "bar", "tooltip": True},
         "encoding": {"y": times,
                      "color": {"field": "hidden", "type": "ordinal", "sort": hidden, "scale": colours, "title": columns},
                      "description": {"field": "label"}}},
        {"mark": {"type": "rule", "strokeWidth": 1.5, "aria": False},
         "encoding": {"y": {"field": "least", "type": "quantitative"}, "y2": {"field": "most"}}},
        {"mark": {"type": "text", "fontSize": 12, "dy": -8, "aria": False,
                  "opacity": {"expr": f"width / {count} < {LEAST_WIDTH} ? 0 : 1"}},
         "encoding": {"y": {"field": "most", "type": "quantitative"}, "text": {"field": "value", "format": SPEEDUP.form}}},
        {"data": {"values": [{}]}, "mark": {"type": "rule", "strokeDash": [4, 3], "aria": False},
         "encoding": {"y": {"datum": 1, "type": "quantitative"}, "x": {"value": 0}, "x2": {"value": "width"}, "xOffset": {"value": 0}}},
    ]  # fmt: skip
    how = ("A bar says how many times as fast the compiled runner is as eager NumPy on the same model, which is the dashed line at 1. The "
           "line through its end is the 95 % interval.")  # fmt: skip
    name = heat.name.replace(SPEEDUP.name, "speedup-bars", 1)
    return Chart(name, title, how, spec, heat.table, heat.marks)
