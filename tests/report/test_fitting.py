"""What is wider than a terminal: no column and no word is lost, and files get everything as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.report import Table, render
from mlbench.report.fitting import fitting_tables, fitting_text
from mlbench.report.terminal import render_plain
from mlbench.units import paragraph

WIDE = Table(
    "Numbers",
    ("cell", *(f"column {number}" for number in range(12))),
    (("b1", *map(str, range(12))), ("b8", *map(str, range(12)))),
    ("Note.",),
)


@pytest.mark.parametrize("draw", [render, render_plain])
def test_a_table_goes_on_below_itself(draw: object) -> None:
    """In 80 columns no line is longer, each part begins with the cell, and together they have every column once."""
    parts = fitting_tables(WIDE, 80)
    assert len(parts) > 1
    assert {part.headers[0] for part in parts} == {"cell"}
    assert [header for part in parts for header in part.headers[1:]] == list(WIDE.headers[1:])
    assert [cell for part in parts for cell in part.rows[1][1:]] == list(WIDE.rows[1][1:])
    assert max(len(line) for part in parts for line in draw(part).splitlines()) <= 80  # type: ignore[operator]
    assert [part.notes for part in parts] == [(), ("Note.",)]


def test_a_table_that_fits_stays_one() -> None:
    """A wide terminal gets what a file gets."""
    assert fitting_tables(WIDE, 300) == (WIDE,)


def test_a_file_gets_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without colours, which is a file or a pipe, the width of no terminal counts; with them it does."""
    monkeypatch.setenv("COLUMNS", "80")
    assert render(WIDE).count("cell") == 1
    assert render(WIDE, colour=True).count("cell") == 2


def test_a_column_of_text_keeps_the_table_whole() -> None:
    """Where a column and the first one do not fit next to each other, cells are wrapped instead."""
    table = Table("Words", ("what", "found"), (("load", "word " * 40),))
    assert fitting_tables(table, 80) == (table,)


@given(st.lists(st.text("ab ", max_size=150), max_size=5), st.integers(20, 130))
def test_text_keeps_its_words(lines: list[str], width: int) -> None:
    """Whatever the width, the words and their order stay, and no line is longer that could be broken."""
    text = "\n".join(lines)
    fitted = fitting_text(text, width)
    assert fitted.split() == text.split()
    if width < 110:
        assert all(len(line) <= width or len(line.split()) == 1 for line in fitted.split("\n"))


def test_a_paragraph_is_wrapped_again_as_one() -> None:
    """Lines that were wrapped for a wider terminal are one paragraph again, so that none is short in the middle of it."""
    words = "The processes alternate every millisecond, and a second copy of the base runs as control. " * 4
    assert fitting_text(paragraph(f"  case: {words}", "    "), 80) == paragraph(f"  case: {words}", "    ", width=80)
