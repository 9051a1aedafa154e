"""One chart as a picture, for a slide or a README."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mlbench.errors import UsageError
from mlbench.files import write_atomically
from mlbench.report.charts import Chart
from mlbench.report.extra import optional
from mlbench.report.page.section import Section

WIDTH = 560
SCALE = 2.0
_LIGHT = {
    "background": "white",
    "padding": {"left": 5, "top": 5, "right": 20, "bottom": 5},  # a viewer may have a wider font than the one that measured
    "font": "Helvetica, Arial, sans-serif",
    "title": {"offset": 14},
    "axis": {"grid": False},
    "view": {"stroke": None},
}
_TEXT, _LINE = "#e6edf3", "#8b949e"
_WORDS = {"labelColor": _TEXT, "titleColor": _TEXT}
_DARK = {
    **_LIGHT,
    "background": "#0d1117",
    "title": {"offset": 14, "color": _TEXT},
    "axis": {"grid": False, "domainColor": _LINE, "tickColor": _LINE, **_WORDS},
    "legend": {**_WORDS, "symbolBaseFillColor": _TEXT, "symbolBaseStrokeColor": _TEXT},
    "rule": {"color": _TEXT},
    "tick": {"color": _TEXT},
    "text": {"color": _TEXT},
}
THEMES = {"light": _LIGHT, "dark": _DARK}
"""Colours of text, lines and background; those of the data are the chart's own."""


def charts_of(sections: Sequence[Section]) -> dict[str, Chart]:
    """Return every chart by its name."""
    return {chart.name: chart for section in sections for chart in section.charts}


def chart_names(sections: Sequence[Section]) -> list[str]:
    """Return the names of the charts."""
    return list(charts_of(sections))


def write_chart(name: str, sections: Sequence[Section], path: Path, theme: str = "light") -> Path:
    """Draw a chart into a file, SVG or PNG by its ending, in one of `THEMES`.

    Raises:
        UsageError: when there is no such chart, or the ending is another one.
        FileError: when the file cannot be written.
        MissingExtraError: without vl-convert.
    """
    charts = charts_of(sections)
    if name not in charts:
        raise UsageError(f"there is no chart {name!r} in these files; they have {', '.join(charts) or 'none'}")
    chart = charts[name]
    spec = json.dumps({**chart.spec, "width": WIDTH, "title": {"text": chart.title, "anchor": "start"}})
    vega = optional("vl_convert", "vl-convert-python")
    if path.suffix == ".svg":
        return write_atomically(path, str(vega.vegalite_to_svg(spec, config=THEMES[theme])))
    if path.suffix == ".png":
        return write_atomically(path, bytes(vega.vegalite_to_png(spec, config=THEMES[theme], scale=SCALE)))
    raise UsageError(f"{path}: a chart is written as .svg or .png")
