"""Tables and progress for people: rich where it is installed, plain text where NumPy is all there is."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from mlbench.files import print_to
from mlbench.report.fitting import fitting_tables, terminal_width
from mlbench.report.summary import summary
from mlbench.report.tables.cases import Table, tables
from mlbench.results import Result
from mlbench.results.pairs import pairs
from mlbench.units import TEXT_WIDTH, paragraph

PLAIN_WIDTH = 10_000


class Progress(Protocol):
    """What a long piece of work tells about itself."""

    def expect(self, steps: int) -> None:
        """So many steps are still to come, whatever was thought before."""

    def step(self, what: str) -> None:
        """One step ended; `what` is the next one."""

    def say(self, line: str) -> None:
        """Print a line that stays."""


def render(table: Table, width: int | None = None, *, colour: bool = False) -> str:
    """Return a table as text; where it is wider than a terminal, as several tables with all of its columns.

    Args:
        table: the table.
        width: columns of the terminal; None asks it where there are colours, and has no limit where there are none.
        colour: for a terminal, with colours; not for a file or a pipe.
    """
    limit = terminal_width() if width is None and colour else width
    if limit is None:
        return _drawn(table, None, colour=colour)
    return "\n\n".join(_drawn(part, limit, colour=colour) for part in fitting_tables(table, limit))


def _drawn(table: Table, width: int | None, *, colour: bool) -> str:
    """Return one table."""
    try:
        rich = importlib.import_module("rich.table")
        console = importlib.import_module("rich.console")
    except ImportError:
        return render_plain(table, width)
    title = importlib.import_module("rich.text").Text(table.title, style="bold", no_wrap=True, overflow="ignore")
    drawn = rich.Table(title=title, title_justify="left", box=importlib.import_module("rich.box").SIMPLE_HEAD)
    for index, header in enumerate(table.headers):
        drawn.add_column(header, justify="left" if index == 0 else "right", no_wrap=width is None)
    for row in table.rows:
        drawn.add_row(*row)
    text = io.StringIO()
    out = console.Console(file=text, width=width or PLAIN_WIDTH, force_terminal=colour, color_system="standard" if colour else None,
                          markup=False, highlight=False, emoji=False)  # fmt: skip
    out.print(drawn)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join([*lines, *_notes(table, width)]).strip("\n")


def result_text(result: Result, *, colour: bool) -> str:
    """Return everything a person should see of a result: the command, the tables, the summary."""
    drawn = [render(table, colour=colour) for table in tables(result.measurements)]
    told = [summary(result.measurements, result.environment)] if pairs(result.measurements) or not drawn else []
    return "\n\n".join([f"$ {result.command}   ({result.date})", *drawn, *told])


def render_plain(table: Table, width: int | None = None) -> str:
    """Return a table as aligned text, without any library; its notes are as wide as the terminal at most."""
    rows = [table.headers, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.headers))]
    lines = [table.title, ""]
    for row in rows:
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(3, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *_notes(table, width)]).strip("\n")


def _notes(table: Table, width: int | None) -> list[str]:
    return [paragraph(note, width=min(width or TEXT_WIDTH, TEXT_WIDTH)) for note in table.notes]


@contextmanager
def progress(steps: int) -> Iterator[Progress]:
    """Show progress on standard error: a bar with the time left on a terminal, else a line for each thing that ended."""
    if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
        with _bar() as bar:
            yield _RichProgress(bar, steps)
    else:
        yield _PlainProgress()


def _bar() -> Any:  # rich's, which may not be there
    rich = importlib.import_module("rich.progress")
    console = importlib.import_module("rich.console").Console(stderr=True)
    return rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=2,
    )


class _RichProgress:
    def __init__(self, bar: Any, steps: int) -> None:  # rich's
        self._bar = bar
        self._task = bar.add_task("starting", total=steps)
        self._done = 0

    def expect(self, steps: int) -> None:
        self._bar.update(self._task, total=self._done + steps)

    def step(self, what: str) -> None:
        self._done += 1
        self._bar.update(self._task, completed=self._done, description=what)

    def say(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False)


class _PlainProgress:
    def expect(self, steps: int) -> None:
        """Say nothing."""

    def step(self, what: str) -> None:
        """Say nothing: a log is no place for a bar."""

    def say(self, line: str) -> None:
        print_to(sys.stderr, line)
