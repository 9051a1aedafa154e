"""A section of the page, and titles in it that tell what is from several files apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlbench.report import Figure, Table
from mlbench.report.charts import Chart
from mlbench.report.charts.labels import told_apart
from mlbench.results.explanation import Explanation


@dataclass(frozen=True, slots=True)
class Widget:
    """A part of a section that the reader moves: `steps`, `switches`; or that has a form of its own: `values`.

    Attributes:
        kind: which of them.
        explanation: what it shows.
        data: the same for the page's script, with what only the page says; empty for `values`, which needs no script.
        prefix: of addresses in it, so that a page may have several.
    """

    kind: str
    explanation: Explanation
    data: Mapping[str, Any]
    prefix: str


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page.

    Attributes:
        key: its address.
        title: for people.
        text: paragraphs; what is monospaced is in `preformatted`.
        charts: its charts.
        tables: tables beside those of the charts.
        preformatted: text that keeps its lines.
        figures: numbers that stand out.
        links: addresses of other pages, with what they are called.
        command: what would fill it, where it is empty.
        gaps: what could not be shown although there are data, and why.
        widget: a part with a form of its own.
        folded: lists that the reader opens: what each is about, and its lines.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    preformatted: str = ""
    figures: tuple[Figure, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    command: str = ""
    gaps: tuple[str, ...] = ()
    widget: Widget | None = None
    folded: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def is_case(self) -> bool:
        """Whether it is about one case, which the filter may hide."""
        return self.key.startswith("case-")

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing to show."""
        return not (self.charts or self.tables or self.preformatted or self.figures or self.links or self.gaps or self.widget)


def charts_apart(found: Sequence[tuple[str, Chart]]) -> tuple[Chart, ...]:
    """Return charts from several files, no two of which have the same title or name."""
    charts = [chart for _, chart in found]
    titles = told_apart([chart.title for chart in charts], [name for name, _ in found])
    names = [chart.name for chart in charts]
    places = [names[:place].count(name) for place, name in enumerate(names)]
    return tuple(
        replace(chart, title=title, name=f"{chart.name}-{place + 1}" if place else chart.name, table=replace(chart.table, title=title))
        for chart, title, place in zip(charts, titles, places, strict=True)
    )


def tables_apart(found: Sequence[tuple[str, Table]]) -> tuple[Table, ...]:
    """Return tables from several files, no two of which have the same title."""
    titles = told_apart([table.title for _, table in found], [name for name, _ in found])
    return tuple(replace(table, title=title) for (_, table), title in zip(found, titles, strict=True))
