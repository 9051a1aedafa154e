"""Results side by side: a quantity of every case in each of them, coloured by how it compares with the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlbench.report.charts.chart import Chart, Row, base_spec
from mlbench.report.charts.labels import labels, row_labels
from mlbench.report.tables.cases import Table
from mlbench.results import Measurement, time_of
from mlbench.units import format_bytes, format_duration, format_ratio

MOST_DRAWN = 24
"""Of more results the first and the newest are drawn; the table has all of them."""
MOST_SLANTED = 6
"""Names of more results stand upright."""
MOST_OF_A_NAME = 20
"""Characters of a result's name under its column."""
LEAST_WIDTH = 62
"""Pixels of a cell from which on its value is written into it."""
DEEP, DARK = 2.0, 1.6
"""Twice as much as the first has the deepest colour, so that what two runs of the same code differ by stays pale; on one that is dark the
value is white."""
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity of which less is better.

    Attributes:
        name: of the chart.
        title: of the chart.
        of: its value in a measurement, or None.
        told: a value as text.
    """

    name: str
    title: str
    of: Callable[[Measurement], float | None]
    told: Callable[[float], str]


MEASURES = (
    Measure("time", "Time of a call", time_of, format_duration),
    Measure("memory", "Memory of a call and between calls", lambda each: each.memory_bytes, lambda size: format_bytes(int(size))),
    Measure(
        "floor-ratio",
        "Floor ratio",
        lambda each: each.ratios["floor_ratio"].estimate if "floor_ratio" in each.ratios else None,
        format_ratio,
    ),
)


def beside_chart(measure: Measure, results: Sequence[tuple[str, Sequence[Measurement]]]) -> Chart | None:
    """Return results side by side, or None where there are fewer than two, or none has the quantity.

    Args:
        measure: the quantity.
        results: name of each result, and its measurements; the first one is what the others are compared with.
    """
    if len(results) < 2:
        return None
    columns = {name: {each.case["id"]: value for each in found if (value := measure.of(each)) is not None} for name, found in results}
    columns = {name: column for name, column in columns.items() if column}
    if len(columns) < 2:
        return None
    cases = list(dict.fromkeys(case for column in columns.values() for case in column))
    first, *others = columns
    drawn = [first, *others[-(MOST_DRAWN - 1) :]]
    rows = [_cell(measure, case, name, columns[first], columns[name]) for name in drawn for case in cases if case in columns[name]]
    short, named = row_labels(cases), labels(drawn, MOST_OF_A_NAME)
    for row in rows:
        row.update(row=short[row["case"]], column=named[row["result"]])
    title = f"{measure.title}, compared with {first}"
    spec = base_spec(rows, title, 24 * len(cases))
    axis = {"labelAngle": -30 if len(drawn) <= MOST_SLANTED else -90, "labelLimit": 150, "labelOverlap": "greedy"}
    spec["encoding"] = {
        "x": {"field": "column", "type": "nominal", "sort": list(named.values()), "title": None, "axis": axis},
        "y": {"field": "row", "type": "nominal", "sort": list(short.values()), "title": None,
              "axis": {"labelLimit": {"expr": "containerSize()[0] < 420 ? 180 : 260"}}},
        "tooltip": [{"field": "case"}, {"field": "result"}, {"field": "told", "title": measure.title}, {"field": "change"}],
    }  # fmt: skip
    scale = {"scheme": "redblue", "reverse": True, "domain": [1 / DEEP, 1, DEEP], "type": "log", "clamp": True}
    dark = f"datum.ratio > {DARK} || datum.ratio < {1 / DARK}"
    spec["layer"] = [
        {"mark": "rect", "encoding": {"color": {"field": "ratio", "type": "quantitative", "scale": scale, "legend": None},
                                      "description": {"field": "label"}}},
        {"mark": {"type": "text", "fontSize": 12, "aria": False, "opacity": {"expr": f"width / {len(drawn)} < {LEAST_WIDTH} ? 0 : 1"}},
         "encoding": {"text": {"field": "told"}, "color": {"condition": {"test": dark, "value": "white"}, "value": "#222"}}},
    ]  # fmt: skip
    how = (
        f"A column is a result, a row a case. Blue is less than in {first}, red is more, and the deepest colour is a factor of two; "
        "pale is the same."
    )
    if len(drawn) < len(columns):
        how += f" The chart has {first} and the {len(drawn) - 1} named last; the table has all {len(columns)}."
    cells = tuple((case, *(_told(measure, case, columns[first], column) for column in columns.values())) for case in cases)
    return Chart(f"beside-{measure.name}", title, how, spec, Table(title, ("case", *columns), cells), len(rows))


def _cell(measure: Measure, case: str, name: str, first: Mapping[str, float], column: Mapping[str, float]) -> Row:
    told, ratio = measure.told(column[case]), _ratio(case, first, column)
    change = "nothing to compare it with" if ratio is None else f"{ratio:.3f} of the first"
    return {"case": case, "result": name, "ratio": 1.0 if ratio is None else ratio, "told": told, "change": change,
            "label": f"{case}, {name}: {told}, {change}"}  # fmt: skip


def _told(measure: Measure, case: str, first: Mapping[str, float], column: Mapping[str, float]) -> str:
    if case not in column:
        return _NOTHING
    ratio = _ratio(case, first, column)
    return measure.told(column[case]) + ("" if column is first or ratio is None else f" ({ratio:.3f})")


def _ratio(case: str, first: Mapping[str, float], column: Mapping[str, float]) -> float | None:
    """Return the value over the first one; None where there is none or it is 0, unless both are 0."""
    if first.get(case) == column[case]:
        return 1.0
    return column[case] / first[case] if first.get(case) else None
