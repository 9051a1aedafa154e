"""Who is fastest where: the fastest other runtime over ours, for each shape and batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.measure.stats import Interval
from mlbench.report.charts.chart import Chart, base_spec
from mlbench.report.tables.cases import Table


@dataclass(frozen=True, slots=True)
class Race:
    """One cell.

    Attributes:
        shape: inputs-hidden-outputs.
        batch: rows of a call.
        peer: the fastest other runtime.
        ratio: its time / ours; above 1 ours is faster.
    """

    shape: str
    batch: int
    peer: str
    ratio: Interval


def fastest_chart(races: Sequence[Race]) -> Chart | None:
    """Return the map of races, or None without one."""
    if not races:
        return None
    rows = [
        {"shape": race.shape, "batch": race.batch, "ratio": race.ratio.estimate, "low": race.ratio.low, "high": race.ratio.high,
         "winner": race.peer if race.ratio.estimate < 1 else "mlbench", "peer": race.peer}
        for race in races
    ]  # fmt: skip
    batches = len({race.batch for race in races})
    shapes = list(dict.fromkeys(race.shape for race in races))
    spec = base_spec(rows, "Fastest other runtime over ours", 52 * len(shapes))
    spec["encoding"] = {
        "x": {"field": "batch", "type": "ordinal", "title": "batch (rows of a call)", "axis": {"labelAngle": 0}},
        "y": {"field": "shape", "type": "nominal", "sort": shapes, "title": "sizes"},
        "tooltip": [{"field": "shape"}, {"field": "batch"}, {"field": "peer", "title": "fastest other"},
                    {"field": "ratio", "format": ".2f", "title": "its time / ours"}],
    }  # fmt: skip
    scale = {"scheme": "redblue", "domain": [0.5, 1, 2], "type": "log", "clamp": True}
    dark = "datum.ratio > 1.5 || datum.ratio < 0.62"
    text = {"condition": {"test": dark, "value": "white"}, "value": "#222"}
    spec["layer"] = [
        {"mark": "rect", "encoding": {"color": {"field": "ratio", "type": "quantitative", "scale": scale, "legend": None}}},
        {"mark": {"type": "text", "fontSize": 14, "dy": -7}, "encoding": {"text": {"field": "ratio", "format": ".2f"}, "color": text}},
        {
            "mark": {"type": "text", "fontSize": 11, "dy": 10, "opacity": {"expr": f"width / {batches} < 75 ? 0 : 1"}},
            "encoding": {"text": {"field": "winner"}, "color": text},
        },
    ]
    how = ("Blue: the compiled runner is faster; red: another runtime is. The number is the fastest other runtime's time over the compiled "
           "runner's, so 0.8 means four fifths of its time. The name below is the winner. Sizes are inputs-hidden-outputs.")  # fmt: skip
    cells = tuple((race.shape, str(race.batch), race.peer, f"{race.ratio.estimate:.3f}", f"{race.ratio.low:.3f}",
                   f"{race.ratio.high:.3f}{race.ratio.doubt}")
                  for race in races)  # fmt: skip
    table = Table("Fastest other runtime / ours", ("shape", "batch", "fastest other", "ratio", "95 % from", "to"), cells)
    return Chart("peers", "Who is fastest where", how, spec, table, len(rows))
