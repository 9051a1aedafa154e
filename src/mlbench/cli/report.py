"""`mlbench report`: one page of any result files."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, EXIT_USAGE, Commands, remark, say, wrapped
from mlbench.files import check_place
from mlbench.report import progress

PAGE = Path("report.html")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="make one page of any result files, with charts",
        description=wrapped(
            "Make one self-contained HTML page of any result files: speed-up, memory, the rounds of each case, the ablation, the "
            "roofline, peers, any number of results side by side, history and verdicts. The page opens from disk and needs no "
            "network. It names files that could not be used and parts that could not be made; the exit code is then 2."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench report run.json                                   the page of one run
              mlbench report run.json ablation.json roofline.json peers.json ab.json -o page.html
              mlbench report before.json one.json two.json              side by side, compared with the first
              mlbench report history/*.json -o history.html             a trend of each case

            Files are what --json of run, ablation, roofline, peers and ab wrote, what 'gate --format json' wrote, or what
            pytest-benchmark saved."""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="result files; results are compared with the first")
    parser.add_argument("-o", "--output", type=Path, default=PAGE, metavar="PAGE", help=f"where the page goes (default {PAGE})")
    parser.add_argument("--graphs", type=Path, metavar="DIR", help="link the memray flame graphs in this folder")
    parser.set_defaults(act=_act)


def _act(options: argparse.Namespace) -> int:
    from mlbench.report.inputs import graphs_in, read_files  # noqa: PLC0415  # no other command needs it
    from mlbench.report.page.page import write_page  # noqa: PLC0415  # no other command needs it
    from mlbench.report.page.sections import sections_of  # noqa: PLC0415  # no other command needs it
    from mlbench.studies.memory_record import record_memory  # noqa: PLC0415  # no other command needs it

    check_place(options.output)
    with progress(len(options.files)) as shown:
        found = read_files(options.files, shown.step)
    if options.graphs is not None:
        found.graphs += graphs_in(options.graphs, options.output)
    found.memory = record_memory(found.results)
    sections = sections_of(found)
    page = write_page(found, options.output, options.command_line, sections)
    missing = [*found.refused, *(f"{section.title}: {gap}" for section in sections for gap in section.gaps)]
    for line in missing:
        remark(line)
    say(f"Report: {page}")
    return EXIT_USAGE if missing else EXIT_DONE
