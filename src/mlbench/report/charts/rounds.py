"""The rounds of a case: every one of them, for each runner and runtime, not a bar with a whisker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlbench.measure.stats import fewest_values_for, median, quantile, typical
from mlbench.report.charts.chart import Chart, Row, base_spec, spanning
from mlbench.report.tables.cases import Table
from mlbench.units import format_duration

Rounds = Sequence[Sequence[float]]
QUANTILES = (0.5, 0.9, 0.99)
LEAST_SPAN = 2.0
"""The longest time of the axis over the shortest, at least: rounds that agree look as if they did."""


def rounds_chart(cell: str, arms: Mapping[str, Rounds]) -> Chart | None:
    """Return the distribution of a case's rounds, or None where nothing was timed.

    Args:
        cell: its name.
        arms: runner or runtime to seconds per call, in each round of each process.
    """
    timed = {name: [value for process in rounds for value in process] for name, rounds in arms.items() if any(rounds)}
    if not timed:
        return None
    rows: list[Row] = [
        {"runner": name, "us": value * 1e6, "process": f"process {number}"}
        for name, rounds in arms.items()
        for number, process in enumerate(rounds, start=1)
        for value in process
    ]
    names = list(timed)
    middles = {name: typical([process for process in arms[name] if process]) for name in names}
    diamonds: list[Row] = [{"runner": name, "us": middle * 1e6} for name, middle in middles.items()]
    values = [1e6 * value for times in timed.values() for value in times]
    spec = base_spec(rows, f"Rounds of {cell}", 34 * len(names))
    y = {"field": "runner", "type": "nominal", "sort": names, "title": None}
    x = {"field": "us", "type": "quantitative", "title": "microseconds a call", "axis": {"tickCount": 8, "format": "~g"},
         "scale": {"type": "log", "nice": False, "padding": 8, "domain": spanning(values, LEAST_SPAN)}}  # fmt: skip
    spec["layer"] = [
        {"mark": {"type": "tick", "thickness": 2, "size": 22, "opacity": 0.45},
         "encoding": {"x": x, "y": y,
                      "color": {"field": "runner", "type": "nominal", "sort": names, "legend": None},
                      "tooltip": [{"field": "runner"}, {"field": "us", "format": ".3f"}, {"field": "process"}]}},
        {"data": {"values": diamonds}, "mark": {"type": "point", "filled": True, "size": 70, "shape": "diamond"},
         "encoding": {"x": x, "y": y,
                      "color": {"field": "runner", "type": "nominal", "sort": names, "legend": None}}},
    ]  # fmt: skip
    headers = ("runner", "rounds", "processes", *(f"p{100 * q:g}" for q in QUANTILES), "longest / median")
    cells = tuple(
        (name, str(len(values)), str(sum(bool(process) for process in arms[name])), *(_quantile(values, q) for q in QUANTILES),
         f"{max(values) / median(values):.2f}")
        for name, values in timed.items()
    )  # fmt: skip
    told = ", ".join(f"{name} {format_duration(middle)}" for name, middle in middles.items())
    how = ("Each tick is a round, the average of a turn of a millisecond, on a logarithmic axis; far to the right is the tail. Diamonds "
           f"are the times of the tables: {told}.")  # fmt: skip
    return Chart(f"rounds-{cell}", f"Rounds of {cell}", how, spec, Table(f"Rounds of {cell}", headers, cells), len(rows))


def _quantile(values: Sequence[float], q: float) -> str:
    """Return a quantile, or a dash where too few rounds support it."""
    return format_duration(quantile(values, q)) if len(values) >= (1 if q == 0.5 else fewest_values_for(q)) else "-"
