"""What is wider than a terminal made to fit: tables by their columns, text by its lines. A file or a pipe gets everything as it is.

A table that is too wide goes on in further tables, each of which begins with the first column, so that no column is lost. The columns stand
in the order of their rank, so the most telling ones come first. A table with a column of text that leaves no room next to the first one
keeps its columns, and their cells are wrapped.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence

from mlbench.report.tables.cases import Table
from mlbench.units import TEXT_WIDTH

_EDGE, _GAP = 2, 3
"""Characters before a table, and between two of its columns."""
_HANGING = "    "


def terminal_width() -> int:
    """Return the columns of the terminal that standard output is."""
    return shutil.get_terminal_size().columns


def fitting_tables(table: Table, width: int) -> tuple[Table, ...]:
    """Return the tables that have the columns of one and fit; the table itself where it fits, or where none would."""
    groups = _groups([max(map(len, column)) for column in zip(table.headers, *table.rows, strict=True)], width)
    if len(groups) < 2:
        return (table,)
    return tuple(
        dataclasses.replace(
            _with_columns(table, group),
            title=f"{table.title}{f' ({number} of {len(groups)})' if number > 1 else ''}",
            notes=table.notes if number == len(groups) else (),
        )
        for number, group in enumerate(groups, start=1)
    )


def _groups(widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns of each table; those of one table where a column and the first one do not fit next to each other."""
    first, *others = widths
    if not others or _EDGE + first + _GAP + max(others) > width:
        return [list(range(len(widths)))]
    groups = [[0]]
    room = width - _EDGE - first
    for column, needed in enumerate(others, start=1):
        if _GAP + needed > room:
            groups.append([0])
            room = width - _EDGE - first
        groups[-1].append(column)
        room -= _GAP + needed
    return groups


def _with_columns(table: Table, columns: Sequence[int]) -> Table:
    rows = tuple(tuple(row[column] for column in columns) for row in table.rows)
    return dataclasses.replace(table, headers=tuple(table.headers[column] for column in columns), rows=rows)


def fitting_text(text: str, width: int) -> str:
    """Return text whose lines fit; one that is longer goes on in an indented line, with what was wrapped behind it before.

    >>> print(fitting_text("  a line that is long", 12))
      a line
          that
          is
          long
    """
    if width >= TEXT_WIDTH:
        return text
    return "\n".join(line for paragraph in _paragraphs(text.split("\n"), width) for line in paragraph)


def _paragraphs(lines: Sequence[str], width: int) -> Iterator[list[str]]:
    waiting = list(lines)
    while waiting:
        line = waiting.pop(0)
        if len(line) <= width or "\x1b" in line:
            yield [line]
            continue
        indent = re.match(" *", line)[0]  # type: ignore[index]  # it matches any text
        hanging, last = indent + _HANGING, line
        while waiting and waiting[0].split() and len(last) + 1 + len(waiting[0].split()[0]) > TEXT_WIDTH:
            last = waiting.pop(0)
            hanging = re.match(" *", last)[0]  # type: ignore[index]  # as above
            line = f"{line} {last.strip()}"
        yield textwrap.wrap(
            line.strip(), width, initial_indent=indent, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
        )
