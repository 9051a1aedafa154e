"""The page: Jinja2 fills the template, Vega draws in the browser; everything is in the one file."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mlbench._version import __version__
from mlbench.files import write_atomically
from mlbench.report.extra import optional
from mlbench.report.glossary import defined, key_of
from mlbench.report.inputs import Files
from mlbench.report.page.explained import explained, pairs_of
from mlbench.report.page.section import Section
from mlbench.report.page.sections import sections_of
from mlbench.results import now
from mlbench.results.explanation import Explanations

TITLE = "mlbench report"
EXPLANATION = "mlbench explain"


def write_page(files: Files, path: Path, command: str, sections: Sequence[Section] | None = None) -> Path:
    """Write the page of these files, whole or not at all; `sections` are theirs, where they were made already.

    Raises:
        FileError: when it cannot be written.
        MissingExtraError: without Jinja2 or vl-convert.
    """
    return write_atomically(path, render_page(sections_of(files) if sections is None else sections, files.refused, command, now()))


def write_explanation(run: Explanations, path: Path) -> Path:
    """Write the page of an explanation, whole or not at all.

    Raises:
        FileError: when it cannot be written.
        MissingExtraError: without Jinja2 or vl-convert.
    """
    sections = [section for number, each in enumerate(run.explanations) for section in explained(each, f"n{number}-" if number else "")]
    return write_atomically(path, render_page(sections, (), run.command, run.date, EXPLANATION))


def render_page(sections: Sequence[Section], refused: Sequence[str], command: str, date: str, title: str = TITLE) -> str:
    """Return the page.

    Args:
        sections: in their order.
        refused: files that could not be used, and why.
        command: that made it.
        date: of the page.
        title: of the page.

    Raises:
        MissingExtraError: without Jinja2 or vl-convert.
    """
    jinja2, vega = optional("jinja2", "jinja2"), optional("vl_convert", "vl-convert-python")
    files = resources.files("mlbench.report.page")

    def source(name: str) -> str:
        return files.joinpath(*name.split("/")).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(source)
    )
    markup = importlib.import_module("markupsafe").Markup
    tables = [table for section in sections for table in (*section.tables, *(chart.table for chart in section.charts))]
    data = {section.widget.prefix: section.widget.data for section in sections if section.widget and section.widget.data}
    parts = ("page", *(("explanation/explanation",) if data else ()))
    specs = {chart.name: chart.spec for section in sections for chart in section.charts}
    page: str = environment.get_template("page.html").render(
        title=title,
        pairs_of=pairs_of,
        sections=sections,
        refused=refused,
        words=defined(header for table in tables for header in table.headers),
        key_of=key_of,
        command=command,
        date=date,
        version=__version__,
        style=markup("\n".join(source(f"{part}.css") for part in parts)),  # our own files
        script=markup("\n".join(source(f"{part}.js") for part in parts)),  # as above
        layout=markup(source("explanation/dagre.min.js")) if data else "",  # a library that comes with mlbench
        explanations=markup(as_script(data)) if data else "",  # escaped by the function
        bundle=markup(vega.javascript_bundle().replace("</script", "<\\/script")),  # Vega's own code
        specs=markup(as_script(specs)),  # escaped by the function
    )
    return page


def as_script(data: Any) -> str:  # JSON data
    """Return JSON that can stand in a script element: nothing in it ends the element or begins a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
