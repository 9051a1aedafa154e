"""Heat maps over batch x hidden: where the compiled runner wins, in time, in memory, and in distance to the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.report.charts.chart import Chart, Row, Spec, base_spec
from mlbench.report.tables import Pair, Table
from mlbench.results import Measurement
from mlbench.stats import Interval

_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a heat map shows.

    Attributes:
        name: of the chart.
        title: of the chart.
        how_to_read: of the chart.
        scheme: of its colours.
        form: format of a value, as d3 writes it.
    """

    name: str
    title: str
    how_to_read: str
    scheme: str
    form: str


SPEEDUP = Quantity(
    "speedup", "Speed-up",
    "How many times as fast the compiled runner is: 2 means half the time. Darker is faster. A cell opens its case.", "blues", ".2f",
)  # fmt: skip
MEMORY = Quantity(
    "memory", "Memory reduction",
    "The share of the eager runner's peak memory that is gone, everything the compiled runner holds included. Darker is less memory; "
    "below 0 it needs more.", "greens", ".0%",
)  # fmt: skip
FLOOR_RATIO = Quantity(
    "floor-ratio", "Floor ratio",
    "The compiled runner's time over the least that NumPy can take, an empty run plus the bare products: 1 is the limit. Darker is farther "
    "from it.", "oranges", ".2f",
)  # fmt: skip


def heat_map(quantity: Quantity, pairs: Sequence[Pair], number: int = 1, where: str = "") -> Chart | None:
    """Return a heat map of cells of one shape and depth, or None where no cell has the quantity.

    Args:
        quantity: what it shows.
        pairs: the cells.
        number: place of the result among those beside each other; 1 is the newest.
        where: name of the result, where there are several.
    """
    rows: list[Row] = []
    cells: list[tuple[str, ...]] = []
    for pair in pairs:
        found = _value(quantity, pair)
        measured = pair.optimized
        if found is None or measured is None or "batch" not in measured.case or measured.case.get("model") == "digits":
            continue
        value, interval = found
        hidden = "x".join(str(size) for size in measured.case["hidden"])
        rows.append({"cell": pair.cell, "batch": measured.case["batch"], "hidden": hidden, "value": value, "link": f"#case-{pair.cell}"})
        ends = (_NOTHING, _NOTHING) if interval is None else (f"{interval.low:.3f}", f"{interval.high:.3f}")
        cells.append((pair.cell, f"{value:.3f}", *ends))
    if not rows:
        return None
    table = Table(quantity.title, ("cell", "value", "95 % from", "to"), tuple(cells))
    name = quantity.name if number == 1 else f"{quantity.name}-{number}"
    title = f"{quantity.title}, {where}" if where else quantity.title
    return Chart(name, title, quantity.how_to_read, _spec(quantity, rows), table, len(rows))


def _value(quantity: Quantity, pair: Pair) -> tuple[float, Interval | None] | None:
    if quantity is MEMORY:
        return None if pair.memory_reduction is None else (pair.memory_reduction, None)
    interval = _ratio(pair.optimized, "speedup" if quantity is SPEEDUP else "floor_ratio")
    return None if interval is None else (interval.estimate, interval)


def _ratio(measured: Measurement | None, name: str) -> Interval | None:
    return None if measured is None else measured.ratios.get(name)


def _spec(quantity: Quantity, rows: Sequence[Row]) -> Spec:
    values = [row["value"] for row in rows]
    middle = (min(values) + max(values)) / 2
    hidden = list(dict.fromkeys(row["hidden"] for row in rows))
    spec = base_spec(rows, f"{quantity.title} over batch and hidden size", 44 * len({row["batch"] for row in rows}))
    spec["encoding"] = {
        "x": {"field": "hidden", "type": "ordinal", "sort": hidden, "title": "hidden columns", "axis": {"labelAngle": 0}},
        "y": {"field": "batch", "type": "ordinal", "sort": "ascending", "title": "batch (rows of a call)"},
        "href": {"field": "link"},
        "tooltip": [{"field": "cell", "title": "case"}, {"field": "value", "title": quantity.title, "format": quantity.form}],
    }
    spec["layer"] = [
        {"mark": {"type": "rect", "cursor": "pointer"},
         "encoding": {"color": {"field": "value", "type": "quantitative", "scale": {"scheme": quantity.scheme}, "legend": None}}},
        {"mark": {"type": "text", "fontSize": 14, "cursor": "pointer"},
         "encoding": {"text": {"field": "value", "format": quantity.form},
                      "color": {"condition": {"test": f"datum.value > {middle!r}", "value": "white"}, "value": "#222"}}},
    ]  # fmt: skip
    return spec
