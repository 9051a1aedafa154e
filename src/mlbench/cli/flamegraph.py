"""`mlbench flamegraph`: record the memory of one case and draw it."""

from __future__ import annotations

import argparse
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, Commands, say
from mlbench.studies.cases import flame_graph, parse_case


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "flamegraph",
        help="record the memory of one case and draw memray's flame graph",
        description="Record one call of a case with memray and render its flame graph. The graph of the baseline shows the peak of the "
        "call. A call of the optimized runner allocates nothing, so the construction of that runner is recorded too. Its graph shows "
        "what it holds afterwards, without the model's own weights. memray counts in powers of 1000: its kB are 1000 bytes, "
        "mlbench's KB 1024.",
        epilog="example: mlbench flamegraph baseline-b512-h1024 --folder flames",
    )
    parser.add_argument("case", metavar="CASE", help="RUNNER-bBATCH-hHIDDEN, or RUNNER-digits-bBATCH")
    parser.add_argument("--folder", type=Path, default=Path("mlbench-results"), metavar="DIR", help="where it goes (default %(default)s)")
    parser.set_defaults(act=_flamegraph)


def _flamegraph(options: argparse.Namespace) -> int:
    recording, page = flame_graph(parse_case(options.case), options.folder)
    say(f"{page}\n{recording}")
    return EXIT_DONE
