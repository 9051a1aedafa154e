"""`mlbench gate`: judge a saved result by a baseline."""

from __future__ import annotations

import argparse
import datetime as dt
import textwrap
from dataclasses import replace
from pathlib import Path

from mlbench.cli.judgement import add_gate_options, check_gate_options, tell
from mlbench.cli.options import Commands, wrapped
from mlbench.errors import UsageError
from mlbench.gate import Judgement, judge_results, load_tolerances, matches
from mlbench.gate.tolerances import Tolerances, beside
from mlbench.gate.unjudged import unjudged
from mlbench.results import Result, load
from mlbench.studies.flame_graphs import keep_graphs


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "gate",
        help="judge a saved result by a baseline",
        description=wrapped(
            "Judge a result by a saved baseline, row by row. Peak bytes and allocations are compared exactly if NumPy, memray and "
            "the plan agree. Times are compared by their ratios to two yardsticks, the eager runner and NumPy's bare products, "
            "and in seconds on the same machine only. A missing row is red. Both files are what 'mlbench run --json' wrote or "
            "pytest-benchmark saved."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench gate baseline.json now.json
              mlbench gate baseline.json now.json --all                every number that was compared
              mlbench gate baseline.json now.json --only 'optimized-*'
              mlbench gate baseline.json now.json --format junit --output gate.xml
              mlbench gate baseline.json now.json --keep-graphs graphs  flame graphs of what is red

            exit codes: 0 pass, 1 worse or missing, 2 usage or unreadable input, 3 inconclusive"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_files(parser)
    add_gate_options(parser)
    parser.add_argument("--only", metavar="PATTERN", help="judge only rows whose id matches; * and ? are wildcards")
    parser.add_argument(
        "--keep-graphs", type=Path, metavar="DIR", help="store memray flame graphs of red rows in this folder, of both sides"
    )
    parser.set_defaults(act=_gate)


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the two files and the tolerances."""
    parser.add_argument("baseline", type=Path, metavar="BASELINE", help="the result to judge by")
    parser.add_argument("current", type=Path, metavar="CURRENT", help="the result to judge")
    parser.add_argument(
        "--tolerances",
        type=Path,
        metavar="FILE",
        help="tolerances and accepted changes (default: the .toml next to the baseline under its name, if it exists)",
    )


def chosen_tolerances(options: argparse.Namespace) -> Tolerances | None:
    """Read the tolerance file that was named, or the one next to the baseline.

    Raises:
        FileError: when it is missing or not valid.
    """
    path = options.tolerances or beside(options.baseline)
    return None if path is None else load_tolerances(path)


def judge_files(options: argparse.Namespace, only: str | None = None) -> tuple[Judgement, Result, Result]:
    """Judge one file by the other and return the judgement, the baseline and the current result.

    Raises:
        FileError: when a file cannot be read, is none of ours, or both are the same.
        UsageError: when no row fits the pattern.
    """
    before, after = load(options.baseline), load(options.current)
    if options.baseline.samefile(options.current):
        raise UsageError(f"{options.current} would be judged by itself; name the baseline first, then the result of this run")
    names = (str(options.baseline), str(options.current))
    if only is not None:
        chosen = [tuple(each for each in result.measurements if matches(only, each.case["id"])) for result in (before, after)]
        if not any(chosen):
            raise UsageError(f"--only {only!r}: no row of {names[0]} or {names[1]} matches")
        left_out = {each.case["id"] for each in before.measurements} | {each.case["id"] for each in after.measurements}
        left_out -= {each.case["id"] for both in chosen for each in both}
        judged = judge_results(before, after, chosen_tolerances(options), today(), names, left_out)
    else:
        judged = judge_results(before, after, chosen_tolerances(options), today(), names)
    judged = replace(judged, notes=(*judged.notes, *unjudged(options.baseline), *unjudged(options.current)))
    return judged, before, after


def today() -> dt.date:
    """Return the day on which entries of a tolerance file may have expired."""
    return dt.datetime.now().astimezone().date()


def _gate(options: argparse.Namespace) -> int:
    check_gate_options(options)
    judged, _, after = judge_files(options, options.only)
    if options.keep_graphs is not None:
        judged = keep_graphs(judged, options.keep_graphs, options.baseline, {}, {each.case["id"]: each.case for each in after.measurements})
        judged = replace(judged, notes=(*judged.notes, f"flame graphs show the installed code, and {after.command!r} measured the rows"))
    return tell(judged, options)
