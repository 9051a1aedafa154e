"""`mlbench plot`: one chart of the report as a picture."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from mlbench.cli.options import EXIT_DONE, Commands, say, wrapped
from mlbench.errors import UsageError
from mlbench.files import check_place


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
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
    parser.add_argument(
        "names",
        nargs="+",
        metavar="[NAME] FILE",
        help="with -o a chart, such as speedup, memory, floor-ratio, roofline, rounds-b64-h256, history; then result files, in any order",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="PICTURE", help="an .svg or .png; without it the names are listed")
    parser.add_argument("--theme", choices=("light", "dark"), default="light", help="colours of text and background (default light)")
    parser.set_defaults(act=_act)


def _act(options: argparse.Namespace) -> int:
    from mlbench.report.inputs import read_files  # noqa: PLC0415  # no other command needs it
    from mlbench.report.page.plot import chart_names, write_chart  # noqa: PLC0415  # no other command needs it
    from mlbench.report.page.sections import sections_of  # noqa: PLC0415  # no other command needs it
    from mlbench.studies.memory_record import record_memory  # noqa: PLC0415  # no other command needs it

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
