"""The roofline: how fast each case is, beside what this machine was measured to be able to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbench.report.charts.chart import Chart, Row, base_spec
from mlbench.report.tables.cases import Table

_POINTS = 25
_DASHES = ([1, 0], [7, 3], [3, 3], [10, 3, 2, 3], [1, 2], [12, 4])
"""Of the lines, from the fastest level of memory outwards."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A case.

    Attributes:
        case: its name.
        intensity: FLOP for each byte that must move.
        flop_per_s: attained.
        bound: what bounds it, as a sentence.
    """

    case: str
    intensity: float
    flop_per_s: float
    bound: str


def roofline_chart(dots: Sequence[Dot], peak_flop_per_s: float, bytes_per_s: Mapping[str, float]) -> Chart | None:
    """Return the roofline, or None without a case.

    Args:
        dots: the cases.
        peak_flop_per_s: the flat roof.
        bytes_per_s: name of a bandwidth to it; each is a slope.

    Returns:
        the chart after S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model", CACM 52(4), 2009.
    """
    if not dots:
        return None
    least, most = min(dot.intensity for dot in dots) / 2, max(dot.intensity for dot in dots) * 2
    xs = [least * (most / least) ** (place / (_POINTS - 1)) for place in range(_POINTS)]
    named = {f"{name}, {rate / 1e9:.3g} GB/s": rate for name, rate in bytes_per_s.items()}
    roofs: list[Row] = [{"roof": name, "x": x, "y": min(peak_flop_per_s, rate * x) / 1e9} for name, rate in named.items() for x in xs]
    peak: list[Row] = [{"x": xs[-1], "y": peak_flop_per_s / 1e9, "name": f"multiply-adds, {peak_flop_per_s / 1e9:.3g} GFLOP/s"}]
    dashes = {"field": "roof", "type": "nominal", "sort": list(named), "title": None, "legend": {"symbolType": "stroke", "symbolSize": 500},
              "scale": {"domain": list(named), "range": [_DASHES[place % len(_DASHES)] for place in range(len(named))]}}  # fmt: skip
    rows = [{"case": dot.case, "x": dot.intensity, "y": dot.flop_per_s / 1e9, "runner": dot.case.partition("-")[0], "bound": dot.bound}
            for dot in dots]  # fmt: skip
    spec = base_spec(rows, "Roofline", 320)
    x = {"field": "x", "type": "quantitative", "scale": {"type": "log", "nice": False}, "title": "FLOP for each byte that must move"}
    y = {"field": "y", "type": "quantitative", "scale": {"type": "log"}, "title": "GFLOP/s"}
    spec["layer"] = [
        {"data": {"values": roofs}, "mark": {"type": "line", "opacity": 0.7},
         "encoding": {"x": x, "y": y, "detail": {"field": "roof"}, "strokeDash": dashes, "tooltip": [{"field": "roof"}]}},
        {"data": {"values": peak}, "mark": {"type": "text", "align": "right", "dy": -7, "fontSize": 12},
         "encoding": {"x": x, "y": y, "text": {"field": "name"}}},
        {"mark": {"type": "point", "filled": True, "size": 60},
         "encoding": {"x": x, "y": y, "color": {"field": "runner", "type": "nominal", "title": None},
                      "shape": {"field": "runner", "type": "nominal", "title": None},
                      "tooltip": [{"field": "case"}, {"field": "y", "format": ".1f", "title": "GFLOP/s"}, {"field": "bound"}]}},
    ]  # fmt: skip
    cells = tuple((dot.case, f"{dot.intensity:.2f}", f"{dot.flop_per_s / 1e9:.2f}", dot.bound) for dot in dots)
    how = ("Lines are what this machine can do: reading from a level of memory bounds a case on the left, and arithmetic one on the "
           "right. The farther a point is below the lines, the more it loses to calls, allocation and shapes that suit BLAS badly. The "
           "floor ratio counts only what must be touched: weights, input and output, once. Point at a dot for its name.")  # fmt: skip
    table = Table("Roofline", ("case", "FLOP/byte", "GFLOP/s", "what bounds it"), cells)
    return Chart("roofline", "Roofline", how, spec, table, len(dots) + len(bytes_per_s) + 1)
