"""`mlbench show`: print the tables of a saved result again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, Commands, say
from mlbench.report import result_text
from mlbench.results import load


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "show",
        help="print the tables of a saved result again",
        description="Print tables and summary of a file that 'mlbench run --json' or pytest-benchmark saved.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what mlbench run --json or pytest-benchmark saved")
    parser.set_defaults(act=_show)


def _show(options: argparse.Namespace) -> int:
    say(result_text(load(options.file), colour=sys.stdout.isatty()))
    return EXIT_DONE
