"""`mlbench flamegraph`: record the memory of one case and draw it."""

from __future__ import annotations

import argparse
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, Commands, say
from mlbench.cli.subject import add_network, chosen_subject
from mlbench.studies.cases import Case, flame_graph, network_cells, parse_case, parse_network_case
from mlbench.studies.subjects import NetworkFile


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "flamegraph",
        help="record the memory of one case and draw memray's flame graph",
        description="Record one call of a case with memray and render its flame graph. The graph of the baseline shows the peak of the "
        "call. A call of the optimized runner allocates nothing, so the construction of that runner is recorded too. Its graph shows "
        "what it holds afterwards, without the model's own weights. memray counts in powers of 1000: its kB are 1000 bytes, "
        "mlbench's KB 1024.",
        epilog="examples:\n  mlbench flamegraph baseline-b512-h1024 --folder flames\n  mlbench flamegraph model.onnx optimized-b64",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_network(parser)
    parser.add_argument("case", metavar="CASE", help="RUNNER-bBATCH-hHIDDEN, or RUNNER-digits-bBATCH; with MODEL RUNNER-bBATCH")
    parser.add_argument("--folder", type=Path, default=Path("mlbench-results"), metavar="DIR", help="where it goes (default %(default)s)")
    parser.set_defaults(act=_flamegraph)


def _flamegraph(options: argparse.Namespace) -> int:
    recording, page = flame_graph(_case(options), options.folder)
    say(f"{page}\n{recording}")
    return EXIT_DONE


def _case(options: argparse.Namespace) -> Case:
    subject = chosen_subject(options)
    if not isinstance(subject, NetworkFile):
        return parse_case(options.case)
    case = parse_network_case(options.case, subject)
    network_cells(subject, (case.cell.batch,))  # refuses a batch at which it cannot run
    return case
