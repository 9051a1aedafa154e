"""`mlbench run`: measure the digits model and the sweep, and sum up."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from mlbench.cli.options import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    Commands,
    add_effort,
    add_places,
    add_sizes,
    add_sweep,
    add_tuned,
    check_places,
    check_same_environment,
    chosen_cells,
    remark,
    say,
    wrapped,
)
from mlbench.errors import WorkerError
from mlbench.files import check_place, write_atomically
from mlbench.measure import Environment, environment
from mlbench.report import format_interval, progress, result_text
from mlbench.report.extra import check_report_extra
from mlbench.results import COMPLETE, INTERRUPTED, Measurement, Result, load, new_result, save, time_of
from mlbench.results.pairs import pairs
from mlbench.studies.floor import floor_of_cell, measure_peaks
from mlbench.studies.sweep import Effort, Interrupted, measure_cells
from mlbench.units import format_duration, format_ratio

TOGETHER = 16
"""Cells whose processes take turns. Ctrl-C loses what they have so far."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="measure the digits model and the sweep, and sum up",
        description=wrapped(
            "Measure both runners on the trained digits model and over batch x hidden, without pytest. Each case is first checked "
            "against float64, then its memory is recorded. Then both runners and NumPy's bare products alternate in fresh "
            "processes."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench run                                    the default sweep, about two minutes
              mlbench run --json now.json --output now.txt   keep the data and the log
              mlbench run --batch 32 --hidden 128,512        single values
              mlbench run --large --no-digits                up to 10 GFLOP a call, depths 1, 2 and 4
              mlbench run --heap kept                        without the page faults of a fresh process
              mlbench run --json now.json --resume           continue after Ctrl-C"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_sizes(parser)
    add_sweep(parser)
    add_tuned(parser)
    add_effort(parser)
    add_places(parser, "case")
    parser.add_argument("--report", type=Path, metavar="PAGE", help="make an HTML page with charts of it here (needs the extra 'report')")
    parser.set_defaults(act=_run)


def _run(options: argparse.Namespace) -> int:
    check_places(options)
    if options.report is not None:
        check_place(options.report)
        check_report_extra()
    cells = chosen_cells(options)
    found = environment(options.threads, options.heap)
    results = _known(options, found) if options.resume else {}
    effort = Effort(processes=options.processes, rounds=options.rounds, heap=options.heap)
    peaks = measure_peaks().of_cores(options.threads)
    status = INTERRUPTED  # until the last cell is there

    def result() -> Result:
        ordered = [each for cell in cells for each in results.get(cell.id, ())]
        return new_result(found, options.command_line, ordered, status)

    try:
        with progress(len(cells) * (1 + effort.processes)) as shown:
            for first in range(0, len(cells), TOGETHER):
                some = cells[first : first + TOGETHER]
                missing = {cell: floor_of_cell(cell, peaks) for cell in some if cell.id not in results}
                results |= _by_cell(measure_cells(missing, effort, shown.step))
                for number, cell in enumerate(some, start=first + 1):
                    shown.say(f"[{number}/{len(cells)}] {_line(results[cell.id])}")
                if options.json is not None:
                    save(result(), options.json)
        status = COMPLETE
    except Interrupted as half:
        results |= _by_cell(half.measurements)
    except KeyboardInterrupt:
        pass  # between two cells
    except WorkerError:
        _report(options, result(), failed=True)
        raise
    _report(options, result())
    return EXIT_DONE if status == COMPLETE else EXIT_INTERRUPTED


def _by_cell(measured: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for each in measured:
        found.setdefault(each.case["cell"], []).append(each)
    return found


def _report(options: argparse.Namespace, result: Result, *, failed: bool = False) -> None:
    """Write the files that were asked for, then print tables and summary: a reader that leaves early loses no file."""
    written = []
    if options.json is not None and result.measurements:
        written.append(f"Data: {save(result, options.json)}")
    if options.output is not None:
        written.append(f"Log: {write_atomically(options.output, result_text(result, colour=False) + chr(10))}")
    if options.report is not None and result.measurements:
        from mlbench.report.files import Files  # noqa: PLC0415  # the rest of the command needs none of it
        from mlbench.report.page.page import write_page  # noqa: PLC0415  # the rest of the command needs none of it
        from mlbench.studies.memory import record_memory  # noqa: PLC0415  # the rest of the command needs none of it

        named = [("this run", result)]
        written.append(f"Report: {write_page(Files(results=named, memory=record_memory(named)), options.report, options.command_line)}")
    say("\n\n".join([result_text(result, colour=sys.stdout.isatty()), *written]))
    if result.status == INTERRUPTED and not failed:
        remark(f"interrupted; {len(result.measurements)} cases were measured, the last ones perhaps in part")


def _line(done: Sequence[Measurement]) -> str:
    pair = pairs(done)[-1]
    assert pair.optimized is not None
    baseline_s, optimized_s = time_of(pair.baseline), time_of(pair.optimized)
    assert baseline_s is not None
    assert optimized_s is not None
    ratio = pair.optimized.ratios["speedup"]
    times = f"{format_duration(baseline_s)} > {format_duration(optimized_s)}"
    return f"{pair.cell}: {times}, {format_ratio(ratio.estimate)} ({format_interval(ratio)})"


def _known(options: argparse.Namespace, found: Environment) -> dict[str, list[Measurement]]:
    """Return the complete cells of an earlier result of the same environment."""
    if not options.json.exists():
        return {}
    earlier = load(options.json)
    check_same_environment(options.json, earlier.environment, found)
    complete = _by_cell([each for each in earlier.measurements if each.status == COMPLETE])
    return {cell: both for cell, both in complete.items() if len(both) == 2}  # the two runners
