"""What the commands that run a study share: where its data and its log go, going on with a file, and the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mlbench.cli.options import EXIT_DONE, EXIT_INTERRUPTED, remark, say_for_people
from mlbench.errors import UsageError
from mlbench.files import check_place, write_atomically
from mlbench.measure import Environment
from mlbench.report import progress
from mlbench.results import COMPLETE
from mlbench.results.schema import Schema
from mlbench.studies import driver
from mlbench.studies.driver import AnyRun, Study


class Text(Protocol):
    """Returns everything a person should see of a run."""

    def __call__(self, run: Any, /, *, colour: bool) -> str:  # a run of the study
        """Return it, with colours or without."""


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where data and log go, and whether to go on."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the data here, whenever a cell was measured")
    parser.add_argument("--resume", action="store_true", help="take complete cells from --json FILE instead of measuring them again")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the log here too")


def check_places(options: argparse.Namespace) -> None:
    """Refuse what could not be written in the end, before anything is measured."""
    if options.resume and options.json is None:
        raise UsageError("--resume needs --json FILE, the result to continue")
    if options.json is not None and options.json == options.output:
        raise UsageError(f"--json and --output both name {options.json}; the log would replace the data")
    for path in (options.json, options.output):
        if path is not None:
            check_place(path)


def earlier_run(options: argparse.Namespace, schema: Schema[AnyRun], here: Environment) -> AnyRun | None:
    """Return the run that --resume goes on with; None without it, or where there is no file yet."""
    return driver.earlier_run(options.json, schema, here) if options.resume else None


def conduct(options: argparse.Namespace, study: Study[Any, AnyRun], text: Text, page: Callable[[AnyRun], list[str]] = lambda _: []) -> int:
    """Run a study, write its files, print its tables, and return the exit code: a reader that leaves early loses no file.

    Args:
        options: of the command.
        study: what is measured.
        text: makes what is printed and logged.
        page: writes further files, and returns a line about each.

    Raises:
        WorkerError: when a worker failed, after what was measured has been written and printed.
    """
    with progress(len(study.names) * (1 + options.processes)) as shown:
        done = driver.conduct(study, options.json, shown)
    written = [f"Data: {options.json}"] if done.is_saved else []
    if options.output is not None:
        written.append(f"Log: {write_atomically(options.output, text(done.run, colour=False) + chr(10))}")
    written += page(done.run) if done.cells else []
    say_for_people(lambda *, colour: "\n\n".join([text(done.run, colour=colour), *written]))
    if done.failure is not None:
        raise done.failure
    if done.run.status == COMPLETE:
        return EXIT_DONE
    kept = f"; --resume continues {options.json}" if done.is_saved else ""
    remark(f"interrupted; {done.cells} of {len(study.names)} cells were measured, the last ones perhaps in part{kept}")
    return EXIT_INTERRUPTED
