"""History: a quantity of each case over any number of saved runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.report.charts.chart import Chart, Row, Spec, base_spec, spanning
from mlbench.report.tables.cases import Table

MOST_NUMBERED = 12
"""Of so few runs each has its number on the axis."""
LEAST_SPAN = 1.5
"""The largest value of the axis over the smallest, at least."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A case in one run.

    Attributes:
        run: name of the run, for people.
        number: place of the run in the history, from 1.
        case: its name.
        value: such as the floor ratio.
        verdict: of the gate, against the run before; empty where nothing was judged.
        is_other_machine: the run before was measured on another machine.
    """

    run: str
    number: int
    case: str
    value: float
    verdict: str = ""
    is_other_machine: bool = False


def trend_chart(name: str, title: str, quantity: str, moments: Sequence[Moment]) -> Chart | None:
    """Return a line for each case, or None where there are fewer than two runs."""
    runs = {moment.number: moment for moment in moments}
    if len(runs) < 2:
        return None
    rows: list[Row] = [
        {"run": each.run, "number": each.number, "case": each.case, "value": each.value, "verdict": each.verdict or "not judged"}
        for each in moments
    ]
    breaks: list[Row] = [{"number": each.number, "label": "another machine"} for each in runs.values() if each.is_other_machine]
    red = [row for row in rows if row["verdict"] in ("regression", "missing")]
    spec = base_spec(rows, title, 300)
    axis: Row = {"format": "d", **({"values": sorted(runs)} if len(runs) <= MOST_NUMBERED else {})}
    x = {"field": "number", "type": "quantitative", "title": "run", "axis": axis, "scale": {"nice": False}}
    scale = {"type": "log", "nice": False, "padding": 8, "domain": spanning([each.value for each in moments], LEAST_SPAN)}
    y = {"field": "value", "type": "quantitative", "scale": scale, "title": quantity}
    colour = {"field": "case", "type": "nominal", "title": None, "scale": {"scheme": "tableau20"}}
    layers: list[Spec] = [
        {"data": {"values": breaks}, "mark": {"type": "rule", "strokeDash": [2, 3], "strokeWidth": 2, "tooltip": True},
         "encoding": {"x": x, "tooltip": {"field": "label"}}},
        {"mark": {"type": "line", "opacity": 0.8, "point": {"size": 18} if len(rows) <= 1000 else False},
         "encoding": {"x": x, "y": y, "color": colour,
                      "tooltip": [{"field": "case"}, {"field": "run"}, {"field": "value", "format": ".3f"}, {"field": "verdict"}]}},
        {"data": {"values": red}, "mark": {"type": "point", "size": 130, "strokeWidth": 3, "color": "#c44e52"},
         "encoding": {"x": x, "y": y, "tooltip": [{"field": "case"}, {"field": "run"}, {"field": "verdict"}]}},
    ]  # fmt: skip
    spec["layer"] = [each for each in layers if each.get("data", {"values": rows})["values"]]
    cells = tuple((str(each.number), each.run, each.case, f"{each.value:.4g}", each.verdict or "-") for each in moments)
    how = (
        "A line is a case, from the oldest run to the newest. A dotted line marks another machine, a ring a row that the gate calls worse."
    )
    return Chart(name, title, how, spec, Table(title, ("run", "file", "case", quantity, "verdict"), cells), len(rows))
