"""`mlbench limits`: what this machine can do at most, and how far each case is from it."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from mlbench.cli.options import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    Commands,
    add_effort,
    add_sizes,
    add_sweep,
    add_tuned,
    chosen_cells,
    remark,
    say,
    wrapped,
)
from mlbench.errors import UsageError
from mlbench.files import check_place
from mlbench.measure import describe, environment
from mlbench.report import progress, render
from mlbench.report.tables.roofline import ceilings_table, distances_table, sentences
from mlbench.results import COMPLETE, INTERRUPTED, now
from mlbench.results.roofline import ROOFLINE_FILE, Distance, Roofline
from mlbench.results.storage import write
from mlbench.studies.cases import Cell
from mlbench.studies.roofline.measure import distances, find_ceilings
from mlbench.studies.sweep import Effort


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "limits",
        help="measure the ceilings of this machine, and how close each case comes to them",
        description=wrapped(
            "Measure the ceilings of this machine (matrix product, product with one row, copy, the cost of a call). Then measure "
            "both runners of each cell, and report what bounds each of them."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench limits                                  the ceilings and the default sweep, about a minute
              mlbench limits --ceilings                       the ceilings alone, a few seconds
              mlbench limits --batch 8 --hidden 1024 --no-digits
              mlbench limits --quick --json limits.json       'mlbench show limits.json' prints it again"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ceilings", action="store_true", help="the ceilings alone")
    add_sizes(parser)
    add_sweep(parser)
    add_tuned(parser)
    add_effort(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the data here, after every cell")
    parser.set_defaults(act=_limits)


def _limits(options: argparse.Namespace) -> int:
    if options.json is not None:
        check_place(options.json)
    cells = _cells(options)
    here = environment(options.threads, options.heap)
    effort = Effort(processes=options.processes, rounds=options.rounds, heap=options.heap, singles_s=0.0)
    found: list[Distance] = []
    ceilings = find_ceilings(options.threads)
    status = INTERRUPTED  # until the last cell is there

    def run() -> Roofline:
        return Roofline(here, options.command_line, now(), status, ceilings, tuple(found))

    try:
        with progress(len(cells) * (1 + effort.processes)) as shown:
            for number, cell in enumerate(cells, start=1):
                found += distances(cell, ceilings, effort, shown.step)
                shown.say(f"[{number}/{len(cells)}] {found[-1].case}: {found[-1].limit.sentence}")
                if options.json is not None:
                    write(run(), options.json, ROOFLINE_FILE)
        status = COMPLETE
    except KeyboardInterrupt:
        pass  # the cells that are complete are kept
    written = [] if options.json is None else [f"Data: {write(run(), options.json, ROOFLINE_FILE)}"]
    say("\n\n".join([limits_text(run(), colour=sys.stdout.isatty()), *written]))
    if status == INTERRUPTED:
        remark(f"interrupted; {len(found)} cases are complete")
    return EXIT_DONE if status == COMPLETE else EXIT_INTERRUPTED


def limits_text(run: Roofline, *, colour: bool) -> str:
    """Return everything a person should see of a run: the command, both tables, the sentences, the machine."""
    parts = [f"$ {run.command}   ({run.date})", render(ceilings_table(run.ceilings), colour=colour)]
    if run.distances:
        parts += [render(distances_table(run.distances), colour=colour), sentences(run.distances)]
    return "\n\n".join([*parts, f"Machine: {describe(run.environment)}"])


def _cells(options: argparse.Namespace) -> list[Cell]:
    if not options.ceilings:
        return chosen_cells(options)
    given = [name for name in ("quick", "large", "no_digits", "batch", "hidden", "inputs", "depth") if getattr(options, name)]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} chooses cells, and --ceilings measures none; leave one of them out")
    return []
