"""What a call moves and holds after each pass that changes something."""

from __future__ import annotations

from collections.abc import Sequence

from mlbench.report.charts.chart import Chart, Row, Spec, base_spec
from mlbench.report.tables.cases import Table
from mlbench.results.explanation import Explanation
from mlbench.units import format_bytes

WRITTEN = "as written"
_KB = 1024
_ROW_HEIGHT = 26


def steps_charts(found: Explanation, prefix: str = "") -> tuple[Chart, ...]:
    """Return the charts of an explanation: what a call moves, and what it holds where that was counted."""
    return tuple(chart for chart in (moved_chart(found, prefix), held_chart(found, prefix)) if chart is not None)


def moved_chart(found: Explanation, prefix: str = "") -> Chart:
    """Return what a call reads and writes at least, as written and after each pass."""
    states = [found.states[0], *(found.states[step.state] for step in found.steps if not step.is_idle)]
    names = _names(found)
    amounts = [
        (name, what, size)
        for name, state in zip(names, states, strict=True)
        for what, size in (("read", state.read_bytes), ("written", state.written_bytes))
    ]
    spec = _bars(amounts, names, f"Bytes that a call of {found.cell} moves", "KB that a call moves at least")
    rows = tuple(
        (name, format_bytes(state.read_bytes), format_bytes(state.written_bytes), str(state.arrays))
        for name, state in zip(names, states, strict=True)
    )
    how = (
        "Each row is the network after one more pass that changes something, from top to bottom. It is a count: each node reads its values "
        "and constants and writes its result. A step of an epilogue that NumPy runs reads and writes the result once more, so fusing alone "
        "moves as many bytes. Tiles read the weights once more each; what is inside generated code stays in registers."
    )
    table = Table(f"What a call of {found.cell} moves", ("step", "read", "written", "arrays made"), rows)
    return Chart(f"{prefix}moved", f"What a call moves: {found.cell}", how, spec, table, len(amounts))


def held_chart(found: Explanation, prefix: str = "") -> Chart | None:
    """Return what was counted after each pass: bytes held between calls, and the peak of a call; None where nothing was counted."""
    counted = [found.counts, *(step.counts for step in found.steps if not step.is_idle)]
    known = [(name, each) for name, each in zip(_names(found), counted, strict=True) if each is not None]
    if not known:
        return None
    amounts = [
        (name, what, size)
        for name, each in known
        for what, size in (("held between calls", each.held_bytes), ("peak of a call", each.peak_bytes))
    ]
    spec = _bars(amounts, [name for name, _ in known], f"Bytes that {found.cell} holds", "KB held")
    rows = tuple(
        (name, format_bytes(each.held_bytes), format_bytes(each.peak_bytes), f"{each.calls:,}",
         "-" if each.allocations is None else f"{each.allocations:,}")
        for name, each in known
    )  # fmt: skip
    how = (
        "Each row is the network after one more pass that changes something. A call was run and what it allocated was recorded; the "
        "model's own weights are left out. What is held between calls is the arena, operands, code and copies of weights."
    )
    table = Table(
        f"What {found.cell} holds", ("step", "between calls", "peak of a call", "calls from Python", "allocations of a call"), rows
    )
    return Chart(f"{prefix}held", f"What is held: {found.cell}", how, spec, table, len(amounts))


def _names(found: Explanation) -> list[str]:
    return [WRITTEN, *(step.name for step in found.steps if not step.is_idle)]


def _bars(amounts: Sequence[tuple[str, str, int]], names: Sequence[str], description: str, title: str) -> Spec:
    """Return stacked bars, a row each."""
    kinds = list(dict.fromkeys(what for _, what, _ in amounts))
    rows: list[Row] = [
        {"after": name, "what": what, "kb": size / _KB, "size": format_bytes(size), "order": kinds.index(what)}
        for name, what, size in amounts
    ]
    spec = base_spec(rows, description, _ROW_HEIGHT * len(names))
    spec["layer"] = [
        {"mark": {"type": "bar", "size": 16},
         "encoding": {"y": {"field": "after", "type": "nominal", "sort": list(names), "title": None},
                      "x": {"field": "kb", "type": "quantitative", "title": title, "stack": "zero"},
                      "order": {"field": "order", "type": "quantitative"},
                      "color": {"field": "what", "type": "nominal", "title": None, "sort": kinds},
                      "tooltip": [{"field": "after"}, {"field": "what"}, {"field": "size"}]}},
    ]  # fmt: skip
    return spec
