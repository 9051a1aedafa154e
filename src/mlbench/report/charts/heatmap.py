"""Heat maps over batch x hidden, or batch x network: where the compiled runner wins, in time, in memory, and in distance to the limit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlbench.measure.stats import Interval
from mlbench.report.charts.chart import Chart, Row, Spec, base_spec
from mlbench.report.tables.cases import Table
from mlbench.results import Measurement
from mlbench.results.pairs import Pair

_NOTHING = "-"
TRAITS = ("model", "inputs", "outputs", "threads", "tuned")
"""What a cell is besides its batch and hidden sizes; cells that differ in one of them stand in maps of their own."""
Traits = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a heat map shows.

    Attributes:
        name: of the chart.
        title: of the chart.
        how_to_read: of the chart.
        scheme: of its colours.
        form: format of a value, as d3 writes it.
        pale: value of the palest colour, and of all below it.
        deep: value of the deepest colour at least; where a value is larger that one has it.
        is_ratio: colours follow its logarithm.
    """

    name: str
    title: str
    how_to_read: str
    scheme: str
    form: str
    pale: float
    deep: float
    is_ratio: bool


SPEEDUP = Quantity(
    "speedup", "Speed-up",
    "The number is how many times as fast the compiled runner is: 2 means half the time. Darker is faster, the palest no faster. "
    "A cell opens its case.",
    "blues", ".2f", 1.0, 4.0, is_ratio=True,
)  # fmt: skip
MEMORY = Quantity(
    "memory", "Memory reduction",
    "The number is the share of the eager runner's peak memory that the compiled runner saves. Everything that it holds counts, "
    "copies of weights too. Darker is less memory, the palest saves none; below 0 it needs more.",
    "greens", ".0%", 0.0, 1.0, is_ratio=False,
)  # fmt: skip
MEMORY_WITHOUT_COPIES = Quantity(
    "memory-without-copies", "Memory reduction without copies of weights",
    "This is the memory reduction without the weights that the compiled runner has packed. Darker is less memory, the palest "
    "saves none; below 0 it needs more.",
    "greens", ".0%", 0.0, 1.0, is_ratio=False,
)  # fmt: skip
FLOOR_RATIO = Quantity(
    "floor-ratio", "Floor ratio",
    "The number is the compiled runner's time divided by the floor: the least time that this machine needs for the arithmetic and "
    "the bytes. 1 is the limit and the palest; darker is farther from it.", "oranges", ".2f", 1.0, 4.0, is_ratio=True,
)  # fmt: skip


def heat_maps(quantity: Quantity, pairs: Sequence[Pair]) -> tuple[Chart, ...]:
    """Return the heat maps of a quantity: one for all cells that differ in batch and hidden sizes alone, so that no two share a place.

    Args:
        quantity: what they show.
        pairs: the cells; those without the quantity, and the digits, stand in no map. A network in a file has its
            name in the place of hidden sizes, and a map of its own.
    """
    maps: dict[Traits, dict[tuple[int, str], Row]] = {}
    for pair in pairs:
        found, measured = _value(quantity, pair), pair.optimized
        if found is None or measured is None or "batch" not in measured.case or measured.case.get("model") == "digits":
            continue
        value, interval = found
        batch, (hidden, columns) = measured.case["batch"], _column(measured.case)
        shown = f"{value:.0%}" if quantity in (MEMORY, MEMORY_WITHOUT_COPIES) else f"{value:.2f}"
        row = {"cell": pair.cell, "batch": batch, "hidden": hidden, "columns": columns, "value": value, "link": f"#case-{pair.cell}",
               "label": f"{pair.cell}: {quantity.title} {shown}",
               "low": _NOTHING if interval is None else f"{interval.low:.3f}",
               "high": _NOTHING if interval is None else f"{interval.high:.3f}{interval.doubt}",
               "least": value if interval is None else interval.low, "most": value if interval is None else interval.high}  # fmt: skip
        traits = tuple((name, measured.case.get(name)) for name in TRAITS)
        while (batch, hidden) in maps.setdefault(traits, {}):  # the same sizes under another name
            traits = (*traits, ("name", pair.cell))
        maps[traits][batch, hidden] = row
    values = [row["value"] for cells in maps.values() for row in cells.values()]
    common = set.intersection(*(set(traits) for traits in maps)) if maps else set()
    return tuple(
        _chart(quantity, list(cells.values()), number, _told(trait for trait in traits if trait not in common), values)
        for number, (traits, cells) in enumerate(maps.items(), start=1)
    )


