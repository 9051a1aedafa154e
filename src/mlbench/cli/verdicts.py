"""What the commands share that end in a verdict: `gate`, `baseline update` and `ab`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mlbench.cli.options import remark, say
from mlbench.errors import FileError
from mlbench.files import check_place, refusal, write_atomically
from mlbench.gate import Judgement
from mlbench.report import junit, markdown, verdict_text, verdicts_json

TERMINAL = "terminal"
FORMATS: dict[str, Callable[..., str]] = {"markdown": markdown, "json": verdicts_json, "junit": junit}
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file that becomes the summary of a CI job (GitHub Actions, and what follows it)."""


def add_inconclusive(parser: argparse.ArgumentParser) -> None:
    """Add the option that decides what doubt means."""
    parser.add_argument(
        "--inconclusive", choices=("pass", "fail"), default="fail", help="what an inconclusive row means: exit code 0, or 3 (default fail)"
    )


def add_gate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options on how a judgement is told, and what doubt means."""
    add_inconclusive(parser)
    parser.add_argument("--format", choices=(TERMINAL, *FORMATS), default=TERMINAL, help="how the verdicts are told (default terminal)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write that format here; the terminal's table is then printed all the same"
    )
    parser.add_argument("--all", action="store_true", help="list the rows that pass too, with every number that was compared")


def check_gate_options(options: argparse.Namespace) -> None:
    """Refuse an output or a summary that could not be written, before anything is measured or read."""
    if options.output is not None:
        check_place(options.output)
    summary = summary_place()
    if summary is not None and summary.exists():
        _add("")
    elif summary is not None:
        try:
            check_place(summary)
        except FileError as error:
            raise FileError(f"{error} (it is what {SUMMARY_VARIABLE} names)") from error


def tell(judgement: Judgement, options: argparse.Namespace) -> int:
    """Print the judgement or write it where it was asked for, add it to the summary of a CI job, and return the exit code.

    Raises:
        FileError: when a file cannot be written.
    """
    passes = options.inconclusive == "pass"

    def terminal(*, colour: bool) -> str:
        return verdict_text(judgement, colour=colour, everything=options.all, inconclusive_passes=passes)

    def chosen() -> str:
        return (
            terminal(colour=False) + "\n" if options.format == TERMINAL else FORMATS[options.format](judgement, inconclusive_passes=passes)
        )

    if options.output is not None or options.format == TERMINAL:
        say(terminal(colour=sys.stdout.isatty()))
    else:
        say(chosen().rstrip("\n"))
    if options.output is not None:
        say(f"\nVerdicts: {write_atomically(options.output, chosen())}")
    add_to_summary(judgement, inconclusive_passes=passes)
    return judgement.exit_code(inconclusive_passes=passes)


def add_to_summary(judgement: Judgement, *, inconclusive_passes: bool) -> None:
    """Append the judgement as Markdown to the file that a CI job shows as its summary, where there is one, and say so.

    Raises:
        FileError: when it cannot be written.
    """
    if _add(markdown(judgement, inconclusive_passes=inconclusive_passes) + "\n"):
        remark(f"the verdicts were added to the job's summary ({SUMMARY_VARIABLE})")


def summary_place() -> Path | None:
    """Return the file that becomes the summary of a CI job, where there is one."""
    place = os.environ.get(SUMMARY_VARIABLE)
    return Path(place) if place else None


def _add(text: str) -> bool:
    """Append to the summary of a CI job, and return whether there is one."""
    place = summary_place()
    if place is None:
        return False
    try:
        with place.open("a", encoding="utf-8") as summary:
            summary.write(text)
    except OSError as error:
        raise FileError(f"{refusal(error, place)} (it is what {SUMMARY_VARIABLE} names)") from error
    return True
