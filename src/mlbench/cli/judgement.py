"""What the commands share that end in a verdict: `gate`, `baseline update` and `ab`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from mlbench.cli.options import say, say_for_people
from mlbench.files import check_place, write_atomically
from mlbench.gate import Judgement
from mlbench.report import junit, markdown, verdict_text, verdicts_json
from mlbench.report.github import add_to_summary, check_summary

TERMINAL = "terminal"
FORMATS: dict[str, Callable[..., str]] = {"markdown": markdown, "json": verdicts_json, "junit": junit}


def add_inconclusive(parser: argparse.ArgumentParser) -> None:
    """Add the option that decides what doubt means."""
    parser.add_argument(
        "--inconclusive",
        choices=("pass", "fail"),
        default="fail",
        help="exit code for inconclusive rows: 0 for pass, 3 for fail (default fail)",
    )


def add_gate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options on how a judgement is told, and what doubt means."""
    add_inconclusive(parser)
    parser.add_argument("--format", choices=(TERMINAL, *FORMATS), default=TERMINAL, help="format of the verdicts (default terminal)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write that format here, and print the terminal's table too")
    parser.add_argument("--all", action="store_true", help="list rows that pass too, with every number that was compared")


def check_gate_options(options: argparse.Namespace) -> None:
    """Refuse an output or a summary that could not be written, before anything is measured or read."""
    if options.output is not None:
        check_place(options.output)
    check_summary()


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
        say_for_people(terminal)
    else:
        say(chosen().rstrip("\n"))
    if options.output is not None:
        say(f"\nVerdicts: {write_atomically(options.output, chosen())}")
    add_to_summary(judgement, inconclusive_passes=passes)
    return judgement.exit_code(inconclusive_passes=passes)
