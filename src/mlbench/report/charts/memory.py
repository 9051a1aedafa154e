"""Where the memory goes: what is held during a call, and where each buffer lies in the arena, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlbench.report.charts.chart import Chart, Row, base_spec
from mlbench.report.tables.cases import Table
from mlbench.results.memory import CellMemory, Place
from mlbench.units import format_bytes

_KB = 1024


def held_chart(cell: str, held_bytes: Mapping[str, Sequence[int]]) -> Chart | None:
    """Return what both runners hold as one call goes on, or None without a recording.

    Args:
        cell: its name.
        held_bytes: runner to bytes held at the beginning and after each allocation or release of a call, what it holds between calls
            included.
    """
    known = {runner: list(values) for runner, values in held_bytes.items() if values}
    if not known:
        return None
    longest = max(len(values) for values in known.values())
    rows: list[Row] = [
        {"runner": runner, "event": place, "kb": value / _KB}
        for runner, values in known.items()
        for place, value in enumerate([*values, *[values[-1]] * (longest - len(values))])
    ]
    spec = base_spec(rows, f"Memory held during a call of {cell}")
    colour = {"field": "runner", "type": "nominal", "title": None, "sort": list(known)}
    spec["layer"] = [
        {"mark": {"type": "area", "interpolate": "step-after", "opacity": 0.25},
         "encoding": {"x": {"field": "event", "type": "quantitative", "title": "allocations and releases, in order",
                            "axis": {"tickMinStep": 1}},
                      "y": {"field": "kb", "type": "quantitative", "stack": None, "title": "KB held"}, "color": colour}},
        {"mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
         "encoding": {"x": {"field": "event", "type": "quantitative"}, "y": {"field": "kb", "type": "quantitative"}, "color": colour}},
    ]  # fmt: skip
    cells = tuple((runner, str(len(values) - 1), format_bytes(values[0]), format_bytes(max(values))) for runner, values in known.items())
    how = ("Every step is an allocation or a release inside one call, recorded by memray. The compiled runner is a flat line: it holds its "
           "arena, code and copies of weights from call to call, and a call allocates nothing. Most held: "
           + ", ".join(f"{runner} {format_bytes(max(values))}" for runner, values in known.items()) + ".")  # fmt: skip
    table = Table(f"Memory of {cell}", ("runner", "allocations and releases", "between calls", "peak"), cells)
    return Chart(f"held-{cell}", f"Memory during one call: {cell}", how, spec, table, 2 * len(known))


def arena_chart(cell: str, places: Sequence[Place], nodes: Sequence[str], arena_bytes: int, lower_bound_bytes: int) -> Chart | None:
    """Return the map of the arena, or None where it holds nothing.

    Args:
        cell: its name.
        places: the buffers.
        nodes: labels of the graph's nodes, in the order in which they run.
        arena_bytes: size of the arena.
        lower_bound_bytes: most bytes that are live at any one node.
    """
    if not places:
        return None
    rows: list[Row] = [
        {"name": place.name, "first": place.first, "last": place.last, "from": place.offset_bytes / _KB,
         "to": (place.offset_bytes + place.size_bytes) / _KB, "nodes": ", ".join(nodes[place.first : place.last])}
        for place in places
    ]  # fmt: skip
    lines = [{"kb": lower_bound_bytes / _KB, "what": "lower bound"}]
    spec = base_spec(rows, f"Arena of {cell}")
    x = {"type": "quantitative", "title": "nodes of the graph, in order",
         "axis": {"values": list(range(len(nodes) + 1)), "format": "d"}}  # fmt: skip
    y = {"type": "quantitative", "title": "KB from the start of the arena", "scale": {"domainMax": arena_bytes / _KB}}
    spec["layer"] = [
        {"mark": {"type": "rect", "opacity": 0.8, "stroke": "white"},
         "encoding": {"x": {"field": "first", **x}, "x2": {"field": "last"}, "y": {"field": "from", **y}, "y2": {"field": "to"},
                      "color": {"field": "name", "type": "nominal", "title": None},
                      "tooltip": [{"field": "name"}, {"field": "nodes"}, {"field": "from", "format": ".1f"},
                                  {"field": "to", "format": ".1f"}]}},
        {"data": {"values": lines}, "mark": {"type": "rule", "strokeDash": [5, 3], "strokeWidth": 2},
         "encoding": {"y": {"field": "kb", "type": "quantitative"}, "tooltip": {"field": "what"}}},
    ]  # fmt: skip
    cells = tuple((each.name, _lifetime(each), format_bytes(each.offset_bytes), format_bytes(each.size_bytes)) for each in places)
    how = ("A rectangle is a buffer: its width is its lifetime, its height its size. Buffers that are not live together share bytes. The "
           "dashed line is the lower bound: the most bytes live at one node.")  # fmt: skip
    notes = (f"Arena {format_bytes(arena_bytes)}, lower bound {format_bytes(lower_bound_bytes)}. Nodes: {', '.join(nodes)}.",)
    table = Table(f"Arena of {cell}", ("buffer", "nodes", "at", "size"), cells, notes)
    return Chart(f"arena-{cell}", f"Arena: {cell}", how, spec, table, len(places) + 1)


def _lifetime(place: Place) -> str:
    """Return the nodes from the first that needs a buffer to the last."""
    return f"{place.first} to {place.last - 1}" if place.last - place.first > 1 else str(place.first)


def memory_charts(found: CellMemory) -> tuple[Chart, ...]:
    """Return the charts of a cell's memory."""
    charts = (
        held_chart(found.cell, found.held_bytes),
        arena_chart(found.cell, found.places, found.nodes, found.arena_bytes, found.lower_bound_bytes),
    )
    return tuple(chart for chart in charts if chart is not None)
