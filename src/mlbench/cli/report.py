"""`mlbench report` and `mlbench plot`: see it, do not read it."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, EXIT_USAGE, Commands, remark, say, wrapped
from mlbench.errors import UsageError
from mlbench.files import check_place
from mlbench.report import progress

PAGE = Path("report.html")


def add(commands: Commands) -> None:
    """Add both commands."""
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
    parser.set_defaults(act=_report)
    plot = commands.add_parser(
        "plot",
        help="draw one chart of the report as SVG or PNG",
        usage="%(prog)s [-h] FILE [FILE ...]\n       %(prog)s [-h] NAME FILE [FILE ...] -o PICTURE",
        description=wrapped(
            "Draw one chart of the report into a file, for a slide or a README. Without -o the names of the charts are listed, "
            "and NAME is not needed."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench plot run.json                            which charts there are
              mlbench plot speedup run.json -o speedup.svg     one of them
              mlbench plot speedup-bars run.json --theme dark -o dark.svg"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plot.add_argument(
        "names",
        nargs="+",
        metavar="[NAME] FILE",
        help="with -o a chart, such as speedup, memory, floor-ratio, roofline, rounds-b64-h256, history; then result files, in any order",
    )
    plot.add_argument("-o", "--output", type=Path, metavar="PICTURE", help="an .svg or .png; without it the names are listed")
    plot.add_argument("--theme", choices=("light", "dark"), default="light", help="colours of text and background (default light)")
    plot.set_defaults(act=_plot)


def _report(options: argparse.Namespace) -> int:
    from mlbench.report.files import graphs_in, read_files  # noqa: PLC0415  # no other command needs it
    from mlbench.report.page.page import write_page  # noqa: PLC0415  # no other command needs it
    from mlbench.report.page.sections import sections_of  # noqa: PLC0415  # no other command needs it
    from mlbench.studies.memory import record_memory  # noqa: PLC0415  # no other command needs it

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


def _plot(options: argparse.Namespace) -> int:
    from mlbench.report.files import read_files  # noqa: PLC0415  # as above
    from mlbench.report.page.plot import chart_names, write_chart  # noqa: PLC0415  # as above
    from mlbench.report.page.sections import sections_of  # noqa: PLC0415  # as above
    from mlbench.studies.memory import record_memory  # noqa: PLC0415  # as above

    name, files = _name_and_files(options.names, draws=options.output is not None)
    found = read_files(files)
    if found.refused:
        raise UsageError("; ".join(found.refused))
    found.memory = record_memory(found.results)
    sections = sections_of(found)
    if options.output is None:
        say("\n".join(chart_names(sections)))
        return EXIT_DONE
    check_place(options.output)
    say(f"Chart: {write_chart(name, sections, options.output, options.theme)}")
    return EXIT_DONE


def _name_and_files(names: Sequence[str], *, draws: bool) -> tuple[str, list[Path]]:
    """Return the chart's name, which stands before the files and may be left out where nothing is drawn, and the files."""
    if not draws and (len(names) == 1 or Path(names[0]).is_file()):
        return "", [Path(each) for each in names]
    if len(names) == 1:
        example = "mlbench plot speedup run.json -o speedup.svg"
        raise UsageError(f"-o draws one chart: found {names[0]!r} alone; expected NAME FILE, as in {example!r}")
    return names[0], [Path(each) for each in names[1:]]
