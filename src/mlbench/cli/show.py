"""`mlbench show`: print the tables of a saved result again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, Commands, say
from mlbench.peers.result import is_peers
from mlbench.peers.result import load as load_peers
from mlbench.peers.table import peers_text
from mlbench.report import result_text
from mlbench.results import load


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "show",
        help="print the tables of a saved result again",
        description="Print tables and summary of a file that 'mlbench run --json', 'mlbench peers --json' or pytest-benchmark saved.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what mlbench run --json, mlbench peers --json or pytest-benchmark saved")
    parser.set_defaults(act=_show)


def _show(options: argparse.Namespace) -> int:
    colour = sys.stdout.isatty()
    peers = is_peers(options.file)
    say(peers_text(load_peers(options.file), colour=colour) if peers else result_text(load(options.file), colour=colour))
    return EXIT_DONE
