"""`mlbench show`: print the tables of a saved file again, whatever kind it is of."""

from __future__ import annotations

import argparse
from pathlib import Path

from mlbench.cli.ablation import ablations_text
from mlbench.cli.options import EXIT_DONE, Commands, say_for_people
from mlbench.cli.roofline import roofline_text
from mlbench.gate.revisions.judge import judge
from mlbench.report import result_text, verdict_text
from mlbench.report.tables.peers import peers_text
from mlbench.results import RESULT_FILE
from mlbench.results.ablation import ABLATION_FILE
from mlbench.results.comparison import COMPARISON_FILE
from mlbench.results.peers import PEERS_FILE
from mlbench.results.roofline import ROOFLINE_FILE
from mlbench.results.storage import holds, parsed, read_json


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "show",
        help="print the tables of a saved result again",
        description="Print the tables of a file that 'mlbench run', 'ab', 'ablation', 'roofline' or 'peers' wrote with --json, or that "
        "pytest-benchmark saved.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what --json wrote or pytest-benchmark saved")
    parser.set_defaults(act=_show)


def _show(options: argparse.Namespace) -> int:
    say_for_people(lambda *, colour: "\n\n".join(_parts(options.file, colour=colour)))
    return EXIT_DONE


def _parts(path: Path, *, colour: bool) -> list[str]:
    data = read_json(path)
    if holds(data, PEERS_FILE):
        return [peers_text(parsed(path, data, PEERS_FILE), colour=colour)]
    if holds(data, COMPARISON_FILE):
        return [verdict_text(judge(parsed(path, data, COMPARISON_FILE)), colour=colour, everything=True)]
    if holds(data, ROOFLINE_FILE):
        return [roofline_text(parsed(path, data, ROOFLINE_FILE), colour=colour)]
    parts = []
    if holds(data, RESULT_FILE) or not holds(data, ABLATION_FILE):
        parts.append(result_text(parsed(path, data, RESULT_FILE), colour=colour))
    if holds(data, ABLATION_FILE):
        parts.append(ablations_text(parsed(path, data, ABLATION_FILE), colour=colour))
    return parts
