"""`mlbench run`: measure a network, or the digits model and the sweep, and sum up."""

from __future__ import annotations

import argparse
import functools
import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlbench.cli.options import Commands, add_effort, add_sizes, add_sweep, add_tuned, wrapped
from mlbench.cli.study import add_places, check_places, conduct, earlier_run
from mlbench.cli.subject import add_model, check_same_network, chosen_cells
from mlbench.files import check_place
from mlbench.measure import environment
from mlbench.report import format_interval, result_text
from mlbench.report.extra import check_report_extra
from mlbench.results import COMPLETE, RESULT_FILE, RUNNERS, Measurement, Result, new_result, time_of
from mlbench.results.network import network_key
from mlbench.results.pairs import pairs
from mlbench.studies.driver import Step, Study
from mlbench.studies.floor import floor_of_cell, measure_peaks
from mlbench.studies.sweep import Effort, Interrupted, measure_cells
from mlbench.units import format_duration, format_ratio

Both = list[Measurement]
"""Both runners of a cell."""
TOGETHER = 16
"""Cells whose processes take turns. Ctrl-C loses what they have so far."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="measure a network of yours, or the digits and a sweep",
        description=wrapped(
            "Measure both runners on a network of yours, without pytest; without MODEL on the trained digits model and over batch x "
            "hidden. Each case is first checked "
            "against float64, then its memory is recorded. Then both runners and NumPy's bare products alternate in fresh "
            "processes."
        ),
        epilog=textwrap.dedent("""\
            examples:
              mlbench run                                    the default sweep, about two minutes
              mlbench run model.onnx                         a network of yours at batch 1, 8, 64 and 512
              mlbench run model.onnx --batch 32 --inputs real.npz --report page.html
              mlbench run --json now.json --output now.txt   keep the data and the log
              mlbench run --batch 32 --hidden 128,512        single values
              mlbench run --large --no-digits                up to 10 GFLOP a call, depths 1, 2 and 4
              mlbench run --heap kept                        without the page faults of a fresh process
              mlbench run zoo --json zoo.json                eight networks of kinds that people bring
              mlbench run --json now.json --resume           continue after Ctrl-C"""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_model(parser, "the digits and the sweep are measured")
    add_sizes(parser)
    add_sweep(parser)
    add_tuned(parser)
    add_effort(parser)
    add_places(parser)
    parser.add_argument("--report", type=Path, metavar="PAGE", help="make an HTML page with charts of it here (needs the extra 'report')")
    parser.set_defaults(act=_run)


def _run(options: argparse.Namespace) -> int:
    check_places(options)
    if options.report is not None:
        check_place(options.report)
        check_report_extra()
    cells = {cell.id: cell for cell in chosen_cells(options)}
    here = environment(options.threads, options.heap)
    earlier = earlier_run(options, RESULT_FILE, here)
    if earlier is not None:
        check_same_network(options.json, [(each.case["cell"], network_key(each.case)) for each in earlier.measurements], cells)
    effort = Effort(processes=options.processes, rounds=options.rounds, heap=options.heap)
    peaks = functools.cache(lambda: measure_peaks().of_cores(options.threads))

    def measure(known: Mapping[str, Both], step: Step) -> Iterator[tuple[str, Both, str]]:
        waiting = [cell for name, cell in cells.items() if name not in known]
        for some in (waiting[first : first + TOGETHER] for first in range(0, len(waiting), TOGETHER)):
            try:
                found = _by_cell(measure_cells({cell: floor_of_cell(cell, peaks()) for cell in some}, effort, step))
            except Interrupted as half:
                yield from ((name, both, f"{name}: interrupted") for name, both in _by_cell(half.measurements).items())
                raise
            yield from ((name, both, _line(both)) for name, both in found.items())

    def run(found: Sequence[Both], status: str) -> Result:
        return new_result(here, options.command_line, itertools.chain.from_iterable(found), status)

    known = {} if earlier is None else _complete(earlier)
    study = Study(RESULT_FILE, tuple(cells), known, measure, run)
    return conduct(options, study, result_text, lambda result: _page(options, result))


def _by_cell(measured: Sequence[Measurement]) -> dict[str, Both]:
    found: dict[str, Both] = {}
    for each in measured:
        found.setdefault(each.case["cell"], []).append(each)
    return found


def _page(options: argparse.Namespace, result: Result) -> list[str]:
    """Write the page that was asked for, and say so."""
    if options.report is None:
        return []
    from mlbench.report.inputs import Files  # noqa: PLC0415  # the rest of the command needs none of it
    from mlbench.report.page.page import write_page  # noqa: PLC0415  # the rest of the command needs none of it
    from mlbench.studies.memory_record import record_memory  # noqa: PLC0415  # the rest of the command needs none of it

    named = [("this run", result)]
    return [f"Report: {write_page(Files(results=named, memory=record_memory(named)), options.report, options.command_line)}"]


def _line(done: Sequence[Measurement]) -> str:
    pair = pairs(done)[-1]
    assert pair.optimized is not None
    baseline_s, optimized_s = time_of(pair.baseline), time_of(pair.optimized)
    assert baseline_s is not None
    assert optimized_s is not None
    ratio = pair.optimized.ratios["speedup"]
    times = f"{format_duration(baseline_s)} > {format_duration(optimized_s)}"
    return f"{pair.cell}: {times}, {format_ratio(ratio.estimate)} ({format_interval(ratio)})"


def _complete(earlier: Result) -> dict[str, Both]:
    """Return the cells of which both runners were measured to the end."""
    complete = _by_cell([each for each in earlier.measurements if each.status == COMPLETE])
    return {cell: both for cell, both in complete.items() if len(both) == len(RUNNERS)}
