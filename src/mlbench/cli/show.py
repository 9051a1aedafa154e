"""`mlbench show`: print the tables of a saved file again, whatever kind it is of."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlbench.cli.ablation import ablations_text
from mlbench.cli.options import EXIT_DONE, Commands, say
from mlbench.cli.roofline import limits_text
from mlbench.gate.revisions.judge import judge
from mlbench.report import result_text, verdict_text
from mlbench.report.tables.peers import peers_text
from mlbench.results import has_measurements, load
from mlbench.results.ablation import has_ablations, load_ablations
from mlbench.results.comparison import has_comparison, load_comparison
from mlbench.results.documents import read_json
from mlbench.results.peers import has_peers
from mlbench.results.peers import load as load_peers
from mlbench.results.roofline import has_limits, load_limits


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "show",
        help="print the tables of a saved result again",
        description="Print the tables of a file that 'mlbench run', 'ab', 'ablation', 'limits' or 'peers' wrote with --json, or that "
        "pytest-benchmark saved.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what --json wrote or pytest-benchmark saved")
    parser.set_defaults(act=_show)


def _show(options: argparse.Namespace) -> int:
    say("\n\n".join(_parts(options.file, colour=sys.stdout.isatty())))
    return EXIT_DONE


def _parts(path: Path, *, colour: bool) -> list[str]:
    data = read_json(path)
    if has_peers(data):
        return [peers_text(load_peers(path), colour=colour)]
    if has_comparison(data):
        return [verdict_text(judge(load_comparison(path)), colour=colour, everything=True)]
    if has_limits(data):
        return [limits_text(load_limits(path), colour=colour)]
    ablations = [ablations_text(load_ablations(path), colour=colour)] if has_ablations(data) else []
    return [*([] if ablations and not has_measurements(data) else [result_text(load(path), colour=colour)]), *ablations]
