"""What a chart is, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlbench.report.tables import Table

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
