"""What a chart is, and what all of them have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlbench.report.tables.cases import Table

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
HEIGHT = 240
Row = dict[str, Any]
Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        name: in addresses and on the command line, such as `speedup`.
        title: for people.
        how_to_read: one sentence or two.
        spec: Vega-Lite, with its data in it; colours of text and lines are left to the theme.
        table: the numbers behind it.
        marks: how many marks carry data.
    """

    name: str
    title: str
    how_to_read: str
    spec: Spec
    table: Table
    marks: int


def spanning(values: Sequence[float], least: float) -> list[float]:
    """Return the ends of a logarithmic axis that holds these positive values; the last over the first is `least` or more.

    An axis that ends where its values end makes 2 % look like everything.

    >>> spanning([1.0, 1.02], 4.0), spanning([1.0, 8.0], 4.0)
    ([0.505, 2.02], [1.0, 8.0])
    """
    low, high = min(values), max(values)
    if high >= least * low:
        return [low, high]
    middle, half = math.sqrt(low) * math.sqrt(high), math.sqrt(least)
    return [float(f"{middle / half:.4g}"), float(f"{middle * half:.4g}")]


def base_spec(rows: Iterable[Row], description: str, height: int = HEIGHT) -> Spec:
    """Return what every specification begins with."""
    return {
        "$schema": SCHEMA,
        "description": description,
        "width": "container",
        "height": height,
        "data": {"values": list(rows)},
        "autosize": {"type": "fit-x", "contains": "padding"},
    }