def _told(traits: Iterable[tuple[str, Any]]) -> str:
    words = {True: "tuned", False: "default rules"}
    told = (words[value] if isinstance(value, bool) else f"{name} {value}" for name, value in traits if value is not None)
    return ", ".join("networks in files" if each == "model file" else each for each in told)


def _column(case: Mapping[str, Any]) -> tuple[str, str]:
    """Return in which column a case is, and what the columns are called."""
    if "network" in case:
        return case["network"]["name"], "network"
    return "x".join(str(size) for size in case["hidden"]), "hidden size"


def _chart(quantity: Quantity, rows: list[Row], number: int, where: str, values: Sequence[float]) -> Chart:
    """Return a map; `values` are those of all maps, which share their colours."""
    cells = tuple((row["cell"], f"{row['value']:.3f}", row["low"], row["high"]) for row in rows)
    title = f"{quantity.title}, {where}" if where else quantity.title
    table = Table(title, ("cell", "number", "95 % from", "to"), cells)
    name = quantity.name if number == 1 else f"{quantity.name}-{number}"
    return Chart(name, title, quantity.how_to_read, _spec(quantity, title, rows, values), table, len(rows))


def _value(quantity: Quantity, pair: Pair) -> tuple[float, Interval | None] | None:
    if quantity is MEMORY:
        return None if pair.memory_reduction is None else (pair.memory_reduction, None)
    if quantity is MEMORY_WITHOUT_COPIES:
        saved = pair.memory_reduction_without_copies
        return None if saved is None or pair.optimized is None or not pair.optimized.static.weight_copies else (saved, None)
    interval = _ratio(pair.optimized, "speedup" if quantity is SPEEDUP else "floor_ratio")
    return None if interval is None else (interval.estimate, interval)


def _ratio(measured: Measurement | None, name: str) -> Interval | None:
    return None if measured is None else measured.ratios.get(name)


def _spec(quantity: Quantity, title: str, rows: Sequence[Row], values: Sequence[float]) -> Spec:
    pale, deep = quantity.pale, max(quantity.deep, *values)
    middle = math.sqrt(pale * deep) if quantity.is_ratio else (pale + deep) / 2
    hidden = list(dict.fromkeys(row["hidden"] for row in rows))
    spec = base_spec(rows, f"{title}, over batch and {rows[0]['columns']}", 44 * len({row["batch"] for row in rows}))
    spec["encoding"] = {
        "x": {
            "field": "hidden",
            "type": "ordinal",
            "sort": hidden,
            "title": rows[0]["columns"].replace("size", "columns"),
            "axis": {"labelAngle": 0},
        },
        "y": {"field": "batch", "type": "ordinal", "sort": "ascending", "title": "batch"},
        "href": {"field": "link"},
        "tooltip": [{"field": "cell", "title": "case"}, {"field": "value", "title": quantity.title, "format": quantity.form}],
    }
    scale = {"scheme": quantity.scheme, "domain": [pale, deep], "type": "log" if quantity.is_ratio else "linear", "clamp": True}
    spec["layer"] = [
        {"mark": {"type": "rect", "cursor": "pointer", "ariaRole": "link", "ariaRoleDescription": "cell"},
         "encoding": {"color": {"field": "value", "type": "quantitative", "scale": scale, "legend": None},
                      "description": {"field": "label"}}},
        {"mark": {"type": "text", "fontSize": 14, "cursor": "pointer", "aria": False},
         "encoding": {"text": {"field": "value", "format": quantity.form},
                      "color": {"condition": {"test": f"datum.value > {middle!r}", "value": "white"}, "value": "#222"}}},
    ]  # fmt: skip
    return spec
